//! What the server logs during a test.

use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// Lines of the log of this thread, each `name=value` with a space between.
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Log {
    pub fn begin() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let _guard = tracing::subscriber::set_default(Lines(lines.clone()));
        Self { lines, _guard }
    }

    /// The lines with all of these words.
    pub fn with(&self, words: &[&str]) -> Vec<String> {
        let lines = self.lines.lock();
        lines.iter().filter(|line| words.iter().all(|w| line.contains(w))).cloned().collect()
    }

    /// Fails unless there is exactly one such line, now or soon.
    pub async fn has_once(&self, words: &[&str]) {
        let wait = async {
            while self.with(words).is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(super::PATIENCE, wait).await;
        assert!(came.is_ok(), "{words:?} not in {:#?}", self.lines.lock());
        assert_eq!(self.with(words).len(), 1, "{:#?}", self.with(words));
    }
}

struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stentor")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{}={value} ", field.name());
    }
}
