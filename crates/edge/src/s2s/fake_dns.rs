//! A DNS server on loopback that says what a test tells it to.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::net::UdpSocket;

/// What a name has; of what is not named there is nothing.
pub(super) struct Entry {
    name: &'static str,
    says: Says,
}

enum Says {
    Has(RData),
    Fails(RecordType),
}

pub(super) fn srv(name: &'static str, priority: u16, port: u16, host: &str) -> Entry {
    Entry { name, says: Says::Has(RData::SRV(SRV::new(priority, 0, port, fqdn(host)))) }
}

pub(super) fn address(name: &'static str, ip: &str) -> Entry {
    let data = match ip.parse().unwrap() {
        std::net::IpAddr::V4(ip) => RData::A(A(ip)),
        std::net::IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Entry { name, says: Says::Has(data) }
}

/// Questions for services of this name are answered with a failure.
pub(super) fn failure(name: &'static str) -> Entry {
    Entry { name, says: Says::Fails(RecordType::SRV) }
}

/// A running server.
pub(super) struct FakeDns {
    pub(super) addr: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl FakeDns {
    /// A server whose answers, and whose word that there is nothing, live for so many seconds.
    pub(super) async fn start(ttl: u32, entries: Vec<Entry>) -> Self {
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
                let answer = answer(&query, ttl, &entries).to_vec().unwrap();
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

fn answer(query: &Message, ttl: u32, entries: &[Entry]) -> Message {
    let question = query.queries[0].clone();
    let mut answer = query.clone().into_response();
    answer.edns = None;
    let of_name = |entry: &&Entry| fqdn(entry.name) == *question.name();
    for entry in entries.iter().filter(of_name) {
        match &entry.says {
            Says::Has(data) if data.record_type() == question.query_type() => {
                answer.add_answer(Record::from_rdata(question.name().clone(), ttl, data.clone()));
            }
            Says::Fails(kind) if *kind == question.query_type() => {
                answer.metadata.response_code = ResponseCode::ServFail;
                return answer;
            }
            _ => {}
        }
    }
    if answer.answers.is_empty() {
        if !entries.iter().any(|entry| of_name(&entry)) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        let (host, admin) = (fqdn("ns.example"), fqdn("admin.example"));
        let soa = RData::SOA(SOA::new(host, admin, 1, 3_600, 600, 86_400, ttl));
        answer.add_authority(Record::from_rdata(fqdn("example"), ttl, soa));
    }
    answer
}

fn fqdn(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}
