//! Which of the offered mechanisms to take.

use crate::{Bindings, Mechanism};

/// The strongest of the offered mechanisms that signs in with a password.
///
/// SCRAM with channel binding comes first where the connection has it, then SCRAM without, each
/// with the longest hash first, and PLAIN last. The caller leaves out what it does not want: PLAIN
/// unless TLS protects the stream and the server's certificate has been verified (RFC 4616 §5),
/// mechanisms that failed. EXTERNAL and ANONYMOUS are taken only when nothing else is offered, as
/// by a caller that has a certificate, or wishes to have no name, and therefore no password.
///
/// Taking another SCRAM mechanism from a server that offered -PLUS needs [`Bindings::default`], see
/// [`Exchange::new`](super::Exchange::new).
#[must_use]
pub fn choose(offered: &[Mechanism], bindings: &Bindings) -> Option<Mechanism> {
    let is_usable = |mechanism: &Mechanism| !mechanism.is_plus() || !bindings.is_empty();
    PREFERENCE.into_iter().filter(is_usable).find(|mechanism| offered.contains(mechanism))
}

const PREFERENCE: [Mechanism; 9] = [
    Mechanism::ScramSha512Plus,
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha512,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::Plain,
    Mechanism::External,
    Mechanism::Anonymous,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Bindings {
        Bindings { exporter: Some([1; 32]), server_end_point: None }
    }

    #[test]
    fn takes_binding_before_none_and_long_hashes_before_short_ones() {
        let mut left = Mechanism::ALL.to_vec();
        let mut order = Vec::new();
        while let Some(mechanism) = choose(&left, &bound()) {
            order.push(mechanism.name());
            left.retain(|&other| other != mechanism);
        }
        let expected = [
            "SCRAM-SHA-512-PLUS",
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-512",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "PLAIN",
            "EXTERNAL",
            "ANONYMOUS",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn takes_no_plus_without_binding() {
        let unbound = Bindings::default();
        assert_eq!(choose(&Mechanism::ALL, &unbound), Some(Mechanism::ScramSha512));
        assert_eq!(choose(&[Mechanism::ScramSha1Plus], &unbound), None);
        assert_eq!(choose(&[], &bound()), None);
    }
}
