//! A stanza that waits for another domain.

use stentor_engine::Kept;
use stentor_jid::Jid;
use stentor_stanza::{Kind, PresenceType, Stanza};
use stentor_stream::Millis;

/// A stanza, and since when it waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) stanza: Stanza,
    pub(crate) since: Millis,
    /// The same by the wall clock, in milliseconds since 1970.
    pub(crate) since_unix_ms: i64,
    /// Its number in the store, if it is there until it has arrived.
    pub(crate) kept: Option<u64>,
    /// Whether it left on a stream that the peer ended by an error, perhaps because of it.
    pub(crate) is_suspect: bool,
}

impl Waiting {
    /// A stanza that waits since `now`, or longer if it was kept by an earlier process.
    pub(crate) fn new(stanza: Stanza, kept: Option<Kept>, now: Millis, now_unix_ms: i64) -> Self {
        let since_unix_ms = kept.map_or(now_unix_ms, |kept| kept.since_ms);
        let waited_ms = u64::try_from(now_unix_ms.saturating_sub(since_unix_ms)).unwrap_or(0);
        let since = Millis(now.0.saturating_sub(waited_ms));
        let kept = kept.map(|kept| kept.number);
        Self { stanza, since, since_unix_ms, kept, is_suspect: false }
    }

    /// Whether it rather arrives twice than not at all.
    pub(crate) fn may_come_twice(&self) -> bool {
        match self.stanza.head.kind {
            Kind::Message(_) => true,
            Kind::Presence(kind) => kind.is_subscription(),
            Kind::Iq(_) => false,
        }
    }

    /// Whose availability it shows to whom, if that is what it does (RFC 6121 §4.4, §4.5).
    pub(crate) fn shows(&self) -> Option<(&Jid, &Jid)> {
        match self.stanza.presence_type()? {
            PresenceType::Available | PresenceType::Unavailable => {
                Some((self.stanza.head.from.as_ref()?, self.stanza.head.to.as_ref()?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, MessageType};

    use super::*;

    #[test]
    fn what_an_earlier_process_kept_waits_since_then() {
        let stanza = Stanza::empty(Head::new(Kind::Message(MessageType::Chat)));
        let kept = Some(Kept { number: 1, since_ms: 5_000 });
        let waiting = Waiting::new(stanza, kept, Millis(100_000), 65_000);
        assert_eq!((waiting.since, waiting.since_unix_ms), (Millis(40_000), 5_000));
    }
}
