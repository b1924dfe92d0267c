//! A notification on its way to a service, and what follows from the answer (§7.1).

use std::sync::Arc;

use stentor_engine::request::about;
use stentor_engine::{Account, Engine, Host};
use stentor_jid::BareJid;
use stentor_payload::xep0357_push::{Summary, write_publish};
use stentor_stanza::{Condition, ErrorType, IqType, StanzaError};
use stentor_store::Stage;

use super::config::Config;
use super::due::{Dues, Notice};
use super::lanes::{settle, submit};
use super::registration::{self, Registration, Registrations};
use super::services::{Pass, Service};
use crate::limits::millis;

/// An account and the key of one of its registrations.
pub(super) type Place = (BareJid, String);

/// A notification that leaves.
pub(super) struct Delivery {
    pub(super) account: Arc<Account>,
    pub(super) host: Arc<Host>,
    pub(super) registration: Registration,
    pub(super) service: Arc<Service>,
    pub(super) notice: Notice,
    /// How often somebody had looked, see [`Dues::looks`].
    pub(super) looks: u64,
    pub(super) summary: Summary,
    /// Its place on the way, until the answer is there.
    pub(super) _pass: Pass,
}

/// What follows.
pub(super) enum Outcome {
    /// It was told, or need not be any more.
    Done,
    /// It is sent again after so many milliseconds.
    Again { ms: u64 },
    /// It is sent again then, in milliseconds since 1970, at the earliest.
    Paused { until_ms: i64 },
    /// The device is told nothing any more.
    Gone,
}

/// Attempts in a row that came to nothing.
#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    /// How often the service had answered before the first of them.
    answers: u64,
}

impl Delivery {
    /// Sends it and waits for the answer.
    pub(super) async fn send(
        self,
        engine: &Arc<Engine>,
        place: &Place,
        config: &Config,
        failures: &mut Failures,
    ) -> Outcome {
        let options = self.registration.options();
        let (service, node) = (&self.registration.service, self.registration.node.as_deref());
        self.log(place, "push_published", None);
        engine.metrics.pushes_tried.inc();
        let asked_ms = engine.clock.steady_ms();
        let answer = engine
            .request(&self.host, service, IqType::Set, |w| {
                write_publish(w, node, &self.summary, options.as_ref());
            })
            .await;
        let took_ms = engine.clock.steady_ms().saturating_sub(asked_ms);
        let took_ms = u32::try_from(took_ms.max(0)).unwrap_or(u32::MAX);
        engine.metrics.pushes_secs.note(self.service.name(), f64::from(took_ms) / 1_000.0);
        if let Err(error) = &answer {
            let reason = [("condition", error.condition.name())];
            engine.metrics.pushes_failed.get_or_create(&reason).inc();
        }
        match answer {
            Ok(_) => self.taken(engine, place, failures).await,
            Err(error) if is_final(&error) => {
                self.service.note_answer();
                self.log(place, "push_refused", Some(&error));
                remove(engine, place, config, error.condition).await;
                Outcome::Gone
            }
            Err(error) => self.failed(engine, place, config, failures, &error).await,
        }
    }

    async fn taken(&self, engine: &Arc<Engine>, place: &Place, failures: &mut Failures) -> Outcome {
        *failures = Failures::default();
        self.service.note_answer();
        engine.metrics.pushes_sent.inc();
        self.log(place, "push_sent", None);
        let (owner, key) = place;
        let mut stage = Stage::default();
        let ticket = {
            let mut state = self.account.lock();
            state.slots.entry::<Dues>().told(owner, key, &mut stage);
            submit(engine, stage)
        };
        settle(engine, &self.account, ticket).await;
        Outcome::Done
    }

