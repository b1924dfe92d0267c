//! What becomes of a sign-in that failed: it is noted, who tries too often waits for the answer, and
//! those whom it concerns are told.

use stentor_jid::BareJid;
use stentor_sasl::{Condition, Mechanism};

use super::{Done, Driver, Silence};

impl Driver {
    pub(super) fn sign_in_failed(
        &mut self,
        username: Option<&str>,
        mechanism: Option<Mechanism>,
        condition: Condition,
    ) {
        let shared = &self.link.listener.shared;
        let engine = &shared.engine;
        engine.metrics.sign_ins_failed.inc();
        let source = self.link.peer.ip();
        let account =
            username.and_then(|name| BareJid::from_parts(Some(name), self.machine.domain()?).ok());
        let now_ms = engine.clock.unix_ms();
        tracing::warn!(
            event = "sign_in_failed",
            %source,
            account = account.as_ref().map(BareJid::as_str),
            mechanism = mechanism.map(Mechanism::name),
            tls = self.tls_version(),
            condition = condition.name(),
            "A sign-in failed."
        );
        // Only guesses count: a client that aborts or speaks another mechanism has tried nothing.
        if !matches!(condition, Condition::NotAuthorized | Condition::AccountDisabled) {
            return;
        }
        let guard = &engine.credentials.guard;
        let (source_locked, account_locked) = guard.failed(Some(source), account.as_ref(), now_ms);
        if source_locked {
            tracing::warn!(event = "source_blocked", %source, "A source is blocked for too many failed sign-ins.");
        }
        if account_locked {
            tracing::warn!(
                event = "account_locked",
                account = account.as_ref().map(BareJid::as_str),
                "An account is locked for too many failed sign-ins."
            );
        }
        let delay = guard.delay(source, account.as_ref(), now_ms);
        if let Some(account) = account.filter(|_| account_locked) {
            let engine = engine.clone();
            tokio::spawn(async move { engine.tell_of_lock(&account).await });
        }
        if !delay.is_zero() {
            self.silence = Silence::LateAnswer;
            self.work = Some(Box::pin(async move {
                tokio::time::sleep(delay).await;
                Done::Waited
            }));
        }
    }
}
