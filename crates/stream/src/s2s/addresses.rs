//! The addresses of stanzas between servers.

use stentor_stanza::{Head, Stanza};

use super::Pair;
use crate::fault::{Fault, Misbehaviour};

/// RFC 6120 §8.1.1.2, §8.1.2.2: between servers a stanza has both addresses, and its sender is of
/// a domain that this stream may speak for. What is no address is none.
pub(super) fn judge_addresses<'a>(
    head: &Head,
    mut pairs: impl Iterator<Item = &'a Pair> + Clone,
) -> Result<(), Fault> {
    let (Some(from), Some(to)) = (&head.from, &head.to) else {
        return Err(Fault::Peer(Misbehaviour::NoAddress));
    };
    if !pairs.clone().any(|pair| pair.remote == from.domain()) {
        return Err(Fault::Peer(Misbehaviour::ForeignFrom));
    }
    if !pairs.any(|pair| pair.remote == from.domain() && pair.local == to.domain()) {
        return Err(Fault::Peer(Misbehaviour::ForeignTo));
    }
    Ok(())
}

/// The pair of a stanza of ours.
pub(super) fn pair_from_us(stanza: &Stanza) -> Option<Pair> {
    let (from, to) = (stanza.head.from.as_ref()?, stanza.head.to.as_ref()?);
    Some(Pair { local: from.domain().to_owned(), remote: to.domain().to_owned() })
}
