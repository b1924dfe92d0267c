//! XEP-0013: Flexible Offline Message Retrieval, version 1.3.
//!
//! Lets a client look at what waits for it, take single messages and remove them, instead of being
//! handed all of them.
//! Implements: §2.1 to §2.7.
//! Left out: nothing.
//! Status: complete

use std::sync::Arc;

use stentor_engine::kept::Became;
use stentor_engine::{
    Account, BoxFuture, DiscoNode, Fate, Flag, IqCx, NodeInfo, NodeItem, OnAsk, OnSet, Registrar,
    Request, Scope, Session, backlog, refuse,
};
use stentor_jid::BareJid;
use stentor_payload::Decode;
use stentor_payload::xep0004_forms::{Field, FieldKind, Form, FormKind};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{Offline, OfflineRow};
use stentor_xml::ElementRef;

use crate::limits::OFFLINE_ITEMS_MAX;

/// Takes part where messages are kept.
pub(crate) fn register(r: &mut Registrar) {
    let by_hand = Arc::new(ByHand);
    r.tell::<View, _>(Request::Get, &by_hand);
    r.set::<Remove, _>(Scope::Account, &by_hand);
    r.disco_stored(Scope::Host, &[NS]);
    r.disco_node(Scope::Account, NS, by_hand);
}

struct ByHand;

/// The messages that are wanted, or are to be removed.
enum Which {
    All,
    These(Vec<u64>),
}

impl Which {
    fn decode(offline: ElementRef<'_>, all: &str, action: &str) -> Result<Self, StanzaError> {
        if offline.child(NS, all).is_some() {
            return Ok(Self::All);
        }
        let mut ids = Vec::new();
        for item in offline.children() {
            let is_wanted = item.is(NS, "item") && item.attr("action").is_some_and(|a| a == action);
            let node = item.attr("node").filter(|_| is_wanted).ok_or(BAD_REQUEST)?;
            if ids.len() == OFFLINE_ITEMS_MAX {
                return Err(StanzaError::new(Condition::NotAcceptable)
                    .with_text(format!("Name at most {OFFLINE_ITEMS_MAX} messages at a time.")));
            }
            ids.push(read_node(&node).ok_or(NOT_FOUND)?);
        }
        if ids.is_empty() { Err(BAD_REQUEST) } else { Ok(Self::These(ids)) }
    }
}

struct View(Which);

impl Decode for View {
    const NS: &'static str = NS;
    const NAME: &'static str = "offline";

    fn decode(offline: ElementRef<'_>) -> Result<Self, StanzaError> {
        Which::decode(offline, "fetch", "view").map(Self)
    }
}

struct Remove(Which);

impl Decode for Remove {
    const NS: &'static str = NS;
    const NAME: &'static str = "offline";

    fn decode(offline: ElementRef<'_>) -> Result<Self, StanzaError> {
        Which::decode(offline, "purge", "remove").map(Self)
    }
}

impl DiscoNode for ByHand {
    fn info<'a>(&'a self, cx: &'a IqCx<'a>) -> BoxFuture<'a, Result<NodeInfo, StanzaError>> {
        Box::pin(async move {
            let (_, account) = take_over(cx)?;
            let count = account.lock().offline.count.to_string();
            let form = Form::new(FormKind::Result)
                .of_type(NS)
                .with(Field::new(FieldKind::TextSingle, "number_of_messages").value(count));
            let (category, kind) = ("automation", "message-list");
            Ok(NodeInfo { category, kind, features: vec![NS], form: Some(form) })
        })
    }

    fn items<'a>(&'a self, cx: &'a IqCx<'a>) -> BoxFuture<'a, Result<Vec<NodeItem>, StanzaError>> {
        Box::pin(async move {
            let (_, account) = take_over(cx)?;
            let mut items = Vec::new();
            let mut waiting = Waiting::of(cx, account).await?;
            while let Some(rows) = waiting.next().await? {
                items.extend(rows.iter().map(|row| NodeItem {
                    jid: account.jid.to_string(),
                    node: Some(write_node(row.id)),
                    name: sender(row),
                }));
            }
            Ok(items)
        })
    }
}

impl OnAsk<View> for ByHand {
    async fn ask(&self, cx: &IqCx<'_>, View(which): View) -> Result<(), StanzaError> {
        let (session, account) = take_over(cx)?;
        match which {
            Which::All => {
                let mut waiting = Waiting::of(cx, account).await?;
                while let Some(rows) = waiting.next().await? {
                    show(session, &rows).await;
                }
            }
            Which::These(ids) => show(session, &find(cx, account, &ids).await?).await,
        }
        session.reply(cx.stanza.reply_result(|_| ()));
        Ok(())
    }
}

impl OnSet<Remove> for ByHand {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, Remove(which): Remove) -> Result<(), StanzaError> {
        let (_, account) = take_over(cx)?;
        let mut doomed = Vec::new();
        match which {
            Which::All => {
                let mut waiting = Waiting::of(cx, account).await?;
                while let Some(rows) = waiting.next().await? {
                    doomed.extend(rows.iter().map(|row| doom(cx, account, row)));
                }
            }
            Which::These(ids) => {
                let rows = find(cx, account, &ids).await?;
                doomed.extend(rows.iter().map(|row| doom(cx, account, row)));
            }
        }
        let ticket = backlog::remove(cx.engine, account, &doomed);
        cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))
    }
}

