//! Facts for the metrics page that are only known when asked: the store, the process, the build
//! and the certificates.

use std::fs;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use stentor_store::Writer;

/// The names of a certificate's first host and the seconds until it expires; negative afterwards.
pub type Expiries = Arc<dyn Fn() -> Vec<(String, i64)> + Send + Sync>;

/// Lists all of them.
pub fn register(registry: &mut Registry, writer: Writer, expiries: Expiries) {
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("stentor_build", "The release", Info::new(version));
    registry.register_collector(Box::new(StoreFacts { writer }));
    registry.register_collector(Box::new(ProcessFacts));
    registry.register_collector(Box::new(CertificateFacts { expiries }));
}

#[derive(Debug)]
struct StoreFacts {
    writer: Writer,
}

#[derive(Debug)]
struct ProcessFacts;

struct CertificateFacts {
    expiries: Expiries,
}

impl std::fmt::Debug for CertificateFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateFacts").finish_non_exhaustive()
    }
}

impl Collector for StoreFacts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for (name, value) in self.writer.counters().all() {
            let name = format!("stentor_store_{name}");
            // What waits goes up and down, all else only up.
            if name.ends_with("_waiting") {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                gauge(&mut encoder, &name, "What waits for the store's writer", value)?;
            } else {
                let counter = ConstCounter::new(value);
                let help = "Counted by the store's writer";
                let metric = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
                counter.encode(metric)?;
            }
        }
        Ok(())
    }
}

impl Collector for ProcessFacts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        // Where there is no `/proc` there are no such facts.
        if let Some(bytes) = resident_bytes() {
            gauge(&mut encoder, "process_resident_memory_bytes", "Memory in use", bytes)?;
        }
        if let Some(open) = open_files() {
            gauge(&mut encoder, "process_open_fds", "Open files and sockets", open)?;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "process_max_fds", "How many there may be", limit)
    }
}

impl Collector for CertificateFacts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let name = "stentor_certificate_seconds_left";
        let help = "Seconds until the certificate of this name expires";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (host, left) in (self.expiries)() {
            let labels = [("name", host)];
            ConstGauge::new(left).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> std::fmt::Result {
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}

fn resident_bytes() -> Option<i64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(i64::try_from(rustix::param::page_size()).ok()?)
}

fn open_files() -> Option<i64> {
    // The listing itself is one of them.
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.checked_sub(1)
}
