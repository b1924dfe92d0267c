//! The ways to devices, one for each: what is due to a device is told it in order, one notification
//! at a time. While one is under way, or too many have been sent, the next ones become one.
//!
//! A way is there while something is due, and a task serves it. What is due is in memory and in the
//! store with the account, so a way that is given up loses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use stentor_engine::tally::Tally;
use stentor_engine::{Account, AccountState, Engine, Host, Resource};
use stentor_jid::BareJid;
use stentor_payload::xep0357_push::Urgency;
use stentor_stanza::Condition;
use stentor_store::{Stage, Ticket};
use tokio::sync::Notify;

use super::choice::{self, Told};
use super::config::Config;
use super::delivery::{Delivery, Failures, Outcome, Place, remove};
use super::due::{self, Dues, Kind, Notice};
use super::load::Load;
use super::pulse;
use super::registration::Registrations;
use super::services::{Pass, Service, Services};
use crate::limits::PUSH_LANES_MAX;

/// All of them.
pub(super) struct Lanes {
    config: Config,
    pub(super) lanes: Mutex<HashMap<Place, Lane>>,
    pub(super) load: Load,
    /// Whether somebody looks at the load, and at how long something waits. Under the lock of `lanes`.
    pub(super) is_watched: AtomicBool,
    services: Services,
    /// How many notifications went to each device of late, the urgent ones by themselves.
    rates: Mutex<Tally<(Place, bool)>>,
    /// Whether something was put off because there were too many.
    has_more: AtomicBool,
    wakes: Mutex<Wakes>,
    /// How many notices there have been.
    count: AtomicU64,
}

/// Devices that are looked at again later, by the minute. What has no room is found by the chores.
#[derive(Default)]
struct Wakes {
    by_minute: BTreeMap<i64, HashSet<Place>>,
    count: usize,
}

#[derive(Default)]
pub(super) struct Lane {
    /// Since when it is there, in milliseconds since 1970.
    pub(super) since_ms: i64,
    /// Whether more has become due since it was last looked.
    is_called: bool,
    /// Told when somebody waits for that.
    urgent: Arc<Notify>,
}

