//! A DNS server on loopback that says what a test tells it to, and signs it if that is wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::dnssec::crypto::Ed25519SigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_resolver::proto::dnssec::{self, DnssecSigner, SigningKey as _};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, SRV, TLSA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType};
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::rfc4035_anchors::TrustAnchors;

/// What a name has; of what is not named there is nothing.
pub(super) struct Entry {
    name: &'static str,
    says: Says,
    is_forged: bool,
}

enum Says {
    Has(RData),
    Fails(RecordType),
}

pub(super) fn srv(name: &'static str, priority: u16, port: u16, host: &str) -> Entry {
    has(name, RData::SRV(SRV::new(priority, 0, port, fqdn(host))))
}

pub(super) fn address(name: &'static str, ip: &str) -> Entry {
    let data = match ip.parse().unwrap() {
        std::net::IpAddr::V4(ip) => RData::A(A(ip)),
        std::net::IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    has(name, data)
}

/// A TLSA record of these four fields.
pub(super) fn tlsa(name: &'static str, fields: (u8, u8, u8, &[u8])) -> Entry {
    let (usage, selector, matching, data) = fields;
    let tlsa = TLSA::new(usage.into(), selector.into(), matching.into(), data.to_vec());
    has(name, RData::TLSA(tlsa))
}

pub(super) fn alias(name: &'static str, to: &str) -> Entry {
    has(name, RData::CNAME(CNAME(fqdn(to))))
}

fn has(name: &'static str, data: RData) -> Entry {
    Entry { name, says: Says::Has(data), is_forged: false }
}

/// The same with a signature of something else.
pub(super) fn forged(entry: Entry) -> Entry {
    Entry { is_forged: true, ..entry }
}

/// Questions for services of this name are answered with a failure.
pub(super) fn failure(name: &'static str) -> Entry {
    failure_of(name, RecordType::SRV)
}

/// Questions of this kind are answered with a failure.
pub(super) fn failure_of(name: &'static str, kind: RecordType) -> Entry {
    Entry { name, says: Says::Fails(kind), is_forged: false }
}

/// A running server.
pub(super) struct FakeDns {
    pub(super) addr: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl FakeDns {
    /// A server whose answers, and whose word that there is nothing, live for so many seconds.
    pub(super) async fn start(ttl: u32, entries: Vec<Entry>) -> Self {
        Self::serve(Zone { ttl, entries, signer: None }).await
    }

    /// A server that signs the zone `example`, but for `plain.example`, and the keys to begin at.
    pub(super) async fn signed(entries: Vec<Entry>) -> (Self, TrustAnchors) {
        let pkcs8 = Ed25519SigningKey::generate_pkcs8().unwrap();
        let key = Ed25519SigningKey::from_pkcs8(&pkcs8).unwrap();
        let public = key.to_public_key().unwrap();
        let mut anchors = dnssec::TrustAnchors::empty();
        anchors.insert_with_name(&public, fqdn(SIGNED).into());
        let (dnskey, twenty_years) = (DNSKEY::from_key(&public), Duration::from_secs(631_152_000));
        let signer = DnssecSigner::new(dnskey.clone(), Box::new(key), fqdn(SIGNED), twenty_years);
        let apex = [RData::DNSSEC(DNSSECRData::DNSKEY(dnskey)), RData::NS(NS(fqdn("ns.example")))];
        let apex = apex.map(|data| has(SIGNED, data));
        let entries = entries.into_iter().chain(apex);
        let entries = entries.chain([has(PLAIN, RData::NS(NS(fqdn("ns.example"))))]).collect();
        let zone = Zone { ttl: 3_600, entries, signer: Some(signer) };
        (Self::serve(zone).await, TrustAnchors(Arc::new(anchors)))
    }

    async fn serve(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (addr, asked) = (socket.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let seen = asked.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok((len, peer)) = socket.recv_from(&mut bytes).await {
                let Ok(query) = Message::from_vec(&bytes[..len]) else { continue };
                let question = query.queries[0].clone();
                let name = question.name().to_ascii().to_lowercase();
                seen.lock().push((name.trim_end_matches('.').to_owned(), question.query_type()));
                let answer = zone.answer(&query).to_vec().unwrap();
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        Self { addr, asked }
    }

    /// How often this was asked for.
    pub(super) fn times(&self, name: &str, kind: RecordType) -> usize {
        self.asked.lock().iter().filter(|(n, k)| n == name && *k == kind).count()
    }
}

/// What the server says.
struct Zone {
    ttl: u32,
    entries: Vec<Entry>,
    signer: Option<DnssecSigner>,
}

impl Zone {
    fn answer(&self, query: &Message) -> Message {
        let (name, kind) = (query.queries[0].name().clone(), query.queries[0].query_type());
        let mut answer = query.clone().into_response();
        answer.edns = None;
        if self.of(&name).any(|entry| matches!(entry.says, Says::Fails(k) if k == kind)) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let mut at = name.clone();
        while let Some(to) = self.alias_of(&at) {
            answer.add_answers(self.rrset(&at, RecordType::CNAME));
            at = to;
        }
        answer.add_answers(self.rrset(&at, kind));
        if answer.answers.is_empty() {
            self.deny(&name, kind, &mut answer);
        }
        answer
    }

    fn alias_of(&self, name: &Name) -> Option<Name> {
        self.data(name, RecordType::CNAME).find_map(|data| match data {
            RData::CNAME(CNAME(to)) => Some(to.clone()),
            _ => None,
        })
    }

    fn of<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| fqdn(entry.name) == *name)
    }

    fn data<'a>(&'a self, name: &'a Name, kind: RecordType) -> impl Iterator<Item = &'a RData> {
        self.of(name).filter_map(move |entry| match &entry.says {
            Says::Has(data) if data.record_type() == kind => Some(data),
            _ => None,
        })
    }

    /// The records of a name, and their signature if they have one.
    fn rrset(&self, name: &Name, kind: RecordType) -> Vec<Record> {
        let records = self.data(name, kind);
        let records = records.map(|data| Record::from_rdata(name.clone(), self.ttl, data.clone()));
        let is_forged = self.of(name).any(|entry| {
            entry.is_forged && matches!(&entry.says, Says::Has(data) if data.record_type() == kind)
        });
        self.sign(records.collect(), is_forged)
    }

    fn sign(&self, mut records: Vec<Record>, is_forged: bool) -> Vec<Record> {
        let (Some(signer), Some(first)) = (&self.signer, records.first()) else { return records };
        if fqdn(PLAIN).zone_of(&first.name) && first.record_type() != RecordType::NSEC {
            return records;
        }
        let mut set = RecordSet::new(first.name.clone(), first.record_type(), 0);
        for record in &records {
            assert!(set.insert(record.clone(), 0));
        }
        let since = rcgen::date_time_ymd(2020, 1, 1);
        let rrsig = RRSIG::from_rrset(&set, DNSClass::IN, since, signer).unwrap();
        let mut bytes = rrsig.sig().to_vec();
        bytes[0] ^= u8::from(is_forged);
        let rrsig = RRSIG::from_sig(rrsig.input().clone(), bytes);
        let data = RData::DNSSEC(DNSSECRData::RRSIG(rrsig));
        records.push(Record::from_rdata(first.name.clone(), self.ttl, data));
        records
    }

    /// Says that there is nothing, and where it is signed that this name has nothing of the kind.
    fn deny(&self, name: &Name, kind: RecordType, answer: &mut Message) {
        let (host, admin) = (fqdn("ns.example"), fqdn("admin.example"));
        let soa = RData::SOA(SOA::new(host, admin, 1, 3_600, 600, 86_400, self.ttl));
        let is_plain = fqdn(PLAIN).zone_of(name) && kind != RecordType::DS;
        let apex = fqdn(if is_plain { PLAIN } else { SIGNED });
        let soa = Record::from_rdata(apex, self.ttl, soa);
        if self.signer.is_none() || is_plain {
            if self.of(name).next().is_none() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_authority(soa);
            return;
        }
        answer.add_authorities(self.sign(vec![soa], false));
        let kinds = self.of(name).filter_map(|entry| match &entry.says {
            Says::Has(data) => Some(data.record_type()),
            Says::Fails(_) => None,
        });
        let next = name.prepend_label(&b"\0"[..]).unwrap();
        let nsec = NSEC::new_cover_self(next, kinds);
        let nsec = RData::DNSSEC(DNSSECRData::NSEC(nsec));
        let nsec = Record::from_rdata(name.clone(), self.ttl, nsec);
        answer.add_authorities(self.sign(vec![nsec], false));
    }
}

fn fqdn(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

/// The zone that is signed, and the one below it that is not.
const SIGNED: &str = "example";
const PLAIN: &str = "plain.example";
