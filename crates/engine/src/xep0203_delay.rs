//! XEP-0203: Delayed Delivery, version 2.0.
//!
//! Takes stamps out of stanzas that claim to be this server's: what is only on its way in, it has
//! not kept yet.
//! Implements: §5 (forged stamps are discarded).
//! Left out: stamps in the name of others, which nobody here can judge.
//! Status: complete

use stentor_payload::xep0203_delay as delay;
use stentor_stanza::Stanza;

use crate::engine::Engine;

/// Cuts the stamps in the name of a domain of ours. Costs a look at the names of the children where
/// there is none.
pub(crate) fn cut_forged(engine: &Engine, stanza: &mut Stanza) {
    let is_ours = |domain: &str| engine.host(domain).is_some();
    stanza.cut(|child| delay::domain_of(child).is_some_and(|by| is_ours(by.as_str())));
}
