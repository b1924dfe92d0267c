//! Changes of an account's rules: in memory and in the store at once, with everyone told whom the
//! change concerns.

use std::sync::Arc;

use stentor_engine::presence::Sight;
use stentor_engine::{Account, AccountState, Engine, Flag, IqCx, Resource, refuse};
use stentor_jid::Jid;
use stentor_payload::{xep0016_privacy, xep0191_blocking as blocking};
use stentor_stanza::StanzaError;
use stentor_store::{Stage, Write};

use super::rules::{Row, Rules};
use super::screen::Active;

/// What a change amounts to.
#[derive(Default)]
pub(crate) struct Changed {
    /// Rows that are to be stored.
    pub(crate) rows: Vec<Row>,
    /// Other writes of the same stage.
    pub(crate) writes: Vec<Write>,
}

/// Makes one change and waits until it is in the store. `named` are full addresses that it brings
/// in; `edit` changes the rules and queues pushes, under the account's lock.
///
/// # Errors
/// What `edit` says; then nothing is changed. What the store says.
pub(crate) async fn change(
    cx: &IqCx<'_>,
    account: &Arc<Account>,
    named: &[Jid],
    edit: impl FnOnce(&mut AccountState) -> Result<Changed, StanzaError>,
) -> Result<(), StanzaError> {
    let (ticket, shift) = {
        let mut state = account.lock();
        let sight = Sight::before(cx.host, &state, &full_addresses(&state, named));
        let changed = edit(&mut state)?;
        let shift = sight.after(cx.host, &state);
        (cx.engine.stores.writer.submit(stage(account, &state, changed)), shift)
    };
    shift.tell(cx.engine, account);
    cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))
}

fn full_addresses(state: &AccountState, named: &[Jid]) -> Vec<Jid> {
    let rules = state.slots.find::<Rules>();
    let mut all: Vec<Jid> = rules.map_or_else(Vec::new, |r| r.full_addresses().cloned().collect());
    all.extend(named.iter().filter(|jid| jid.is_full()).cloned());
    all.sort_unstable();
    all.dedup();
    all
}

fn stage(account: &Account, state: &AccountState, changed: Changed) -> Stage {
    let rules = state.slots.find::<Rules>();
    let rows = changed.rows.iter().filter_map(|row| Some(rules?.write(&account.jid, row)));
    rows.chain(changed.writes).collect()
}

/// Tells the sessions that asked for the list what was blocked or unblocked (§3.3, §3.4). No
/// addresses stand for all.
pub(crate) fn push(engine: &Engine, state: &AccountState, what: Push, jids: &[Jid]) {
    let name = match what {
        Push::Block => "block",
        Push::Unblock => "unblock",
    };
    for session in state.resources().iter().filter(|r| r.has(Flag::Blocking)) {
        engine.push_iq(session, |w| blocking::write(w, name, jids));
    }
}

/// Tells the sessions that use privacy lists which of them changed (XEP-0016 §2.2, rule 10). The
/// others, which may not know them, are spared.
pub(super) fn push_lists(engine: &Engine, state: &AccountState, rows: &[Row]) {
    let uses_lists = |r: &&Arc<Resource>| r.noted::<Active>().is_some();
    for session in state.resources().iter().filter(uses_lists) {
        for row in rows {
            if let Row::List(name) = row {
                engine.push_iq(session, |w| xep0016_privacy::write_push(w, name));
            }
        }
    }
}

/// Which push.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Push {
    /// Addresses were blocked.
    Block,
    /// Addresses were unblocked.
    Unblock,
}
