//! Commands about streams between servers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::Cx;
use crate::command::{AdminError, Command};
use crate::limits::S2S_ROWS;

/// Lists streams between servers, and what waits for one.
#[derive(Debug)]
pub struct ListStreams;

/// Ends the streams with a domain.
#[derive(Debug)]
pub struct EndStreams;

/// Whoever knows of streams between servers.
pub trait ServerStreams: Send + Sync {
    /// Those that stand, the oldest first.
    fn streams(&self) -> Vec<Stream>;

    /// What waits, for each pair of domains for which something does.
    fn waiting(&self) -> Vec<Waiting>;

    /// Ends those with a domain in good order; how many that are.
    fn end(&self, domain: &str) -> usize;
}

/// What a stream between servers stands for: there is one for each pair of domains, and all those of one
/// stream have one `peer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Whether the other server opened it, `in`, or this one, `out`.
    pub direction: String,
    /// For whom it stands.
    pub pair: Pair,
    /// The other end.
    pub peer: SocketAddr,
    /// The version of TLS, or `none`.
    pub tls: String,
    /// The cipher suite, or `none`.
    pub cipher: String,
    /// What the other server's certificate is believed by: `valid`, `dane`, or `unproven`.
    pub certificate: String,
    /// How who opened it has proven its domain: `external` or `dialback`.
    pub how: String,
    /// Whether it goes both ways (XEP-0288).
    pub both_ways: bool,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// A domain of ours and one of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Ours.
    pub local: String,
    /// Theirs.
    pub remote: String,
}

/// What waits for another domain, for a stream or for its word that it has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Whose it is, and for whom.
    pub pair: Pair,
    /// How many stanzas.
    pub stanzas: usize,
    /// How many bytes.
    pub bytes: usize,
    /// Seconds that the oldest has waited.
    pub oldest_secs: u64,
    /// The condition that senders are told, if the last attempt at the domain failed.
    pub trouble: Option<String>,
}

/// Which streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The other domain; all if there is none.
    pub domain: Option<String>,
}

/// Another domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// The domain.
    pub domain: String,
}

/// Streams, and what waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// At most [`S2S_ROWS`], the oldest first.
    pub streams: Vec<Stream>,
    /// How many more there are.
    pub streams_left_out: usize,
    /// At most [`S2S_ROWS`], those that wait longest first.
    pub waiting: Vec<Waiting>,
    /// How many more there are.
    pub waiting_left_out: usize,
}

/// What came of ending streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The other domain.
    pub domain: String,
    /// How many streams there were.
    pub streams: usize,
}

impl Command for ListStreams {
    const NAME: &'static str = "s2s-list";
    const SUMMARY: &'static str = "List streams between servers, and what waits for one.";
    type Input = With;
    type Output = Streams;

    async fn run(cx: Cx, input: With) -> Result<Streams, AdminError> {
        let known = known(&cx)?;
        let is_asked = |pair: &Pair| input.domain.as_ref().is_none_or(|name| *name == pair.remote);
        let (mut streams, mut waiting) = (known.streams(), known.waiting());
        streams.retain(|stream| is_asked(&stream.pair));
        waiting.retain(|waiting| is_asked(&waiting.pair));
        waiting.sort_unstable_by_key(|waiting| std::cmp::Reverse(waiting.oldest_secs));
        let left_out = |len: usize| len.saturating_sub(S2S_ROWS);
        let (streams_left_out, waiting_left_out) =
            (left_out(streams.len()), left_out(waiting.len()));
        streams.truncate(S2S_ROWS);
        waiting.truncate(S2S_ROWS);
        Ok(Streams { streams, streams_left_out, waiting, waiting_left_out })
    }
}

impl Command for EndStreams {
    const NAME: &'static str = "s2s-close";
    const SUMMARY: &'static str = "End the streams with another domain in good order.";
    type Input = Other;
    type Output = Ended;

    async fn run(cx: Cx, input: Other) -> Result<Ended, AdminError> {
        let streams = known(&cx)?.end(&input.domain);
        tracing::info!(event = "s2s_closed", remote = input.domain, streams, "Streams are ended.");
        Ok(Ended { domain: input.domain, streams })
    }
}

fn known(cx: &Cx) -> Result<&dyn ServerStreams, AdminError> {
    cx.running()?;
    cx.s2s
        .as_deref()
        .ok_or_else(|| AdminError::Refused("this server does not speak to others".into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    fn pair(remote: &str) -> Pair {
        Pair { local: "capulet.example".into(), remote: remote.into() }
    }

    struct Known(AtomicUsize);

    impl ServerStreams for Known {
        fn streams(&self) -> Vec<Stream> {
            let stream = |direction: &str, remote: &str| Stream {
                direction: direction.into(),
                pair: pair(remote),
                peer: "192.0.2.1:5269".parse().unwrap(),
                tls: "TLS 1.3".into(),
                cipher: "TLS13_AES_128_GCM_SHA256".into(),
                certificate: "valid".into(),
                how: "external".into(),
                both_ways: true,
                since_ms: 0,
            };
            vec![
                stream("in", "montague.example"),
                stream("in", "rooms.montague.example"),
                stream("out", "verona.example"),
            ]
        }

        fn waiting(&self) -> Vec<Waiting> {
            let waiting = |n: usize| Waiting {
                pair: pair(if n == 0 { "verona.example" } else { "down.example" }),
                stanzas: 1,
                bytes: 100,
                oldest_secs: n as u64,
                trouble: None,
            };
            (0..S2S_ROWS + 2).map(waiting).collect()
        }

        fn end(&self, domain: &str) -> usize {
            usize::from(domain == "verona.example") + self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn streams_are_listed_of_all_or_of_one_domain_and_ended() {
        let world = World::new();
        let known: Arc<dyn ServerStreams> = Arc::new(Known(AtomicUsize::new(0)));
        let office = || Cx { s2s: Some(known.clone()), ..cx(&world) };
        let list = async |domain: Option<&str>| {
            let input = With { domain: domain.map(ToOwned::to_owned) };
            ListStreams::run(office(), input).await.unwrap()
        };
        let all = list(None).await;
        assert_eq!((all.streams.len(), all.streams_left_out), (3, 0));
        assert_eq!((all.waiting.len(), all.waiting_left_out), (S2S_ROWS, 2));
        assert_eq!(all.waiting[0].oldest_secs, S2S_ROWS as u64 + 1);
        let one = list(Some("rooms.montague.example")).await;
        assert_eq!((one.streams.len(), one.waiting.len()), (1, 0));
        assert_eq!(list(Some("verona.example")).await.waiting.len(), 1);
        let domain = "verona.example".to_owned();
        let ended = EndStreams::run(office(), Other { domain: domain.clone() }).await.unwrap();
        assert_eq!(ended, Ended { domain, streams: 1 });
    }

    #[tokio::test]
    async fn a_server_that_speaks_to_no_others_says_so() {
        let outcome = ListStreams::run(cx(&World::new()), With { domain: None }).await;
        assert!(matches!(outcome, Err(AdminError::Refused(_))), "{outcome:?}");
    }
}
