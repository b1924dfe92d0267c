//! Where another domain's servers are: SRV records (RFC 6120 §3.2.1, XEP-0368), addresses, routes.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::rr::{RData, Record};
use stentor_jid::domain_to_ascii;
use tokio::task::JoinSet;

use super::rfc2782_srv::{Service, ordered};
use super::rfc4035_anchors::TrustAnchors;
use super::rfc7673_dane::{Dane, are_secure};
use super::rfc8305_race::alternating;
use crate::limits::{S2S_ADDRESSES_MAX, S2S_SERVERS_MAX};

/// Finds servers of domains.
pub struct Discovery {
    resolver: Option<TokioResolver>,
    routes: Vec<Route>,
    is_validating: bool,
}

/// Where a domain is, whatever DNS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The domain, prepared; `*` for every domain without a route of its own.
    pub domain: String,
    /// A host name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS comes first (XEP-0368).
    pub is_direct_tls: bool,
}

/// One server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) is_direct_tls: bool,
    /// What DNS says of its certificate.
    pub(crate) dane: Dane,
}

/// Why a domain has no server; of several reasons the last one here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum NotFound {
    /// DNS has no such domain, or the domain says that it has no server.
    #[error("DNS knows no server of the domain")]
    NoServer,
    /// DNS did not answer.
    #[error("DNS did not answer")]
    NoAnswer,
    /// What DNS answered is not what its signatures say.
    #[error("the signatures of DNS are wrong (DNSSEC: bogus)")]
    Bogus,
}

