//! Where an IQ goes: to a resource, or to a handler that answers it (RFC 6120 §8.2.3, §10.5).

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0012_last;
use stentor_payload::xep0030_disco::NS_ITEMS;
use stentor_stanza::{Condition, IqType, Stanza, StanzaError};

use crate::account::Account;
use crate::component::xep0356_privilege;
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::iq::{IqCx, Scope};
use crate::outbox::{Fate, Pressure};
use crate::phase::Direction;
use crate::pipeline;
use crate::refuse::store_error;
use crate::resource::Resource;
use crate::session::Session;

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Its full address, or a bare one or a domain that is not ours.
    pub(crate) from: &'a Jid,
    /// Its session, if it is one of ours.
    pub(crate) session: Option<&'a Arc<Session>>,
    /// Whether it has the rights of the account that it asks (XEP-0356).
    pub(crate) is_privileged: bool,
}

impl<'a> Asker<'a> {
    /// A session of ours.
    pub(crate) fn of(session: &'a Arc<Session>) -> Self {
        let from = session.resource.jid.as_jid();
        Self { from, session: Some(session), is_privileged: false }
    }

    /// Somebody elsewhere.
    pub(crate) const fn elsewhere(from: &'a Jid) -> Self {
        Self { from, session: None, is_privileged: false }
    }
}

/// Hands an IQ to one resource. RFC 6121 §8.5.3: requests reach only those whose presence the
/// asker sees.
///
/// # Errors
/// `service-unavailable` if it is not there, or not for the asker; `forbidden` where a specification
/// wants that said to those who may not see the account, there or not (XEP-0012 §4).
pub(crate) fn to_resource(
    engine: &Arc<Engine>,
    asker: Asker<'_>,
    to: &Jid,
    stanza: &Stanza,
) -> Result<Pressure, StanzaError> {
    let Some(account) = engine.directory.find(to.bare_str()) else {
        // As for an account that is in memory: who asks cannot tell the two apart.
        return Err(hidden(stanza));
    };
    let target = target(engine, &account, asker, to, stanza)?;
    match target.outbox.push(stanza.clone(), Fate::Reroute) {
        Pressure::Gone => Err(UNAVAILABLE),
        pressure => Ok(pressure),
    }
}

fn target(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    asker: Asker<'_>,
    to: &Jid,
    stanza: &Stanza,
) -> Result<Arc<Resource>, StanzaError> {
    let state = account.lock();
    // Whoever is blocked learns no more than of one who is not there.
    pipeline::may_pass(engine, account, Direction::Received, &state, stanza)
        .map_err(|_| UNAVAILABLE)?;
    let resource = to.resource().and_then(|name| state.resource(name));
    let bare = asker.from.to_bare();
    let sees = account.jid == bare
        || state.roster.item(&bare).is_some_and(|i| i.from)
        || resource.is_some_and(|r| r.has_directed(asker.from));
    if !sees && stanza.iq_type().is_some_and(IqType::is_request) {
        return Err(hidden(stanza));
    }
    resource.cloned().ok_or(UNAVAILABLE)
}

/// The error for a request to a resource that its sender may not see.
fn hidden(stanza: &Stanza) -> StanzaError {
    let asks_last = stanza.iq_type().is_some_and(IqType::is_request)
        && stanza.payload().is_some_and(|query| query.is(xep0012_last::NS, "query"));
    if asks_last { StanzaError::new(Condition::Forbidden) } else { UNAVAILABLE }
}

/// Whether the answer may be long, and wait until its session has taken what it was sent before.
pub(crate) fn is_long(route: &Route, stanza: &Stanza) -> bool {
    let Route::Account(host, _) = route else { return false };
    host.profile.iqs.find(Scope::Account, stanza).is_some_and(|handler| handler.is_long())
}

/// Answers a request to one of our domains or accounts: the result or the error, or nothing where
/// the handler has answered by itself.
pub(crate) async fn answer(
    engine: &Arc<Engine>,
    asker: Asker<'_>,
    route: Route,
    stanza: &Stanza,
) -> Option<Stanza> {
    let outcome = match route {
        Route::Host(host) => to_handler(engine, asker, &host, None, Scope::Host, stanza).await,
        Route::Account(host, jid) => to_account(engine, asker, &host, &jid, stanza).await,
        Route::Remote => Err(StanzaError::new(Condition::RemoteServerNotFound)),
    };
    outcome.unwrap_or_else(|error| stanza.reply_error(&error))
}

async fn to_account(
    engine: &Arc<Engine>,
    asker: Asker<'_>,
    host: &Arc<Host>,
    jid: &BareJid,
    stanza: &Stanza,
) -> Result<Option<Stanza>, StanzaError> {
    let reads_roster = xep0356_privilege::reaches_roster(engine, asker.from, host, stanza);
    let asker = Asker { is_privileged: asker.is_privileged || reads_roster, ..asker };
    let account = match asker.session.filter(|s| s.account.jid == *jid) {
        Some(session) => session.account.clone(),
        None => {
            let found = engine.account(jid).await.map_err(|error| store_error(&error))?;
            let Some(account) = found else { return for_nobody(host, stanza) };
            let direction = Direction::Received;
            match pipeline::may_pass(engine, &account, direction, &account.lock(), stanza) {
                Ok(()) => {}
                // What the owner says of others is not said of itself.
                Err(_) if asker.is_privileged => {}
                Err(Some(error)) => return Err(error),
                Err(None) => return Ok(None),
            }
            account
        }
    };
    if asker.is_privileged && xep0356_privilege::is_roster_get(stanza) {
        return Ok(Some(xep0356_privilege::roster_of(&account, stanza)));
    }
    let for_account = host.profile.iqs.find(Scope::Account, stanza).is_some();
    // RFC 6120 §10.3.3: without an address the server answers for the account; what only the
    // domain knows (its version, say) is asked that way too by clients of old.
    let scope = if for_account || stanza.head.to.is_some() { Scope::Account } else { Scope::Host };
    to_handler(engine, asker, host, Some(&account), scope, stanza).await
}

/// What is said of an account that does not exist: RFC 6121 §8.5.1, and XEP-0030 §8 rule 2.
fn for_nobody(host: &Host, stanza: &Stanza) -> Result<Option<Stanza>, StanzaError> {
    let is_known = host.profile.iqs.find(Scope::Account, stanza).is_some();
    match stanza.payload() {
        Some(query) if is_known && query.is(NS_ITEMS, "query") => {
            let node = query.attr("node");
            Ok(Some(stanza.reply_result(|w| {
                w.open("query", NS_ITEMS).attr_opt("node", node.as_deref()).close();
            })))
        }
        _ => Err(UNAVAILABLE),
    }
}

async fn to_handler(
    engine: &Arc<Engine>,
    asker: Asker<'_>,
    host: &Arc<Host>,
    account: Option<&Arc<Account>>,
    scope: Scope,
    stanza: &Stanza,
) -> Result<Option<Stanza>, StanzaError> {
    let Asker { from, session, is_privileged } = asker;
    let from = Some(from);
    let source = None;
    let cx = IqCx { engine, host, account, from, source, session, is_privileged, stanza };
    match (host.profile.iqs.find(scope, stanza), stanza.payload()) {
        (Some(handler), Some(payload)) => handler.handle(&cx, payload).await,
        _ => Err(StanzaError::new(Condition::ServiceUnavailable)),
    }
}

const UNAVAILABLE: StanzaError = StanzaError::new(Condition::ServiceUnavailable);
