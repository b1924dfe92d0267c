//! What becomes of a sign-in that failed: it is noted, who tries too often waits for the answer, and
//! those whom it concerns are told.

use stentor_jid::BareJid;
use stentor_sasl::Condition;
use stentor_stream::event::Tried;

use super::{Done, Driver, Silence};
use crate::finding::{is_guess, reason};
use crate::limits::LOGGED_NAME_BYTES_MAX;

impl Driver {
    /// `condition` is what the client was told; nothing if the stream ended before that.
    pub(super) fn sign_in_failed(&mut self, tried: &Tried, condition: Option<Condition>) {
        let shared = &self.link.listener.shared;
        let engine = &shared.engine;
        engine.metrics.sign_ins_failed.inc();
        let source = self.link.peer.ip();
        let username = tried.username.as_deref();
        let domain = tried.domain.as_deref();
        let account = username.and_then(|name| BareJid::from_parts(Some(name), domain?).ok());
        // What cannot be an account is shown as it was claimed.
        let claimed = account.as_ref().map(BareJid::as_str).or(username);
        let claimed = claimed.map(|name| &name[..name.floor_char_boundary(LOGGED_NAME_BYTES_MAX)]);
        let finding = self.signing_in.as_mut().and_then(|signing_in| signing_in.finding.take());
        let now_ms = engine.clock.unix_ms();
        tracing::warn!(
            event = "sign_in_failed",
            %source,
            account = claimed,
            mechanism = tried.mechanism.as_deref(),
            tls = self.tls_version(),
            reason = reason(condition, finding),
            condition = condition.map_or("none", Condition::name),
            "A sign-in failed."
        );
        if !condition.is_some_and(|condition| is_guess(condition, finding)) {
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
