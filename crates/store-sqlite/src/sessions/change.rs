//! Changes of sessions as SQL.

use rusqlite::{Connection, params};
use stentor_store::{
    OpenIq, PendingBody, PendingHow, PendingRow, SessionChange, SessionRow, SessionState,
    StoreError,
};

use super::{ATTACHED, CARBON_RECEIVED, CARBON_SENT, DETACHED, ENDED, PLAIN};
use crate::apply::{account, run};
use crate::rows::signed;

/// Applies one change.
pub(crate) fn change(
    db: &Connection,
    session: u64,
    change: &SessionChange,
) -> Result<(), StoreError> {
    let id = signed(session);
    match change {
        SessionChange::Put(row) => put(db, id, row),
        SessionChange::In { h, open_iqs } => {
            let sql = "UPDATE sessions_in SET h = ?2, open_iqs = ?3 WHERE session = ?1";
            run(db, sql, params![id, h, write_open_iqs(open_iqs)?])
        }
        SessionChange::Presence(presence) => {
            run(db, "UPDATE sessions SET presence = ?2 WHERE id = ?1", params![id, presence])
        }
        SessionChange::Directed { to, is_available: true } => {
            let sql = "INSERT OR IGNORE INTO sessions_directed (session, jid) \
                       SELECT id, ?2 FROM sessions WHERE id = ?1";
            run(db, sql, params![id, to.as_str()])
        }
        SessionChange::Directed { to, is_available: false } => {
            let sql = "DELETE FROM sessions_directed WHERE session = ?1 AND jid = ?2";
            run(db, sql, params![id, to.as_str()])
        }
        SessionChange::Flags(flags) => {
            run(db, "UPDATE sessions SET flags = ?2 WHERE id = ?1", params![id, flags])
        }
        SessionChange::Push(row) => push(db, id, row),
        SessionChange::Ack { seq } => acknowledge(db, id, *seq),
        SessionChange::Renumber { epoch, acked, moves } => {
            acknowledge(db, id, *acked)?;
            renumber(db, id, *epoch, moves)
        }
        SessionChange::State(state) => set_state(db, id, *state),
        SessionChange::Drop => run(db, "DELETE FROM sessions WHERE id = ?1", params![id]),
    }
}

/// Removes the sessions that have ended and need not be remembered any longer.
pub(crate) fn expire(db: &Connection, now_ms: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM sessions WHERE state = ?1 AND until_ms <= ?2";
    run(db, sql, params![ENDED, now_ms])
}

fn put(db: &Connection, id: i64, row: &SessionRow) -> Result<(), StoreError> {
    let (state, until_ms) = columns(row.state);
    run(
        db,
        "INSERT INTO sessions (id, account, resource, token, max_secs, flags, epoch, state, \
                               until_ms, presence, client) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (id) DO UPDATE SET account = excluded.account, resource = excluded.resource, \
         token = excluded.token, max_secs = excluded.max_secs, flags = excluded.flags, \
         epoch = excluded.epoch, state = excluded.state, until_ms = excluded.until_ms, \
         presence = excluded.presence, client = excluded.client",
        params![
            id,
            account(db, &row.owner)?,
            row.resource,
            row.token,
            row.max_secs,
            row.flags,
            row.epoch,
            state,
            until_ms,
            row.presence,
            row.client
        ],
    )?;
    let sql = "INSERT OR REPLACE INTO sessions_in (session, h, open_iqs) VALUES (?1, ?2, ?3)";
    run(db, sql, params![id, row.h, write_open_iqs(&row.open_iqs)?])?;
    run(db, "DELETE FROM sessions_directed WHERE session = ?1", params![id])?;
    let sql = "INSERT OR IGNORE INTO sessions_directed (session, jid) VALUES (?1, ?2)";
    row.directed.iter().try_for_each(|to| run(db, sql, params![id, to.as_str()]))
}

fn push(db: &Connection, id: i64, row: &PendingRow) -> Result<(), StoreError> {
    let (archive, how, stanza) = match &row.body {
        PendingBody::Archive { id, how } => (Some(signed(*id)), how_column(*how), None),
        PendingBody::Bytes(bytes) => (None, PLAIN, Some(&**bytes)),
    };
    run(
        db,
        "INSERT INTO sessions_out (session, seq, archive, how, copies, stanza, shared) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id, signed(row.seq), archive, how, row.copies, stanza, row.shared.map(signed)],
    )
}

fn acknowledge(db: &Connection, id: i64, seq: u64) -> Result<(), StoreError> {
    let sql = "DELETE FROM sessions_out WHERE session = ?1 AND seq <= ?2";
    run(db, sql, params![id, signed(seq)])
}

fn renumber(db: &Connection, id: i64, epoch: u32, moves: &[(u64, u64)]) -> Result<(), StoreError> {
    run(db, "UPDATE sessions SET epoch = ?2 WHERE id = ?1", params![id, epoch])?;
    let sql = "UPDATE sessions_out SET seq = ?3 WHERE session = ?1 AND seq = ?2";
    moves.iter().try_for_each(|(old, new)| run(db, sql, params![id, signed(*old), signed(*new)]))
}

fn set_state(db: &Connection, id: i64, state: SessionState) -> Result<(), StoreError> {
    let (column, until_ms) = columns(state);
    let sql = "UPDATE sessions SET state = ?2, until_ms = ?3 WHERE id = ?1";
    run(db, sql, params![id, column, until_ms])?;
    if column != ENDED {
        return Ok(());
    }
    [
        "UPDATE sessions SET presence = NULL WHERE id = ?1",
        "UPDATE sessions_in SET open_iqs = NULL WHERE session = ?1",
        "UPDATE sessions_out SET copies = copies - 1 WHERE session <> ?1 AND shared IN \
         (SELECT shared FROM sessions_out WHERE session = ?1 AND shared IS NOT NULL)",
        "DELETE FROM sessions_out WHERE session = ?1",
        "DELETE FROM sessions_directed WHERE session = ?1",
    ]
    .iter()
    .try_for_each(|sql| run(db, sql, params![id]))
}

fn columns(state: SessionState) -> (u8, Option<i64>) {
    match state {
        SessionState::Attached => (ATTACHED, None),
        SessionState::Detached(until_ms) => (DETACHED, Some(until_ms)),
        SessionState::Ended(until_ms) => (ENDED, Some(until_ms)),
    }
}

fn how_column(how: PendingHow) -> u8 {
    match how {
        PendingHow::Plain => PLAIN,
        PendingHow::CarbonSent => CARBON_SENT,
        PendingHow::CarbonReceived => CARBON_RECEIVED,
    }
}

fn write_open_iqs(open_iqs: &[OpenIq]) -> Result<Option<String>, StoreError> {
    if open_iqs.is_empty() {
        return Ok(None);
    }
    let pairs: Vec<(&str, Option<&str>)> =
        open_iqs.iter().map(|iq| (&*iq.id, iq.to.as_ref().map(|to| to.as_str()))).collect();
    let text = serde_json::to_string(&pairs);
    text.map(Some).map_err(|error| StoreError::Corrupt(error.to_string().into()))
}
