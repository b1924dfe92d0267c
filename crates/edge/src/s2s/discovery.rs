//! Where another domain's servers are: SRV records (RFC 6120 §3.2.1, XEP-0368), addresses, routes.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use stentor_jid::domain_to_ascii;

use crate::limits::{S2S_ADDRESSES_MAX, S2S_SERVERS_MAX};

/// Finds servers of domains.
pub struct Discovery {
    resolver: Option<TokioResolver>,
    routes: Vec<Route>,
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
}

/// Why a domain has no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFound {
    /// DNS has no such domain, or the domain says that it has no server.
    #[error("DNS knows no server of the domain")]
    NoServer,
    /// DNS did not answer.
    #[error("DNS did not answer")]
    NoAnswer,
}

impl Discovery {
    /// Discovery by the system's DNS servers, or by the one named.
    ///
    /// Answers are cached as long as their records live. Without any DNS server only routes and
    /// addresses lead anywhere.
    #[must_use]
    pub fn new(dns: Option<SocketAddr>, routes: Vec<Route>) -> Self {
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
        let resolver = builder.and_then(|builder| builder.build().ok());
        Self { resolver, routes }
    }

    /// The servers of a domain in the order in which they are tried.
    pub(crate) async fn find(&self, domain: &str) -> Result<Vec<Target>, NotFound> {
        let route = |name: &str| self.routes.iter().find(|r| r.domain == name);
        if let Some(route) = route(domain).or_else(|| route("*")) {
            let addresses = self.addresses(&route.host, route.port).await?;
            return Ok(vec![Target { addresses, is_direct_tls: route.is_direct_tls }]);
        }
        if let Some(ip) = literal(domain) {
            let addresses = vec![SocketAddr::new(ip, DEFAULT_PORT)];
            return Ok(vec![Target { addresses, is_direct_tls: false }]);
        }
        let ascii = domain_to_ascii(domain).map_err(|_| NotFound::NoServer)?;
        let (direct, starttls) = tokio::join!(
            self.services(&ascii, "_xmpps-server", true),
            self.services(&ascii, "_xmpp-server", false)
        );
        let services = match (direct, starttls) {
            // RFC 6120 §3.2.1: without any record the domain itself is tried.
            (Ok(None), Ok(None)) | (Err(_), Ok(None)) | (Ok(None), Err(_)) => {
                let addresses = self.addresses(&ascii, DEFAULT_PORT).await?;
                return Ok(vec![Target { addresses, is_direct_tls: false }]);
            }
            (Err(error), Err(_)) => return Err(error),
            (direct, starttls) => [direct, starttls].into_iter().flatten().flatten().flatten(),
        };
        self.targets(ordered(services.collect(), random)).await
    }

