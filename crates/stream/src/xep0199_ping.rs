//! XEP-0199: XMPP Ping, version 2.0.1.
//!
//! The server's own question to a client that has been silent (§4.2).
//! Implements: §4.2 server-to-client pings, asked by the idle check of an established stream.
//! Left out: answering pings, which the engine's module does.

use smol_str::{SmolStr, format_smolstr};
use stentor_jid::{BareJid, FullJid};
use stentor_payload::Encode as _;
use stentor_payload::xep0199_ping::Ping;
use stentor_stanza::{Head, IqType, Kind, Stanza};

/// A ping from the server's domain to this session, the `count`th of its stream.
pub(crate) fn ask(to: &FullJid, count: u32) -> Option<Stanza> {
    let from = BareJid::new(to.domain()).ok()?;
    let head = Head::new(Kind::Iq(IqType::Get)).to(to.clone()).from(from).id(id(count));
    Some(Stanza::build(head, |w| Ping.encode(w)))
}

/// Whether this is the answer to ping number `count`, of either kind (§4.2: an error will do).
pub(crate) fn is_answer(stanza: &Stanza, count: u32) -> bool {
    matches!(stanza.head.kind, Kind::Iq(IqType::Result | IqType::Error))
        && stanza.head.id.as_deref() == Some(id(count).as_str())
}

fn id(count: u32) -> SmolStr {
    format_smolstr!("alive-{count}")
}
