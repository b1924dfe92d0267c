//! Sessions that can be resumed: reading them.

mod change;

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use stentor_jid::Jid;
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{
    Boxed, OpenIq, PendingBody, PendingHow, PendingPage, PendingRow, SessionPage, SessionRow,
    SessionState, Sessions, StoreError,
};

use crate::error::store_error;
use crate::open::Inner;
use crate::rows::{address, all, one, signed, unsigned, value};

pub(crate) use change::{change, expire};

/// Sessions in SQLite.
pub(crate) struct SessionsDb(pub(crate) Arc<Inner>);

impl Sessions for SessionsDb {
    fn load(&self, session: u64) -> Boxed<Option<SessionRow>> {
        self.0.readers.read(move |db| match load(db, signed(session)) {
            Ok(Some((row, _))) => Ok(Some(row)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn page(&self, after: u64, limit: u32) -> Boxed<SessionPage> {
        self.0.readers.read(move |db| page(db, after, limit.clamp(1, PAGE_ROWS_MAX)))
    }

    fn pending(&self, session: u64, after: u64, limit: u32) -> Boxed<PendingPage> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.0.readers.read(move |db| pending(db, session, after, limit))
    }

    fn last_id(&self) -> Boxed<u64> {
        self.0.readers.read(|db| {
            let sql = "SELECT max((SELECT coalesce(max(id), 0) FROM sessions), \
                       (SELECT coalesce(max(shared), 0) FROM sessions_out WHERE shared IS NOT NULL))";
            let last: Option<i64> = value(db, sql, [])?;
            Ok(unsigned(last.unwrap_or_default()))
        })
    }
}

fn page(db: &Connection, after: u64, limit: u32) -> Result<SessionPage, StoreError> {
    let sql = "SELECT id FROM sessions WHERE id > ?1 AND state < 2 ORDER BY id LIMIT ?2";
    let ids: Vec<i64> = all(db, sql, params![signed(after), limit + 1], |row| row.get(0))?;
    let mut page = SessionPage::default();
    let (mut bytes, mut taken, mut last) = (0, 0, after);
    for id in ids {
        if bytes >= PAGE_BYTES_MAX || taken >= limit {
            page.next = Some(last);
            break;
        }
        match load(db, id) {
            Ok(found) => {
                bytes += found.as_ref().map_or(0, |(_, len)| *len);
                page.sessions.extend(found.map(|(row, _)| row));
            }
            Err(StoreError::Corrupt(why)) => {
                tracing::error!(event = "damaged", session = id, %why, "A damaged session is left out.");
            }
            Err(error) => return Err(error),
        }
        taken += 1;
        last = unsigned(id);
    }
    Ok(page)
}

/// A session and the bytes that it holds.
fn load(db: &Connection, id: i64) -> Result<Option<(SessionRow, usize)>, StoreError> {
    let sql = "SELECT jid, resource, token, max_secs, flags, epoch, state, until_ms, presence, h, \
               open_iqs, client \
               FROM sessions JOIN accounts ON accounts.id = sessions.account \
               JOIN sessions_in ON sessions_in.session = sessions.id WHERE sessions.id = ?1";
    let Some(row) = one(db, sql, [id], |row| Ok(session(id, row)))? else { return Ok(None) };
    let mut row = row?;
    let sql = "SELECT jid FROM sessions_directed WHERE session = ?1 ORDER BY jid";
    let directed: Vec<String> = all(db, sql, [id], |row| row.get(0))?;
    let mut bytes = row.presence.as_ref().map_or(0, Vec::len) + row.resource.len();
    bytes += directed.iter().map(String::len).sum::<usize>();
    row.directed = directed.iter().map(|jid| any_address(jid)).collect::<Result<_, _>>()?;
    Ok(Some((row, bytes)))
}

fn session(id: i64, row: &Row<'_>) -> Result<SessionRow, StoreError> {
    let field = store_error;
    let owner: String = row.get(0).map_err(field)?;
    let until_ms: Option<i64> = row.get(7).map_err(field)?;
    let until_ms = until_ms.unwrap_or_default();
    let state: u8 = row.get(6).map_err(field)?;
    let open_iqs: Option<String> = row.get(10).map_err(field)?;
    Ok(SessionRow {
        session: unsigned(id),
        owner: address(&owner)?,
        resource: row.get(1).map_err(field)?,
        client: row.get(11).map_err(field)?,
        token: row.get(2).map_err(field)?,
        max_secs: row.get(3).map_err(field)?,
        flags: row.get(4).map_err(field)?,
        epoch: row.get(5).map_err(field)?,
        state: match state {
            ATTACHED => SessionState::Attached,
            DETACHED => SessionState::Detached(until_ms),
            ENDED => SessionState::Ended(until_ms),
            _ => return Err(StoreError::Corrupt("the state of a session".into())),
        },
        presence: row.get(8).map_err(field)?,
        directed: Vec::new(),
        h: row.get(9).map_err(field)?,
        open_iqs: open_iqs.map_or_else(|| Ok(Vec::new()), |text| read_open_iqs(&text))?,
    })
}

fn read_open_iqs(text: &str) -> Result<Vec<OpenIq>, StoreError> {
    let pairs: Vec<(String, Option<String>)> = serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(error.to_string().into()))?;
    let read = pairs.into_iter().map(|(id, to)| {
        let to = to.map(|to| any_address(&to)).transpose()?;
        Ok(OpenIq { id, to })
    });
    read.collect()
}

fn any_address(text: &str) -> Result<Jid, StoreError> {
    Jid::new(text).map_err(|error| StoreError::Corrupt(format!("address: {error}").into()))
}

fn pending(
    db: &Connection,
    session: u64,
    after: u64,
    limit: u32,
) -> Result<PendingPage, StoreError> {
    let sql = "SELECT seq, archive, how, stanza, copies, shared FROM sessions_out \
               WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let mut page = PendingPage::default();
    let mut query = db.prepare_cached(sql).map_err(store_error)?;
    let asked = params![signed(session), signed(after), limit + 1];
    let mut rows = query.query(asked).map_err(store_error)?;
    let mut bytes = 0;
    while let Some(row) = rows.next().map_err(store_error)? {
        if bytes >= PAGE_BYTES_MAX || page.rows.len() >= limit as usize {
            page.next = page.rows.last().map(|row| row.seq);
            break;
        }
        let row = pending_row(row)?;
        if let PendingBody::Bytes(stanza) = &row.body {
            bytes += stanza.len();
        }
        page.rows.push(row);
    }
    Ok(page)
}

fn pending_row(row: &Row<'_>) -> Result<PendingRow, StoreError> {
    let field = store_error;
    let archive: Option<i64> = row.get(1).map_err(field)?;
    let stanza: Option<Vec<u8>> = row.get(3).map_err(field)?;
    let how: u8 = row.get(2).map_err(field)?;
    let body = match (archive, stanza) {
        (Some(id), _) => PendingBody::Archive {
            id: unsigned(id),
            how: match how {
                PLAIN => PendingHow::Plain,
                CARBON_SENT => PendingHow::CarbonSent,
                _ => PendingHow::CarbonReceived,
            },
        },
        (None, Some(stanza)) => PendingBody::Bytes(stanza.into()),
        (None, None) => return Err(StoreError::Corrupt("a pending stanza without a body".into())),
    };
    let copies = row.get(4).map_err(field)?;
    let shared: Option<i64> = row.get(5).map_err(field)?;
    let seq = unsigned(row.get(0).map_err(field)?);
    Ok(PendingRow { seq, copies, shared: shared.map(unsigned), body })
}

const ATTACHED: u8 = 0;
const DETACHED: u8 = 1;
const ENDED: u8 = 2;

const PLAIN: u8 = 0;
const CARBON_SENT: u8 = 1;
const CARBON_RECEIVED: u8 = 2;