impl Discovery {
    /// Discovery by the system's DNS servers, or by the one named.
    ///
    /// Answers are cached as long as their records live. Without any DNS server only routes and
    /// addresses lead anywhere. With `anchors` answers are validated (RFC 4035), and what signed
    /// ones say of certificates counts (RFC 7673).
    #[must_use]
    pub fn new(dns: Option<SocketAddr>, routes: Vec<Route>, anchors: Option<TrustAnchors>) -> Self {
        let is_validating = anchors.is_some();
        let builder = match dns {
            None => TokioResolver::builder_tokio().ok(),
            Some(server) => {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut config.connections {
                    connection.port = server.port();
                }
                let config = ResolverConfig::from_name_servers(vec![config]);
                Some(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
        };
        let builder = builder.map(|builder| match anchors {
            Some(TrustAnchors(anchors)) => builder.with_trust_anchor(anchors),
            None => builder,
        });
        let resolver = builder.and_then(|builder| builder.build().ok());
        Self { resolver, routes, is_validating }
    }

    /// Whether answers are validated.
    pub(crate) fn is_validating(&self) -> bool {
        self.is_validating
    }

    /// Whether DNS is asked for the servers of a domain at all.
    pub(crate) fn is_by_dns(&self, domain: &str) -> bool {
        self.route(domain).is_none() && literal(domain).is_none()
    }

    fn route(&self, domain: &str) -> Option<&Route> {
        let route = |name: &str| self.routes.iter().find(|r| r.domain == name);
        route(domain).or_else(|| route("*"))
    }

    /// The servers of a domain in the order in which they are tried.
    pub(crate) async fn find(&self, domain: &str) -> Result<Vec<Target>, NotFound> {
        let unsigned = |addresses, is_direct_tls| {
            Ok(vec![Target { addresses, is_direct_tls, dane: Dane::default() }])
        };
        if let Some(route) = self.route(domain) {
            let (addresses, _) = self.addresses(&route.host, route.port).await?;
            return unsigned(addresses, route.is_direct_tls);
        }
        if let Some(ip) = literal(domain) {
            return unsigned(vec![SocketAddr::new(ip, DEFAULT_PORT)], false);
        }
        let ascii = domain_to_ascii(domain).map_err(|_| NotFound::NoServer)?;
        let (direct, starttls) = tokio::join!(
            self.services(&ascii, "_xmpps-server", true),
            self.services(&ascii, "_xmpp-server", false)
        );
        use Offer::{NoRecord, NotOffered, Servers};
        let services = match (direct, starttls) {
            // XEP-0368 §3: the records of both are one list.
            (Ok(Servers(direct)), Ok(Servers(starttls))) => [direct, starttls].concat(),
            (Ok(Servers(services)), _) | (_, Ok(Servers(services))) => services,
            // RFC 6120 §3.2.1 and XEP-0368 §5: who says that a service is not there uses SRV
            // records, and is not sought without.
            (Ok(NotOffered), Ok(_)) | (Ok(_), Ok(NotOffered)) => return Err(NotFound::NoServer),
            (Ok(NotOffered), Err(error)) | (Err(error), Ok(NotOffered) | Err(_)) => {
                return Err(error);
            }
            // RFC 7673 §3.1: an answer that is kept back must not lead away from what is signed.
            (Err(error), Ok(NoRecord)) | (Ok(NoRecord), Err(error)) if self.is_validating => {
                return Err(error);
            }
            // RFC 6120 §3.2.2: without any record the domain itself is tried.
            (Ok(NoRecord) | Err(_), Ok(NoRecord)) | (Ok(NoRecord), Err(_)) => {
                let (addresses, _) = self.addresses(&ascii, DEFAULT_PORT).await?;
                return unsigned(addresses, false);
            }
        };
        self.targets(ordered(services)).await
    }

    /// What DNS says of one service.
    async fn services(
        &self,
        domain: &str,
        service: &str,
        is_direct_tls: bool,
    ) -> Result<Offer, NotFound> {
        let resolver = self.resolver.as_ref().ok_or(NotFound::NoAnswer)?;
        let name = format!("{service}._tcp.{domain}.");
        let lookup = match resolver.srv_lookup(name.as_str()).await {
            Ok(lookup) => lookup,
            Err(error) if is_none(&error) => return Ok(Offer::NoRecord),
            Err(error) => return Err(why(&error)),
        };
        let is_secure = are_secure(lookup.answers());
        let services = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                host: srv.target.to_ascii(),
                port: srv.port,
                is_direct_tls,
                is_secure,
            }),
            _ => None,
        });
        let services: Vec<Service> = services.collect();
        if services.is_empty() {
            return Ok(Offer::NoRecord);
        }
        // RFC 2782: a target of `.` says that the service is not there.
        let servers: Vec<Service> = services.into_iter().filter(|s| s.host != ".").collect();
        Ok(if servers.is_empty() { Offer::NotOffered } else { Offer::Servers(servers) })
    }

    /// The addresses of all servers, asked for at once: a name server that is slow delays nobody
    /// longer than itself.
    async fn targets(&self, services: Vec<Service>) -> Result<Vec<Target>, NotFound> {
        let mut asked = JoinSet::new();
        for (at, service) in services.into_iter().take(S2S_SERVERS_MAX).enumerate() {
            let resolver = self.resolver.clone();
            asked.spawn(async move { (at, target(resolver.as_ref(), &service).await) });
        }
        let mut found = asked.join_all().await;
        found.sort_unstable_by_key(|(at, _)| *at);
        let (mut targets, mut why) = (Vec::new(), NotFound::NoServer);
        for (_, outcome) in found {
            match outcome {
                Ok(target) => targets.push(target),
                Err(error) => why = why.max(error),
            }
        }
        if targets.is_empty() { Err(why) } else { Ok(targets) }
    }

    async fn addresses(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(Vec<SocketAddr>, Vec<Record>), NotFound> {
        addresses(self.resolver.as_ref(), host, port).await
    }
}

/// What DNS says of one service of a domain.
enum Offer {
    /// Nothing.
    NoRecord,
    /// That it is not there.
    NotOffered,
    /// At least one server.
    Servers(Vec<Service>),
}

/// Where one server is, and what DNS says of it.
async fn target(resolver: Option<&TokioResolver>, service: &Service) -> Result<Target, NotFound> {
    let Service { host, port, is_direct_tls, is_secure, .. } = service;
    let (addresses, answers) = addresses(resolver, host, *port).await?;
    let dane = match resolver.filter(|_| *is_secure) {
        Some(resolver) => Dane::of(resolver, host, *port, &answers).await?,
        None => Dane::default(),
    };
    Ok(Target { addresses, is_direct_tls: *is_direct_tls, dane })
}