/// §2.2, §2.3, §2.6: whoever asks is handed nothing by itself from then on, nor is another session
/// of the account as long as this one lasts.
fn take_over<'a>(cx: &'a IqCx<'_>) -> Result<(&'a Arc<Session>, &'a Arc<Account>), StanzaError> {
    let (session, account) = cx.own_stored_account()?;
    session.resource.set(Flag::OfflineByHand);
    Ok((session, account))
}

async fn show(session: &Session, rows: &[OfflineRow]) {
    for row in rows {
        // A damaged one is put aside when it would be delivered.
        let Ok(mut stanza) = backlog::late(&session.engine, &session.account.jid, row) else {
            continue;
        };
        stanza.append(|w| {
            w.open("offline", NS).open("item", NS).attr("node", &write_node(row.id)).close();
            w.close();
        });
        session.wait_for_room().await;
        session.resource.outbox.push(stanza, Fate::Forget);
    }
}

fn sender(row: &OfflineRow) -> Option<String> {
    Some(Stanza::parse(&row.stanza).ok()?.head.from?.to_string())
}

/// Its id, and what it takes of the account's quota.
fn doom(cx: &IqCx<'_>, account: &Account, row: &OfflineRow) -> (u64, u64) {
    backlog::note(cx.engine, &account.jid, row, Became::Removed);
    (row.id, row.stanza.len() as u64)
}

/// All that waits, in order, a page at a time.
struct Waiting {
    offline: Arc<dyn Offline>,
    owner: BareJid,
    /// Behind which message the next page begins; none after the last.
    after: Option<u64>,
}

impl Waiting {
    async fn of(cx: &IqCx<'_>, account: &Account) -> Result<Self, StanzaError> {
        let stores = &cx.engine.stores;
        // What was stored just before must be readable.
        stores.writer.barrier().await.map_err(|e| refuse::store_error(&e))?;
        let (offline, owner) = (stores.offline.clone(), account.jid.clone());
        Ok(Self { offline, owner, after: Some(0) })
    }

    async fn next(&mut self) -> Result<Option<Vec<OfflineRow>>, StanzaError> {
        let Some(after) = self.after else { return Ok(None) };
        let page = self.offline.page(&self.owner, after, PAGE_ROWS_MAX).await;
        let page = page.map_err(|e| refuse::store_error(&e))?;
        self.after = page.next;
        Ok(Some(page.messages))
    }
}

/// The messages of these ids.
///
/// # Errors
/// `item-not-found` if one of them is not there (§2.4, §2.5).
async fn find(
    cx: &IqCx<'_>,
    account: &Account,
    ids: &[u64],
) -> Result<Vec<OfflineRow>, StanzaError> {
    let stores = &cx.engine.stores;
    stores.writer.barrier().await.map_err(|e| refuse::store_error(&e))?;
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let page = stores.offline.page(&account.jid, id.saturating_sub(1), 1).await;
        let page = page.map_err(|e| refuse::store_error(&e))?;
        rows.push(page.messages.into_iter().find(|row| row.id == *id).ok_or(NOT_FOUND)?);
    }
    Ok(rows)
}

/// §2.3: ids may be ordered character by character.
fn write_node(id: u64) -> String {
    format!("{id:020}")
}

fn read_node(node: &str) -> Option<u64> {
    let id = node.parse().ok()?;
    (write_node(id) == node).then_some(id)
}

const NS: &str = "http://jabber.org/protocol/offline";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);
const NOT_FOUND: StanzaError = StanzaError::new(Condition::ItemNotFound);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn viewed(inside: &str) -> Result<Option<Vec<u64>>, StanzaError> {
        let xml = format!("<offline xmlns='http://jabber.org/protocol/offline'>{inside}</offline>");
        View::decode(Frame::parse(xml.as_bytes()).unwrap().root()).map(|View(which)| match which {
            Which::All => None,
            Which::These(ids) => Some(ids),
        })
    }

    #[test]
    fn nodes_are_ordered_as_messages_are() {
        let nodes = [9, 10, 99, 100, u64::MAX].map(write_node);
        assert!(nodes.is_sorted());
        assert_eq!(nodes.map(|n| read_node(&n)), [9, 10, 99, 100, u64::MAX].map(Some));
        for text in ["", "9", "+0000000000000000009", "2003-02-27T22:52:37.225Z"] {
            assert_eq!(read_node(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wanted_is_named_or_all() {
        let item = |n: u64| format!("<item action='view' node='{n:020}'/>");
        assert_eq!(viewed("<fetch/>"), Ok(None));
        assert_eq!(viewed(&(item(1) + &item(2))), Ok(Some(vec![1, 2])));
        assert_eq!(viewed("<item action='view' node='x'/>"), Err(NOT_FOUND));
        for inside in ["", "<purge/>", "<item action='remove' node='1'/>", "<item action='view'/>"]
        {
            assert_eq!(viewed(inside), Err(BAD_REQUEST), "{inside}");
        }
        let many: String = (0..=OFFLINE_ITEMS_MAX as u64).map(item).collect();
        assert_eq!(viewed(&many).unwrap_err().condition, Condition::NotAcceptable);
    }
}
