//! XEP-0430: Inbox, version 0.2.0.
//!
//! The conversations of an account in the order of their last activity, and how much of each is
//! unread.
//! Implements: §2.1, §3.1, §4; what is displayed is told by the account's own markers (XEP-0333) and
//! by XEP-0490. Written with the archive's entry in one stage.
//! Left out: §2.2's manual mark, for which there is no element; collated fastenings (XEP-0427).
//! Conversations that are not archived are not listed; more than a thousand unread are not counted.
//! Status: complete

mod answer;
mod chats;

use std::sync::Arc;

use stentor_engine::worth::{Content, NS_MARKERS};
use stentor_engine::{
    AccountState, Cx, Direction, Engine, Factory, Module, NoConfig, Observe, Observed, Registrar,
    Request, Scope, Spec, Status, Xep,
};
use stentor_jid::BareJid;
use stentor_payload::xep0059_rsm;
use stentor_payload::xep0359_sid;
use stentor_stanza::{MessageType, Stanza};
use stentor_store::Stage;
use stentor_xml::{ElementRef, Frame, Limits};

use self::chats::{Chats, Rows, mark};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Inbox>();

/// The inboxes of accounts.
pub(crate) struct Inbox;

impl Module for Inbox {
    const SPEC: &'static Spec = &Spec {
        name: "inbox",
        xeps: &[Xep { number: 430, version: "0.2.0", status: Status::Complete, note: "" }],
        requires: &["archive"],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.tell::<answer::Query, _>(Request::Get, &self);
        r.disco_stored(Scope::Account, &[NS, xep0059_rsm::NS]);
        r.resident(Arc::new(Rows));
        r.observe(self);
    }
}

impl Observe for Inbox {
    fn observe(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        seen: &Observed<'_>,
        state: &mut AccountState,
        stage: &mut Stage,
    ) {
        let (owner, is_own) = (&cx.account.jid, cx.is_to_self || cx.direction == Direction::Sent);
        let displayed = is_own.then(|| displayed(stanza)).flatten();
        // Most of what is not archived says nothing here, and costs nothing.
        if seen.kept.is_none() && displayed.is_none() {
            return;
        }
        let Some(chat) = chat_of(cx, stanza) else { return };
        if let Some(id) = displayed {
            Chats::of(state).read_marked(owner, &chat, mark(&id), stage);
        }
        let Some(kept) = seen.kept else { return };
        let is_instant = matches!(cx.worth.of(stanza).content, Content::Text | Content::Invitation);
        let id = stanza.head.id.as_deref();
        let unread = (is_instant && !is_own).then(|| mark(id.unwrap_or_default()));
        Chats::of(state).kept(owner, &chat, kept, is_instant, unread, stage);
    }
}

/// With whom the conversation is (§2.2).
fn chat_of(cx: &Cx<'_>, stanza: &Stanza) -> Option<BareJid> {
    stanza.message_type().filter(|kind| *kind != MessageType::Error)?;
    let other = match cx.direction {
        Direction::Sent => &stanza.head.to,
        Direction::Received => &stanza.head.from,
    };
    Some(other.as_ref().map_or_else(|| cx.account.jid.clone(), stentor_jid::Jid::to_bare))
}

/// The message up to which the account says that it has displayed the conversation (§4).
fn displayed(stanza: &Stanza) -> Option<String> {
    let is_marker = |c: &ElementRef<'_>| {
        c.ns() == NS_MARKERS && matches!(c.name(), "displayed" | "acknowledged")
    };
    let marker = stanza.children().find(is_marker)?;
    marker.attr("id").map(std::borrow::Cow::into_owned)
}

/// Notes what a client has published of a chat (XEP-0490 §4.2).
pub(crate) fn published(
    engine: &Engine,
    owner: &BareJid,
    state: &mut AccountState,
    id: &str,
    payload: &[u8],
    stage: &mut Stage,
) {
    let Ok(chat) = stentor_jid::Jid::new(id) else { return };
    let Ok(frame) = Frame::parse_with(payload, &Limits::OWN) else { return };
    let Some(stanza_id) = frame.root().child(xep0359_sid::NS, "stanza-id") else { return };
    // That of a room is in the room's archive.
    let is_ours = stanza_id.attr("by").is_some_and(|by| *by == *owner.as_str());
    let shown = stanza_id.attr("id").filter(|_| is_ours);
    if let Some(up_to) = shown.and_then(|id| engine.read_id(&id)) {
        Chats::of(state).read_up_to(owner, &chat.to_bare(), up_to, stage);
    }
}

const NS: &str = "urn:xmpp:inbox:1";
