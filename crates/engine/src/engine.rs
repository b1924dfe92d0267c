//! Everything shared: the directory, the stores, the domains, the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use smol_str::SmolStr;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, IqType, Kind, Stanza};
use stentor_store::{Stage, StoreError, Stores, Ticket};
use stentor_xml::Writer;
use tokio::sync::Semaphore;

use crate::account::{Account, AccountState, OfflineState};
use crate::awaited::Awaited;
use crate::clock::Clock;
use crate::component::Components;
use crate::component::xep0355_delegation::Nested;
use crate::component::xep0356_privilege::{self, Contacts};
use crate::credentials::Credentials;
use crate::detached::Detached;
use crate::directory::Directory;
use crate::host::{Host, Hosts};
use crate::limits::DELEGATED_MAX;
use crate::metrics::Metrics;
use crate::outbox::{Close, Fate};
use crate::phase::{Attend, AttendCx};
use crate::presence::abroad::Abroad;
use crate::remote::Links;
use crate::request::Asked;
use crate::resource::Resource;
use crate::resume::Resumable;
use crate::roster::{NS_ROSTER, Roster};
use crate::service;
use crate::shown_ids::ShownIds;
use crate::slots;
use crate::tally::Tally;
use crate::xep0115_caps::Known;

/// Everything shared between sessions. One per process.
pub struct Engine {
    /// Accounts in memory.
    pub directory: Directory,
    /// One trait object for each domain of storage, and the ordered writer.
    pub stores: Stores,
    /// The domains, replaced whole on reload.
    pub hosts: ArcSwap<Hosts>,
    /// The components that there may be, replaced whole on reload.
    pub components: ArcSwap<Components>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Who may sign in.
    pub credentials: Credentials,
    /// What is counted.
    pub metrics: Metrics,
    /// Milliseconds since the Unix epoch at which the server started.
    pub started_ms: i64,
    /// Whose coming is waited for.
    pub awaited: Awaited,
    pub(crate) resumable: Resumable,
    pub(crate) asked: Asked,
    pub(crate) detached: Detached,
    /// Requests that are being answered by others, or for others.
    pub(crate) delegating: Arc<Semaphore>,
    pub(crate) contacts: Contacts,
    pub(crate) nested: Nested,
    pub(crate) links: OnceLock<Arc<dyn Links>>,
    pub(crate) abroad: Abroad,
    pub(crate) caps: Known,
    /// Accounts of which somebody was told of late that they are full.
    pub(crate) full: Mutex<Tally<BareJid>>,
    next_serial: AtomicU64,
    last_id: AtomicU64,
    /// The number from which on sessions in the store are those of this process.
    own_sessions_from: AtomicU64,
    shown_ids: ShownIds,
}

/// Whose an address is.
pub enum Route {
    /// A domain of ours itself.
    Host(Arc<Host>),
    /// An account of a domain of ours, which may not exist.
    Account(Arc<Host>, BareJid),
    /// Somebody else's.
    Remote,
}

