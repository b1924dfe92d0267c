//! RFC 7673: DANE TLSA records with SRV records; RFC 7712 §5.1 for XMPP.
//!
//! What validated answers of DNS say of the certificates of one server of a domain.
//! Implements: §3 (which answers have to be secure, and that a bogus one ends the attempt), §4.1 (the
//! server's own name as a reference), §4.2; RFC 7671 §7 for a server that is called by an alias.
//! Left out: TLSA records of domains without SRV records (§3.1, RFC 7712 §5.1).

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use stentor_transport::Association;

use super::discovery::{NotFound, is_none, why};

/// What secure answers say of one server; nothing where they are not secure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dane {
    /// Names that its certificate may have instead of the domain's (§4.1), as in DNS.
    pub(crate) hosts: Vec<String>,
    /// Of these one has to match its certificate, if there are any.
    pub(crate) associations: Vec<Association>,
    /// Whether it has TLSA records, be they usable or not: it is not spoken to without TLS (§4).
    pub(crate) has_records: bool,
}

impl Dane {
    /// Asks for the records of a server that a secure SRV record names, whose `addresses` have been
    /// asked for.
    ///
    /// # Errors
    /// They cannot be had, or are bogus: this server is not to be called (§3.4).
    pub(super) async fn of(
        resolver: &TokioResolver,
        host: &str,
        port: u16,
        addresses: &[Record],
    ) -> Result<Self, NotFound> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let mut dane = Self { hosts: vec![host.clone()], ..Self::default() };
        // §3.2: without a secure address there is no use in asking.
        let Some(owner) = secure_owner(addresses) else { return Ok(dane) };
        let owner = owner.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        // RFC 7671 §7: the name behind the aliases comes first.
        let aliased = (owner != host).then_some(&owner);
        for base in aliased.into_iter().chain([&host]) {
            let Some(associations) = records(resolver, base, port).await? else { continue };
            if *base != host {
                dane.hosts.push(base.clone());
            }
            dane.associations = associations;
            dane.has_records = true;
            break;
        }
        Ok(dane)
    }
}

/// The usable ones of a server's TLSA records (§3.3); none if it has no secure ones.
async fn records(
    resolver: &TokioResolver,
    base: &str,
    port: u16,
) -> Result<Option<Vec<Association>>, NotFound> {
    let lookup = match resolver.tlsa_lookup(format!("_{port}._tcp.{base}.")).await {
        Ok(lookup) if are_secure(lookup.answers()) => lookup,
        Ok(_) => return Ok(None),
        Err(error) if is_none(&error) => return Ok(None),
        Err(error) => return Err(why(&error)),
    };
    let usable = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::TLSA(tlsa) => Association::new(
            tlsa.cert_usage.into(),
            tlsa.selector.into(),
            tlsa.matching.into(),
            tlsa.cert_data.clone(),
        ),
        _ => None,
    });
    let usable: Vec<Association> = usable.collect();
    Ok(Some(Association::strongest(&usable)))
}

/// Whether an answer is secure from end to end, aliases included (RFC 4035 §4.3).
pub(super) fn are_secure(answers: &[Record]) -> bool {
    let mut counted = answers.iter().filter(|r| r.record_type() != RecordType::RRSIG).peekable();
    counted.peek().is_some() && counted.all(|record| record.proof.is_secure())
}