    async fn failed(
        &self,
        engine: &Arc<Engine>,
        place: &Place,
        config: &Config,
        failures: &mut Failures,
        error: &StanzaError,
    ) -> Outcome {
        if !is_unreached(error) {
            self.service.note_answer();
        }
        if failures.count == 0 {
            failures.answers = self.service.answers();
        }
        failures.count += 1;
        let (owner, key) = place;
        let now_ms = engine.clock.unix_ms();
        let mut stage = Stage::default();
        let (outcome, ticket) = {
            let mut state = self.account.lock();
            let dues = state.slots.entry::<Dues>();
            if !dues.give_back(key, self.notice.clone(), self.looks) {
                return Outcome::Done;
            }
            if failures.count < config.tries_max {
                engine.metrics.pushes_retried.inc();
                self.log(place, "push_retried", Some(error));
                return Outcome::Again { ms: patience_ms(config, failures.count) };
            }
            let until_ms = now_ms.saturating_add(millis(config.pause_secs));
            engine.metrics.pushes_paused.inc();
            self.log(place, "push_paused", Some(error));
            // It answers nobody: the others need not find out for themselves.
            if self.service.answers() == failures.answers && self.service.silence(until_ms, now_ms)
            {
                engine.metrics.pushes_services_silent.inc();
                let service = self.registration.service.domain();
                tracing::warn!(
                    event = "push_service_silent",
                    service,
                    secs = config.pause_secs,
                    "A push service does not answer and is left alone."
                );
            }
            let registrations = state.slots.find_mut::<Registrations>();
            if let Some(registration) = registrations.and_then(|r| r.0.get_mut(key)) {
                registration.paused_until_ms = until_ms;
                stage.push(registration.put(owner, key));
            }
            (Outcome::Paused { until_ms }, submit(engine, stage))
        };
        settle(engine, &self.account, ticket).await;
        outcome
    }

    fn log(&self, place: &Place, event: &str, error: Option<&StanzaError>) {
        let condition = error.map(|error| error.condition.name());
        let (kind, mark, service) =
            (self.notice.kind.name(), &self.notice.mark, self.registration.service.domain());
        let device = self.registration.mark();
        let account = &place.0;
        tracing::info!(event, %account, mark, service, device, kind, condition, "A notification was published, or not.");
    }
}

/// Removes a registration whose service refuses, or may not be told any more, and says so to the user.
pub(super) async fn remove(
    engine: &Arc<Engine>,
    place: &Place,
    config: &Config,
    reason: Condition,
) {
    let (owner, key) = place;
    let (Some(host), Ok(Some(account))) =
        (engine.host(owner.domain()), engine.account(owner).await)
    else {
        return;
    };
    let mut stage = Stage::default();
    let (removed, ticket) = {
        let mut state = account.lock();
        let registrations = state.slots.find::<Registrations>();
        let Some(removed) = registrations.and_then(|r| r.0.get(key)).cloned() else { return };
        registration::remove(engine, &mut state, owner, &mut stage, |r| *r == removed);
        (removed, submit(engine, stage))
    };
    settle(engine, &account, ticket).await;
    engine.metrics.pushes_removed.inc();
    let (service, condition) = (removed.service.domain(), reason.name());
    tracing::info!(event = "push_removed", account = %owner, service, device = removed.mark(), condition, "A device is told nothing any more.");
    if config.tell_removed {
        let resource = removed.resource();
        let text = format!(
            "Notifications to the device `{resource}` are off: the service {service} does not take \
             them any more ({condition}). Switch them on again there."
        );
        engine.tell_present(&host, owner, &text).await;
    }
}

fn patience_ms(config: &Config, failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(RETRY_DOUBLINGS_MAX);
    about(config.retry_secs.saturating_mul(1_000 << doublings))
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

/// Whether the error says that the service was not there, for all that is known.
const fn is_unreached(error: &StanzaError) -> bool {
    matches!(
        error.condition,
        Condition::RemoteServerNotFound
            | Condition::RemoteServerTimeout
            | Condition::ServiceUnavailable
            | Condition::RecipientUnavailable
    )
}

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
        let config = Config::default();
        for failures in 1..8 {
            let usual = 5_000 << (failures - 1);
            let wait = patience_ms(&config, failures);
            assert!((usual / 2..=usual * 3 / 2).contains(&wait), "{failures}: {wait}");
        }
        assert!(patience_ms(&config, u32::MAX) < 8_000_000);
    }
}
