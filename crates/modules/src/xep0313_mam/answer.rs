//! Answering a query: the results, then the end; and what the archive spans.

use smol_str::SmolStr;
use stentor_engine::{
    Account, Binding, BoxFuture, Engine, Inline, IqCx, OnAsk, OnGet, Session, backlog, refuse,
};
use stentor_jid::BareJid;
use stentor_payload::xep0059_rsm::Page;
use stentor_payload::xep0297_forward::{self as forward, Stamp};
use stentor_payload::{Decode, Encode, xep0082_time};
use stentor_stanza::{Condition, Head, Kind, MessageType, Stanza, StanzaError};
use stentor_store::{ArchiveMark, ArchiveRange, ArchiveRow, ArchiveSlice, Edge, StoreError};
use stentor_xml::{ElementRef, Frame, Writer};

use super::query::{AskFields, Fields, Query, Selection};
use super::{Archive, NS};
use crate::limits::ARCHIVE_PAGE_DEFAULT;

impl OnAsk<Query> for Archive {
    async fn ask(&self, cx: &IqCx<'_>, query: Query) -> Result<(), StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        if query.filter.text.is_some() && !self.has_full_text(cx.engine) {
            return Err(StanzaError::new(Condition::FeatureNotImplemented));
        }
        let limit = query.page.max.unwrap_or(ARCHIVE_PAGE_DEFAULT).min(self.config.page_max);
        let selection = query.select(cx.engine)?;
        // A page is bounded by the store; it begins when the session has taken the one before.
        session.wait_for_room().await;
        let slice = read(cx, account, selection, limit).await?;
        let metrics = &cx.engine.metrics;
        metrics.archive_queries.inc();
        metrics.archive_results.inc_by(slice.rows.len() as u64);
        let results = slice.rows.iter().map(|row| result(session, &query, row));
        if query.is_flipped {
            results.rev().for_each(|result| session.reply(result));
        } else {
            results.for_each(|result| session.reply(result));
        }
        // §4: the end comes after the last result.
        let fin = Fin::of(cx.engine, &slice);
        session.reply(cx.stanza.reply_result(|w| fin.encode(w)));
        Ok(())
    }
}

async fn read(
    cx: &IqCx<'_>,
    account: &Account,
    selection: Selection,
    limit: u32,
) -> Result<ArchiveSlice, StanzaError> {
    let stores = &cx.engine.stores;
    let failed = |e| refuse::store_error(&e);
    // What was sent and delivered before the query must be found by it.
    stores.writer.barrier().await.map_err(failed)?;
    let Selection { filter, from } = selection;
    let page = |limit, from| {
        stores.archive.page(&account.jid, filter.clone(), ArchiveRange { limit, from })
    };
    let mut slice = page(limit, from).await.map_err(failed)?;
    if slice.is_none() && matches!(from, Edge::Index(_)) {
        // XEP-0059 §2.6: behind the last item the page is empty, and nothing is beyond it.
        slice = page(0, Edge::First).await.map_err(failed)?;
        slice = slice.map(|slice| ArchiveSlice { is_complete: true, ..slice });
    }
    slice.ok_or(StanzaError::new(Condition::ItemNotFound))
}

/// §4.2.
fn result(session: &Session, query: &Query, row: &ArchiveRow) -> Stanza {
    let account = &session.account;
    let id = session.engine.show_id(row.id);
    let head = Head::new(Kind::Message(MessageType::Normal))
        .from(account.jid.clone())
        .to(session.resource.jid.clone());
    let original = Stanza::parse(&row.body);
    let stamp = Stamp { from: None, unix_ms: row.at_ms };
    Stanza::build(head, |w| {
        w.open("result", NS).attr_opt("queryid", query.id.as_deref()).attr("id", &id);
        match &original {
            Ok(original) => forward::write(w, Some(stamp), original),
            Err(error) => {
                tracing::error!(event = "damaged", account = %account.jid, %id, %error, "An archived message is damaged.");
                // §3.2: its place is shown.
                forward::write_empty(w, stamp);
            }
        }
        w.close();
    })
}

/// The end of the results (§4).
struct Fin {
    is_complete: bool,
    page: Page,
}

impl Fin {
    /// The page's ends stay in the order of time where the page is flipped (§4.3.4).
    fn of(engine: &Engine, slice: &ArchiveSlice) -> Self {
        let show = |row: &ArchiveRow| engine.show_id(row.id).to_string();
        let ends = slice.rows.first().map(show).zip(slice.rows.last().map(show));
        let first_index = ends.as_ref().and(slice.first_index);
        Self {
            is_complete: slice.is_complete,
            page: Page { ends, first_index, count: slice.count },
        }
    }
}

impl Encode for Fin {
    fn encode(&self, w: &mut Writer) {
        w.open("fin", NS).attr_opt("complete", self.is_complete.then_some("true"));
        self.page.encode(w);
        w.close();
    }
}

impl OnGet<AskFields> for Archive {
    type Reply = Fields;

    async fn get(&self, cx: &IqCx<'_>, _: AskFields) -> Result<Fields, StanzaError> {
        cx.own_stored_account()?;
        Ok(Fields { has_full_text: self.has_full_text(cx.engine) })
    }
}

/// The question for what an archive spans (§5).
pub(super) struct AskMetadata;

impl Decode for AskMetadata {
    const NS: &'static str = NS;
    const NAME: &'static str = "metadata";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

/// Ids and times of its first and last message; none if it is empty.
pub(super) struct Metadata(Option<[(SmolStr, i64); 2]>);

impl Encode for Metadata {
    fn encode(&self, w: &mut Writer) {
        w.open(AskMetadata::NAME, NS);
        for (name, (id, at_ms)) in ["start", "end"].into_iter().zip(self.0.iter().flatten()) {
            w.open(name, NS).attr("id", id).attr("timestamp", &xep0082_time::write(*at_ms));
            w.close();
        }
        w.close();
    }
}

impl OnGet<AskMetadata> for Archive {
    type Reply = Metadata;

    async fn get(&self, cx: &IqCx<'_>, _: AskMetadata) -> Result<Metadata, StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        metadata(cx.engine, &account.jid).await.map_err(|e| refuse::store_error(&e))
    }
}

/// XEP-0386 §3.2: the client reads in the archive what it has missed, from where that stands now.
impl Inline for Archive {
    fn feature(&self) -> Option<&'static str> {
        None
    }

    fn answer<'a>(&'a self, cx: &'a Binding<'a>) -> BoxFuture<'a, Option<Frame>> {
        Box::pin(async move {
            let (engine, account) = (&cx.session.engine, &cx.session.account);
            if account.is_ephemeral {
                return None;
            }
            let told = async {
                if cx.host.profile.sign_in.clears_offline {
                    backlog::clear_archived(engine, account, &cx.session.resource).await?;
                }
                metadata(engine, &account.jid).await
            };
            match told.await {
                Ok(metadata) => Some(Frame::build(|w| metadata.encode(w))),
                Err(error) => {
                    tracing::error!(event = "store_failed", account = %account.jid, %error, "An archive could not be read.");
                    None
                }
            }
        })
    }
}

async fn metadata(engine: &Engine, owner: &BareJid) -> Result<Metadata, StoreError> {
    engine.stores.writer.barrier().await?;
    let bounds = engine.stores.archive.bounds(owner).await?;
    let show = |mark: ArchiveMark| (engine.show_id(mark.id), mark.at_ms);
    Ok(Metadata(bounds.map(|(first, last)| [show(first), show(last)])))
}
