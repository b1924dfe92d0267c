//! XEP-0198: Stream Management, version 1.6.3.
//!
//! What one stream between servers counts, at either end.
//! Implements: §3 (who opened the stream enables it as soon as a pair is authorized, also by
//! dialback), §4 (acknowledgements both ways where stanzas go both ways), §5 (resumption), §6
//! (errors); a peer that answers no question is given up (RFC 6120 §4.6).
//! Left out: `location` (§3). What is sent again, and where, is the shell's.
//! Status: complete

use stentor_stanza::Condition;
use stentor_xml::{ElementRef, Writer};

use crate::fault::{Fault, Wait};
use crate::xep0198_sm::{self as elements, Counts, wrapped};
use crate::{Millis, ns};

/// How many stanzas a stream has carried, and those before it that it goes on for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent to the peer.
    pub sent: u64,
    /// Acknowledged by the peer.
    pub acked: u64,
    /// Come from the peer.
    pub received: u64,
}

/// The stream that another is to go on for (§5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// Its id.
    pub previd: String,
    /// What it carried; all that was received has been handled.
    pub tally: Tally,
}

/// How long a peer may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The silence after which it is asked for a sign of life, in milliseconds; zero never does.
    pub probe_ms: u64,
    /// The wait for its answer to any question, in milliseconds.
    pub answer_wait_ms: u64,
}

/// The counting of one stream.
pub(super) struct Management {
    counts: Counts,
    sent: u64,
    acked: u64,
    silence: Silence,
    /// When the peer was last heard.
    heard: Millis,
    /// Since when an answer is due.
    asked: Option<Millis>,
}

/// What the server that was connected to says (§3, §5, §6).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Enabled {
        /// By which id the stream may be resumed, if it may be.
        id: Option<String>,
        max_secs: Option<u32>,
    },
    Resumed {
        h: u32,
    },
    Failed {
        h: Option<u32>,
    },
}

impl Reply {
    /// Reads it; none if it is something else.
    pub(super) fn read(root: ElementRef<'_>) -> Option<Self> {
        let number = |name: &str| root.attr(name)?.trim().parse::<u32>().ok();
        match root.name() {
            "enabled" => {
                let resumes = root.attr("resume");
                let is_resumable = matches!(resumes.as_deref().map(str::trim), Some("true" | "1"));
                let id = root.attr("id").filter(|id| {
                    is_resumable && (1..=crate::limits::SM_ID_BYTES_MAX).contains(&id.len())
                });
                Some(Self::Enabled {
                    id: id.map(std::borrow::Cow::into_owned),
                    max_secs: number("max"),
                })
            }
            "resumed" => Some(Self::Resumed { h: number("h")? }),
            "failed" => Some(Self::Failed { h: number("h") }),
            _ => None,
        }
    }
}

impl Management {
    /// Counts on from what an earlier stream carried. What it sent and had no acknowledgement for
    /// is sent again, and counted when it is.
    pub(super) fn new(tally: Tally, silence: Silence, now: Millis) -> Self {
        let Tally { sent, acked, received } = tally;
        Self { counts: Counts::resumed(received), sent, acked, silence, heard: now, asked: None }
    }

    pub(super) const fn tally(&self) -> Tally {
        Tally { sent: self.sent, acked: self.acked, received: self.counts.received }
    }

    pub(super) const fn note_received(&mut self) {
        self.counts.received += 1;
    }

    pub(super) const fn hear(&mut self, now: Millis) {
        self.heard = now;
    }

    /// Notes that a stanza left; whether the peer is to be asked right behind it.
    pub(super) fn note_sent(&mut self, now: Millis) -> bool {
        self.sent += 1;
        let asks = self.counts.note_sent(now);
        if asks {
            self.asked.get_or_insert(now);
        }
        asks
    }

    /// Takes an acknowledgement; how many stanzas the peer has in all.
    pub(super) fn ack(&mut self, h: u32, now: Millis) -> Result<u64, Fault> {
        let more = u64::from(h.wrapping_sub(wrapped(self.acked)));
        if more > self.sent - self.acked {
            return Err(Fault::AckTooHigh { h, sent: wrapped(self.sent) });
        }
        self.acked += more;
        self.asked = None;
        self.counts.note_answer(now);
        Ok(self.acked)
    }

    /// Takes the count by which a stream goes on: what lies behind it is sent again.
    pub(super) fn resume(&mut self, h: u32, now: Millis) -> Result<u64, Fault> {
        let acked = self.ack(h, now)?;
        self.sent = acked;
        Ok(acked)
    }

    /// Asks the peer what it has, unless it is asked already.
    pub(super) fn ask(&mut self, now: Millis, w: &mut Writer) {
        if self.asked.is_none() {
            self.asked = Some(now);
            self.counts.ask();
            w.leaf("r", ns::SM);
        }
    }

