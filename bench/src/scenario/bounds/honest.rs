//! Those who do nothing wrong: pairs that chat at a steady rate, and a visitor who signs in and leaves
//! over and over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::chat::{Chat, Options as ChatOptions, Pair};
use super::super::{Load as _, Meter, Timing, settle};
use super::{OVER, Options};
use crate::fleet::{Fleet, Login, News};
use crate::histogram::Histogram;
use crate::target::Target;

pub(super) struct Honest {
    fleet: Fleet,
    chat: Chat,
    visitor: usize,
    login: Login,
}

/// What they noticed.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) messages: Meter,
    pub(super) sign_ins: Histogram,
    pub(super) failed_sign_ins: u64,
}

impl Honest {
    pub(super) fn sign_in(
        target: &Target,
        mut fleet: Fleet,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let Options { pairs, rate, .. } = *options;
        let visitor = 2 * pairs;
        for _ in 0..=visitor {
            fleet.add();
        }
        target.sign_in(&mut fleet, 0..visitor, |who| target.login(who))?;
        (0..visitor).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
        settle(&mut fleet)?;
        let chat = ChatOptions {
            pairs,
            window: 1,
            body: 100,
            rate: Some(rate),
            both_ways: false,
            full: false,
            management: false,
            idle: 0,
            relay: None,
            timing: Timing { secs: 0, warm_up_secs: 0 },
        };
        let all = (0..pairs).map(|n| Pair::new(2 * n, 2 * n + 1, &target.jid(2 * n + 1), &chat));
        let chat = Chat::new(all.collect(), visitor + 1, &chat);
        Ok(Self { fleet, chat, visitor, login: target.login(visitor) })
    }

    /// Goes on until the phase is over, and tells what was noticed in each.
    pub(super) fn run(mut self, phase: &AtomicUsize) -> anyhow::Result<[Seen; 3]> {
        let mut seen = <[Seen; 3]>::default();
        let mut comes_at = Instant::now();
        let mut came: Option<Instant> = None;
        self.chat.begin(self.fleet.outs());
        loop {
            let now = phase.load(Ordering::Acquire);
            if now == OVER {
                return Ok(seen);
            }
            let seen = &mut seen[now];
            if came.is_none() && comes_at <= Instant::now() {
                (came, comes_at) = (Some(Instant::now()), Instant::now() + VISIT_EVERY);
                self.fleet.connect(self.visitor, Some(self.login.clone()))?;
            }
            let wait = self.chat.tick(self.fleet.outs(), &mut seen.messages);
            let (chat, visitor) = (&mut self.chat, self.visitor);
            self.fleet.turn(wait, &mut |who, element, outs| {
                if who != visitor {
                    chat.hear(who, element, outs, &mut seen.messages);
                }
            })?;
            for news in self.fleet.take_news() {
                match news {
                    News::Ready { .. } => {
                        seen.sign_ins.record(came.take().map_or(Duration::MAX, |at| at.elapsed()));
                        self.fleet.cut(visitor);
                    }
                    News::Closed { who, reason } if who != visitor => {
                        anyhow::bail!("{who}, who did nothing wrong, was thrown out: {reason}");
                    }
                    News::Closed { .. } => {
                        came = None;
                        seen.failed_sign_ins += 1;
                    }
                }
            }
        }
    }
}

const VISIT_EVERY: Duration = Duration::from_millis(100);
