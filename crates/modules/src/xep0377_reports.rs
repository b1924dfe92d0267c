//! XEP-0377: Blocking Command Reports, version 0.4.1.
//!
//! Keeps what users say about addresses that they block, with the messages that they name.
//! Implements: §3 (discovery), §4 (payload), §6 (reports in blocks, named messages).
//! Left out: §5: no report is passed on. Reading them is `stentor report`.
//! Status: complete

use std::sync::Arc;

use stentor_engine::xep0377_reports::Kept;
use stentor_engine::{Account, IqCx, refuse};
use stentor_payload::xep0191_blocking::Blocked;
use stentor_payload::xep0377_reports::Report;
use stentor_stanza::{Stanza, StanzaError};
use stentor_store::Write;

/// The writes that keep the reports of a block. Where too many wait they are left out: the block
/// must not fail for it (§6).
///
/// # Errors
/// The store could not be read.
pub(crate) async fn keep(
    cx: &IqCx<'_>,
    account: &Arc<Account>,
    blocked: &[Blocked],
    waiting_max: u64,
) -> Result<Vec<Write>, StanzaError> {
    let reported = || blocked.iter().filter_map(|b| Some((&b.jid, b.report.as_ref()?)));
    if reported().next().is_none() {
        return Ok(Vec::new());
    }
    let usage = cx.engine.reports_usage(&account.jid).await;
    let waiting = usage.map_err(|e| refuse::store_error(&e))?.count;
    let room = usize::try_from(waiting_max.saturating_sub(waiting)).unwrap_or(usize::MAX);
    if room < reported().count() {
        tracing::warn!(event = "reports_dropped", account = %account.jid, "Too many reports wait; some were not kept.");
    }
    let mut writes = Vec::new();
    for (jid, report) in reported().take(room) {
        let kept = Kept {
            id: cx.engine.next_id(cx.engine.clock.unix_ms()),
            by: account.jid.clone(),
            blocked: jid.clone(),
            report: report.clone(),
            messages: messages(cx, account, report).await?,
        };
        tracing::info!(event = "reported", account = %account.jid, jid = %jid, reason = report.reason, "An address was reported.");
        writes.push(kept.put());
    }
    Ok(writes)
}

/// What the account's archive has of the messages that a report names.
async fn messages(
    cx: &IqCx<'_>,
    account: &Account,
    report: &Report,
) -> Result<Vec<Stanza>, StanzaError> {
    let own = report.stanzas.iter().filter(|s| s.by == account.jid.as_str());
    let ids: Vec<u64> = own.filter_map(|s| cx.engine.read_id(&s.id)).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = cx.engine.stores.archive.by_ids(&account.jid, ids).await;
    let rows = rows.map_err(|e| refuse::store_error(&e))?;
    Ok(rows.iter().filter_map(|row| Stanza::parse(&row.body).ok()).collect())
}
