//! Which of the offered mechanisms to take.

use crate::{Bindings, Mechanism};

/// The strongest of the offered mechanisms that signs in with a password.
///
/// SCRAM with channel binding comes first where the connection has it, then SCRAM without, each
/// with the longest hash first, and PLAIN last and only if `may_send_password`: the stream is
/// protected by TLS and the server's certificate has been verified (RFC 4616 §5). EXTERNAL and
/// ANONYMOUS are for the caller to prefer, who knows of a client certificate or of the wish to have
/// no name. Names that are not known are passed over.
///
/// To fall back after a failure of the mechanism, ask again with what is left; but taking a SCRAM
/// mechanism from a list that had -PLUS needs [`Bindings::default`], see
/// [`Exchange::new`](super::Exchange::new).
#[must_use]
pub fn choose(
    offered: &[impl AsRef<str>],
    bindings: &Bindings,
    may_send_password: bool,
) -> Option<Mechanism> {
    let is_usable = |&mechanism: &Mechanism| match mechanism {
        Mechanism::External | Mechanism::Anonymous => false,
        Mechanism::Plain => may_send_password,
        scram => !scram.is_plus() || !bindings.is_empty(),
    };
    let is_offered =
        |&mechanism: &Mechanism| offered.iter().any(|name| name.as_ref() == mechanism.name());
    // In this order `Mechanism::ALL` lists them.
    Mechanism::ALL.into_iter().filter(is_usable).find(is_offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: [&str; 10] = [
        "PLAIN",
        "SCRAM-SHA-1",
        "X-UNHEARD-OF",
        "SCRAM-SHA-512",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "ANONYMOUS",
        "SCRAM-SHA-512-PLUS",
        "EXTERNAL",
    ];

    fn bound() -> Bindings {
        Bindings { exporter: Some([1; 32]), server_end_point: None }
    }

    #[test]
    fn takes_binding_before_none_and_long_hashes_before_short_ones() {
        let mut left = EVERYTHING.to_vec();
        let mut order = Vec::new();
        while let Some(mechanism) = choose(&left, &bound(), true) {
            order.push(mechanism.name());
            left.retain(|&name| name != mechanism.name());
        }
        let expected = [
            "SCRAM-SHA-512-PLUS",
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-512",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "PLAIN",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn takes_no_plus_without_binding() {
        let unbound = Bindings::default();
        assert_eq!(choose(&EVERYTHING, &unbound, true), Some(Mechanism::ScramSha512));
        assert_eq!(choose(&["SCRAM-SHA-1-PLUS"], &unbound, true), None);
    }

    #[test]
    fn sends_a_password_only_where_it_may() {
        assert_eq!(choose(&["PLAIN"], &bound(), false), None);
        assert_eq!(choose(&["PLAIN"], &bound(), true), Some(Mechanism::Plain));
    }

    #[test]
    fn finds_nothing_in_a_list_of_strangers() {
        assert_eq!(choose(&["GSSAPI", "DIGEST-MD5"], &bound(), true), None);
        assert_eq!(choose(&[] as &[&str], &bound(), true), None);
    }
}
