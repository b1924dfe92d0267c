//! The ways to devices, one for each: what is due to a device is told it in order, one notification
//! at a time. While one is under way, or too many have been sent, the next ones become one.
//!
//! A way is there while something is due, and a task serves it. What is due is in memory and in the
//! store with the account, so a way that is given up loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::request::about;
use stentor_engine::tally::Tally;
use stentor_engine::{Account, AccountState, Engine, Host, Resource};
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0004_forms::Form;
use stentor_payload::xep0357_push::{Summary, write_publish};
use stentor_stanza::{Condition, ErrorType, IqType, StanzaError};
use stentor_store::{Stage, Ticket};
use tokio::sync::Notify;

use super::Config;
use super::due::{self, Dues, Notice};
use super::registration::{self, Registrations};
use crate::limits::{PUSH_LANES_MAX, millis};

/// All of them.
pub(super) struct Lanes {
    config: Config,
    lanes: Mutex<HashMap<Place, Lane>>,
    /// How many notifications went to each device of late.
    rates: Mutex<Tally<Place>>,
    /// Whether something was put off because there were too many.
    has_more: AtomicBool,
}

/// An account and the key of one of its registrations.
type Place = (BareJid, String);

#[derive(Default)]
struct Lane {
    /// Whether more has become due since it was last looked.
    is_called: bool,
    /// Told when that is urgent.
    urgent: Arc<Notify>,
}

/// What is done next on a way.
enum Step {
    /// It is looked what is due.
    Look,
    /// Nothing for so many milliseconds; something urgent may end that.
    Wait { ms: u64, unless_urgent: bool },
    /// This is sent.
    Send(Box<Delivery>),
    /// Nothing any more.
    End,
}

struct Delivery {
    account: Arc<Account>,
    host: Arc<Host>,
    service: Jid,
    node: Option<String>,
    options: Option<Form>,
    notice: Notice,
    /// How often somebody had looked, see [`Dues::looks`].
    looks: u64,
    summary: Summary,
}

/// Something is due to all devices of an account but those of some sessions. The caller holds the
/// account's lock.
pub(super) fn raise(
    lanes: &Arc<Lanes>,
    engine: &Arc<Engine>,
    owner: &BareJid,
    state: &mut AccountState,
    stage: &mut Stage,
    notice: &Notice,
    looking: &[Arc<Resource>],
) {
    let keys = keys(state, engine.clock.unix_ms(), looking);
    let dues = state.slots.entry::<Dues>();
    for (key, is_paused) in keys {
        if dues.add(owner, &key, notice.clone(), stage) {
            engine.metrics.pushes_folded.inc();
        }
        if !is_paused {
            lanes.open(engine, (owner.clone(), key), notice.kind.is_urgent());
        }
    }
}

/// Something will be due to them, unless somebody acknowledges it in time. The caller holds the
/// account's lock.
pub(super) fn foresee(
    owner: &BareJid,
    state: &mut AccountState,
    stage: &mut Stage,
    notice: &Notice,
    now_ms: i64,
) {
    let keys = keys(state, now_ms, &[]);
    let dues = state.slots.entry::<Dues>();
    keys.iter().for_each(|(key, _)| dues.foresee(owner, key, notice, stage));
}

/// The registrations of all devices of an account but those of some sessions, and whether each is
/// paused.
fn keys(state: &AccountState, now_ms: i64, looking: &[Arc<Resource>]) -> Vec<(String, bool)> {
    let Some(registrations) = state.slots.find::<Registrations>() else { return Vec::new() };
    (registrations.0.iter())
        .filter(|(_, r)| r.has_access(state, now_ms) && !looking.iter().any(|s| r.is_of(s)))
        .map(|(key, r)| (key.clone(), r.paused_until_ms > now_ms))
        .collect()
}

