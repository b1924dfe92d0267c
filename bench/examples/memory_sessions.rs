//! Many sessions in one process, over a transport in memory: what each takes, beyond the limit of
//! open files that a machine has.
//!
//! `cargo run --release -p stentor-bench --example memory_sessions -- 1000000`
//!
//! Each has an account of its own, signs in by SCRAM over a stream like any other, and sends its
//! presence. The clients are here too, without their key derivation; what the pipes take is
//! measured first and told apart.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};
use stentor_bench::process::Process;
use stentor_edge::{Admission, AdmissionSettings, C2sListener, Driver, Link, Shared};
use stentor_engine::Settings as ProfileSettings;
use stentor_engine::credentials::derive_all;
use stentor_jid::BareJid;
use stentor_sasl::{Hash, ScramKeys};
use stentor_store::{Stage, Stores, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_testkit::World;
use stentor_transport::{Conn, Pipe};
use tokio::io::ReadBuf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count: usize = std::env::args().nth(1).map_or(100_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
    let begun = Instant::now();
    make_accounts(&sqlite.stores(), WARM_UP + count).await;
    println!("accounts made in {:.0} s", begun.elapsed().as_secs_f64());
    let world = World::over(sqlite.stores(), ProfileSettings::default(), "");
    let admission = Admission::new(AdmissionSettings {
        connections_max: usize::MAX,
        per_source_max: u32::MAX,
        per_source_before_sign_in_max: u32::MAX,
        per_source_attempts_per_minute: 0,
    });
    let shared =
        Arc::new(Shared { admission: Arc::new(admission), ..Shared::new(world.engine.clone()) });
    let listener = Arc::new(C2sListener::in_clear(shared));
    let pipes = bytes_of_pipes(count.min(100_000));
    let mut clients = Vec::with_capacity(WARM_UP + count);
    for number in 0..WARM_UP {
        clients.push(open(&listener, number).await);
    }
    tokio::time::sleep(SETTLE).await;
    let (begun, before) = (Instant::now(), private());
    for number in WARM_UP..WARM_UP + count {
        clients.push(open(&listener, number).await);
        if clients.len().is_multiple_of(100_000) {
            println!("{} sessions, {} MiB", clients.len(), private() >> 20);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let each = (private() - before) / u64::try_from(count).unwrap();
    println!("{count} sessions in {took:.0} s, {:.0} a second", as_float(count) / took);
    println!("private memory of each: {} bytes, and {pipes} of its pipe", each - pipes);
}

/// Accounts with one password; deriving its keys for each would take most of the time.
async fn make_accounts(stores: &Stores, count: usize) {
    let keys = derive_all(PASSWORD, ITERATIONS).unwrap();
    let accounts: Vec<usize> = (0..count).collect();
    for some in accounts.chunks(1_000) {
        let stage: Stage = some
            .iter()
            .map(|number| Write::CreateAccount {
                owner: BareJid::new(&format!("user{number}@{DOMAIN}")).unwrap(),
                created_ms: 0,
                keys: keys.clone(),
            })
            .collect();
        stores.writer.submit(stage).await.unwrap();
    }
}

fn bytes_of_pipes(count: usize) -> u64 {
    let before = private();
    let pipes: Vec<_> = (0..count).map(|_| Pipe::pair(PIPE_BYTES)).collect();
    let bytes = (private() - before) / u64::try_from(pipes.len()).unwrap();
    drop(pipes);
    bytes
}

/// Connects a client and signs it in.
async fn open(listener: &Arc<C2sListener>, number: usize) -> Client {
    let (near, far) = Pipe::pair(PIPE_BYTES);
    let host = u32::try_from(number / 1_000).unwrap().to_be_bytes();
    let peer = SocketAddr::from(([10, host[1], host[2], host[3]], 5222));
    let permit = listener.shared.admission.admit(peer.ip()).unwrap();
    let link = Link::new(listener.clone(), peer, permit);
    tokio::spawn(Driver::new(Conn::piped(far, peer), link));
    let client = Client(near);
    client.sign_in(&format!("user{number}")).await;
    client
}

/// A client's end of a pipe, and nothing else.
struct Client(Pipe);

impl Client {
    async fn sign_in(&self, user: &str) {
        self.say(&header());
        self.hear("</stream:features>").await;
        let first = format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL");
        let encoded = BASE64_STANDARD.encode(format!("n,,{first}"));
        self.say(&format!("<auth {SASL} mechanism='SCRAM-SHA-1'>{encoded}</auth>"));
        let challenge = self.hear("</challenge>").await;
        let begin = challenge.rfind("<challenge").unwrap();
        let begin = begin + challenge[begin..].find('>').unwrap() + 1;
        let end = challenge.rfind("</challenge>").unwrap();
        let challenge = BASE64_STANDARD.decode(&challenge[begin..end]).unwrap();
        let answer = BASE64_STANDARD.encode(answer(&first, &String::from_utf8(challenge).unwrap()));
        self.say(&format!("<response {SASL}>{answer}</response>"));
        self.hear("</success>").await;
        self.say(&header());
        self.hear("</stream:features>").await;
        self.say(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>idle</resource></bind></iq>",
        );
        self.hear("</iq>").await;
        self.say("<presence/>");
        self.hear("<presence").await;
    }

    fn say(&self, text: &str) {
        assert_eq!(self.0.try_write(text.as_bytes()).unwrap(), text.len());
    }

    async fn hear(&self, end: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(end) {
            let mut space = [0; 4_096];
            let mut buf = ReadBuf::new(&mut space);
            std::future::poll_fn(|cx| self.0.poll_read(cx, &mut buf)).await.unwrap();
            assert!(!buf.filled().is_empty(), "the server hung up after {heard}");
            heard.push_str(std::str::from_utf8(buf.filled()).unwrap());
        }
        heard
    }
}

/// RFC 5802 §3, for the one password, whose salt all accounts share.
fn answer(first: &str, challenge: &str) -> String {
    use std::cell::OnceCell;
    thread_local! {
        static CLIENT_KEY: OnceCell<Vec<u8>> = const { OnceCell::new() };
    }
    let field = |name| challenge.split(',').find_map(|field| field.strip_prefix(name)).unwrap();
    let client_key = CLIENT_KEY.with(|key| {
        key.get_or_init(|| {
            let salt = BASE64_STANDARD.decode(field("s=")).unwrap();
            let iterations = field("i=").parse().unwrap();
            let salted = ScramKeys::salted(Hash::Sha1, PASSWORD, &salt, iterations).unwrap();
            hmac(&salted, b"Client Key")
        })
        .clone()
    });
    let without_proof = format!("c=biws,r={}", field("r="));
    let signed = format!("{first},{challenge},{without_proof}");
    let signature = hmac(&Sha1::digest(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", BASE64_STANDARD.encode(proof))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn header() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

fn private() -> u64 {
    Process::own().memory().unwrap().private
}

fn as_float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const DOMAIN: &str = "capulet.example";
const PASSWORD: &str = "secret";
const ITERATIONS: u32 = 4_096;
const PIPE_BYTES: usize = 16 * 1_024;
const WARM_UP: usize = 2_000;
const SETTLE: Duration = Duration::from_secs(2);
