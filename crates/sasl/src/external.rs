//! The one message of EXTERNAL (RFC 4422 §A.1): the authorization identity, or nothing.

use crate::Condition;
use crate::limits::AUTHZID_BYTES_MAX;

/// Reads a message; `None` asks for the identity that the credentials imply.
///
/// # Errors
///
/// [`Condition::MalformedRequest`].
pub(crate) fn parse(message: &[u8]) -> Result<Option<String>, Condition> {
    let authzid = std::str::from_utf8(message).map_err(|_| Condition::MalformedRequest)?;
    if authzid.len() > AUTHZID_BYTES_MAX || authzid.contains('\0') {
        return Err(Condition::MalformedRequest);
    }
    Ok((!authzid.is_empty()).then(|| authzid.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_no_identity_from_one() {
        assert_eq!(parse(b""), Ok(None));
        let juliet = "juliet@capulet.example";
        assert_eq!(parse(juliet.as_bytes()), Ok(Some(juliet.to_owned())));
    }

    #[test]
    fn refuses_nul_wrong_utf8_and_what_is_too_long() {
        let long = vec![b'x'; AUTHZID_BYTES_MAX + 1];
        for message in [&b"juliet\0"[..], b"\xC0\x80", &long] {
            assert_eq!(parse(message), Err(Condition::MalformedRequest));
        }
    }
}