/// Whose a secure address is, if aliases lead there securely.
fn secure_owner(addresses: &[Record]) -> Option<&Name> {
    let mut aliases = addresses.iter().filter(|r| r.record_type() == RecordType::CNAME);
    let is_led_securely = aliases.all(|alias| alias.proof.is_secure());
    let is_secure = |r: &&Record| r.data.ip_addr().is_some() && r.proof.is_secure();
    addresses.iter().find(is_secure).filter(|_| is_led_securely).map(|record| &record.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s2s::discovery::Discovery;
    use crate::s2s::fake_dns::{
        Entry, FakeDns, address, alias, failure, failure_of, forged, srv, tlsa,
    };

    const SERVICE: &str = "_xmpp-server._tcp.a.example";
    const RECORD: &str = "_5269._tcp.h.example";
    const KEY: [u8; 32] = [7; 32];

    fn service(host: &str) -> Entry {
        srv(SERVICE, 1, 5269, host)
    }

    fn record(name: &'static str) -> Entry {
        tlsa(name, (3, 1, 1, &KEY))
    }

    /// What is found of the servers of a domain.
    async fn found(domain: &str, entries: Vec<Entry>) -> Result<Vec<Dane>, NotFound> {
        let (dns, anchors) = FakeDns::signed(entries).await;
        let discovery = Discovery::new(Some(dns.addr), Vec::new(), Some(anchors));
        let servers = discovery.find(domain).await?;
        Ok(servers.into_iter().map(|server| server.dane).collect())
    }

    fn said(hosts: &[&str], has_record: bool) -> Result<Vec<Dane>, NotFound> {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let association = Association::new(3, 1, 1, KEY.to_vec()).filter(|_| has_record);
        let associations = association.into_iter().collect();
        Ok(vec![Dane { hosts, associations, has_records: has_record }])
    }

    #[tokio::test]
    async fn records_count_where_every_answer_on_the_way_to_them_is_secure() {
        let host = || address("h.example", "192.0.2.1");
        let plain = || address("h.plain.example", "192.0.2.2");
        for (case, (domain, records, expected)) in [
            ("a.example", vec![service("h.example"), host()], said(&["h.example"], false)),
            (
                "a.example",
                vec![service("h.example"), host(), record(RECORD)],
                said(&["h.example"], true),
            ),
            // §3.1: the service is not signed, its server is.
            (
                "a.plain.example",
                vec![
                    srv("_xmpp-server._tcp.a.plain.example", 1, 5269, "h.example"),
                    host(),
                    record(RECORD),
                ],
                said(&[], false),
            ),
            // §3.2: the address is not signed; its name is a reference all the same (§4.1).
            (
                "a.example",
                vec![service("h.plain.example"), plain(), record("_5269._tcp.h.plain.example")],
                said(&["h.plain.example"], false),
            ),
            // §3.4: the records are not signed.
            (
                "a.example",
                vec![
                    service("h.example"),
                    host(),
                    alias(RECORD, "tlsa.plain.example"),
                    record("tlsa.plain.example"),
                ],
                said(&["h.example"], false),
            ),
            // RFC 7671 §5.1: one set of records for many servers.
            (
                "a.example",
                vec![
                    service("h.example"),
                    host(),
                    alias(RECORD, "tlsa.example"),
                    record("tlsa.example"),
                ],
                said(&["h.example"], true),
            ),
            // §3.1: without SRV records there is nothing to go by.
            (
                "a.example",
                vec![address("a.example", "192.0.2.3"), record("_5269._tcp.a.example")],
                said(&[], false),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(found(domain, records).await, expected, "case {case}");
        }
    }

    #[tokio::test]
    async fn what_is_wrongly_signed_or_kept_back_is_no_way_to_a_server() {
        let host = || address("h.example", "192.0.2.1");
        for (case, (records, expected)) in [
            (vec![forged(service("h.example")), host(), record(RECORD)], NotFound::Bogus),
            (vec![service("h.example"), forged(host()), record(RECORD)], NotFound::Bogus),
            (vec![service("h.example"), host(), forged(record(RECORD))], NotFound::Bogus),
            (
                vec![service("h.example"), host(), failure_of(RECORD, RecordType::TLSA)],
                NotFound::NoAnswer,
            ),
            // It would lead to the domain's own address, past what is signed.
            (vec![failure(SERVICE), address("a.example", "192.0.2.3")], NotFound::NoAnswer),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(found("a.example", records).await, Err(expected), "case {case}");
        }
        // §3.4: another server may still be called.
        let others = vec![
            service("h.example"),
            srv(SERVICE, 2, 5269, "g.example"),
            host(),
            address("g.example", "192.0.2.2"),
            forged(record(RECORD)),
        ];
        assert_eq!(found("a.example", others).await, said(&["g.example"], false));
    }

    #[tokio::test]
    async fn records_of_an_alias_are_sought_behind_it_first() {
        let (behind, before) = ("_5269._tcp.real.example", RECORD);
        for (records, hosts) in [
            (vec![record(behind)], vec!["h.example", "real.example"]),
            (vec![record(before)], vec!["h.example"]),
            (
                vec![record(behind), tlsa(before, (3, 1, 1, &[8; 32]))],
                vec!["h.example", "real.example"],
            ),
        ] {
            let way = [
                service("h.example"),
                alias("h.example", "real.example"),
                address("real.example", "192.0.2.1"),
            ];
            let records = way.into_iter().chain(records).collect();
            assert_eq!(found("a.example", records).await, said(&hosts, true), "{hosts:?}");
        }
    }

    #[tokio::test]
    async fn records_that_cannot_be_used_demand_tls_and_nothing_else() {
        let way = vec![
            service("h.example"),
            address("h.example", "192.0.2.1"),
            tlsa(RECORD, (9, 1, 1, &KEY)),
            tlsa(RECORD, (3, 1, 1, &KEY[1..])),
        ];
        let expected =
            Dane { hosts: vec!["h.example".into()], associations: vec![], has_records: true };
        assert_eq!(found("a.example", way).await, Ok(vec![expected]));
    }

    #[tokio::test]
    async fn nothing_is_asked_for_where_the_answer_could_not_count() {
        let ways = || {
            vec![
                service("h.plain.example"),
                address("h.plain.example", "192.0.2.1"),
                record("_5269._tcp.h.plain.example"),
            ]
        };
        let (dns, anchors) = FakeDns::signed(ways()).await;
        for anchors in [Some(anchors), None] {
            let discovery = Discovery::new(Some(dns.addr), Vec::new(), anchors);
            assert!(discovery.find("a.example").await.is_ok());
        }
        assert_eq!(dns.times("_5269._tcp.h.plain.example", RecordType::TLSA), 0);
    }
}
