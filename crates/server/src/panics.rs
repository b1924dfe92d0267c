//! A task that panics ends alone; the log tells of it.

use std::backtrace::Backtrace;

/// Logs every panic with an incident and its backtrace, in place of the plain text on standard
/// error.
pub(crate) fn log() {
    std::panic::set_hook(Box::new(|panic| {
        let mut bytes = [0; 4];
        // Without randomness the place must do.
        let _ = getrandom::fill(&mut bytes);
        let incident = format!("{:08x}", u32::from_be_bytes(bytes));
        let place = panic.location().map(ToString::to_string);
        // The message may quote what a peer sent, so it is left out.
        tracing::error!(
            event = "panic",
            incident,
            place,
            "A task of the server panicked; the others go on. Please report this with its backtrace."
        );
        let backtrace = Backtrace::force_capture();
        tracing::error!(event = "panic_backtrace", incident, "{backtrace}");
    }));
}
