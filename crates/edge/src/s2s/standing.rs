//! The streams that stand: for lists, for metrics, and for whoever wants one ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use stentor_stream::s2s::{How, Pair};
use stentor_transport::Facts;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::pump::encryption;

/// A stream between servers as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// Whether we opened it.
    pub is_outgoing: bool,
    /// For whom it stands; `local` is ours.
    pub pairs: Vec<Pair>,
    /// The other end.
    pub peer: SocketAddr,
    /// The version of TLS, or `none`.
    pub tls: &'static str,
    /// The cipher suite, or `none`.
    pub cipher: &'static str,
    /// What the peer's certificate is believed by: `valid`, `dane`, or `unproven`.
    pub certificate: &'static str,
    /// How who opened it has proven its domain: `external` or `dialback`.
    pub how: &'static str,
    /// Whether it goes both ways (XEP-0288).
    pub is_bidi: bool,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

impl StreamFacts {
    /// What is known of a stream when its first pair is authorized.
    pub(crate) fn new(
        is_outgoing: bool,
        pair: Pair,
        (facts, certificate): (&Facts, &'static str),
        how: How,
        (is_bidi, since_ms): (bool, i64),
    ) -> Self {
        let (tls, cipher) = encryption(facts);
        let (pairs, peer, how) = (vec![pair], facts.peer, how.name());
        Self { is_outgoing, pairs, peer, tls, cipher, certificate, how, is_bidi, since_ms }
    }
}

/// All streams whose first domain is proven, the oldest first.
#[derive(Default)]
pub(crate) struct Standing {
    streams: Mutex<BTreeMap<u64, Arc<Entry>>>,
    numbers: AtomicU64,
}

struct Entry {
    facts: Mutex<StreamFacts>,
    /// Told when somebody wants it ended.
    unwanted: Notify,
}

/// A stream's place among them, until it is dropped.
pub(crate) struct Place {
    standing: Arc<Standing>,
    number: u64,
    entry: Arc<Entry>,
}

impl Standing {
    /// A stream stands.
    pub(crate) fn enter(self: &Arc<Self>, facts: StreamFacts) -> Place {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry { facts: Mutex::new(facts), unwanted: Notify::new() });
        self.streams.lock().insert(number, entry.clone());
        Place { standing: self.clone(), number, entry }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<StreamFacts> {
        let entries: Vec<_> = self.streams.lock().values().cloned().collect();
        entries.iter().map(|entry| entry.facts.lock().clone()).collect()
    }

    /// How many of one direction.
    pub(crate) fn count(&self, is_outgoing: bool) -> usize {
        let entries: Vec<_> = self.streams.lock().values().cloned().collect();
        entries.iter().filter(|entry| entry.facts.lock().is_outgoing == is_outgoing).count()
    }

    /// Wants those with a domain ended; how many that are.
    pub(crate) fn end(&self, remote: &str) -> usize {
        let entries: Vec<_> = self.streams.lock().values().cloned().collect();
        let is_with =
            |entry: &&Arc<Entry>| entry.facts.lock().pairs.iter().any(|pair| pair.remote == remote);
        entries.iter().filter(is_with).map(|entry| entry.unwanted.notify_one()).count()
    }
}

impl Place {
    /// One more pair is authorized on the stream.
    pub(crate) fn add(&self, pair: Pair) {
        let mut facts = self.entry.facts.lock();
        if !facts.pairs.contains(&pair) {
            facts.pairs.push(pair);
        }
    }

    /// Waits until somebody wants the stream ended.
    pub(crate) fn until_unwanted(&self) -> Notified<'_> {
        self.entry.unwanted.notified()
    }
}

/// Waits until somebody wants a stream ended, if it stands.
pub(crate) async fn until_unwanted(place: Option<&Place>) {
    match place {
        Some(place) => place.until_unwanted().await,
        None => std::future::pending().await,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.standing.streams.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(remote: &str) -> Pair {
        Pair { local: "one.example".into(), remote: remote.into() }
    }

    fn facts(is_outgoing: bool, remote: &str) -> StreamFacts {
        StreamFacts {
            is_outgoing,
            pairs: vec![pair(remote)],
            peer: "192.0.2.1:5269".parse().unwrap(),
            tls: "TLS 1.3",
            cipher: "TLS13_AES_128_GCM_SHA256",
            certificate: "valid",
            how: "external",
            is_bidi: false,
            since_ms: 0,
        }
    }

    #[tokio::test]
    async fn streams_are_listed_while_they_stand_and_told_when_they_are_unwanted() {
        let standing = Arc::<Standing>::default();
        let (to_two, from_two) = (
            standing.enter(facts(true, "two.example")),
            standing.enter(facts(false, "two.example")),
        );
        let from_three = standing.enter(facts(false, "three.example"));
        from_three.add(pair("rooms.three.example"));
        from_three.add(pair("three.example"));
        assert_eq!((standing.count(true), standing.count(false)), (1, 2));
        assert_eq!(standing.all()[2].pairs.len(), 2);
        assert_eq!(standing.end("rooms.three.example"), 1);
        // Whoever does not wait yet is told all the same.
        from_three.until_unwanted().await;
        assert_eq!(standing.end("two.example"), 2);
        to_two.until_unwanted().await;
        from_two.until_unwanted().await;
        assert_eq!(standing.end("four.example"), 0);
        drop((to_two, from_two, from_three));
        assert_eq!((standing.all(), standing.end("two.example")), (Vec::new(), 0));
    }
}
