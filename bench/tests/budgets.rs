//! What must not grow silently: sizes of types, allocations for a message, bytes of a session.
//!
//! A figure here is a pin, not a goal: whoever moves it says why, in the line above it.
//!
//! Why unsafe: an allocator that counts has to be one.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use stentor_bench::fleet::{Fleet, Login, News, Server, TlsUse, tls_config};
use stentor_bench::inputs::{CHAT, HEADER};
use stentor_edge::{C2sListener, Driver, Kind, Shared};
use stentor_engine::{Resource, Settings as ProfileSettings};
use stentor_jid::{BareJid, FullJid, Jid};
use stentor_sasl::Mechanism;
use stentor_stanza::Stanza;
use stentor_stream::c2s::{C2s, Settings};
use stentor_testkit::World;
use stentor_transport::{Certificates, Conn, Listener, TlsAcceptor, TlsSettings, dev_ca};
use stentor_xml::{Frame, Item, Limits, Scanner};
use tokio::sync::watch;

#[test]
fn main_types_have_their_sizes() {
    let sizes = [
        // Where its one block is, and how long: text and index are in it.
        ("Frame", size_of::<Frame>(), 16),
        // The same, and where the parts end is in the block: in every stanza, roster and map.
        ("Jid", size_of::<Jid>(), 16),
        ("BareJid", size_of::<BareJid>(), 16),
        ("FullJid", size_of::<FullJid>(), 16),
        // Moved several times on its way from socket to socket. 40 bytes are the id, which was on
        // the heap with 52 when a stanza had 120.
        ("Stanza", size_of::<Stanza>(), 128),
        // Parked with every session: the scanner is part of the machine, machine and connection
        // are part of the driver, and the driver is the task.
        ("Scanner", size_of::<Scanner>(), 72),
        ("C2s", size_of::<C2s>(), 400),
        ("Conn", size_of::<Conn>(), 96),
        // Eight bytes of it are for the rest of a long stanza, of which it has a part at a time.
        ("Driver", size_of::<Driver>(), 776),
        // What others see of a session: its address, its presence, its queue.
        ("Resource", size_of::<Resource>(), 208),
    ];
    let grown: Vec<_> = sizes.iter().filter(|(_, size, max)| size > max).collect();
    assert!(grown.is_empty(), "name, size, pin: {grown:?}");
}

#[test]
fn a_message_and_an_idle_session_cost_what_they_may() {
    // The stanza, and one block for its text of 479 bytes, five entries, and the places of five
    // attributes. The recipient is known, and the id of 36 bytes in its place.
    let (queued, made) = weight_of_a_queued_message();
    assert!(queued <= 728, "{queued} bytes for a message that waits");
    assert!(made <= 1.0, "{made} allocations for a message that is read");

    let (addresses, thread) = serve();
    let mut fleet = Fleet::new(server(addresses.0, TlsUse::Off)).unwrap();

    // From socket to socket: the frame, the outbox, the bytes to write.
    let per_message = allocations_per_message(&mut fleet);
    assert!(per_message <= 4.0, "{per_message} allocations for a message");

    // Task, driver, machine, session with what it needs to be resumed, resource, and account with
    // what features keep of it.
    let plain = bytes_per_session(&mut fleet, 2, Asks::Nothing);
    assert!(plain <= 2_400, "{plain} bytes for an idle session");

    // The same with rustls's connection: keys, and what it keeps of the handshake.
    let mut secure_fleet = Fleet::new(server(addresses.1, TlsUse::Direct)).unwrap();
    let secured = bytes_per_session(&mut secure_fleet, 2 + WARM_UP + SESSIONS, Asks::Nothing);
    assert!(secured <= 4_770, "{secured} bytes for an idle session under TLS");

    // With what most clients ask for: counts, the right to resume and the commit of what it has
    // to know of the session.
    let first = 2 + 2 * (WARM_UP + SESSIONS);
    let usual = bytes_per_session(&mut secure_fleet, first, Asks::Usual);
    assert!(usual <= 5_430, "{usual} bytes for an idle session that may be resumed, under TLS");
    println!("{queued} bytes a message that waits, {made} allocations");
    println!("{per_message} allocations a message; {plain}, {secured}, {usual} bytes a session");
    drop((fleet, secure_fleet));
    thread.join().unwrap();
}

