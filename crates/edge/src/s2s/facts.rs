//! Facts for the metrics page that are only known when asked.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Links, QueueFacts};
use crate::limits::S2S_DOMAINS_SHOWN_MAX;

/// Which streams stand, what waits for other servers, and for how many of them.
pub(super) struct Facts(pub(super) Arc<Links>);

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

impl Collector for Facts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("waiting_bytes", "Bytes waiting for other servers", self.0.waiting_bytes()),
            ("kept", "Stanzas in the store until other servers have them", self.0.kept()),
            ("pairs", "Domain pairs with a way open or being opened", self.0.open()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = format!("stentor_federation_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let standing = &self.0.federation.standing;
        let streams = [("in", false), ("out", true)]
            .map(|(direction, is_outgoing)| (direction, standing.count(is_outgoing) as u64));
        let help = "Streams between servers that stand, by who opened them";
        family(&mut encoder, ("streams", help), "direction", &streams)?;
        let domains = by_domain(&self.0.queues());
        let of = |pick: fn(&Waits) -> u64| -> Vec<(&str, u64)> {
            domains.iter().map(|(domain, waits)| (domain.as_str(), pick(waits))).collect()
        };
        let help = "Stanzas waiting for another domain, or for its word that they have arrived";
        family(&mut encoder, ("queued_stanzas", help), "domain", &of(|waits| waits.stanzas))?;
        let help = "Seconds that the oldest stanza for another domain has waited";
        family(&mut encoder, ("oldest_queued_secs", help), "domain", &of(|waits| waits.secs))
    }
}

/// What waits for one domain, of all of ours.
#[derive(Clone, Copy, Default)]
struct Waits {
    stanzas: u64,
    secs: u64,
}

/// The domains for which most waits, and all others as one.
fn by_domain(queues: &[QueueFacts]) -> Vec<(String, Waits)> {
    let mut domains: HashMap<&str, Waits> = HashMap::new();
    let add = |waits: &mut Waits, more: Waits| {
        waits.stanzas += more.stanzas;
        waits.secs = waits.secs.max(more.secs);
    };
    for queue in queues {
        let more = Waits { stanzas: queue.stanzas as u64, secs: queue.waited_ms / 1_000 };
        add(domains.entry(&queue.pair.remote).or_default(), more);
    }
    let mut domains: Vec<_> = domains.into_iter().map(|(name, w)| (name.to_owned(), w)).collect();
    domains.sort_unstable_by(|(a, x), (b, y)| y.stanzas.cmp(&x.stanzas).then_with(|| a.cmp(b)));
    if domains.len() > S2S_DOMAINS_SHOWN_MAX {
        let mut others = Waits::default();
        domains.drain(S2S_DOMAINS_SHOWN_MAX..).for_each(|(_, waits)| add(&mut others, waits));
        domains.push((OTHERS.to_owned(), others));
    }
    domains
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    label: &'static str,
    values: &[(&str, u64)],
) -> fmt::Result {
    let name = format!("stentor_federation_{name}");
    let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for (of, value) in values {
        let gauge = ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX));
        gauge.encode(metric.encode_family(&[(label, *of)])?)?;
    }
    Ok(())
}

/// No domain is called that.
const OTHERS: &str = "(others)";

#[cfg(test)]
mod tests {
    use stentor_stream::s2s::Pair;

    use super::*;

    #[test]
    fn domains_are_named_up_to_a_number_and_those_with_most_first() {
        let waits = |local: &str, n: usize| QueueFacts {
            pair: Pair { local: local.into(), remote: format!("d{n}.example") },
            stanzas: n,
            bytes: 100 * n,
            waited_ms: 1_000 * n as u64,
            trouble: None,
        };
        let count = S2S_DOMAINS_SHOWN_MAX + 2;
        let mut queues: Vec<_> = (1..=count).map(|n| waits("one.example", n)).collect();
        queues.push(waits("two.example", count));
        let shown = by_domain(&queues);
        assert_eq!(shown.len(), S2S_DOMAINS_SHOWN_MAX + 1);
        let (first, last) = (&shown[0], &shown[S2S_DOMAINS_SHOWN_MAX]);
        assert_eq!((first.0.as_str(), first.1.stanzas), (&*format!("d{count}.example"), 132));
        assert_eq!(first.1.secs, 66);
        assert_eq!((last.0.as_str(), last.1.stanzas, last.1.secs), (OTHERS, 3, 2));
    }
}
