//! The fields of a line of the log in text: `name=value`, and the value in quotes wherever it could be
//! taken for more than one.
//!
//! Names of resources, reasons of other servers and the like are chosen by strangers, who must not
//! be able to write fields or lines of their own.

use std::fmt::{self, Debug, Write as _};

use tracing_subscriber::field::{RecordFields, Visit};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields;

struct Line<'w> {
    writer: Writer<'w>,
    is_first: bool,
    outcome: fmt::Result,
}

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_first: true, outcome: Ok(()) };
        fields.record(&mut line);
        line.outcome
    }
}

impl Line<'_> {
    fn put(&mut self, name: &str, value: impl fmt::Display) {
        let gap = if self.is_first { "" } else { " " };
        self.is_first = false;
        let written = match name {
            "message" => write!(self.writer, "{gap}{value}"),
            _ => write!(self.writer, "{gap}{name}={value}"),
        };
        self.outcome = self.outcome.and(written);
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.put(field.name(), format_args!("{value:?}"));
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.put("message", escaped(&text));
        } else if is_one_word(&text) {
            self.put(field.name(), text);
        } else {
            self.put(field.name(), format_args!("{text:?}"));
        }
    }
}

fn is_one_word(text: &str) -> bool {
    let may_stand =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    !text.is_empty() && text.chars().all(may_stand)
}

/// Without line breaks and what terminals obey.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        let _ = match c.is_control() {
            true => write!(line, "{}", c.escape_default()),
            false => line.write_char(c),
        };
        line
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    use super::Fields;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn no_value_can_be_taken_for_two() {
        let kept = Kept::default();
        let log = tracing_subscriber::fmt()
            .with_writer(kept.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(Fields)
            .finish();
        tracing::subscriber::with_default(log, || {
            let (jid, forged) = ("a@b.example/c", "a@b.example/x event=\"bound\" source=192.0.2.1");
            tracing::info!(event = "bound", %jid, count = 3, is_new = true, "One.");
            tracing::info!(jid = %forged, reason = "a \"b\"", none = None::<u8>, "Two.");
            tracing::info!(error = %"one\ntwo", path = ?std::path::Path::new("/x y"), "Three\x1b[2J.");
        });
        let log = String::from_utf8(kept.0.lock().clone()).unwrap();
        let expected = r#" INFO One. event="bound" jid=a@b.example/c count=3 is_new=true
 INFO Two. jid="a@b.example/x event=\"bound\" source=192.0.2.1" reason="a \"b\""
 INFO Three\u{1b}[2J. error="one\ntwo" path="\"/x y\""
"#;
        assert_eq!(log, expected);
    }
}
