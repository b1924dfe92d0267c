//! An account of ours in memory: its roster, its resources, its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use stentor_jid::BareJid;
use stentor_store::LastRow;

use crate::copied::Copied;
use crate::pace::Pace;
use crate::resource::{Flag, Resource};
use crate::roster::Roster;
use crate::sequel::Sequel;
use crate::slots::Slots;

/// An account. Resident while it has sessions, then in a bounded cache.
///
/// Its lock is short and never held across an await; whoever holds it may take the presence of its
/// resources and then outboxes, and no other account's lock (`locks.rs` alone takes two, in order).
pub struct Account {
    /// The bare address.
    pub jid: BareJid,
    /// Whether it exists only for one session (RFC 4505); nothing of it is stored.
    pub is_ephemeral: bool,
    /// Set when the store refused a write: memory is ahead of the disk and must be read again.
    stale: AtomicBool,
    /// Whether it was an administrator's when a session of it last began.
    administrator: AtomicBool,
    /// A tick of the directory's clock, for the bounded cache.
    pub(crate) touched: AtomicU64,
    /// How fast its clients send.
    pub paces: Paces,
    state: Mutex<AccountState>,
    pub(crate) sequel: Sequel,
}

/// What the clients of an account have taken of its rates together.
#[derive(Debug, Default)]
pub struct Paces {
    /// Stanzas.
    pub stanzas: Pace,
    /// Bytes.
    pub bytes: Pace,
}

/// What changes about an account.
#[derive(Default)]
pub struct AccountState {
    /// The contacts.
    pub roster: Roster,
    /// The administrator has suspended the account.
    pub is_suspended: bool,
    /// Messages waiting in the store for the next available resource.
    pub offline: OfflineState,
    /// What features keep with the account.
    pub slots: Slots,
    /// When the last session left, if one has since the account came into memory: the store may
    /// not have it yet.
    pub(crate) last: Option<Box<LastRow>>,
    /// When credentials of the account last changed, by [`Engine::moment`]; what was judged before
    /// counts no more.
    ///
    /// [`Engine::moment`]: crate::Engine::moment
    pub(crate) credentials_changed: u64,
    pub(crate) resources: Vec<Arc<Resource>>,
}

/// What waits in the offline store. All of it is counted when a stage is submitted.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfflineState {
    /// Stored messages.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often something was stored since the account came into memory, modulo 2³².
    pub stored: u32,
    /// Whether some of it has not been handed to a resource yet.
    pub is_waiting: bool,
    /// The serial of the resource that is being handed stored messages now: new ones queue up
    /// behind them in the store.
    pub flushing: Option<u64>,
    /// The id up to which messages have been handed to a resource.
    pub handed_id: u64,
}

impl Account {
    pub(crate) fn new(jid: BareJid, is_ephemeral: bool, state: AccountState) -> Self {
        Self {
            jid,
            is_ephemeral,
            stale: AtomicBool::new(false),
            administrator: AtomicBool::new(false),
            touched: AtomicU64::new(0),
            paces: Paces::default(),
            state: Mutex::new(state),
            sequel: Sequel::default(),
        }
    }

    /// Locks what changes. Never hold the guard across an await.
    pub fn lock(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock()
    }

    /// Whether its clients have the rates of administrators, as it was when one of them last came.
    pub fn is_administrator(&self) -> bool {
        self.administrator.load(Ordering::Relaxed)
    }

    pub(crate) fn note_administrator(&self, is_one: bool) {
        self.administrator.store(is_one, Ordering::Relaxed);
    }

    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Takes over what the store has, and returns the roster that memory had. Sessions, and what
    /// they were handed, go on.
    pub(crate) fn refresh(&self, state: &mut AccountState, fresh: AccountState) -> Roster {
        let offline = OfflineState {
            stored: state.offline.stored,
            flushing: state.offline.flushing,
            handed_id: state.offline.handed_id,
            ..fresh.offline
        };
        let resources = std::mem::take(&mut state.resources);
        let former = std::mem::take(&mut state.roster);
        let copied = state.slots.find_mut::<Copied>().map(std::mem::take);
        let credentials_changed = state.credentials_changed;
        *state = AccountState { resources, offline, credentials_changed, ..fresh };
        if let Some(copied) = copied {
            state.slots.put(copied);
        }
        self.stale.store(false, Ordering::Release);
        former
    }

    /// The sessions of this account.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.state.lock().resources.clone()
    }

    /// Whether the cache may forget it, as far as the account itself can tell.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.resources.is_empty() && state.offline.flushing.is_none()
    }
}

impl AccountState {
    /// All that was stored has been handed over.
    pub(crate) fn nothing_waits(&mut self) {
        self.offline.is_waiting = false;
        if let Some(copied) = self.slots.find_mut::<Copied>() {
            copied.clear();
        }
    }

    /// The sessions, in the order they were bound.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The session of this resource.
    pub fn resource(&self, name: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|r| r.jid.resource() == name)
    }

    /// Sessions that sent initial presence.
    pub fn available(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.iter().filter(|r| r.is_available())
    }

    /// Sessions that asked for the roster.
    pub fn interested(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.iter().filter(|r| r.has(Flag::Interested))
    }

    /// Whether this binding is still the account's: not ended, and not replaced by a newer one.
    pub(crate) fn holds(&self, serial: u64) -> bool {
        self.resources.iter().any(|r| r.serial == serial)
    }

    pub(crate) fn add_resource(&mut self, resource: Arc<Resource>) {
        if self.resources.capacity() == 0 {
            // Most accounts have one session.
            self.resources.reserve_exact(1);
        }
        self.resources.push(resource);
    }

    /// Takes a session out. What is still being handed to it is for another.
    pub(crate) fn remove_resource(&mut self, serial: u64) -> bool {
        if self.offline.flushing == Some(serial) {
            self.offline.flushing = None;
        }
        let before = self.resources.len();
        self.resources.retain(|r| r.serial != serial);
        if self.resources.is_empty() {
            self.resources = Vec::new();
        }
        self.resources.len() != before
    }
}
