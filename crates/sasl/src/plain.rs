//! The one message of PLAIN (RFC 4616 §2).

use zeroize::Zeroizing;

use crate::Condition;
use crate::limits::{AUTHZID_BYTES_MAX, PART_BYTES_MAX};

/// What the message says.
pub(crate) struct Credentials {
    pub(crate) authzid: Option<String>,
    pub(crate) username: String,
    pub(crate) password: Zeroizing<String>,
}

/// Reads a message.
///
/// # Errors
///
/// [`Condition::MalformedRequest`].
pub(crate) fn parse(message: &[u8]) -> Result<Credentials, Condition> {
    let text = std::str::from_utf8(message).map_err(|_| Condition::MalformedRequest)?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(username), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Condition::MalformedRequest);
    };
    let is_part = |part: &str| (1..=PART_BYTES_MAX).contains(&part.len());
    if authzid.len() > AUTHZID_BYTES_MAX || !is_part(username) || !is_part(password) {
        return Err(Condition::MalformedRequest);
    }
    Ok(Credentials {
        authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
        username: username.to_owned(),
        password: Zeroizing::new(password.to_owned()),
    })
}

/// Writes a message; the parts have been checked.
pub(crate) fn write(authzid: Option<&str>, username: &str, password: &str) -> Vec<u8> {
    [authzid.unwrap_or_default(), username, password].join("\0").into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_malformed(message: &[u8]) -> bool {
        matches!(parse(message), Err(Condition::MalformedRequest))
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let tim = parse(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!((tim.authzid, tim.username.as_str()), (None, "tim"));
        assert_eq!(tim.password.as_str(), "tanstaaftanstaaf");
        let kurt = parse(b"Ursel\0Kurt\0xipj3plmq").unwrap();
        assert_eq!(kurt.authzid.as_deref(), Some("Ursel"));
    }

    #[test]
    fn refuses_what_the_grammar_does_not_allow() {
        for message in [
            &b""[..],
            b"\0",
            b"juliet",
            b"\0juliet",
            b"\0juliet\0",
            b"\0\0secret",
            b"\0juliet\0secret\0",
            b"\0juliet\0sec\0ret",
            b"\0juli\xFFet\0secret",
            b"\0juliet\0\xED\xA0\x80",
        ] {
            assert!(is_malformed(message), "{message:?}");
        }
    }

    #[test]
    fn bounds_each_part() {
        let part = |bytes| "x".repeat(bytes);
        let message = |authzid, username, password| {
            write(Some(&part(authzid)), &part(username), &part(password))
        };
        assert!(parse(&message(AUTHZID_BYTES_MAX, PART_BYTES_MAX, PART_BYTES_MAX)).is_ok());
        assert!(is_malformed(&message(AUTHZID_BYTES_MAX + 1, 1, 1)));
        assert!(is_malformed(&message(0, PART_BYTES_MAX + 1, 1)));
        assert!(is_malformed(&message(0, 1, PART_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn prop_reads_what_it_writes(
            authzid in proptest::option::of("[^\0]{1,20}"),
            username in "[^\0]{1,20}",
            password in "[^\0]{1,20}",
        ) {
            let read = parse(&write(authzid.as_deref(), &username, &password)).unwrap();
            prop_assert_eq!(read.authzid, authzid);
            prop_assert_eq!(read.username, username);
            prop_assert_eq!(read.password.as_str(), password);
        }
    }
}