/// Bytes that a message takes while it waits, and allocations that it took to read it.
fn weight_of_a_queued_message() -> (i64, f64) {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(scanner.feed(&mut HEADER.as_bytes()), Ok(Some(Item::Header(_)))));
    let sender = Jid::new("juliet@capulet.example/balcony").unwrap();
    let mut queue = Vec::with_capacity(200);
    let mut read = |count: i64| {
        for _ in 0..count {
            let item = scanner.feed(&mut CHAT.as_bytes());
            let Ok(Some(Item::Frame(frame))) = item else { panic!("{item:?}") };
            queue.push(Stanza::from_frame_by(frame, &sender).unwrap());
        }
        (LIVE_BYTES.load(Ordering::SeqCst), ALLOCATIONS.load(Ordering::SeqCst))
    };
    IS_COUNTED.set(true);
    let (bytes_before, before) = read(100);
    let (bytes, after) = read(100);
    IS_COUNTED.set(false);
    let heap = (bytes - bytes_before) / 100;
    #[allow(clippy::cast_precision_loss)]
    let allocations = (after - before) as f64 / 100.0;
    (heap + signed(size_of::<Stanza>()), allocations)
}

fn allocations_per_message(fleet: &mut Fleet) -> f64 {
    let (a, b) = (fleet.add(), fleet.add());
    sign_in(fleet, a, "user0", "a");
    sign_in(fleet, b, "user1", "b");
    exchange(fleet, a, b, 50);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    exchange(fleet, a, b, MESSAGES);
    let count = ALLOCATIONS.load(Ordering::SeqCst) - before;
    #[allow(clippy::cast_precision_loss)]
    let per_message = count as f64 / f64::from(MESSAGES);
    per_message
}

/// Sends messages one by one: each waits until the one before it has arrived.
fn exchange(fleet: &mut Fleet, from: usize, to: usize, count: u32) {
    let body = "x".repeat(100);
    let stanza = format!(
        "<message to='user1@capulet.example/b' type='chat' id='some-id'><body>{body}</body>\
         </message>"
    );
    for _ in 0..count {
        fleet.outs().of(from).extend_from_slice(stanza.as_bytes());
        let mut has_come = false;
        while !has_come {
            fleet
                .turn(WAIT, &mut |who, xml, _| {
                    has_come |= who == to && xml.starts_with(b"<message");
                })
                .unwrap();
        }
    }
}

/// What a client asks for besides sending its presence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    /// Carbons, and stream management with resumption.
    Usual,
}

fn bytes_per_session(fleet: &mut Fleet, first_user: u32, asks: Asks) -> i64 {
    let mut open = |users: std::ops::Range<u32>| {
        for user in users {
            let who = fleet.add();
            let (username, resource) = (format!("user{user}"), "idle".to_owned());
            let manages = asks == Asks::Usual;
            connect(fleet, who, Login { username, resource, manages, ..Login::default() });
            if asks == Asks::Usual {
                let enable = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
                say(fleet, who, enable, b"<iq");
            }
            say(fleet, who, "<presence/>", b"<presence");
            if asks == Asks::Usual {
                let handled = "<a xmlns='urn:xmpp:sm:3' h='2'/>";
                fleet.outs().of(who).extend_from_slice(handled.as_bytes());
            }
        }
        LIVE_BYTES.load(Ordering::SeqCst)
    };
    // The first ones make room in tables for many.
    let first = first_user + WARM_UP;
    let before = open(first_user..first);
    let after = open(first..first + SESSIONS);
    (after - before) / i64::from(SESSIONS)
}

