//! What becomes of the messages kept for accounts that are not there: each is counted, and has a
//! record in the log when it comes and one when it goes.

use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, Stanza};

use crate::engine::Engine;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It was kept: nobody was there to take it.
    Stored,
    /// It was kept: who is there takes no messages (RFC 6121 §8.5.2.1.1).
    StoredForNegative,
    /// It was not kept: the account has as many as it may.
    OverQuota,
    /// It was not kept: the store does not keep up.
    Busy,
    /// It was handed to a session.
    Delivered,
    /// It was too old.
    Expired,
    /// Its sender was blocked meanwhile.
    Blocked,
    /// Its sender took it back.
    Retracted,
    /// Its recipient removed it, unread or after reading it by hand (XEP-0013).
    Removed,
    /// The recipient's client reads it in the archive (XEP-0386 §3.2).
    InArchive,
}

/// A message as the log knows it: never its body.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The account that it is for.
    pub to: &'a BareJid,
    /// Its sender.
    pub from: Option<&'a Jid>,
    /// Its id.
    pub id: Option<&'a str>,
    /// What it takes of the account's quota.
    pub bytes: u64,
}

impl<'a> About<'a> {
    /// What is known of a stanza.
    #[must_use]
    pub fn of(stanza: &'a Stanza, to: &'a BareJid, bytes: u64) -> Self {
        Self::of_head(&stanza.head, to, bytes)
    }

    /// The same of a stanza's head.
    #[must_use]
    pub fn of_head(head: &'a Head, to: &'a BareJid, bytes: u64) -> Self {
        Self { to, from: head.from.as_ref(), id: head.id.as_deref(), bytes }
    }
}

impl Engine {
    /// Counts and logs it, on the level `debug` of `stentor::offline`.
    pub fn note_kept(&self, about: About<'_>, became: Became) {
        let metrics = &self.metrics;
        let (event, reason, counter) = match became {
            Became::Stored => ("offline_stored", "no resource", &metrics.offline_stored),
            Became::StoredForNegative => {
                ("offline_stored", "negative priority", &metrics.offline_stored)
            }
            Became::OverQuota => ("offline_rejected", "quota", &metrics.offline_rejected),
            Became::Busy => ("offline_rejected", "busy", &metrics.offline_rejected),
            Became::Delivered => ("offline_delivered", "available", &metrics.offline_delivered),
            Became::Expired => ("offline_expired", "expired", &metrics.offline_expired),
            Became::Blocked => ("offline_discarded", "blocked", &metrics.offline_discarded),
            Became::Retracted => ("offline_discarded", "retracted", &metrics.offline_discarded),
            Became::Removed => ("offline_discarded", "removed", &metrics.offline_discarded),
            Became::InArchive => ("offline_discarded", "in archive", &metrics.offline_discarded),
        };
        counter.inc();
        let About { to, from, id, bytes } = about;
        let from = from.map(Jid::as_str);
        tracing::debug!(target: "stentor::offline", event, account = %to, from, id, bytes, reason, "What became of a kept message.");
    }
}
