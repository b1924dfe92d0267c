//! The questions whether a silent client is there, where stanzas are not counted.
//!
//! Any answer will do, and any other sign of life. The client's version is asked for first (XEP-0092):
//! a client that knows nothing of that says so, and go-sendxmpp, as Debian has it, ends at any request
//! whose payload is not a `query`. Whoever leaves that unanswered is pinged (XEP-0199 §4.2) before it
//! is taken for gone.

use smol_str::{SmolStr, format_smolstr};
use stentor_jid::{BareJid, FullJid};
use stentor_payload::Encode;
use stentor_payload::xep0092_version::Ask;
use stentor_payload::xep0199_ping::Ping;
use stentor_stanza::{Head, IqType, Kind, Stanza};

/// One of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Version,
    Ping,
}

impl Question {
    /// The question from the server's domain to this session, the `number`th of its stream.
    pub(super) fn ask(self, to: &FullJid, number: u32) -> Option<Stanza> {
        let from = BareJid::new(to.domain()).ok()?;
        let head = Head::new(Kind::Iq(IqType::Get)).to(to.clone()).from(from).id(id(number));
        Some(Stanza::build(head, |w| match self {
            Self::Version => Ask.encode(w),
            Self::Ping => Ping.encode(w),
        }))
    }
}

/// Whether this answers one of the last two questions, of which there were `count`; an error is an
/// answer as well (RFC 6120 §8.2.3).
pub(super) fn is_answer(stanza: &Stanza, count: u32) -> bool {
    let is_of = |number: u32| stanza.head.id.as_deref() == Some(id(number).as_str());
    matches!(stanza.head.kind, Kind::Iq(IqType::Result | IqType::Error))
        && (is_of(count) || is_of(count.wrapping_sub(1)))
}

fn id(number: u32) -> SmolStr {
    format_smolstr!("alive-{number}")
}