/// Sends a stanza and waits for what comes for it.
fn say(fleet: &mut Fleet, who: usize, stanza: &str, answer: &[u8]) {
    fleet.outs().of(who).extend_from_slice(stanza.as_bytes());
    let mut has_come = false;
    while !has_come {
        fleet
            .turn(WAIT, &mut |from, xml, _| has_come |= from == who && xml.starts_with(answer))
            .unwrap();
    }
}

fn sign_in(fleet: &mut Fleet, who: usize, username: &str, resource: &str) {
    let (username, resource) = (username.to_owned(), resource.to_owned());
    connect(fleet, who, Login { username, resource, ..Login::default() });
}

fn connect(fleet: &mut Fleet, who: usize, login: Login) {
    fleet.connect(who, Some(login)).unwrap();
    while !fleet.is_ready(who) {
        fleet.turn(WAIT, &mut |_, _, _| {}).unwrap();
        for news in fleet.take_news() {
            assert!(matches!(news, News::Ready { .. }), "{news:?}");
        }
    }
}

fn server(address: SocketAddr, tls: TlsUse) -> Server {
    Server {
        address,
        domain: "capulet.example".to_owned(),
        tls,
        mechanism: Some(Mechanism::ScramSha1),
        password: "secret".to_owned(),
        tls_config: tls_config(false).unwrap(),
    }
}

/// Serves on one thread, whose allocations are counted, until its last client has left.
fn serve() -> ((SocketAddr, SocketAddr), std::thread::JoinHandle<()>) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        IS_COUNTED.set(true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            // What an archive keeps is the store's cost: `--bench archive` of the store counts it.
            let modules = "[archive]\nenabled = false\n";
            let world = World::with(ProfileSettings::default(), modules);
            for user in 0..ACCOUNTS {
                let jid = BareJid::new(&format!("user{user}@capulet.example")).unwrap();
                world.engine.create_account(&jid, "secret".to_owned()).await.unwrap();
            }
            let folder = tempfile::tempdir().unwrap();
            let ca = dev_ca::open(folder.path(), &["capulet.example".to_owned()]).unwrap();
            let (certificates, _) = Certificates::load(vec![ca.identity()]).unwrap();
            let acceptor = TlsAcceptor::new(Arc::new(certificates), TlsSettings::default());
            let shared = Arc::new(Shared::new(world.engine.clone()));
            let (_stop, stopped) = watch::channel(false);
            let listen = |kind, acceptor| {
                let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let address = listener.addr();
                let settings = Arc::new(Settings::default()).into();
                let shared = shared.clone();
                let c2s = C2sListener { kind, settings, tls_required: false, acceptor, shared };
                tokio::spawn(stentor_edge::accept(Arc::new(c2s), listener, stopped.clone()));
                address
            };
            let plain = listen(Kind::StartTls, None);
            let direct = listen(Kind::DirectTls, Some(Arc::new(acceptor)));
            tell.send((plain, direct)).unwrap();
            while shared.metrics.accepted.get() < u64::from(ACCOUNTS) || shared.admission.open() > 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
    (told.recv().unwrap(), thread)
}

/// Counts what threads that ask for it allocate.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count(allocations: u64, bytes: i64) {
    if IS_COUNTED.try_with(Cell::get) == Ok(true) {
        ALLOCATIONS.fetch_add(allocations, Ordering::SeqCst);
        LIVE_BYTES.fetch_add(bytes, Ordering::SeqCst);
    }
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, signed(size) - signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

const WAIT: Duration = Duration::from_millis(100);
const MESSAGES: u32 = 500;
const WARM_UP: u32 = 70;
const SESSIONS: u32 = 130;
const ACCOUNTS: u32 = 2 + 3 * (WARM_UP + SESSIONS);
