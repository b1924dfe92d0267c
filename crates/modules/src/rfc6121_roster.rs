//! RFC 6121 §2: rosters.
//!
//! Answers roster gets, with versions, and makes roster sets; pushes go to interested resources.
//! The subscriptions in a roster are the engine's work (`engine/src/presence`).

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::roster::{Item, NS_ROSTER};
use stentor_engine::{
    Engine, Fate, Flag, IqCx, Module, OnAsk, OnSet, OptionDoc, Registrar, Scope, Session, Spec,
    presence, refuse, watch,
};
use stentor_jid::BareJid;
use stentor_payload::Decode;
use stentor_stanza::{Condition, ErrorType, Head, IqType, Kind, Stanza, StanzaError};
use stentor_store::{RosterChange, RosterChanges, Write};
use stentor_xml::{ElementRef, Writer};

/// The module.
pub(crate) const MODULE: stentor_engine::Factory = stentor_engine::Factory::of::<Roster>();

struct Roster {
    config: Config,
}

/// Options of rosters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    name_bytes_max: usize,
    group_bytes_max: usize,
    groups_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { name_bytes_max: 1_023, group_bytes_max: 1_023, groups_max: 100 }
    }
}

impl Module for Roster {
    const SPEC: &'static Spec = &Spec {
        name: "roster",
        xeps: &[],
        requires: &[],
        options: &[
            OptionDoc {
                key: "name_bytes_max",
                default: "1023",
                help: "Bytes of a contact's name; a longer one is refused with `not-acceptable`.",
            },
            OptionDoc {
                key: "group_bytes_max",
                default: "1023",
                help: "Bytes of a group's name; a longer one is refused with `not-acceptable`.",
            },
            OptionDoc {
                key: "groups_max",
                default: "100",
                help: "Groups of one contact; more are refused with `not-acceptable`.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.ask::<Get, _>(Scope::Account, &self);
        r.set::<Set, _>(Scope::Account, &self);
        r.disco(Scope::Account, &[NS_ROSTER]);
    }
}

/// A roster get (§2.1.3), with the version that the client has (§2.6.2).
struct Get {
    ver: Option<String>,
}

impl Decode for Get {
    const NS: &'static str = NS_ROSTER;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        if query.children().next().is_some() {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        Ok(Self { ver: query.attr("ver").map(std::borrow::Cow::into_owned) })
    }
}

/// A roster set (§2.1.5): one item.
struct Set {
    jid: BareJid,
    is_removal: bool,
    name: Option<Box<str>>,
    groups: Vec<Box<str>>,
}

impl Decode for Set {
    const NS: &'static str = NS_ROSTER;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        let bad_request = || StanzaError::new(Condition::BadRequest);
        let mut items = query.children().filter(|c| c.is(NS_ROSTER, "item"));
        let (Some(item), None) = (items.next(), items.next()) else { return Err(bad_request()) };
        let jid = item.attr("jid").ok_or_else(bad_request)?;
        let jid = BareJid::new(&jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        let groups: Vec<Box<str>> = item
            .children()
            .filter(|c| c.is(NS_ROSTER, "group"))
            .map(|g| Box::from(&*g.text()))
            .collect();
        Ok(Self {
            jid,
            // §2.1.2.5: a client sets no other value, and one that it sets is ignored.
            is_removal: item.attr("subscription").as_deref() == Some("remove"),
            name: item.attr("name").filter(|n| !n.is_empty()).map(|n| Box::from(&*n)),
            groups,
        })
    }
}

impl OnAsk<Get> for Roster {
    async fn ask(&self, cx: &IqCx<'_>, ask: Get) -> Result<(), StanzaError> {
        let account = cx.own_account()?;
        let session = cx.session.ok_or(StanzaError::new(Condition::Forbidden))?;
        session.settle_all().await;
        let changes = match ask.ver.as_deref().and_then(|v| v.parse().ok()) {
            Some(since) if !account.is_ephemeral => {
                changed_since(cx.engine, account.jid.clone(), since).await?
            }
            _ => None,
        };
        // The answer, and the wish for pushes, under one lock: no change falls between.
        let state = account.lock();
        session.resource.set(Flag::Interested);
        // A change made since the store was read would be missing.
        let changes = changes.filter(|c| c.version == state.roster.version).map(|c| c.contacts);
        let is_current = ask.ver.as_ref().is_some_and(|v| *v == state.roster.version.to_string());
        if is_current || changes.is_some() {
            session.reply(cx.stanza.reply_result(|_| ()));
            for contact in changes.unwrap_or_default().iter().filter(|_| !is_current) {
                push_item(session, &contact.1, contact.0, state.roster.item(&contact.1));
            }
            return Ok(());
        }
        let answer = cx.stanza.reply_result(|w| {
            w.open("query", NS_ROSTER).attr("ver", &state.roster.version.to_string());
            for (jid, item) in state.roster.items() {
                item.write(jid, w);
            }
            w.close();
        });
        session.reply(answer);
        Ok(())
    }
}

