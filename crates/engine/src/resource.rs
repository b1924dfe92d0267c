//! One bound client, as everyone else sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hashbrown::HashSet;
use parking_lot::Mutex;
use smol_str::SmolStr;
use stentor_jid::{BareJid, FullJid, Jid};
use stentor_stanza::Stanza;

use crate::limits::DIRECTED_MAX;
use crate::outbox::{Outbox, Saved};
use crate::slots::Slots;

/// One bound client. Lock order: an account's state, then a resource's presence, then an outbox.
pub struct Resource {
    /// Its full address.
    pub jid: FullJid,
    /// The only way in.
    pub outbox: Outbox,
    /// A number that tells this binding from an earlier one of the same address.
    pub serial: u64,
    /// When it was bound, in milliseconds since 1970 UTC.
    pub bound_ms: i64,
    /// The key of the client that it is a session of, if that told its id (XEP-0388 §2.3).
    pub client: Option<SmolStr>,
    /// Bits of [`Flag`]; written by the session's own stanzas.
    flags: AtomicU32,
    /// Grows with every change of what outlives the process: flags and presence.
    version: AtomicU32,
    /// The number under which the store knows that it is seen; 0 if it does not.
    sighting: AtomicU64,
    presence: Mutex<Presence>,
    notes: Mutex<Slots>,
}

/// What a session has asked for.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Flag {
    /// It asked for the roster and gets pushes (RFC 6121 §2.1.6: an interested resource).
    Interested = 1,
    /// It gets copies of messages that others of the account send and receive (XEP-0280).
    Carbons = 2,
    /// Its stream broke, and it may still be resumed (XEP-0198 §5).
    Detached = 8,
    /// It asked for the list of blocked addresses and gets its changes (XEP-0191 §3.3).
    Blocking = 16,
    /// It looks at stored messages one by one (XEP-0013).
    OfflineByHand = 64,
    /// It may be resumed when its stream breaks (XEP-0198 §5).
    Resumable = 32,
    /// It chose a privacy list for itself (XEP-0016 §2.4), which the process alone knows.
    OwnRules = 128,
}

#[derive(Default)]
struct Presence {
    /// The last broadcast presence while available.
    available: Option<Box<Available>>,
    /// Who got directed presence and must hear of the end (RFC 6121 §4.6).
    directed: Option<Box<HashSet<Jid>>>,
}

/// The presence that a resource last broadcast.
#[derive(Clone, Debug)]
pub struct Available {
    /// The stanza as it was sent, `from` stamped, without `to`.
    pub stanza: Stanza,
    /// −128 to 127 (RFC 6121 §4.7.2.3).
    pub priority: i8,
}

impl Resource {
    pub(crate) fn new(jid: FullJid, serial: u64, bound_ms: i64, client: Option<SmolStr>) -> Self {
        Self {
            jid,
            outbox: Outbox::default(),
            serial,
            bound_ms,
            client,
            flags: AtomicU32::new(0),
            version: AtomicU32::new(0),
            sighting: AtomicU64::new(0),
            presence: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// What a feature noted about the session: the value of this type.
    pub fn noted<T: Clone + 'static>(&self) -> Option<T> {
        self.notes.lock().find::<T>().cloned()
    }

    /// Notes something about the session, in the place of an earlier note of this type. It ends
    /// with the session.
    pub fn note<T: Send + 'static>(&self, value: T) {
        self.notes.lock().put(value);
    }