    /// When [`Management::handle_due`] is due.
    pub(super) fn due(&self) -> Option<Millis> {
        let answer = self.asked.map(|_| self.given_up_at());
        let probe = (self.silence.probe_ms > 0 && self.asked.is_none())
            .then(|| self.heard.plus(self.silence.probe_ms));
        answer.into_iter().chain(probe).chain(self.counts.ask_at()).min()
    }

    /// Does what the time demands.
    pub(super) fn handle_due(&mut self, now: Millis, w: &mut Writer) -> Result<(), Fault> {
        if self.asked.is_some() {
            let is_dead = self.given_up_at() <= now;
            return if is_dead { Err(Fault::Timeout(Wait::Answer)) } else { Ok(()) };
        }
        if self.due().is_some_and(|at| at <= now) {
            self.ask(now, w);
        }
        Ok(())
    }

    /// Whoever still sends is alive, however slowly it reads.
    fn given_up_at(&self) -> Millis {
        let since = self.asked.map_or(self.heard, |asked| asked.max(self.heard));
        since.plus(self.silence.answer_wait_ms)
    }
}

/// Asks for the counting, with the right to resume.
pub(super) fn write_enable(w: &mut Writer) {
    w.open("enable", ns::SM).attr("resume", "true").close();
}

/// Asks to go on for an earlier stream.
pub(super) fn write_resume(w: &mut Writer, former: &Former) {
    let h = wrapped(former.tally.received).to_string();
    w.open("resume", ns::SM).attr("h", &h).attr("previd", &former.previd).close();
}

/// Whether features offer it.
pub(super) fn is_offered(features: ElementRef<'_>) -> bool {
    features.child(ns::SM, "sm").is_some()
}

/// Refuses what came out of turn or cannot be read (§6).
pub(super) fn refuse(w: &mut Writer, condition: Condition) {
    elements::write_failed(w, condition, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Silence = Silence { probe_ms: 120_000, answer_wait_ms: 60_000 };

    fn management(tally: Tally) -> Management {
        Management::new(tally, SILENCE, Millis(0))
    }

    #[test]
    fn counts_go_on_behind_the_largest_number() {
        let start = (1 << 32) - 2;
        let mut m = management(Tally { sent: start, acked: start, received: 0 });
        for _ in 0..4 {
            m.note_sent(Millis(0));
        }
        assert_eq!(m.ack(u32::MAX, Millis(0)), Ok(start + 1));
        assert_eq!(m.ack(1, Millis(0)), Ok(start + 3));
        assert_eq!(m.ack(1, Millis(0)), Ok(start + 3), "said again");
        assert_eq!(m.ack(3, Millis(0)), Err(Fault::AckTooHigh { h: 3, sent: 2 }));
        assert!(m.ack(0, Millis(0)).is_err(), "less than before");
    }

    #[test]
    fn what_is_sent_again_is_counted_again() {
        let mut m = management(Tally { sent: 10, acked: 4, received: 3 });
        assert_eq!(m.resume(7, Millis(0)), Ok(7));
        assert_eq!(m.tally(), Tally { sent: 7, acked: 7, received: 3 });
        assert!(
            management(Tally { sent: 10, acked: 4, received: 3 }).resume(11, Millis(0)).is_err()
        );
    }

    #[test]
    fn a_silent_peer_is_asked_and_then_given_up() {
        let mut m = management(Tally::default());
        let mut w = Writer::over(Vec::new());
        assert_eq!(m.due(), Some(Millis(120_000)));
        m.handle_due(Millis(120_000), &mut w).unwrap();
        assert!(w.into_bytes().starts_with(b"<r "));
        assert_eq!(m.due(), Some(Millis(180_000)));
        // It sends something: it lives, and still owes the answer.
        m.hear(Millis(170_000));
        let mut w = Writer::over(Vec::new());
        assert!(m.handle_due(Millis(180_000), &mut w).is_ok());
        assert_eq!(m.handle_due(Millis(230_000), &mut w), Err(Fault::Timeout(Wait::Answer)));
        m.ack(0, Millis(230_000)).unwrap();
        assert!(m.handle_due(Millis(230_001), &mut w).is_ok());
    }

    #[test]
    fn reads_what_the_specification_writes() {
        let read = |xml: &str| {
            let xml = xml.replacen(' ', " xmlns='urn:xmpp:sm:3' ", 1);
            Reply::read(stentor_xml::Frame::parse(xml.as_bytes()).unwrap().root())
        };
        let enabled = |id: Option<&str>, max_secs| {
            Some(Reply::Enabled { id: id.map(str::to_owned), max_secs })
        };
        assert_eq!(read("<enabled />"), enabled(None, None));
        assert_eq!(read("<enabled id='x'/>"), enabled(None, None));
        assert_eq!(read("<enabled id='x' resume='1' max='9'/>"), enabled(Some("x"), Some(9)));
        assert_eq!(read("<resumed h='4' previd='x'/>"), Some(Reply::Resumed { h: 4 }));
        assert_eq!(read("<resumed previd='x'/>"), None);
        assert_eq!(read("<failed h='4'/>"), Some(Reply::Failed { h: Some(4) }));
    }
}