/// What a client that asked before does not know.
struct Changes {
    /// Each with the version of its last change, oldest first.
    contacts: Vec<(u64, BareJid)>,
    /// The version of the last change.
    version: u64,
}

/// §2.6.3: which contacts changed since the client last asked.
async fn changed_since(
    engine: &Engine,
    owner: BareJid,
    since: u64,
) -> Result<Option<Changes>, StanzaError> {
    let store_error = |e| refuse::store_error(&e);
    engine.stores.writer.barrier().await.map_err(store_error)?;
    let changes = engine.stores.roster.changes(&owner, since).await.map_err(store_error)?;
    Ok(match changes {
        RosterChanges::Unknown => None,
        RosterChanges::Since { changes, version } => {
            let contacts = changes.into_iter().map(|(version, change)| match change {
                RosterChange::Put(row) => (version, row.contact),
                RosterChange::Removed(contact) => (version, contact),
            });
            Some(Changes { contacts: contacts.collect(), version })
        }
    })
}

fn push_item(session: &Session, jid: &BareJid, version: u64, item: Option<&Item>) {
    let head = Head::new(Kind::Iq(IqType::Set)).to(session.resource.jid.clone());
    let push = Stanza::build(head.id(format!("ver-{version}")), |w| {
        w.open("query", NS_ROSTER).attr("ver", &version.to_string());
        write_item(w, jid, item);
        w.close();
    });
    session.resource.outbox.push(push, Fate::Forget);
}

fn write_item(w: &mut Writer, jid: &BareJid, item: Option<&Item>) {
    match item {
        Some(item) => item.write(jid, w),
        None => {
            w.open("item", NS_ROSTER).attr("jid", jid.as_str()).attr("subscription", "remove");
            w.close();
        }
    }
}

impl OnSet<Set> for Roster {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, set: Set) -> Result<(), StanzaError> {
        let account = cx.own_kept_account()?;
        self.check(&set)?;
        if set.jid == account.jid {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        // Read before anything changes: what follows from the change must not wait for it.
        let other = match set.is_removal {
            true => presence::correspondent(cx.engine, &set.jid).await?,
            false => None,
        };
        let (ticket, removed, is_moved) = {
            let mut state = account.lock();
            let owner = account.jid.clone();
            if set.is_removal {
                let (item, version) = state
                    .roster
                    .remove(&set.jid)
                    // §2.5.3, also the type.
                    .ok_or(StanzaError::new(Condition::ItemNotFound).of_type(ErrorType::Modify))?;
                let write = Write::RemoveRoster { owner, contact: set.jid.clone(), version };
                let ticket = cx.engine.stores.writer.submit(write);
                cx.engine.push_roster(&account.jid, &state, &set.jid, version);
                (ticket, Some(item), false)
            } else {
                let former = state.roster.item(&set.jid);
                if former.is_none()
                    && state.roster.len() >= cx.host.profile.settings.roster_items_max
                {
                    return Err(StanzaError::new(Condition::ResourceConstraint));
                }
                let mut item = former.cloned().unwrap_or_default();
                let is_moved = item.from && *item.groups != *set.groups;
                item.name = set.name;
                item.groups = set.groups.into();
                let row = item.row(&set.jid);
                let version = state.roster.put(&set.jid, item);
                let ticket =
                    cx.engine.stores.writer.submit(Write::PutRoster { owner, item: row, version });
                cx.engine.push_roster(&account.jid, &state, &set.jid, version);
                (ticket, None, is_moved)
            }
        };
        let sees_less = is_moved || removed.as_ref().is_some_and(|item| item.from);
        if let Some(item) = removed {
            let other = other.as_ref();
            presence::remove_contact(cx.engine, account, cx.session, other, &item);
        }
        if sees_less {
            watch::restricted(cx.engine, account, &set.jid);
        }
        cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))
    }
}

impl Roster {
    /// §2.1.5: what a server must refuse.
    fn check(&self, set: &Set) -> Result<(), StanzaError> {
        let too_long = set.name.as_ref().is_some_and(|n| n.len() > self.config.name_bytes_max)
            || set.groups.len() > self.config.groups_max
            || set.groups.iter().any(|g| g.is_empty() || g.len() > self.config.group_bytes_max);
        if too_long {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        let mut groups: Vec<&str> = set.groups.iter().map(|g| &**g).collect();
        groups.sort_unstable();
        if groups.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        Ok(())
    }
}
