//! Messages of an account itself to others (XEP-0060 §12.3): under the rules of both sides, and to
//! whom exactly is for the feature to say.

use std::sync::Arc;
use std::time::Duration;

use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, Kind, MessageType, Stanza};
use stentor_xml::ns;

use crate::account::{Account, AccountState};
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::lookup::Found;
use crate::outbox::Fate;
use crate::phase::{Direction, Flow};
use crate::pipeline::{self, Outcome, Party, Passage};
use crate::resource::Resource;
use crate::service;

impl Engine {
    /// Sends a message to one address: a session that is there, somebody elsewhere, or an account of
    /// ours, which treats it as any other message to it. Nobody learns that it did not arrive.
    pub async fn tell(self: &Arc<Self>, owner: &Arc<Account>, notice: Stanza) {
        let Some(to) = notice.head.to.clone() else { return };
        if !self.may_tell(owner, &notice) {
            return;
        }
        match self.route(&to) {
            Route::Remote => drop(self.send_remote(notice)),
            Route::Account(..) if to.is_full() => {
                let name = to.resource();
                let is_meant = |r: &Resource| Some(r.jid.resource()) == name;
                drop(self.tell_there(&to.to_bare(), &notice, &is_meant));
            }
            Route::Account(host, jid) => self.leave_word(&host, &jid, notice).await,
            Route::Host(_) => {}
        }
    }

    /// Whether an account is one of the administrators of its domain.
    pub(crate) fn is_administrator(&self, jid: &BareJid) -> bool {
        let host = self.host(jid.domain());
        host.is_some_and(|host| host.profile.administrators.contains(jid))
    }

    /// Tells the owner of an account, and the administrators of its domain, that it is locked for too
    /// many failed sign-ins. Nothing comes of it if there is no such account.
    pub async fn tell_of_lock(self: &Arc<Self>, jid: &BareJid) {
        let (Some(host), Ok(Some(_))) = (self.host(jid.domain()), self.account(jid).await) else {
            return;
        };
        self.post(&host, jid, MessageType::Normal, OWNER_OF_LOCKED).await;
        let lasts = "Passwords are refused for a while; `stentor account unlock` lifts that.";
        let text = format!("Too many sign-ins to the account {jid} have failed. {lasts}");
        self.tell_administrators(&host, jid, &text).await;
    }

    /// A message came back because an account has as many that wait as it may. The log and the
    /// administrators of its domain are told, once a day for each account.
    pub fn note_full(self: &Arc<Self>, host: &Arc<Host>, jid: &BareJid) {
        if self.full.lock().add(jid.clone(), A_DAY, u32::MAX, self.clock.unix_ms()) > 1 {
            return;
        }
        tracing::warn!(event = "mailbox_full", account = %jid, "An account has no room for further messages.");
        let (engine, host, jid) = (self.clone(), host.clone(), jid.clone());
        service::start(async move {
            let full = "has no room for further messages while nobody fetches those that wait";
            let text = format!("The account {jid} {full}. Their senders get them back.");
            engine.tell_administrators(&host, &jid, &text).await;
        });
    }

    /// Tells the administrators of a domain something about an account, apart from its owner.
    async fn tell_administrators(self: &Arc<Self>, host: &Host, about: &BareJid, text: &str) {
        for administrator in host.profile.administrators.iter().filter(|who| *who != about) {
            self.post(host, administrator, MessageType::Normal, text).await;
        }
    }

    /// Tells those of an account who are there something that means nothing later, in the name of
    /// its domain (RFC 6121 §5.2.2: a headline).
    pub async fn tell_present(self: &Arc<Self>, host: &Host, to: &BareJid, text: &str) {
        self.post(host, to, MessageType::Headline, text).await;
    }

