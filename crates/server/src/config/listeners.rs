//! The ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reader::{Reader, Value};
use super::{Listen, PortKind, TlsUse, keys};

/// Reads `[[listen]]`. `metrics` is where the page for Prometheus is served. Where there are
/// components, one port is for them.
pub(super) fn read<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
    metrics: Option<SocketAddr>,
    has_components: bool,
) -> Vec<Listen> {
    let mut listeners: Vec<Listen> = Vec::new();
    for (index, table) in reader.items("listen", value).into_iter().enumerate() {
        let mut s = reader.item("listen", index, table);
        let kind: PortKind = s.word(&keys::LISTEN_KIND);
        let (span, address) = s
            .address(&keys::LISTEN_ADDRESS)
            .unwrap_or_else(|| (table.span(), default_address(kind)));
        let tls = s.word(&keys::LISTEN_TLS);
        let is_plain_allowed = s.truth(&keys::LISTEN_ALLOW_PLAIN);
        if tls != TlsUse::Required && kind != PortKind::C2s {
            s.wrong(
                &table.span(),
                "only a port of kind `c2s` can do without TLS: leave out `tls`; for servers there \
                 is `tls_required` in `[federation]`",
            );
        } else if (tls != TlsUse::Required || kind == PortKind::Component)
            && !address.ip().is_loopback()
            && !is_plain_allowed
        {
            s.wrong(
                &span,
                format!(
                    "`{address}` is not on the loopback interface, and passwords and messages \
                     would cross the network in clear: leave out `tls`, or set \
                     `allow_plaintext_beyond_loopback = true` if a proxy does TLS"
                ),
            );
        }
        if let Some(other) = listeners.iter().find(|l| overlap(l.address, address)) {
            let other = other.address;
            s.wrong(
                &span,
                format!("`{address}` is taken by the port on `{other}`: choose another port"),
            );
        } else if let Some(metrics) = metrics.filter(|m| overlap(*m, address)) {
            s.wrong(
                &span,
                format!("`{address}` is taken by the metrics on `{metrics}`: choose another port"),
            );
        }
        s.finish();
        let tls = if kind == PortKind::Component { TlsUse::Off } else { tls };
        listeners.push(Listen { kind, address, tls });
    }
    if value.is_none() {
        let listen =
            |kind: PortKind| Listen { kind, address: default_address(kind), tls: TlsUse::Required };
        let all = [PortKind::C2s, PortKind::C2sTls, PortKind::S2s, PortKind::S2sTls];
        listeners = all.map(listen).to_vec();
    }
    if has_components && !listeners.iter().any(|l| l.kind.is_component()) {
        let kind = PortKind::Component;
        listeners.push(Listen { kind, address: default_address(kind), tls: TlsUse::Off });
    }
    listeners
}

/// Components are on the same machine as a rule: their secret would cross the network only hashed,
/// but what they say in clear.
fn default_address(kind: PortKind) -> SocketAddr {
    let port = kind.default_port();
    match kind {
        PortKind::Component => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        _ => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    }
}

/// Whether the system gives only one of them. `[::]` takes IPv4 as well; port 0 is any free port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |a: IpAddr, b: IpAddr| a.is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    let (a, b) = (one.ip(), other.ip());
    one.port() != 0 && one.port() == other.port() && (a == b || takes(a, b) || takes(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_as_the_system_says() {
        for (one, other, expected) in [
            ("127.0.0.1:5222", "127.0.0.1:5222", true),
            ("127.0.0.1:5222", "127.0.0.1:5223", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("[::]:5222", "127.0.0.1:5222", true),
            ("127.0.0.1:5222", "[::]:5222", true),
            ("0.0.0.0:5222", "127.0.0.1:5222", true),
            ("0.0.0.0:5222", "[::1]:5222", false),
            ("127.0.0.1:5222", "127.0.0.2:5222", false),
        ] {
            let overlaps = overlap(one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlaps, expected, "{one} {other}");
        }
    }
}