impl Engine {
    /// An engine over these stores and domains.
    #[must_use]
    pub fn new(
        stores: Stores,
        hosts: Hosts,
        clock: Arc<dyn Clock>,
        credentials: Credentials,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory: Directory::default(),
            stores,
            hosts: ArcSwap::from_pointee(hosts),
            components: ArcSwap::default(),
            started_ms: clock.unix_ms(),
            clock,
            awaited: Awaited::default(),
            asked: Asked::default(),
            shown_ids: ShownIds::new(credentials.secret()),
            credentials,
            metrics: Metrics::default(),
            resumable: Resumable::default(),
            detached: Detached::default(),
            delegating: Arc::new(Semaphore::new(DELEGATED_MAX)),
            contacts: Contacts::default(),
            nested: Nested::default(),
            links: OnceLock::new(),
            abroad: Abroad::default(),
            caps: Known::default(),
            full: Mutex::default(),
            next_serial: AtomicU64::new(1),
            last_id: AtomicU64::new(0),
            own_sessions_from: AtomicU64::new(0),
        })
    }

    /// Replaces the domains; sessions of those that are not among them end. Accounts in memory are
    /// read again before they are next used: other features may keep other data with them.
    pub fn replace_hosts(&self, hosts: Hosts) {
        let former = self.hosts.swap(Arc::new(hosts));
        self.close_removed(&former);
        self.directory.for_each(|account| {
            // What is never stored cannot be read again.
            if !account.is_ephemeral {
                account.mark_stale();
            }
        });
    }

    /// The domain, if it is ours.
    pub fn host(&self, domain: &str) -> Option<Arc<Host>> {
        self.hosts.load().find(domain).cloned()
    }

    /// Whose this address is.
    pub fn route(&self, to: &Jid) -> Route {
        match self.host(to.domain()) {
            None => Route::Remote,
            Some(host) if to.local().is_none() => Route::Host(host),
            Some(host) => Route::Account(host, to.to_bare()),
        }
    }

    /// The account if it is in memory and in step with the disk.
    pub fn resident(&self, jid: &BareJid) -> Option<Arc<Account>> {
        self.directory.find(jid.as_str()).filter(|a| !a.is_stale())
    }

    /// The account, read from the store if it is not in memory; none if it does not exist.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn account(&self, jid: &BareJid) -> Result<Option<Arc<Account>>, StoreError> {
        loop {
            let found = self.directory.find(jid.as_str());
            if let Some(account) = found {
                if account.is_stale() && !self.refresh(&account).await? {
                    return Ok(None);
                }
                return Ok(Some(account));
            }
            let mark = self.directory.mark(jid.as_str());
            // What was staged for it before it was last forgotten must be readable.
            if !mark.is_readable {
                self.stores.writer.barrier().await?;
                self.directory.note_readable(jid.as_str(), mark);
            }
            let Some(state) = self.read_account(jid).await? else { return Ok(None) };
            let account = Arc::new(Account::new(jid.clone(), false, state));
            if let Some(account) = self.directory.insert(account, mark) {
                return Ok(Some(account));
            }
        }
    }

    async fn read_account(&self, jid: &BareJid) -> Result<Option<AccountState>, StoreError> {
        let Some(row) = self.stores.accounts.load(jid).await? else { return Ok(None) };
        let roster = self.stores.roster.load(jid).await?;
        let offline = self.stores.offline.usage(jid).await?;
        Ok(Some(AccountState {
            roster: Roster::from_store(roster),
            is_suspended: row.is_suspended,
            slots: slots::load(self, jid).await?,
            offline: OfflineState {
                count: offline.count,
                bytes: offline.bytes,
                is_waiting: offline.count > 0,
                ..OfflineState::default()
            },
            ..AccountState::default()
        }))
    }

    /// Reads an account again after the store refused one of its writes; false if it is no more.
    async fn refresh(&self, account: &Account) -> Result<bool, StoreError> {
        // What was staged before must be decided before it is read.
        let _ = self.stores.writer.barrier().await;
        let Some(fresh) = self.read_account(&account.jid).await? else { return Ok(false) };
        let mut state = account.lock();
        let former = account.refresh(&mut state, fresh);
        // Clients were told of changes, and of versions, that never came to be.
        state.roster.version = state.roster.version.max(former.version);
        for contact in state.roster.differences(&former) {
            state.roster.version += 1;
            self.push_roster(&account.jid, &state, &contact, state.roster.version);
        }
        Ok(true)
    }

    /// Waits for a commit; where it failed, the account is read again from the store.
    ///
    /// # Errors
    /// The store refused the write.
    pub async fn settle(&self, account: &Account, ticket: Ticket) -> Result<(), StoreError> {
        let outcome = ticket.await;
        if let Err(error) = &outcome {
            tracing::debug!(event = "write_refused", account = %account.jid, %error, "The store refused a write.");
            self.metrics.writes_refused.inc();
            account.mark_stale();
            self.refresh(account).await?;
        }
        outcome
    }

    /// Tells the interested resources about a changed contact, or about one that is gone
    /// (RFC 6121 §2.1.6), and components that may know (XEP-0356 §4.4).
    pub fn push_roster(&self, owner: &BareJid, state: &AccountState, jid: &BareJid, version: u64) {
        xep0356_privilege::push_roster(self, owner, state, jid);
        for resource in state.interested() {
            self.push_iq(resource, |w| {
                w.open("query", NS_ROSTER).attr("ver", &version.to_string());
                match state.roster.item(jid) {
                    Some(item) => item.write(jid, w),
                    None => {
                        w.open("item", NS_ROSTER).attr("jid", jid.as_str());
                        w.attr("subscription", "remove").close();
                    }
                }
                w.close();
            });
        }
    }

    /// Sends a session a set of the server's own, whose answer nobody waits for; `f` writes the
    /// payload. The caller holds the account's lock, so that pushes are in the order of changes.
    pub fn push_iq(&self, session: &Resource, f: impl FnOnce(&mut Writer)) {
        let id = format!("push-{}", self.next_serial());
        let head = Head::new(Kind::Iq(IqType::Set)).to(session.jid.clone()).id(id);
        session.outbox.push(Stanza::build(head, f), Fate::Forget);
    }

    /// An id for something that is kept: microseconds since 1970, growing with every call whatever
    /// the clock does.
    pub fn next_id(&self, now_ms: i64) -> u64 {
        let now = u64::try_from(now_ms).unwrap_or(0).saturating_mul(1_000);
        let next = |last: u64| now.max(last + 1);
        let update = |last| Some(next(last));
        self.last_id.fetch_update(Ordering::AcqRel, Ordering::Acquire, update).map_or(now, next)
    }

    /// How an id is shown to those it concerns: unlike any other, and saying nothing (XEP-0313 §3,
    /// XEP-0359 §6).
    #[must_use]
    pub fn show_id(&self, id: u64) -> SmolStr {
        self.shown_ids.show(id)
    }

    /// The id that somebody was shown; none if the text does not look like one. Whether anything has
    /// that id is for the store to say.
    #[must_use]
    pub fn read_id(&self, shown: &str) -> Option<u64> {
        self.shown_ids.read(shown)
    }

    /// Makes every later id larger than one that is already in the store.
    pub fn skip_ids(&self, up_to: u64) {
        self.last_id.fetch_max(up_to, Ordering::AcqRel);
    }

    /// Sessions that come into the store from now on are those of this process.
    pub(crate) fn own_sessions_begin(&self) {
        self.own_sessions_from.store(self.next_id(self.clock.unix_ms()), Ordering::Release);
    }

    /// The number from which on sessions in the store are those of this process; 0 if that is not
    /// known.
    pub(crate) fn own_sessions_from(&self) -> u64 {
        self.own_sessions_from.load(Ordering::Acquire)
    }

    /// Submits what a pass staged, if it staged anything.
    pub(crate) fn submit(&self, stage: Stage) -> Option<Ticket> {
        (!stage.is_empty()).then(|| self.stores.writer.submit(stage))
    }

    /// Tells the features that somebody looks again.
    pub(crate) fn attended(self: &Arc<Self>, account: &Account) {
        if account.is_ephemeral {
            return;
        }
        let mut state = account.lock();
        let mut stage = Stage::default();
        self.attend(account, |module, cx| module.attended(cx, &mut state, &mut stage));
        drop(self.submit(stage));
    }

    /// Tells them something about an account whose lock the caller holds.
    pub(crate) fn attend(
        self: &Arc<Self>,
        account: &Account,
        mut tell: impl FnMut(&dyn Attend, &AttendCx<'_>),
    ) {
        let Some(host) = self.host(account.jid.domain()) else { return };
        let cx = AttendCx { engine: self, host: &host, account };
        host.profile.phases.attend.iter().for_each(|module| tell(&**module, &cx));
    }

    /// Starts work that goes on beside the connections' tasks and ends by itself.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        service::start(work);
    }

    /// A number that no other caller gets.
    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends every session, each with its last words.
    pub fn close_all(&self, reason: Close) {
        for account in self.directory.online() {
            for resource in account.resources() {
                resource.outbox.close(reason);
            }
        }
    }

    /// Ends every session of an account.
    pub fn close_account(&self, jid: &BareJid, reason: Close) {
        if let Some(account) = self.directory.find(jid.as_str()) {
            for resource in account.resources() {
                resource.outbox.close(reason);
            }
        }
    }
}
