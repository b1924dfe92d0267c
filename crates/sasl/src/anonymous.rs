//! The one message of ANONYMOUS (RFC 4505 §2): trace data, or nothing.

use stringprep::tables;

use crate::Condition;
use crate::limits::TRACE_CHARS_MAX;

/// Reads a message; `None` when the client left no trace.
///
/// Whether trace data is an address or a token makes no difference here: the limit of a token
/// holds for both.
///
/// # Errors
///
/// [`Condition::MalformedRequest`] for over 255 characters (RFC 6120 §6.5.8), and for characters
/// that the profile for trace data prohibits (RFC 4505 §3), as they would end up in a log.
pub(crate) fn parse(message: &[u8]) -> Result<Option<String>, Condition> {
    let trace = std::str::from_utf8(message).map_err(|_| Condition::MalformedRequest)?;
    if trace.chars().nth(TRACE_CHARS_MAX).is_some() || trace.chars().any(is_prohibited) {
        return Err(Condition::MalformedRequest);
    }
    Ok((!trace.is_empty()).then(|| trace.to_owned()))
}

fn is_prohibited(c: char) -> bool {
    tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_trace_data_or_none() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"sirhc"), Ok(Some("sirhc".to_owned())));
        assert_eq!(parse(b"romeo@montague.example"), Ok(Some("romeo@montague.example".to_owned())));
    }

    #[test]
    fn counts_characters_not_bytes() {
        let trace = "\u{1F339}".repeat(TRACE_CHARS_MAX);
        assert_eq!(parse(trace.as_bytes()), Ok(Some(trace.clone())));
        assert_eq!(parse(format!("{trace}x").as_bytes()), Err(Condition::MalformedRequest));
    }

    #[test]
    fn refuses_what_would_garble_a_log() {
        for trace in [&b"a\nb"[..], b"a\0", b"a\x1B[2J", "a\u{202E}b".as_bytes(), b"\xFF"] {
            assert_eq!(parse(trace), Err(Condition::MalformedRequest), "{trace:?}");
        }
    }
}
