//! Whether a client really has the stored messages that it was handed.
//!
//! That the socket took them proves little: the connection may be dead already. So a question
//! follows them, and only its answer, or an orderly end of the stream, lets them leave the store. A
//! connection that breaks before that repeats them at the next login and loses none.
//!
//! The question is the one for the client's version (XEP-0092) and not a ping: every answer will do
//! (RFC 6120 §8.2.3), and go-sendxmpp, as Debian has it, ends at any whose payload is not a `query`,
//! with the messages that it had not printed yet.

use std::collections::VecDeque;

use smol_str::format_smolstr;
use stentor_engine::{Item, Stored};
use stentor_jid::{BareJid, FullJid};
use stentor_payload::Encode as _;
use stentor_payload::xep0092_version::Ask;
use stentor_stanza::{Head, IqType, Kind, Stanza};

/// Stored messages whose arrival is not confirmed yet. Almost no session has had any, and then it
/// takes no room.
#[derive(Debug, Default)]
pub(crate) struct Confirmations(Option<Box<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    asked: u32,
    waiting: VecDeque<(u32, Stored)>,
}

impl Confirmations {
    /// The question that goes out behind these messages.
    pub(crate) fn ask(&mut self, stored: Stored, to: &FullJid) -> Option<Stanza> {
        let from = BareJid::new(to.domain()).ok()?;
        let inner = self.0.get_or_insert_default();
        inner.asked = inner.asked.wrapping_add(1);
        let head = Head::new(Kind::Iq(IqType::Get)).to(to.clone()).from(from);
        let question = Stanza::build(head.id(format_smolstr!("{PREFIX}{}", inner.asked)), |w| {
            Ask.encode(w);
        });
        inner.waiting.push_back((inner.asked, stored));
        Some(question)
    }

    /// What a stanza from the client confirms; none if it is no answer of ours.
    pub(crate) fn hear(&mut self, stanza: &Stanza) -> Option<Vec<Stored>> {
        let waiting = &mut self.0.as_mut()?.waiting;
        if waiting.is_empty() || stanza.iq_type().is_none_or(IqType::is_request) {
            return None;
        }
        let number: u32 = stanza.head.id.as_deref()?.strip_prefix(PREFIX)?.parse().ok()?;
        // An answer to one question says that all before it have come.
        let at = waiting.iter().position(|(asked, _)| *asked == number)?;
        let confirmed = waiting.drain(..=at).map(|(_, stored)| stored).collect();
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
        Some(confirmed)
    }

    /// All that wait.
    pub(crate) fn take_all(&mut self) -> Vec<Stored> {
        self.take().map(|(_, stored)| stored).collect()
    }

    /// All that wait, as entries that the session's end puts back.
    pub(crate) fn take_unconfirmed(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.take().map(|(_, stored)| Item::Stored(stored))
    }

    fn take(&mut self) -> impl Iterator<Item = (u32, Stored)> + use<> {
        self.0.as_mut().map(|inner| std::mem::take(&mut inner.waiting)).into_iter().flatten()
    }
}

/// What the ids of these questions begin with.
const PREFIX: &str = "stored-";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn answer(id: &str, kind: &str) -> Stanza {
        let xml = format!("<iq type='{kind}' id='{id}'/>");
        Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap()
    }

    fn stored(id: u64) -> Stored {
        Stored { ids: vec![id], bytes: 1 }
    }

    #[test]
    fn an_answer_confirms_all_up_to_its_question_and_an_error_is_one_too() {
        let jid = FullJid::new("juliet@capulet.example/balcony").unwrap();
        let mut confirmations = Confirmations::default();
        for id in 1..=3 {
            let question = confirmations.ask(stored(id), &jid).unwrap();
            assert_eq!(question.head.id.as_deref(), Some(format!("stored-{id}").as_str()));
        }
        assert!(confirmations.hear(&answer("other", "result")).is_none());
        assert!(confirmations.hear(&answer("stored-9", "result")).is_none());
        assert_eq!(confirmations.hear(&answer("stored-2", "error")).unwrap().len(), 2);
        assert!(confirmations.hear(&answer("stored-2", "result")).is_none());
        assert_eq!(confirmations.take_unconfirmed().count(), 1);
        assert!(confirmations.take_all().is_empty());
    }
}