    /// Sends a message of a domain of ours.
    async fn post(self: &Arc<Self>, from: &Host, to: &BareJid, kind: MessageType, text: &str) {
        let Ok(domain) = BareJid::new(&from.domain) else { return };
        let head = Head::new(Kind::Message(kind)).from(domain).to(to.clone());
        let head = head.id(format!("notice-{}", self.next_serial()));
        let message = Stanza::build(head, |w| {
            w.text_element("body", ns::CLIENT, text);
        });
        match self.route(to.as_jid()) {
            Route::Remote => drop(self.send_remote(message)),
            Route::Account(host, jid) => self.leave_word(&host, &jid, message).await,
            Route::Host(_) => {}
        }
    }

    /// Delivers a message to an account of ours as any other, if there is one.
    async fn leave_word(self: &Arc<Self>, host: &Arc<Host>, jid: &BareJid, mut notice: Stanza) {
        let Ok(Some(account)) = self.account(jid).await else { return };
        let outcome = {
            let passage = Passage {
                engine: self,
                sender: None,
                recipient: Some(Party { host, account: &account }),
                session: None,
                found: &Found::default(),
                at_ms: self.clock.unix_ms(),
            };
            pipeline::decide(&passage, &mut notice)
        };
        if let Outcome::Done { ticket: Some(ticket), .. } = outcome {
            drop(self.settle(&account, ticket).await);
        }
    }

    /// Sends a message to those sessions of another account of ours that are available and want it;
    /// returns which.
    pub fn tell_sessions(
        self: &Arc<Self>,
        owner: &Arc<Account>,
        contact: &BareJid,
        notice: &Stanza,
        wants: &dyn Fn(&Resource) -> bool,
    ) -> Vec<Jid> {
        let notice = notice.with_head(notice.head.clone().to(contact.clone()));
        if !self.may_tell(owner, &notice) {
            return Vec::new();
        }
        self.tell_there(contact, &notice, &|r| r.is_available() && wants(r))
    }

    /// Sends a message to those sessions of the account itself that are available and want it;
    /// returns which. The caller holds the account's lock.
    pub fn tell_own(
        &self,
        owner: &Account,
        state: &AccountState,
        notice: &Stanza,
        wants: &dyn Fn(&Resource) -> bool,
    ) -> Vec<Jid> {
        let Some(host) = self.host(owner.jid.domain()) else { return Vec::new() };
        let from = owner.jid.as_jid();
        let admits = |r: &&Arc<Resource>| host.admits(Flow::MessageIn, r, from, state);
        let told = state.available().filter(|r| wants(r)).filter(admits);
        told.map(|session| push(session, notice)).collect()
    }

    fn may_tell(self: &Arc<Self>, owner: &Arc<Account>, notice: &Stanza) -> bool {
        let state = owner.lock();
        pipeline::may_pass(self, owner, Direction::Sent, &state, notice).is_ok()
    }

    fn tell_there(
        self: &Arc<Self>,
        contact: &BareJid,
        notice: &Stanza,
        wants: &dyn Fn(&Resource) -> bool,
    ) -> Vec<Jid> {
        let host = self.host(contact.domain());
        let account = self.directory.find(contact.as_str());
        let (Some(host), Some(account), Some(from)) = (host, account, notice.head.from.as_ref())
        else {
            return Vec::new();
        };
        let state = account.lock();
        if pipeline::may_pass(self, &account, Direction::Received, &state, notice).is_err() {
            return Vec::new();
        }
        let admits = |r: &&Arc<Resource>| host.admits(Flow::MessageIn, r, from, &state);
        let told = state.resources().iter().filter(|r| wants(r)).filter(admits);
        told.map(|session| push(session, notice)).collect()
    }
}

/// What is told is told again when somebody comes: it is nothing to keep.
fn push(session: &Resource, notice: &Stanza) -> Jid {
    let to = Jid::from(session.jid.clone());
    session.outbox.push(notice.with_head(notice.head.clone().to(to.clone())), Fate::Forget);
    to
}

const A_DAY: Duration = Duration::from_secs(86_400);

const OWNER_OF_LOCKED: &str = "Too many sign-ins to your account have failed, so passwords are refused \
    for a while. Clients that are signed in, and those that sign in without the password, are not \
    affected. If it was not you, choose a password that nobody can guess.";
