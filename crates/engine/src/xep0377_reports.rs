//! XEP-0377: Blocking Command Reports, version 0.4.1.
//!
//! Reports as they are kept for the operator: what was reported, by whom, with what was said.
//! Implements: §6 (what becomes of a report).
//! Left out: §5: no report is passed on; what its reporter agrees to is kept with it.
//! Status: complete

use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0377_reports::Report;
use stentor_payload::{Encode, xep0297_forward};
use stentor_stanza::Stanza;
use stentor_store::{StoreError, Usage, Write};
use stentor_xml::Frame;

use crate::engine::Engine;
use crate::limits::REPORT_MESSAGES_BYTES_MAX;

/// A report that waits for the operator.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What names it among the reports of its reporter.
    pub id: u64,
    /// Who reported.
    pub by: BareJid,
    /// Who was blocked.
    pub blocked: Jid,
    /// What was said.
    pub report: Report,
    /// The messages that the reporter named, as far as the archive had them.
    pub messages: Vec<Stanza>,
}

/// A page of reports, by reporter and time.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The reports.
    pub reports: Vec<Kept>,
    /// Behind which the next page begins; none after the last.
    pub next: Option<(BareJid, u64)>,
}

impl Kept {
    /// When it was made: milliseconds since the Unix epoch.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        i64::try_from(self.id / 1_000).unwrap_or(i64::MAX)
    }

    /// The write that keeps it. Messages beyond [`REPORT_MESSAGES_BYTES_MAX`] are left out.
    #[must_use]
    pub fn put(&self) -> Write {
        let mut room = REPORT_MESSAGES_BYTES_MAX;
        let value = Frame::build(|w| {
            w.open("kept", NS_KEPT).attr("jid", self.blocked.as_str());
            self.report.encode(w);
            for message in &self.messages {
                let bytes = message.to_bytes();
                let Some(left) = room.checked_sub(bytes.len()) else { continue };
                room = left;
                xep0297_forward::write_bytes(w, None, &bytes);
            }
            w.close();
        });
        let value = value.bytes().to_vec();
        Write::PutData { owner: self.by.clone(), kind: KIND.into(), key: key(self.id), value }
    }

    /// None for what is no report of ours.
    fn read(by: BareJid, key: &str, value: &[u8]) -> Option<Self> {
        let frame = Frame::parse_own(value).ok()?;
        let kept = frame.root();
        let messages = kept.children().filter_map(xep0297_forward::inner).filter_map(|message| {
            let frame = Frame::build(|w| {
                w.element(message);
            });
            Stanza::from_frame(frame).ok()
        });
        Some(Self {
            id: key.parse().ok()?,
            by,
            blocked: Jid::new(&kept.attr("jid")?).ok()?,
            report: Report::find(kept).ok()??,
            messages: messages.collect(),
        })
    }
}

impl Engine {
    /// The reports that wait, a page of them behind `after`.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn reports(&self, after: Option<(BareJid, u64)>) -> Result<Page, StoreError> {
        let after = after.map(|(by, id)| (by, key(id)));
        let rows = self.stores.data.everyones(KIND, after).await?;
        let next = rows.last().and_then(|(by, row)| Some((by.clone(), row.key.parse().ok()?)));
        let mut page = Page { reports: Vec::with_capacity(rows.len()), next };
        for (by, row) in rows {
            match Kept::read(by.clone(), &row.key, &row.value) {
                Some(kept) => page.reports.push(kept),
                None => {
                    tracing::error!(event = "damaged", account = %by, key = row.key, "A kept report is damaged.")
                }
            }
        }
        Ok(page)
    }

    /// One report.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn report(&self, by: &BareJid, id: u64) -> Result<Option<Kept>, StoreError> {
        let value = self.stores.data.load(by, KIND, &key(id)).await?;
        Ok(value.and_then(|value| Kept::read(by.clone(), &key(id), &value)))
    }

    /// Drops a report; false if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn drop_report(&self, by: &BareJid, id: u64) -> Result<bool, StoreError> {
        if self.stores.data.load(by, KIND, &key(id)).await?.is_none() {
            return Ok(false);
        }
        let (owner, kind) = (by.clone(), KIND.into());
        self.stores.writer.submit(Write::RemoveData { owner, kind, key: key(id) }).await?;
        Ok(true)
    }

    /// How many reports of an account wait.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn reports_usage(&self, by: &BareJid) -> Result<Usage, StoreError> {
        self.stores.data.usage(by, KIND).await
    }
}

/// Of equal length, so that the order of keys is that of time.
fn key(id: u64) -> String {
    format!("{id:020}")
}

/// The kind of the rows.
const KIND: &str = "report";
/// The namespace of what is kept.
const NS_KEPT: &str = "urn:stentor:report";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_kept_and_large_messages_are_left_out() {
        let message = |body: &str| {
            let xml =
                format!("<message from='tybalt@capulet.example/r'><body>{body}</body></message>");
            Stanza::parse(xml.as_bytes()).unwrap()
        };
        let kept = Kept {
            id: 1_700_000_000_000_001,
            by: BareJid::new("juliet@capulet.example").unwrap(),
            blocked: Jid::new("tybalt@capulet.example/'r'").unwrap(),
            report: Report { reason: "urn:xmpp:reporting:spam".into(), ..Report::default() },
            messages: vec![
                message("a"),
                message(&"b".repeat(REPORT_MESSAGES_BYTES_MAX)),
                message("c"),
            ],
        };
        let Write::PutData { key, value, owner, .. } = kept.put() else { panic!() };
        let again = Kept::read(owner, &key, &value).unwrap();
        assert_eq!(again.at_ms(), 1_700_000_000_000);
        assert_eq!(
            (again.id, &again.blocked, &again.report),
            (kept.id, &kept.blocked, &kept.report)
        );
        let bodies: Vec<_> =
            again.messages.iter().map(|m| m.payload().unwrap().text().into_owned()).collect();
        assert_eq!(bodies, ["a", "c"]);
        assert_eq!(again.messages[0].head.from, kept.messages[0].head.from);
    }
}
