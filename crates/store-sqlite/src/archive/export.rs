//! Taking an archive along.

use stentor_jid::BareJid;
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{ArchiveEntry, ArchiveFilter, ArchiveRow, Export, StoreError, Write};

use crate::archive::select::{Key, Selection, View, Way};
use crate::rows::{one, signed, unsigned};

impl View<'_> {
    /// The writes that make the entries behind an id. Damaged ones are left out.
    pub(super) fn export(&self, owner: &BareJid, after: u64) -> Result<Export, StoreError> {
        let (mut export, mut bytes) = (Export::default(), 0);
        let filter = ArchiveFilter::default();
        let Some(selection) = Selection::of(*self, &filter)? else { return Ok(export) };
        let ids = (signed(after).saturating_add(1), i64::MAX);
        let limit = PAGE_ROWS_MAX as usize;
        let mut last = after;
        for key in selection.keys(Way::Up, ids, limit + 1)? {
            if bytes >= PAGE_BYTES_MAX || export.writes.len() >= limit {
                export.next = Some(last);
                break;
            }
            last = unsigned(key.id);
            let row = match self.row(key) {
                Ok(row) => row,
                Err(StoreError::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            };
            let owner = || owner.clone();
            let put = Write::PutArchive { owner: owner(), entry: self.entry(key, &row)? };
            bytes += put.bytes_len();
            export.writes.push(put);
            if row.is_retracted {
                let (id, tombstone) = (row.id, row.body);
                let retract = Write::RetractArchive { owner: owner(), id, tombstone };
                bytes += retract.bytes_len();
                export.writes.push(retract);
            }
        }
        Ok(export)
    }

    fn entry(&self, key: Key, row: &ArchiveRow) -> Result<ArchiveEntry, StoreError> {
        let sql = "SELECT origin_id, stanza_id, text FROM archive_messages WHERE id = ?1";
        let found = one(self.db, sql, [key.message], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
        })?;
        let (origin_id, stanza_id, text) = found.unwrap_or_default();
        Ok(ArchiveEntry {
            id: row.id,
            at_ms: row.at_ms,
            peer: row.peer.clone(),
            is_sent: row.is_sent,
            flags: row.flags,
            body: row.body.as_slice().into(),
            text: text.map(Into::into),
            origin_id,
            stanza_id,
        })
    }
}