/// The addresses of a host, and the records that say them.
async fn addresses(
    resolver: Option<&TokioResolver>,
    host: &str,
    port: u16,
) -> Result<(Vec<SocketAddr>, Vec<Record>), NotFound> {
    if let Some(ip) = literal(host) {
        return Ok((vec![SocketAddr::new(ip, port)], Vec::new()));
    }
    let resolver = resolver.ok_or(NotFound::NoAnswer)?;
    // Fully qualified: no search list.
    let name = if host.ends_with('.') { host.to_owned() } else { format!("{host}.") };
    let (four, six) =
        tokio::join!(resolver.ipv4_lookup(name.as_str()), resolver.ipv6_lookup(name.as_str()));
    let (mut answers, mut reason) = (Vec::new(), NotFound::NoServer);
    for outcome in [four, six] {
        match outcome {
            Ok(found) => answers.extend(found.answers().iter().cloned()),
            Err(error) if is_none(&error) => {}
            Err(error) => reason = reason.max(why(&error)),
        }
    }
    let addresses: Vec<IpAddr> = answers.iter().filter_map(|r| r.data.ip_addr()).collect();
    // RFC 7673 §3.2: of a host with a wrong signature no address is called.
    if addresses.is_empty() || reason == NotFound::Bogus {
        return Err(reason);
    }
    let addresses = alternating(addresses).into_iter().take(S2S_ADDRESSES_MAX);
    Ok((addresses.map(|ip| SocketAddr::new(ip, port)).collect(), answers))
}

/// Whether an answer says that there is nothing: signed, or where nothing is.
pub(super) fn is_none(error: &NetError) -> bool {
    let is_unsigned = matches!(error, NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, .. }));
    is_unsigned || error.is_no_records_found() || error.is_nx_domain()
}

/// Why there is no answer that could be used.
pub(super) fn why(error: &NetError) -> NotFound {
    match error {
        NetError::Dns(DnsError::DnssecBogus | DnsError::Nsec { .. }) => NotFound::Bogus,
        _ => NotFound::NoAnswer,
    }
}

/// An address as a domainpart: IPv4, or IPv6 in brackets (RFC 7622 §3.2).
pub(super) fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    inner.unwrap_or(domain).parse().ok()
}

