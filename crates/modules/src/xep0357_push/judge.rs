//! When others are told of a message: that depends on who has it, and on whether somebody looks.

use std::sync::Arc;

use stentor_engine::worth::Wake;
use stentor_engine::{Flag, Observed, Resource};

use super::config::Config;
use crate::limits::millis;

/// When a message is told of.
pub(super) enum When {
    /// An active client has it.
    Never,
    /// At once; to all devices but those of these sessions.
    Now(Vec<Arc<Resource>>),
    /// After a time, unless one of these has acknowledged it: so many stanzas each.
    Unless(Vec<(Arc<Resource>, u64)>),
}

/// Judges a message that these sessions were given.
pub(super) fn when(
    config: &Config,
    sessions: &[Arc<Resource>],
    seen: &Observed<'_>,
    wake: Wake,
    now_ms: i64,
) -> When {
    let is_handed = |r: &Resource| seen.handed == Some(r.serial);
    let has_it = |r: &&Arc<Resource>| {
        seen.took.contains(&r.serial) || seen.copied.contains(&r.serial) || is_handed(r)
    };
    let mut looking = Vec::new();
    let mut watch = Vec::new();
    for session in sessions.iter().filter(has_it).filter(|r| !is_inactive(config, r, now_ms)) {
        let is_detached = session.has(Flag::Detached);
        match session.outbox.queued() {
            // Nobody answers a call in the time that it takes to come back.
            Some(_) if is_detached && wake == Wake::Call => {}
            // What is stored comes before it: more than what has been sent must be acknowledged.
            Some(queued) if is_handed(session) => watch.push((session.clone(), queued + 1)),
            Some(queued) => watch.push((session.clone(), queued)),
            // Whoever does not acknowledge has what was sent.
            None if !is_detached => looking.push(session.clone()),
            None => {}
        }
    }
    if config.beside_active {
        looking.extend(watch.into_iter().map(|(session, _)| session));
        looking.retain(|session| !session.has(Flag::Detached));
        When::Now(looking)
    } else if !looking.is_empty() {
        When::Never
    } else if watch.is_empty() {
        When::Now(Vec::new())
    } else {
        When::Unless(watch)
    }
}

/// Whether somebody looks at a client now, as far as is known.
pub(super) fn is_looking(config: &Config, session: &Resource, now_ms: i64) -> bool {
    !session.has(Flag::Detached) && !is_inactive(config, session, now_ms)
}

fn is_inactive(config: &Config, session: &Resource, now_ms: i64) -> bool {
    let since = session.inactive_ms();
    since.is_some_and(|since| now_ms.saturating_sub(since) >= millis(config.inactive_secs))
}