    /// The records of one service; none if there are none, empty if the domain has no server.
    async fn services(
        &self,
        domain: &str,
        service: &str,
        is_direct_tls: bool,
    ) -> Result<Option<Vec<Service>>, NotFound> {
        let resolver = self.resolver.as_ref().ok_or(NotFound::NoAnswer)?;
        let name = format!("{service}._tcp.{domain}.");
        let lookup = match resolver.srv_lookup(name.as_str()).await {
            Ok(lookup) => lookup,
            Err(error) if is_none(&error) => return Ok(None),
            Err(_) => return Err(NotFound::NoAnswer),
        };
        let services = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                host: srv.target.to_ascii(),
                port: srv.port,
                is_direct_tls,
            }),
            _ => None,
        });
        let services: Vec<Service> = services.collect();
        // RFC 2782: a target of `.` says that the service is not there.
        Ok(Some(services.into_iter().filter(|s| s.host != ".").collect()))
    }

    async fn targets(&self, services: Vec<Service>) -> Result<Vec<Target>, NotFound> {
        let mut targets = Vec::new();
        let mut last = NotFound::NoServer;
        for service in services.into_iter().take(S2S_SERVERS_MAX) {
            match self.addresses(&service.host, service.port).await {
                Ok(addresses) => {
                    targets.push(Target { addresses, is_direct_tls: service.is_direct_tls });
                }
                Err(error) => last = error,
            }
        }
        if targets.is_empty() { Err(last) } else { Ok(targets) }
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NotFound> {
        if let Some(ip) = literal(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let resolver = self.resolver.as_ref().ok_or(NotFound::NoAnswer)?;
        // Fully qualified: no search list.
        let name = if host.ends_with('.') { host.to_owned() } else { format!("{host}.") };
        let found = match resolver.lookup_ip(name.as_str()).await {
            Ok(found) => found,
            Err(error) if is_none(&error) => return Err(NotFound::NoServer),
            Err(_) => return Err(NotFound::NoAnswer),
        };
        let addresses: Vec<IpAddr> = found.iter().take(S2S_ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            return Err(NotFound::NoServer);
        }
        Ok(alternating(addresses).into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    priority: u16,
    weight: u16,
    host: String,
    port: u16,
    is_direct_tls: bool,
}

fn is_none(error: &NetError) -> bool {
    error.is_no_records_found() || error.is_nx_domain()
}

/// RFC 2782: by priority, and among equals by chance in proportion to the weights. `random` gives a
/// number up to and including its argument.
fn ordered(mut services: Vec<Service>, mut random: impl FnMut(u32) -> u32) -> Vec<Service> {
    services.sort_by_key(|s| (s.priority, s.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let priority = first.priority;
        let equals = services.iter().take_while(|s| s.priority == priority);
        let total: u32 = equals.map(|s| u32::from(s.weight)).sum();
        let mut rest = random(total);
        let mut chosen = 0;
        for (at, service) in services.iter().enumerate() {
            if service.priority != priority {
                break;
            }
            chosen = at;
            match rest.checked_sub(u32::from(service.weight)) {
                Some(left) if left > 0 => rest = left,
                _ => break,
            }
        }
        ordered.push(services.remove(chosen));
    }
    ordered
}

fn random(up_to: u32) -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the order is the one of the records: still a valid one.
    let _ = getrandom::fill(&mut bytes);
    u32::from_le_bytes(bytes) % up_to.saturating_add(1).max(1)
}

/// RFC 8305 §4: the families take turns, IPv6 first.
fn alternating(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(six.next());
        mixed.extend(four.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

/// An address as a domainpart: IPv4, or IPv6 in brackets (RFC 7622 §3.2).
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    inner.unwrap_or(domain).parse().ok()
}

/// The port of a domain without SRV records (RFC 6120 §14.7).
const DEFAULT_PORT: u16 = 5269;

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service { priority, weight, host: host.into(), port: 5269, is_direct_tls: false }
    }

    #[test]
    fn lower_priorities_first_and_weights_among_equals() {
        let services = vec![
            service(20, 0, "c"),
            service(10, 30, "b"),
            service(10, 10, "a"),
            service(5, 0, "z"),
        ];
        let order = |pick: u32| -> Vec<String> {
            ordered(services.clone(), |up_to| pick.min(up_to)).into_iter().map(|s| s.host).collect()
        };
        assert_eq!(order(0), ["z", "a", "b", "c"]);
        assert_eq!(order(10), ["z", "a", "b", "c"]);
        assert_eq!(order(11), ["z", "b", "a", "c"]);
        assert_eq!(order(40), ["z", "b", "a", "c"]);
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["10.0.0.1", "10.0.0.2", "::1", "10.0.0.3"].map(|a| a.parse().unwrap());
        let mixed = alternating(addresses.to_vec());
        let expected: [IpAddr; 4] =
            ["::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|a| a.parse().unwrap());
        assert_eq!(mixed, expected);
    }

    #[tokio::test]
    async fn routes_and_literals_need_no_dns() {
        let route = |domain: &str| Route {
            domain: domain.into(),
            host: "127.0.0.1".into(),
            port: 1,
            is_direct_tls: true,
        };
        let discovery = Discovery { resolver: None, routes: vec![route("far.example")] };
        let to = |address: &str, is_direct_tls| Target {
            addresses: vec![address.parse().unwrap()],
            is_direct_tls,
        };
        assert_eq!(discovery.find("far.example").await, Ok(vec![to("127.0.0.1:1", true)]));
        assert_eq!(discovery.find("[::1]").await, Ok(vec![to("[::1]:5269", false)]));
        assert_eq!(discovery.find("10.0.0.1").await, Ok(vec![to("10.0.0.1:5269", false)]));
        assert_eq!(discovery.find("else.example").await, Err(NotFound::NoAnswer));
        let any = Discovery { resolver: None, routes: vec![route("*")] };
        assert_eq!(any.find("else.example").await, Ok(vec![to("127.0.0.1:1", true)]));
    }
}