impl Lanes {
    pub(super) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            config,
            lanes: Mutex::default(),
            rates: Mutex::default(),
            has_more: AtomicBool::new(false),
        })
    }

    /// Sees to it that what is due to a device is sent.
    fn open(self: &Arc<Self>, engine: &Arc<Engine>, place: Place, is_urgent: bool) {
        {
            let mut lanes = self.lanes.lock();
            if let Some(lane) = lanes.get_mut(&place) {
                lane.is_called = true;
                if is_urgent {
                    lane.urgent.notify_one();
                }
                return;
            }
            let room = if is_urgent { 2 * PUSH_LANES_MAX } else { PUSH_LANES_MAX };
            if lanes.len() >= room {
                self.has_more.store(true, Ordering::Release);
                engine.metrics.pushes_put_off.inc();
                return;
            }
            lanes.insert(place.clone(), Lane::default());
        }
        engine.metrics.pushes_waiting.inc();
        let (lanes, engine) = (self.clone(), engine.clone());
        engine.clone().start(async move { lanes.serve(&engine, place).await });
    }

    async fn serve(self: Arc<Self>, engine: &Arc<Engine>, place: Place) {
        let mut failures = 0;
        let mut step = Step::Look;
        loop {
            step = match step {
                Step::Look => self.look(engine, &place).await,
                Step::Send(delivery) => self.send(engine, &place, *delivery, &mut failures).await,
                Step::Wait { ms, unless_urgent } => {
                    self.wait(&place, ms, unless_urgent).await;
                    Step::Look
                }
                Step::End if self.close(&place) => break,
                Step::End => Step::Look,
            };
        }
        engine.metrics.pushes_waiting.dec();
        let has_room = self.lanes.lock().len() < PUSH_LANES_MAX / 2;
        if has_room && self.has_more.swap(false, Ordering::AcqRel) {
            self.take_up(engine, place.0.domain()).await;
        }
    }

    /// Whether nothing has become due meanwhile.
    fn close(&self, place: &Place) -> bool {
        let mut lanes = self.lanes.lock();
        match lanes.get_mut(place) {
            Some(lane) if lane.is_called => {
                lane.is_called = false;
                false
            }
            _ => {
                lanes.remove(place);
                true
            }
        }
    }

    async fn wait(&self, place: &Place, ms: u64, unless_urgent: bool) {
        let urgent = self.lanes.lock().get(place).map(|lane| lane.urgent.clone());
        let wait = Duration::from_millis(ms);
        match urgent.filter(|_| unless_urgent) {
            Some(urgent) => drop(tokio::time::timeout(wait, urgent.notified()).await),
            None => tokio::time::sleep(wait).await,
        }
    }

    /// What is to be done for a device now.
    async fn look(&self, engine: &Arc<Engine>, place: &Place) -> Step {
        let (owner, _) = place;
        let account = match engine.account(owner).await {
            Ok(Some(account)) => account,
            Ok(None) => return Step::End,
            Err(error) => {
                tracing::error!(account = %owner, %error, "What is due to devices could not be read.");
                return Step::End;
            }
        };
        let Some(host) = engine.host(owner.domain()) else { return Step::End };
        let now_ms = engine.clock.unix_ms();
        let mut stage = Stage::default();
        let (step, ticket) = {
            let mut state = account.lock();
            let step = self.next(&account, host, &mut state, place, now_ms, &mut stage);
            (step, submit(engine, stage))
        };
        if let Some(ticket) = ticket {
            engine.metrics.pushes_expired.inc();
            // A refusal is logged, and the account read anew.
            let _ = engine.settle(&account, ticket).await;
        }
        step
    }

    fn next(
        &self,
        account: &Arc<Account>,
        host: Arc<Host>,
        state: &mut AccountState,
        place: &Place,
        now_ms: i64,
        stage: &mut Stage,
    ) -> Step {
        let (owner, key) = place;
        let requests = u32::try_from(state.roster.requests_len()).unwrap_or(u32::MAX);
        let Some(registration) = state.slots.find::<Registrations>().and_then(|r| r.0.get(key))
        else {
            return Step::End;
        };
        if registration.paused_until_ms > now_ms {
            return Step::End;
        }
        let (service, node) = (registration.service.clone(), registration.node.clone());
        let options = registration.options();
        let dues = state.slots.entry::<Dues>();
        let Some(notice) = dues.find(key) else { return Step::End };
        if notice.is_late(now_ms) {
            dues.take(key);
            dues.told(owner, key, stage);
            tracing::info!(event = "push_expired", account = %owner, service = service.domain(), "A notification came too late to be sent.");
            return Step::Look;
        }
        let mut rates = self.rates.lock();
        let full_until = rates.full_until_ms(place, self.config.per_minute, now_ms);
        if let Some(until_ms) = full_until.filter(|_| !notice.kind.is_urgent()) {
            let ms = u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(0);
            return Step::Wait { ms, unless_urgent: true };
        }
        let looks = dues.looks();
        let Some((unseen, notice)) = dues.take(key) else { return Step::End };
        rates.add(place.clone(), MINUTE, self.config.per_minute, now_ms);
        let summary = notice.summary(unseen, requests, &self.config);
        let account = account.clone();
        Step::Send(Box::new(Delivery {
            account,
            host,
            service,
            node,
            options,
            notice,
            looks,
            summary,
        }))
    }

    /// Sends a notification; what follows depends on the answer.
    async fn send(
        &self,
        engine: &Arc<Engine>,
        place: &Place,
        delivery: Delivery,
        failures: &mut u32,
    ) -> Step {
        let Delivery { account, host, service, node, options, notice, looks, summary } = delivery;
        let (owner, key) = place;
        let answer = engine
            .request(&host, &service, IqType::Set, |w| {
                write_publish(w, node.as_deref(), &summary, options.as_ref());
            })
            .await;
        let log = |event: &str, condition: &str| {
            let (kind, service) = (notice.kind, service.domain());
            tracing::info!(event, account = %owner, service, ?kind, condition, "A notification was published, or not.");
        };
        let now_ms = engine.clock.unix_ms();
        let mut stage = Stage::default();
        let (step, ticket) = {
            let mut state = account.lock();
            let step = match answer {
                Ok(_) => {
                    *failures = 0;
                    engine.metrics.pushes_sent.inc();
                    log("push_sent", "none");
                    state.slots.entry::<Dues>().told(owner, key, &mut stage);
                    Step::Look
                }
                // §7.1.
                Err(error) if is_final(&error) => {
                    engine.metrics.pushes_removed.inc();
                    log("push_removed", error.condition.name());
                    registration::remove(&mut state, owner, &mut stage, |r| {
                        r.service == service && r.node == node
                    });
                    Step::End
                }
                Err(error) => {
                    *failures += 1;
                    let dues = state.slots.entry::<Dues>();
                    let is_wanted = dues.give_back(key, notice.clone(), looks);
                    if !is_wanted {
                        Step::Look
                    } else if *failures < self.config.tries_max {
                        engine.metrics.pushes_retried.inc();
                        log("push_retried", error.condition.name());
                        Step::Wait { ms: self.patience_ms(*failures), unless_urgent: false }
                    } else {
                        engine.metrics.pushes_paused.inc();
                        log("push_paused", error.condition.name());
                        self.pause(&mut state, place, now_ms, &mut stage);
                        Step::End
                    }
                }
            };
            (step, submit(engine, stage))
        };
        if let Some(ticket) = ticket {
            // A refusal is logged, and the account read anew.
            let _ = engine.settle(&account, ticket).await;
        }
        step
    }

    fn patience_ms(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(RETRY_DOUBLINGS_MAX);
        about(self.config.retry_secs.saturating_mul(1_000 << doublings))
    }

    fn pause(&self, state: &mut AccountState, place: &Place, now_ms: i64, stage: &mut Stage) {
        let (owner, key) = place;
        let registrations = state.slots.find_mut::<Registrations>();
        if let Some(registration) = registrations.and_then(|r| r.0.get_mut(key)) {
            registration.paused_until_ms = now_ms.saturating_add(millis(self.config.pause_secs));
            stage.push(registration.put(owner, key));
        }
    }

    /// Tells what is due to the accounts of a domain and was not told, as after a restart.
    pub(super) async fn take_up(self: &Arc<Self>, engine: &Arc<Engine>, domain: &str) {
        let mut after = None;
        loop {
            let page = match engine.stores.data.everyones(due::KIND, after.take()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "What is due to devices could not be read.");
                    return;
                }
            };
            let Some((owner, row)) = page.last() else { return };
            after = Some((owner.clone(), row.key.clone()));
            for (owner, row) in page {
                if owner.domain() == domain && due::is_untold(&row.value) {
                    self.open(engine, (owner, row.key), false);
                }
            }
        }
    }
}