    /// Whether the session asked for this.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Acquire) & flag as u32 != 0
    }

    /// Notes that the session asked for this.
    pub fn set(&self, flag: Flag) {
        self.flags.fetch_or(flag as u32, Ordering::AcqRel);
        self.touch();
    }

    /// Takes a note back.
    pub fn clear(&self, flag: Flag) {
        self.flags.fetch_and(!(flag as u32), Ordering::AcqRel);
        self.touch();
    }

    /// What it asked for, as bits; without those that say how it is connected.
    pub(crate) fn lasting_flags(&self) -> u32 {
        self.flags.load(Ordering::Acquire) & !(Flag::Detached as u32 | Flag::Resumable as u32)
    }

    /// Takes in what an earlier process knew.
    pub(crate) fn restore(&self, flags: u32, available: Option<Available>, directed: Vec<Jid>) {
        self.flags.store(flags, Ordering::Release);
        let mut presence = self.presence.lock();
        presence.available = available.map(Box::new);
        presence.directed =
            (!directed.is_empty()).then(|| Box::new(directed.into_iter().collect()));
    }

    /// Grows with every change of flags and presence.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    fn touch(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Since when nobody looks at the client, as it says (XEP-0352), in milliseconds since 1970.
    pub fn inactive_ms(&self) -> Option<i64> {
        self.outbox.held_since_ms()
    }

    /// Nobody looks at the client from here on: what may wait does.
    pub fn look_away(&self, now_ms: i64) {
        self.outbox.hold(now_ms);
    }

    /// Somebody looks at the client again; returns what it was not sent for good.
    pub(crate) fn look(&self) -> Saved {
        self.outbox.unhold()
    }

    /// The priority while available; none means connected but not available.
    pub fn priority(&self) -> Option<i8> {
        self.presence.lock().available.as_ref().map(|a| a.priority)
    }

    /// Whether it has sent initial presence and not taken it back.
    pub fn is_available(&self) -> bool {
        self.presence.lock().available.is_some()
    }

    /// The last broadcast presence.
    pub fn presence(&self) -> Option<Stanza> {
        self.presence.lock().available.as_ref().map(|a| a.stanza.clone())
    }

    /// Replaces the presence and returns the former one.
    pub(crate) fn set_presence(&self, available: Option<Available>) -> Option<Available> {
        self.touch();
        let next = available.map(Box::new);
        std::mem::replace(&mut self.presence.lock().available, next).map(|b| *b)
    }

    /// The number under which the store knows that it is seen, if it cannot be resumed.
    pub(crate) fn sighting(&self) -> Option<u64> {
        Some(self.sighting.load(Ordering::Acquire)).filter(|number| *number != 0)
    }

    pub(crate) fn set_sighting(&self, number: u64) {
        self.sighting.store(number, Ordering::Release);
    }

    pub(crate) fn take_sighting(&self) -> Option<u64> {
        Some(self.sighting.swap(0, Ordering::AcqRel)).filter(|number| *number != 0)
    }

    /// Notes that `to` got directed presence, and says whether it had none; nothing when the list is
    /// full.
    pub(crate) fn add_directed(&self, to: &Jid) -> Option<bool> {
        let mut presence = self.presence.lock();
        let directed = presence.directed.get_or_insert_default();
        if directed.len() >= DIRECTED_MAX && !directed.contains(to) {
            return None;
        }
        let is_new = directed.insert(to.clone());
        if is_new {
            self.touch();
        }
        Some(is_new)
    }

    /// Takes that back, and says whether it had some.
    pub(crate) fn remove_directed(&self, to: &Jid) -> bool {
        let mut presence = self.presence.lock();
        let Some(directed) = &mut presence.directed else { return false };
        let was_there = directed.remove(to);
        if directed.is_empty() {
            presence.directed = None;
        }
        if was_there {
            self.touch();
        }
        was_there
    }

    /// Who got directed presence and has not been told of its end.
    pub(crate) fn directed(&self) -> Vec<Jid> {
        let presence = self.presence.lock();
        presence.directed.as_ref().map_or_else(Vec::new, |d| d.iter().cloned().collect())
    }

    pub(crate) fn take_directed(&self) -> Vec<Jid> {
        self.presence.lock().directed.take().map_or_else(Vec::new, |d| d.into_iter().collect())
    }

    /// The name under which it is in a room: that which it sent directed presence to.
    pub fn nick_in(&self, room: &BareJid) -> Option<String> {
        let presence = self.presence.lock();
        let mut directed = presence.directed.as_ref()?.iter();
        let occupant = directed.find(|to| to.is_full() && to.bare_str() == room.as_str())?;
        occupant.resource().map(str::to_owned)
    }

    /// Whether it sent directed presence to this address, or to its bare form.
    pub fn has_directed(&self, to: &Jid) -> bool {
        let presence = self.presence.lock();
        let Some(directed) = &presence.directed else { return false };
        directed.contains(to) || directed.contains(to.to_bare().as_jid())
    }
}
