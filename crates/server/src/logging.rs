//! Structured logs to standard error. Bodies and passwords are never among the fields.

mod fields;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{Config, LogFormat};
use fields::Fields;

/// Changes what is logged.
pub(crate) type Level = reload::Handle<EnvFilter, Registry>;

/// Starts logging.
pub(crate) fn start(config: &Config) -> Level {
    let (filter, level) = reload::Layer::new(filter(&config.log_level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => {
            let is_terminal = rustix::termios::isatty(std::io::stderr());
            registry.with(layer.with_ansi(is_terminal).fmt_fields(Fields)).init();
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    level
}

/// The filter of a level or of a list of targets; checked when the configuration was read.
pub(crate) fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
