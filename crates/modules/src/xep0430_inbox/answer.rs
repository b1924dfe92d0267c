//! Answering for an inbox (§3.1): the entries, then the end.

use stentor_engine::{IqCx, OnAsk, Session, refuse};
use stentor_jid::BareJid;
use stentor_payload::xep0059_rsm::{Ask, Before, Page, Uid};
use stentor_payload::xep0297_forward::{self as forward, Stamp};
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, Head, Kind, MessageType, Stanza, StanzaError};
use stentor_store::ArchiveRow;
use stentor_xml::{ElementRef, Writer};

use super::chats::{Chat, Chats};
use super::{Inbox, NS};
use crate::limits::INBOX_PAGE_MAX;
use crate::xep0313_mam::NS as NS_MAM;

/// The question for an inbox.
pub(super) struct Query {
    is_unread_only: bool,
    has_messages: bool,
    page: Ask,
}

impl Decode for Query {
    const NS: &'static str = NS;
    const NAME: &'static str = "inbox";

    fn decode(inbox: ElementRef<'_>) -> Result<Self, StanzaError> {
        let flag = |name, usual| match inbox.attr(name).as_deref() {
            None => Ok(usual),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(StanzaError::new(Condition::BadRequest)),
        };
        Ok(Self {
            is_unread_only: flag("unread-only", false)?,
            has_messages: flag("messages", true)?,
            page: Ask::find(inbox)?,
        })
    }
}

/// The end of the entries.
struct Fin {
    total: usize,
    unread: usize,
    all_unread: u64,
    page: Page,
}

impl Encode for Fin {
    fn encode(&self, w: &mut Writer) {
        w.open("fin", NS)
            .attr("total", &self.total.to_string())
            .attr("unread", &self.unread.to_string())
            .attr("all-unread", &self.all_unread.to_string());
        self.page.encode(w);
        w.close();
    }
}

/// A conversation that is listed.
struct Entry {
    with: BareJid,
    chat: Chat,
}

impl OnAsk<Query> for Inbox {
    async fn ask(&self, cx: &IqCx<'_>, query: Query) -> Result<(), StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        session.wait_for_room().await;
        let (entries, fin) = select(Chats::of(&mut account.lock()), &query)?;
        let mut rows = Vec::new();
        if query.has_messages && !entries.is_empty() {
            let failed = |e| refuse::store_error(&e);
            // What was archived just before must be found.
            cx.engine.stores.writer.barrier().await.map_err(failed)?;
            let ids = entries.iter().map(|entry| entry.chat.message).collect();
            rows = cx.engine.stores.archive.by_ids(&account.jid, ids).await.map_err(failed)?;
        }
        let asked = cx.stanza.head.id.as_deref();
        for entry in &entries {
            let row = rows.iter().find(|row| row.id == entry.chat.message);
            session.reply(show(session, asked, entry, row));
        }
        session.reply(cx.stanza.reply_result(|w| fin.encode(w)));
        Ok(())
    }
}

fn select(chats: &Chats, query: &Query) -> Result<(Vec<Entry>, Fin), StanzaError> {
    let all = chats.latest();
    let unread = all.iter().filter(|(_, chat)| chat.unread() > 0);
    let fin = |page| Fin {
        total: all.len(),
        unread: unread.clone().count(),
        all_unread: unread.clone().map(|(_, chat)| chat.unread()).sum(),
        page,
    };
    let is_listed = |chat: &Chat| !query.is_unread_only || chat.unread() > 0;
    let whole: Vec<_> = all.iter().filter(|(_, chat)| is_listed(chat)).collect();
    let find = |Uid(id): &Uid| {
        let at = whole.iter().position(|(with, _)| with.as_str() == id);
        at.ok_or(StanzaError::new(Condition::ItemNotFound))
    };
    let max = query.page.max.unwrap_or(INBOX_PAGE_MAX).min(INBOX_PAGE_MAX) as usize;
    let after = query.page.after.as_ref().map(find).transpose()?.map_or(0, |at| at + 1);
    let (begin, end) = match (&query.page.before, query.page.index) {
        (Some(before), _) => {
            let end = match before {
                Before::End => whole.len(),
                Before::Item(uid) => find(uid)?.max(after),
            };
            (end.saturating_sub(max).max(after), end)
        }
        (None, Some(index)) => {
            let begin = usize::try_from(index).unwrap_or(usize::MAX).min(whole.len());
            (begin, begin.saturating_add(max).min(whole.len()))
        }
        (None, None) => (after, after.saturating_add(max).min(whole.len())),
    };
    let page = &whole[begin..end];
    let name = |(with, _): &&(&BareJid, &Chat)| with.to_string();
    let ends = page.first().map(name).zip(page.last().map(name));
    let first_index = ends.as_ref().map(|_| begin as u64);
    let place = Page { ends, first_index, count: Some(whole.len() as u64) };
    let entry =
        |(with, chat): &&(&BareJid, &Chat)| Entry { with: (*with).clone(), chat: (*chat).clone() };
    Ok((page.iter().map(entry).collect(), fin(place)))
}

fn show(session: &Session, asked: Option<&str>, entry: &Entry, row: Option<&ArchiveRow>) -> Stanza {
    let (engine, account) = (&session.engine, &session.account);
    let head = Head::new(Kind::Message(MessageType::Normal))
        .from(account.jid.clone())
        .to(session.resource.jid.clone());
    Stanza::build(head, |w| {
        w.open("entry", NS)
            .attr("jid", entry.with.as_str())
            .attr("unread", &entry.chat.unread().to_string())
            .attr("id", &engine.show_id(entry.chat.last))
            .close();
        // The message may have been removed since.
        let original = row.and_then(|row| Some((row, Stanza::parse(&row.body).ok()?)));
        if let Some((row, original)) = original {
            let id = engine.show_id(row.id);
            w.open("result", NS_MAM).attr_opt("queryid", asked).attr("id", &id);
            forward::write(w, Some(Stamp { from: None, unix_ms: row.at_ms }), &original);
            w.close();
        }
    })
}