/// The port of a domain without SRV records (RFC 6120 §14.7).
const DEFAULT_PORT: u16 = 5269;

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::RecordType;

    use super::*;
    use crate::s2s::fake_dns::{Entry, FakeDns, address, failure, srv};

    async fn found(entries: Vec<Entry>) -> Result<Vec<String>, NotFound> {
        let dns = FakeDns::start(3_600, entries).await;
        let targets = Discovery::new(Some(dns.addr), Vec::new(), None).find("a.example").await?;
        let text = |target: &Target| {
            let kind = if target.is_direct_tls { "tls" } else { "starttls" };
            let addresses: Vec<_> = target.addresses.iter().map(ToString::to_string).collect();
            format!("{kind} {}", addresses.join(" "))
        };
        Ok(targets.iter().map(text).collect())
    }

    const DIRECT: &str = "_xmpps-server._tcp.a.example";
    const STARTTLS: &str = "_xmpp-server._tcp.a.example";

    /// RFC 6120 §3.2, XEP-0368 §3 and §5, row by row.
    #[tokio::test]
    async fn records_of_both_services_decide_together() {
        let direct = || srv(DIRECT, 5, 5270, "h.example");
        let starttls = || srv(STARTTLS, 1, 5269, "g.example");
        let (no_direct, no_starttls) = (|| srv(DIRECT, 0, 0, "."), || srv(STARTTLS, 0, 0, "."));
        let hosts = || {
            ["h.example", "g.example", "a.example"]
                .into_iter()
                .zip(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
                .map(|(name, ip)| address(name, ip))
        };
        let of = |records: Vec<Entry>| records.into_iter().chain(hosts()).collect::<Vec<_>>();
        let is = |targets: &[&str]| Ok(targets.iter().map(ToString::to_string).collect());
        let [by_direct, by_starttls] = ["tls 192.0.2.1:5270", "starttls 192.0.2.2:5269"];
        let itself = is(&["starttls 192.0.2.3:5269"]);
        for (case, (records, expected)) in [
            (vec![direct(), starttls()], is(&[by_starttls, by_direct])),
            (vec![direct()], is(&[by_direct])),
            (vec![starttls()], is(&[by_starttls])),
            (vec![direct(), no_starttls()], is(&[by_direct])),
            (vec![no_direct(), starttls()], is(&[by_starttls])),
            (vec![direct(), failure(STARTTLS)], is(&[by_direct])),
            (vec![failure(DIRECT), starttls()], is(&[by_starttls])),
            (vec![], itself.clone()),
            (vec![failure(DIRECT)], itself.clone()),
            (vec![failure(STARTTLS)], itself),
            // Whoever uses SRV records is not sought without.
            (vec![no_direct()], Err(NotFound::NoServer)),
            (vec![no_starttls()], Err(NotFound::NoServer)),
            (vec![no_direct(), no_starttls()], Err(NotFound::NoServer)),
            // The other service may be there and cannot be asked for.
            (vec![no_direct(), failure(STARTTLS)], Err(NotFound::NoAnswer)),
            (vec![failure(DIRECT), no_starttls()], Err(NotFound::NoAnswer)),
            (vec![failure(DIRECT), failure(STARTTLS)], Err(NotFound::NoAnswer)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(found(of(records)).await, expected, "case {case}");
        }
        assert_eq!(found(Vec::new()).await, Err(NotFound::NoServer));
        assert_eq!(found(vec![direct()]).await, Err(NotFound::NoServer), "without an address");
    }

    #[tokio::test]
    async fn ipv6_comes_first() {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
        let mut records: Vec<Entry> = addresses.iter().map(|ip| address("a.example", ip)).collect();
        records.push(address("b.example", "192.0.2.9"));
        let expected = "starttls [2001:db8::1]:5269 192.0.2.1:5269 192.0.2.2:5269";
        assert_eq!(found(records).await, Ok(vec![expected.to_owned()]));
    }

    #[tokio::test]
    async fn answers_and_their_absence_are_kept_as_long_as_they_live() {
        for (ttl, times) in [(3_600, 1), (0, 2)] {
            let entries = vec![srv(STARTTLS, 0, 5269, "h.example"), address("h.example", "::1")];
            let dns = FakeDns::start(ttl, entries).await;
            let discovery = Discovery::new(Some(dns.addr), Vec::new(), None);
            for _ in 0..2 {
                assert!(discovery.find("a.example").await.is_ok());
                assert_eq!(discovery.find("b.example").await, Err(NotFound::NoServer));
            }
            for (name, kind) in [
                (STARTTLS, RecordType::SRV),
                (DIRECT, RecordType::SRV),
                ("h.example", RecordType::AAAA),
                ("h.example", RecordType::A),
                ("_xmpp-server._tcp.b.example", RecordType::SRV),
                ("b.example", RecordType::A),
            ] {
                assert_eq!(dns.times(name, kind), times, "{name} {kind}, {ttl} s");
            }
        }
    }

    #[tokio::test]
    async fn a_failure_is_asked_about_again() {
        let dns = FakeDns::start(3_600, vec![failure(DIRECT), failure(STARTTLS)]).await;
        let discovery = Discovery::new(Some(dns.addr), Vec::new(), None);
        assert_eq!(discovery.find("a.example").await, Err(NotFound::NoAnswer));
        let asked = dns.times(STARTTLS, RecordType::SRV);
        assert_eq!(discovery.find("a.example").await, Err(NotFound::NoAnswer));
        assert!(dns.times(STARTTLS, RecordType::SRV) > asked);
    }

    #[tokio::test]
    async fn routes_and_literals_need_no_dns() {
        let route = |domain: &str| Route {
            domain: domain.into(),
            host: "127.0.0.1".into(),
            port: 1,
            is_direct_tls: true,
        };
        let discovery =
            Discovery { resolver: None, routes: vec![route("far.example")], is_validating: false };
        let to = |address: &str, is_direct_tls| Target {
            addresses: vec![address.parse().unwrap()],
            is_direct_tls,
            dane: Dane::default(),
        };
        assert_eq!(discovery.find("far.example").await, Ok(vec![to("127.0.0.1:1", true)]));
        assert_eq!(discovery.find("[::1]").await, Ok(vec![to("[::1]:5269", false)]));
        assert_eq!(discovery.find("10.0.0.1").await, Ok(vec![to("10.0.0.1:5269", false)]));
        assert_eq!(discovery.find("else.example").await, Err(NotFound::NoAnswer));
        let any = Discovery { resolver: None, routes: vec![route("*")], is_validating: false };
        assert_eq!(any.find("else.example").await, Ok(vec![to("127.0.0.1:1", true)]));
    }
}
