//! Other servers: whom we speak to, and where they are.

use stentor_edge::AdmissionSettings;
use stentor_edge::s2s::{Lists, Policy, Route, Terms};

use super::reader::{Reader, Section, Value};
use super::sections::size;
use super::{Federation, keys};

/// Reads `[federation]`, `[[route]]` and `[[peer]]`.
pub(super) fn read<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
    routes: Option<&'t Value<'t>>,
    peers: Option<&'t Value<'t>>,
) -> Federation {
    let mut s = reader.section("federation", value);
    let is_enabled = s.truth(&keys::FEDERATION_ENABLED);
    let mut policy = Policy {
        lists: Lists {
            allow: domains(&mut s, &keys::FEDERATION_ALLOW),
            block: domains(&mut s, &keys::FEDERATION_BLOCK),
        },
        terms: Terms {
            tls_required: s.truth(&keys::FEDERATION_TLS),
            allows_dialback: s.truth(&keys::FEDERATION_DIALBACK),
            bytes_per_sec: s.number(&keys::FEDERATION_BYTES_PER_SEC),
        },
        peers: Vec::new(),
        idle_ms: s.number(&keys::FEDERATION_IDLE_SECS) * 1_000,
        silence_ms: s.number(&keys::FEDERATION_SILENCE_SECS) * 1_000,
        connect_wait_ms: s.number(&keys::FEDERATION_CONNECT_WAIT_SECS) * 1_000,
        attempts_per_minute: size(s.number(&keys::FEDERATION_ATTEMPTS)),
        hold_ms: s.number(&keys::FEDERATION_HOLD_SECS) * 1_000,
        admission: AdmissionSettings {
            connections_max: size(s.number(&keys::FEDERATION_CONNECTIONS_MAX)),
            per_source_max: u32::try_from(s.number(&keys::FEDERATION_PER_SOURCE_MAX))
                .unwrap_or(u32::MAX),
            ..AdmissionSettings::default()
        },
        ..Policy::default()
    };
    let authority = s.path(&keys::FEDERATION_AUTHORITY).map(|(span, path)| (s.place(&span), path));
    let dns = s.address(&keys::FEDERATION_DNS).map(|(_, address)| address);
    let is_validating = s.truth(&keys::FEDERATION_DNSSEC);
    let trust_anchor = s.path(&keys::FEDERATION_TRUST_ANCHOR);
    if let Some((span, _)) = trust_anchor.as_ref().filter(|_| !is_validating) {
        s.wrong(span, "`trust_anchor` means nothing without `dnssec = true`".to_owned());
    }
    let trust_anchor = trust_anchor.map(|(span, path)| (s.place(&span), path));
    s.finish();
    let routes = read_routes(reader, routes);
    policy.peers = read_peers(reader, peers);
    Federation { is_enabled, policy, authority, dns, is_validating, trust_anchor, routes }
}

fn domains(s: &mut Section<'_, '_, '_>, key: &'static super::key::Key) -> Vec<String> {
    let mut domains = Vec::new();
    for (span, text) in s.texts(key) {
        match Policy::domain(&text) {
            Some(domain) => domains.push(domain),
            None => s.wrong(&span, format!("`{text}` is no domain")),
        }
    }
    domains
}

fn read_routes<'t>(reader: &mut Reader<'_>, value: Option<&'t Value<'t>>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for (index, table) in reader.items("route", value).into_iter().enumerate() {
        let mut s = reader.item("route", index, table);
        let domain = s.text(&keys::ROUTE_DOMAIN);
        let host = s.text(&keys::ROUTE_HOST);
        let port = u16::try_from(s.number(&keys::ROUTE_PORT)).unwrap_or(u16::MAX);
        let is_direct_tls = s.truth(&keys::ROUTE_DIRECT_TLS);
        match (domain, host) {
            (Some((span, text)), Some((_, host))) => {
                let domain = if text == "*" { Some(text.clone()) } else { Policy::domain(&text) };
                match domain {
                    None => s.wrong(&span, format!("`{text}` is no domain, nor `*` for all")),
                    Some(domain) if routes.iter().any(|r| r.domain == domain) => {
                        s.wrong(&span, format!("`{text}` stands there twice: take one out"));
                    }
                    Some(domain) => routes.push(Route { domain, host, port, is_direct_tls }),
                }
            }
            _ => s.wrong(&table.span(), "a `[[route]]` needs both `domain` and `host`"),
        }
        s.finish();
    }
    routes
}

fn read_peers<'t>(reader: &mut Reader<'_>, value: Option<&'t Value<'t>>) -> Vec<(String, Terms)> {
    let mut peers: Vec<(String, Terms)> = Vec::new();
    for (index, table) in reader.items("peer", value).into_iter().enumerate() {
        let mut s = reader.item("peer", index, table);
        let domain = s.text(&keys::PEER_DOMAIN);
        let terms = Terms {
            tls_required: s.truth(&keys::PEER_TLS),
            allows_dialback: s.truth(&keys::PEER_DIALBACK),
            bytes_per_sec: s.number(&keys::PEER_BYTES_PER_SEC),
        };
        match domain.map(|(span, text)| (span, Policy::domain(&text), text)) {
            None => s.wrong(&table.span(), "a `[[peer]]` needs a `domain`"),
            Some((span, None, text)) => s.wrong(&span, format!("`{text}` is no domain")),
            Some((span, Some(domain), text)) if peers.iter().any(|(name, _)| *name == domain) => {
                s.wrong(&span, format!("`{text}` stands there twice: take one out"));
            }
            Some((_, Some(domain), _)) => peers.push((domain, terms)),
        }
        s.finish();
    }
    peers
}