/// Submits what was staged, if anything was.
pub(super) fn submit(engine: &Engine, stage: Stage) -> Option<Ticket> {
    (!stage.is_empty()).then(|| engine.stores.writer.submit(stage))
}

/// §7.1: whether a service will not take notifications for the node any more, for all that is known.
fn is_final(error: &StanzaError) -> bool {
    let may_pass = error.kind == ErrorType::Wait
        || matches!(
            error.condition,
            Condition::InternalServerError
                | Condition::RecipientUnavailable
                | Condition::RemoteServerNotFound
                | Condition::RemoteServerTimeout
                | Condition::ResourceConstraint
                | Condition::ServiceUnavailable
                | Condition::UndefinedCondition
        );
    !may_pass
}

const MINUTE: Duration = Duration::from_secs(60);
/// The longest wait is 2 to this many times the first.
const RETRY_DOUBLINGS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_1_what_may_pass_is_told_from_what_will_not() {
        let is_final = |condition, kind| is_final(&StanzaError::new(condition).of_type(kind));
        for condition in [
            Condition::ItemNotFound,
            Condition::Forbidden,
            Condition::NotAuthorized,
            Condition::NotAllowed,
            Condition::Gone,
            Condition::BadRequest,
            Condition::FeatureNotImplemented,
        ] {
            let kind = StanzaError::new(condition).kind;
            assert!(is_final(condition, kind), "{condition:?}");
            assert!(!is_final(condition, ErrorType::Wait), "{condition:?}, later");
        }
        for condition in [
            Condition::RemoteServerTimeout,
            Condition::RemoteServerNotFound,
            Condition::ServiceUnavailable,
            Condition::InternalServerError,
            Condition::ResourceConstraint,
        ] {
            assert!(!is_final(condition, ErrorType::Cancel), "{condition:?}");
        }
    }

    #[test]
    fn waits_grow_and_are_spread() {
        let lanes = Lanes::new(Config::default());
        for failures in 1..8 {
            let usual = 5_000 << (failures - 1);
            let wait = lanes.patience_ms(failures);
            assert!((usual / 2..=usual * 3 / 2).contains(&wait), "{failures}: {wait}");
        }
        assert!(lanes.patience_ms(u32::MAX) < 8_000_000);
    }
}