/// What is done next on a way.
enum Step {
    /// It is looked what is due.
    Look,
    /// Nothing for so many milliseconds; something urgent may end that.
    Wait { ms: u64, unless_urgent: bool },
    /// It is waited until less is on its way to the service; something urgent may end that.
    Queue { service: Arc<Service>, is_high: bool },
    /// It is waited until the server has less to do; something urgent may end that.
    Rest,
    /// This is sent.
    Send(Box<Delivery>),
    /// The service will not be told of this account any more, for this reason.
    Remove(Condition),
    /// Nothing until then, in milliseconds since 1970.
    EndUntil(i64),
    /// Nothing any more.
    End,
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
    let keys = keys(state, engine.clock.unix_ms(), looking, &notice.deaf);
    let notice = &notice.clone().not_to(Vec::new());
    let dues = state.slots.entry::<Dues>();
    for (key, is_paused) in keys {
        if dues.add(owner, &key, notice.clone(), stage) {
            engine.metrics.pushes_folded.inc();
        }
        if !is_paused {
            lanes.open(engine, (owner.clone(), key), notice.kind);
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
    let keys = keys(state, now_ms, &[], &notice.deaf);
    let notice = &notice.clone().not_to(Vec::new());
    let dues = state.slots.entry::<Dues>();
    keys.iter().for_each(|(key, _)| dues.foresee(owner, key, notice, stage));
}

/// What is due may be told now, or differently: the user has chosen.
pub(super) fn look_again(
    lanes: &Arc<Lanes>,
    engine: &Arc<Engine>,
    owner: &BareJid,
    state: &AccountState,
) {
    let Some(dues) = state.slots.find::<Dues>() else { return };
    for (key, kind) in dues.untold() {
        lanes.open(engine, (owner.clone(), key), kind);
    }
}

/// The registrations of all devices of an account but those of some sessions, and these, and whether
/// each is paused.
fn keys(
    state: &AccountState,
    now_ms: i64,
    looking: &[Arc<Resource>],
    deaf: &[String],
) -> Vec<(String, bool)> {
    let Some(registrations) = state.slots.find::<Registrations>() else { return Vec::new() };
    (registrations.0.iter())
        .filter(|(_, r)| r.has_access(state, now_ms) && !looking.iter().any(|s| r.is_of(s)))
        .filter(|(key, r)| choice::told(state, r) > Told::Nothing && !deaf.contains(key))
        .map(|(key, r)| (key.clone(), r.paused_until_ms > now_ms))
        .collect()
}

impl Lanes {
    pub(super) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            services: Services::new(config.under_way_max),
            load: Load::new(config.late_ms_max),
            is_watched: AtomicBool::new(false),
            config,
            lanes: Mutex::default(),
            rates: Mutex::default(),
            has_more: AtomicBool::new(false),
            wakes: Mutex::default(),
            count: AtomicU64::new(0),
        })
    }

    /// What the operator chose.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// What the log calls the next notice, also after a restart.
    pub(super) fn mark(&self, now_ms: i64) -> String {
        format!("{now_ms:x}-{:x}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Sees to it that what is due to a device is sent.
    fn open(self: &Arc<Self>, engine: &Arc<Engine>, place: Place, kind: Kind) {
        {
            let mut lanes = self.lanes.lock();
            if let Some(lane) = lanes.get_mut(&place) {
                lane.is_called = true;
                if kind.urgency() == Urgency::High {
                    lane.urgent.notify_one();
                }
                return;
            }
            let room = if kind.is_urgent() { 2 * PUSH_LANES_MAX } else { PUSH_LANES_MAX };
            if lanes.len() >= room {
                self.has_more.store(true, Ordering::Release);
                engine.metrics.pushes_put_off.inc();
                return;
            }
            let since_ms = engine.clock.unix_ms();
            lanes.insert(place.clone(), Lane { since_ms, ..Lane::default() });
            if !self.is_watched.swap(true, Ordering::AcqRel) {
                pulse::begin(self, engine);
            }
        }
        engine.metrics.pushes_waiting.inc();
        let (lanes, engine) = (self.clone(), engine.clone());
        engine.clone().start(async move { lanes.serve(&engine, place).await });
    }

    async fn serve(self: Arc<Self>, engine: &Arc<Engine>, place: Place) {
        let mut failures = Failures::default();
        let mut pass = None;
        let mut step = Step::Look;
        loop {
            step = match step {
                Step::Look => self.look(engine, &place, pass.take()).await,
                Step::Send(delivery) => {
                    let outcome = delivery.send(engine, &place, &self.config, &mut failures).await;
                    Step::from(outcome)
                }
                Step::Queue { service, is_high } => {
                    pass = self.queue(engine, &place, &service, is_high).await;
                    Step::Look
                }
                Step::Rest => {
                    self.rest(engine, &place).await;
                    Step::Look
                }
                Step::Wait { ms, unless_urgent } => {
                    self.wait(&place, ms, unless_urgent).await;
                    Step::Look
                }
                Step::Remove(reason) => {
                    remove(engine, &place, &self.config, reason).await;
                    Step::End
                }
                Step::EndUntil(choice::FOREVER) => Step::End,
                Step::EndUntil(until_ms) => {
                    self.wake_later(engine, &place, until_ms);
                    Step::End
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

    fn urgent(&self, place: &Place) -> Arc<Notify> {
        let lanes = self.lanes.lock();
        lanes.get(place).map(|lane| lane.urgent.clone()).unwrap_or_default()
    }

    async fn wait(&self, place: &Place, ms: u64, unless_urgent: bool) {
        let urgent = self.urgent(place);
        let wait = Duration::from_millis(ms);
        if unless_urgent {
            drop(tokio::time::timeout(wait, urgent.notified()).await);
        } else {
            tokio::time::sleep(wait).await;
        }
    }

    async fn queue(
        &self,
        engine: &Engine,
        place: &Place,
        service: &Service,
        is_high: bool,
    ) -> Option<Pass> {
        let urgent = self.urgent(place);
        engine.metrics.pushes_throttled.inc();
        let pass = tokio::select! {
            pass = service.enter(is_high) => pass,
            () = urgent.notified(), if !is_high => None,
        };
        engine.metrics.pushes_throttled.dec();
        pass
    }

    async fn rest(&self, engine: &Engine, place: &Place) {
        let urgent = self.urgent(place);
        engine.metrics.pushes_throttled.inc();
        tokio::select! {
            () = self.load.relief() => {}
            () = urgent.notified() => {}
        }
        engine.metrics.pushes_throttled.dec();
    }

    /// What is to be done for a device now.
    async fn look(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        place: &Place,
        pass: Option<Pass>,
    ) -> Step {
        let (owner, _) = place;
        let Some(host) = engine.host(owner.domain()) else { return Step::End };
        match host.profile.shared::<Self>() {
            Some(current) if Arc::ptr_eq(self, &current) => {}
            // The configuration has changed: what holds now decides.
            current => {
                current.iter().for_each(|current| current.open(engine, place.clone(), Kind::Quiet));
                return Step::End;
            }
        }
        let account = match engine.account(owner).await {
            Ok(Some(account)) => account,
            Ok(None) => return Step::End,
            Err(error) => {
                tracing::error!(event = "store_failed", account = %owner, %error, "What is due to devices could not be read.");
                return Step::End;
            }
        };
        let now_ms = engine.clock.unix_ms();
        let mut stage = Stage::default();
        let (step, ticket) = {
            let mut state = account.lock();
            let scene = Scene { account: &account, host, place, now_ms };
            let step = self.next(engine, scene, &mut state, &mut stage, pass);
            (step, submit(engine, stage))
        };
        settle(engine, &account, ticket).await;
        step
    }

    fn next(
        &self,
        engine: &Engine,
        scene: Scene<'_>,
        state: &mut AccountState,
        stage: &mut Stage,
        pass: Option<Pass>,
    ) -> Step {
        let Scene { account, host, place, now_ms } = scene;
        let (owner, key) = place;
        let requests = u32::try_from(state.roster.requests_len()).unwrap_or(u32::MAX);
        let Some(registration) = state.slots.find::<Registrations>().and_then(|r| r.0.get(key))
        else {
            return Step::End;
        };
        let registration = registration.clone();
        let told = choice::told(state, &registration);
        let closed = choice::closed_until_ms(state, now_ms);
        let dues = state.slots.entry::<Dues>();
        if let Some(mark) = dues.expire(key, now_ms, &self.config) {
            dues.told(owner, key, stage);
            engine.metrics.pushes_expired.inc();
            tracing::info!(event = "push_expired", account = %owner, mark, "A notification came too late to be sent.");
        }
        let Some(notice) = dues.find(key) else { return Step::End };
        let (kind, mark) = (notice.kind, notice.mark.clone());
        let closed = closed.filter(|_| kind != Kind::Quiet && !notice.passes);
        if !self.config.allows(registration.service.domain()) {
            return Step::Remove(Condition::NotAllowed);
        }
        if told == Told::Nothing {
            return Step::End;
        }
        if let Some((until_ms, reason)) = closed {
            hold(engine, owner, &mark, reason);
            return Step::EndUntil(until_ms);
        }
        let service = self.services.find(&registration.service, now_ms);
        let until_ms = registration.paused_until_ms.max(service.silent_until_ms());
        if until_ms > now_ms {
            return Step::EndUntil(until_ms);
        }
        let (is_urgent, is_high) = (kind.is_urgent(), kind.urgency() == Urgency::High);
        let rate = (place.clone(), is_urgent);
        let mut rates = self.rates.lock();
        if let Some(until_ms) = rates.full_until_ms(&rate, self.config.per_minute, now_ms) {
            hold(engine, owner, &mark, "rate");
            let ms = u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(0);
            return Step::Wait { ms, unless_urgent: !is_urgent };
        }
        let pass = match pass.map_or_else(|| self.enter(&service, is_high), Ok) {
            Ok(pass) => pass,
            Err(step) => return step.held(engine, owner, &mark),
        };
        let looks = dues.looks();
        let Some((unseen, notice)) = dues.take(key) else { return Step::End };
        rates.add(rate, MINUTE, self.config.per_minute, now_ms);
        let summary = notice.summary(unseen, requests, &self.config, told);
        let account = account.clone();
        Step::Send(Box::new(Delivery {
            account,
            host,
            registration,
            service,
            notice,
            looks,
            summary,
            _pass: pass,
        }))
    }

    /// A place on the way to a service, or for what something waits that may.
    fn enter(&self, service: &Arc<Service>, is_high: bool) -> Result<Pass, Step> {
        if !is_high && self.load.is_pressed() {
            return Err(Step::Rest);
        }
        let queue = || Step::Queue { service: service.clone(), is_high };
        service.try_enter(is_high).ok_or_else(queue)
    }

    /// Looks again what is due to a device: then, or within the minute after it.
    fn wake_later(self: &Arc<Self>, engine: &Arc<Engine>, place: &Place, until_ms: i64) {
        let minute = until_ms.div_euclid(WAKE_MS).saturating_add(1);
        if !self.wakes.lock().add(minute, place) {
            return;
        }
        let wait_ms = minute.saturating_mul(WAKE_MS).saturating_sub(engine.clock.unix_ms());
        let (lanes, engine_too) = (self.clone(), engine.clone());
        engine.start(async move {
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
            let places = lanes.wakes.lock().take(minute);
            places.into_iter().for_each(|place| lanes.open(&engine_too, place, Kind::Quiet));
        });
    }

    /// Tells what is due to the accounts of a domain and was not told, as after a restart.
    pub(super) async fn take_up(self: &Arc<Self>, engine: &Arc<Engine>, domain: &str) {
        let mut after = None;
        loop {
            let page = match engine.stores.data.everyones(due::KIND, after.take()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(event = "store_failed", %error, "What is due to devices could not be read.");
                    return;
                }
            };
            let Some((owner, row)) = page.last() else { return };
            after = Some((owner.clone(), row.key.clone()));
            for (owner, row) in page {
                if owner.domain() == domain && due::is_untold(&row.value) {
                    self.open(engine, (owner, row.key), Kind::Quiet);
                }
            }
        }
    }
}

impl Step {
    /// The same; the log says that a notification waits for it.
    fn held(self, engine: &Engine, owner: &BareJid, mark: &str) -> Self {
        hold(engine, owner, mark, if matches!(self, Self::Rest) { "processor" } else { "load" });
        self
    }
}

impl Wakes {
    /// Notes a device. Whether it is the first of its minute.
    fn add(&mut self, minute: i64, place: &Place) -> bool {
        if self.count >= PUSH_LANES_MAX {
            return false;
        }
        let places = self.by_minute.entry(minute).or_default();
        let is_first = places.is_empty();
        self.count += usize::from(places.insert(place.clone()));
        is_first
    }

    fn take(&mut self, minute: i64) -> HashSet<Place> {
        let places = self.by_minute.remove(&minute).unwrap_or_default();
        self.count -= places.len();
        places
    }
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Look,
            Outcome::Again { ms } => Self::Wait { ms, unless_urgent: false },
            Outcome::Paused { until_ms } => Self::EndUntil(until_ms),
            Outcome::Gone => Self::End,
        }
    }
}

/// Of which device it is decided what is to be done, and when.
struct Scene<'a> {
    account: &'a Arc<Account>,
    host: Arc<Host>,
    place: &'a Place,
    now_ms: i64,
}

fn hold(engine: &Engine, owner: &BareJid, mark: &str, reason: &str) {
    engine.metrics.pushes_held.inc();
    tracing::info!(event = "push_held", account = %owner, mark, reason, "A notification waits.");
}

/// Submits what was staged, if anything was.
pub(super) fn submit(engine: &Engine, stage: Stage) -> Option<Ticket> {
    (!stage.is_empty()).then(|| engine.stores.writer.submit(stage))
}

/// Waits until it is on disk. A refusal is logged, and the account read anew.
pub(super) async fn settle(engine: &Arc<Engine>, account: &Arc<Account>, ticket: Option<Ticket>) {
    if let Some(ticket) = ticket {
        let _ = engine.settle(account, ticket).await;
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Devices that are looked at again within so many milliseconds are looked at together.
const WAKE_MS: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_to_be_looked_at_later_are_bounded() {
        let mut wakes = Wakes::default();
        let place = |n: usize| (BareJid::new("juliet@capulet.example").unwrap(), n.to_string());
        assert!(wakes.add(1, &place(0)));
        assert!(!wakes.add(1, &place(0)) && !wakes.add(1, &place(1)) && wakes.add(2, &place(1)));
        assert_eq!(wakes.count, 3);
        assert_eq!(wakes.take(1).len(), 2);
        (0..2 * PUSH_LANES_MAX).for_each(|n| _ = wakes.add(3, &place(n)));
        assert_eq!(wakes.count, PUSH_LANES_MAX);
        assert_eq!((wakes.take(2).len(), wakes.take(3).len()), (1, PUSH_LANES_MAX - 1));
        assert_eq!(wakes.count, 0);
    }
}
