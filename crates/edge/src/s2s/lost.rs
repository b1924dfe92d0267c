//! Servers that cannot be reached, while users of ours look at contacts there: they are sought, and
//! meanwhile their users are shown as gone (RFC 6121 §4.3.1).

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use stentor_stanza::Stanza;
use stentor_stream::s2s::Pair;

use super::link::{Link, Trouble};
use super::links::Links;
use super::waiting::Waiting;
use crate::limits::{S2S_LOOK_MS, S2S_PRESENCE_WAIT_MS, S2S_SEEK_WAIT_MS};
use crate::monotonic;

impl Links {
    /// Looks after a domain of which nobody may hear any more: a stream has ended, or none came to
    /// be. One task for each pair, as long as anybody looks at a contact there.
    pub(crate) fn look_after(self: &Arc<Self>, link: &Arc<Link>) {
        let Pair { local, remote } = &link.pair;
        let is_wanted = self.federation.engine.looks_at(local, remote);
        if is_wanted && !*self.federation.stopping().borrow() && link.begin_seeking() {
            let (links, link) = (self.clone(), link.clone());
            tokio::spawn(async move {
                links.seek(&link).await;
                link.end_seeking();
            });
        }
    }

    /// The peer has shown that it is there: whoever waits for another attempt need not.
    pub(crate) fn reached(self: &Arc<Self>, pair: &Pair) {
        if let Some(link) = self.find(pair) {
            link.reached();
        }
    }

    async fn seek(self: &Arc<Self>, link: &Arc<Link>) {
        let Pair { local, remote } = &link.pair;
        let (engine, mut stopping) = (&self.federation.engine, self.federation.stopping());
        let (silence_ms, soon_ms) =
            (self.federation.policy.silence_ms, self.federation.policy.back_off_ms);
        let (mut is_lost, mut answers_due) = (false, None);
        loop {
            if !self.federation.allows(remote) {
                engine.show_lost(local, remote).await;
                return;
            }
            let tried = link.until_tried();
            let (trouble, is_in_doubt) = (link.trouble(), link.is_in_doubt());
            let now = monotonic::now();
            let lost_at = |trouble: Trouble| trouble.since.plus(silence_ms);
            let due = match trouble {
                None if is_in_doubt => now.plus(soon_ms),
                None => now.plus(S2S_LOOK_MS),
                Some(trouble) if is_lost || lost_at(trouble) <= now => trouble.until,
                Some(trouble) => trouble.until.min(lost_at(trouble)),
            };
            let due = answers_due.map_or(due, |answers_due| due.min(answers_due));
            let is_due = tokio::select! {
                () = tokio::time::sleep_until(monotonic::instant(due)) => true,
                () = tried => false,
                _ = stopping.changed() => return,
            };
            if answers_due.take_if(|due| *due <= monotonic::now()).is_some() {
                engine.show_silent(local, remote).await;
                continue;
            }
            let is_back = is_in_doubt && !link.is_in_doubt();
            if !is_back && !is_due {
                continue;
            }
            let mut probes = engine.probes_abroad(local, remote).into_iter();
            let Some(first) = probes.next() else { return };
            if is_in_doubt {
                engine.expect_abroad(local, remote);
            }
            if self.answers(link, first).await {
                if is_in_doubt {
                    // How they are now, whatever was seen before.
                    is_lost = false;
                    let wait_ms = silence_ms.min(S2S_PRESENCE_WAIT_MS);
                    answers_due = Some(monotonic::now().plus(wait_ms));
                    probes.for_each(|probe| self.probe(link, probe));
                }
            } else {
                probes.for_each(|probe| engine.note_missed(&probe));
                let is_long_ago =
                    trouble.is_some_and(|t| t.since.plus(silence_ms) <= monotonic::now());
                if is_long_ago && !std::mem::replace(&mut is_lost, true) {
                    tracing::info!(
                        event = "s2s_lost",
                        local,
                        remote,
                        "A server is lost: its users are shown as gone."
                    );
                    engine.show_lost(local, remote).await;
                }
            }
        }
    }

    /// Whether a server can be reached to ask it something.
    async fn answers(self: &Arc<Self>, link: &Arc<Link>, probe: Stanza) -> bool {
        let tried = link.until_tried();
        self.probe(link, probe);
        if !link.is_standing() {
            let wait = Duration::from_millis(S2S_SEEK_WAIT_MS);
            let _ = tokio::time::timeout(wait, tried).await;
        }
        !link.is_in_doubt()
    }

    /// Queues a probe although the last attempt failed.
    fn probe(self: &Arc<Self>, link: &Arc<Link>, probe: Stanza) {
        let unix_ms = self.federation.engine.clock.unix_ms();
        let waiting = Waiting::new(probe, None, monotonic::now(), unix_ms);
        // Where there is no room, something else shows whether the server is there.
        let _ = link.queue.push(waiting);
        self.ensure_taker(link);
    }
}

/// A wait with a random part of up to a quarter more, so that not everybody comes at once.
pub(super) fn spread(wait_ms: u64) -> u64 {
    let random = RandomState::new().hash_one(wait_ms);
    wait_ms.saturating_add(random % (wait_ms / 4 + 1))
}
