//! XEP-0313: Message Archive Management, version 1.1.3.
//!
//! Keeps the messages of an account and answers queries over them.
//! Implements: §3 (what is kept, in what order, for how long, ids), §4 (queries, filters, form
//! fields, paging, flipped pages), §5 (metadata), §6.1.1 (archives of accounts), §7, §8.1; what
//! XEP-0386 §3.2 says about archives and offline messages. Which messages are worth keeping is
//! `engine/src/worth`.
//! Left out: §6.1.2 and §6.1.3 (archives of rooms and nodes), which come with those services;
//! groupchat messages in archives of accounts (§6.1.1 leaves that open), though the field
//! `include-groupchat` is understood.
//! Status: complete

mod answer;
mod expire;
mod query;

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::worth;
use stentor_engine::{
    AccountState, Cx, Direction, Engine, Factory, Module, OptionDoc, Record, Recorded, Registrar,
    Request, Scope, Spec, Status, Xep,
};
use stentor_jid::Jid;
use stentor_payload::limits::STANZA_ID_BYTES_MAX;
use stentor_payload::{xep0059_rsm, xep0359_sid};
use stentor_stanza::{Condition, Id, Stanza, StanzaError};
use stentor_store::{ArchiveEntry, Stage, Write};

use crate::limits::ARCHIVE_PAGE_MAX;
use crate::xep0424_retract as retract;
use crate::xep0431_full_text as full_text;
use crate::xep0441_mam_prefs::{self as prefs, Policy, Prefs};
use query::{AskFields, Query};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Archive>();

/// The archives of accounts.
pub(crate) struct Archive {
    pub(crate) config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) default: Policy,
    pub(crate) preferences: bool,
    pub(crate) full_text: bool,
    pub(crate) page_max: u32,
    expire_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default: Policy::Always,
            preferences: true,
            full_text: true,
            page_max: ARCHIVE_PAGE_MAX,
            expire_days: 0,
        }
    }
}

impl Module for Archive {
    const SPEC: &'static Spec = &Spec {
        name: "archive",
        xeps: &[
            Xep { number: 313, version: "1.1.3", status: Status::Complete, note: "" },
            Xep { number: 424, version: "0.4.2", status: Status::Complete, note: "" },
            Xep { number: 431, version: "0.2.0", status: Status::Complete, note: "" },
            Xep { number: 441, version: "0.2.0", status: Status::Complete, note: "" },
        ],
        requires: &["stanza-ids"],
        options: &[
            OptionDoc {
                key: "default",
                default: "\"always\"",
                help: "What is archived for accounts that have not said otherwise: `always`, `never`, or messages of contacts (`roster`).",
            },
            OptionDoc {
                key: "preferences",
                default: "true",
                help: "Whether accounts may change that for themselves (XEP-0441).",
            },
            OptionDoc {
                key: "full_text",
                default: "true",
                help: "Whether the text of messages can be searched (XEP-0431). What was archived without it is not found later.",
            },
            OptionDoc {
                key: "page_max",
                default: "250",
                help: "Results of one query, 1 to 250; clients ask again for more.",
            },
            OptionDoc {
                key: "expire_days",
                default: "0",
                help: "Days after which archived messages are removed, oldest first; 0 keeps them for good.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        if !(1..=ARCHIVE_PAGE_MAX).contains(&config.page_max) {
            return Err(format!(
                "`page_max` is {}; it may be 1 to {ARCHIVE_PAGE_MAX}",
                config.page_max
            ));
        }
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.tell::<Query, _>(Request::Set, &self);
        r.get::<AskFields, _>(Scope::Account, &self);
        r.get::<answer::AskMetadata, _>(Scope::Account, &self);
        r.get::<prefs::Ask, _>(Scope::Account, &self);
        r.set::<Prefs, _>(Scope::Account, &self);
        r.disco_stored(Scope::Account, &[NS, EXTENDED, GROUPCHAT_FIELD, xep0059_rsm::NS]);
        if self.config.full_text {
            r.disco_stored(Scope::Account, &[full_text::NS]);
        }
        if self.config.preferences {
            r.resident(Arc::new(prefs::Rows));
        }
        r.chore(self.clone());
        r.inline(self.clone());
        r.record(self);
        // Behind the archive: what takes a message back is archived as well.
        retract::register(r);
    }
}

impl Archive {
    /// Whether archives can be searched.
    fn has_full_text(&self, engine: &Engine) -> bool {
        self.config.full_text && engine.stores.archive.searches_text()
    }

    /// Whether accounts may say what they want archived.
    ///
    /// # Errors
    /// `feature-not-implemented` where they may not (XEP-0441 §2.1).
    pub(crate) fn check_prefs(&self) -> Result<(), StanzaError> {
        if self.config.preferences {
            Ok(())
        } else {
            Err(StanzaError::new(Condition::FeatureNotImplemented))
        }
    }
}

impl Record for Archive {
    fn record(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        state: &AccountState,
        stage: &mut Stage,
    ) -> Recorded {
        let worth = cx.worth.of(stanza);
        if !worth.archive {
            return Recorded::No;
        }
        let peer = peer(cx, stanza);
        let wants = match state.slots.find::<Prefs>() {
            Some(prefs) => prefs.wants(&peer, &state.roster, self.config.default),
            None => Prefs::default().wants(&peer, &state.roster, self.config.default),
        };
        if !wants {
            return Recorded::No;
        }
        let id = cx.engine.next_id(cx.now_ms);
        let entry = ArchiveEntry {
            id,
            // Ids grow; so times do as well.
            at_ms: i64::try_from(id / 1_000).unwrap_or(cx.now_ms),
            peer,
            is_sent: cx.direction == Direction::Sent,
            flags: if worth::is_of_room(stanza) { FLAG_OF_ROOM } else { 0 },
            body: cx.bytes.of(stanza),
            text: self.has_full_text(cx.engine).then(|| full_text::text(stanza, worth)).flatten(),
            origin_id: sender_id(stanza),
            stanza_id: None,
        };
        stage.push(Write::PutArchive { owner: cx.account.jid.clone(), entry });
        Recorded::As(id)
    }
}

/// The other side, as the account sees it (§3). XEP-0441 §2.3 compares the same address.
fn peer(cx: &Cx<'_>, stanza: &Stanza) -> Jid {
    let other = match cx.direction {
        Direction::Sent => &stanza.head.to,
        Direction::Received => &stanza.head.from,
    };
    // RFC 6120 §10.3.1: without an address it is for, or from, the account itself.
    other.clone().unwrap_or_else(|| cx.account.jid.clone().into())
}

/// How the sender calls the message: what corrections, reactions and retractions name.
fn sender_id(stanza: &Stanza) -> Option<String> {
    let origin = || xep0359_sid::origin_id(stanza).map(Id::from);
    let id = stanza.head.id.clone().or_else(origin)?;
    (id.len() <= STANZA_ID_BYTES_MAX).then(|| id.to_string())
}

/// Marks private messages of a room's occupants: their senders are told apart by resource.
pub(crate) const FLAG_OF_ROOM: u32 = 1;
/// The namespace of archives.
pub(crate) const NS: &str = "urn:xmpp:mam:2";
/// Filters by ids, flipped pages and metadata are there (§7).
const EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// The field `include-groupchat` is understood (§7).
const GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";
