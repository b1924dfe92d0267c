//! The command line and a running server; signals; what outlives it.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use support::{Place, Said};

#[test]
fn commands_reach_the_running_server() {
    let place = Place::new();
    let mut server = place.start();
    let made = "Made juliet@localhost. Sign in with any XMPP client as juliet@localhost.\n";
    let add = "account add juliet@localhost --password capulet";
    assert_eq!(place.run(add), Said::done(made));
    let log = server.log_until("event=\"account_added\"");
    assert!(!log.contains("capulet"), "the log has the password: {log}");
    assert_eq!(place.run(add), Said::failed("the account exists already"));
    let status = place.run("status").out;
    assert!(status.starts_with("Stentor "), "{status}");
    assert!(status.contains("\naccounts                 1\n"), "{status}");
    assert_eq!(place.run("blocked list"), Said::done("There are none.\n"));
    assert_eq!(
        place.run("blocked lift 192.0.2.1"),
        Said::done("Nothing was held against 192.0.2.1.\n")
    );
    let copy = place.path().join("copy.db");
    let words = ["backup", copy.to_str().unwrap()];
    assert_eq!(place.run_with(&words, ""), Said::done("Copied the database to DIR/copy.db.\n"));
    assert_eq!(place.run("stop"), Said::done("The server is stopping.\n"));
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!place.data().join("stentor.sock").exists());
    assert_eq!(place.run("account list").out, "juliet@localhost  sessions: 0\n");
}

#[test]
fn a_folder_has_one_server() {
    let place = Place::new();
    let server = place.start();
    let said = place.run("run");
    let locked = "stentor: the data folder `DIR/data` is in use by another server; stop that one, \
                  or set another folder\n";
    assert_eq!((said.code, said.err.ends_with(locked)), (1, true), "{}", said.err);
    // The first one was not disturbed.
    assert_eq!(place.run("account list"), Said::done("There are none.\n"));
    std::fs::remove_file(place.data().join("stentor.sock")).unwrap();
    let silent = "a server has the data folder `DIR/data` and does not answer: it is starting or \
                  stopping; try again in a moment";
    assert_eq!(place.run("account list"), Said::failed(silent));
    drop(server);
}

#[test]
fn a_killed_server_leaves_nothing_in_the_way() {
    let place = Place::new();
    let server = place.start();
    place.run("account add juliet@localhost --password capulet");
    server.signal(Signal::KILL);
    drop(server);
    assert!(place.data().join("stentor.sock").exists());
    assert_eq!(place.run("account list").out, "juliet@localhost  sessions: 0\n");
    let server = place.start();
    assert_eq!(place.run("account list").out, "juliet@localhost  sessions: 0\n");
    drop(server);
}

#[test]
fn a_port_in_use_is_told_with_the_remedy() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    place.configure(&format!("[metrics]\naddress = '{address}'"));
    let said = place.run("run");
    let expected = format!(
        "stentor: no metrics on `{address}`; choose another `address` in `[metrics]`: Address \
         already in use (os error 98)\n"
    );
    assert_eq!((said.code, said.err.ends_with(&expected)), (1, true), "{}", said.err);
    place.configure(&format!("[[listen]]\naddress = '{address}'"));
    let said = place.run("run");
    let expected = format!(
        "stentor: cannot listen on {address}: the port is in use; stop the other server or choose \
         another port"
    );
    assert!(said.err.contains(&expected), "{}", said.err);
    assert_eq!(said.code, 1);
}

#[test]
fn a_reload_changes_what_it_can_and_names_the_rest() {
    let place = Place::new();
    let mut server = place.start();
    place.configure("[[host]]\nname = 'capulet.example'\n[limits]\nidle_secs = 60");
    let said = place.run("reload");
    let expected = "\
Read the configuration; serving capulet.example.
Only a restart changes: limits.idle_secs.
Warning: no certificate is configured, and clients of `capulet.example` do not trust the one for \
development; add a `[[certificate]]`.
";
    assert_eq!(said, Said::done(expected));
    assert_eq!(place.run("account add juliet@capulet.example --password a").code, 0);
    assert_eq!(place.run("account add juliet@localhost --password a").code, 1);
    place.configure("[[host]]\nname = 'montague.example'\n[log]\nlevel = 7");
    let wrong = "DIR/stentor.toml:5:9: `level` must be a text in quotes";
    assert_eq!(place.run("reload"), Said::failed(wrong));
    assert_eq!(place.run("account add romeo@capulet.example --password a").code, 0);
    // A broken file does not keep anybody from asking the server.
    assert!(place.run("status").out.starts_with("Stentor "));
    place.configure("[[host]]\nname = 'montague.example'");
    server.signal(Signal::HUP);
    // The one of the command came before.
    server.log_until("event=\"not_reloaded\"");
    server.log_until("event=\"reloaded\"");
    assert_eq!(place.run("account add romeo@montague.example --password a").code, 0);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "there is no other task on this thread")]
fn signals_stop_it_in_good_order_and_a_second_one_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let server = place.start();
        server.signal(signal);
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("event=\"stopped\""), "{log}");
    }
    let place = Place::new();
    let mut server = place.start();
    // A connection that does not go away keeps it waiting a while.
    let mut idle = TcpStream::connect(server.ports[0]).unwrap();
    idle.write_all(HEADER).unwrap();
    read_until(&mut idle, "</stream:features>");
    server.signal(Signal::TERM);
    server.log_until("event=\"stopping\"");
    // What comes at once is the echo of the first.
    while !server.has_ended() {
        server.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("told twice"), "{log}");
}

#[test]
fn metrics_are_served_and_counted() {
    let place = Place::new();
    place.configure("[metrics]\naddress = '127.0.0.1:0'");
    let server = place.start();
    let line = server.log.lines().find(|line| line.contains("event=\"started\"")).unwrap();
    let address = line.split("metrics=").nth(1).unwrap().split(' ').next().unwrap();
    let page = || {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut page = String::new();
        tcp.read_to_string(&mut page).unwrap();
        page
    };
    let committed = |page: &str| {
        let name = "stentor_store_stages_committed_total ";
        let count = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        count.parse::<u64>().unwrap()
    };
    let before = committed(&page());
    place.run("account add juliet@localhost --password capulet");
    let page = page();
    assert!(committed(&page) > before, "{page}");
    for line in ["stentor_sessions 0", "stentor_edge_open 0"] {
        assert!(page.lines().any(|l| l == line), "{line} is not in {page}");
    }
    let name = "stentor_certificate_seconds_left{name=\"localhost\"} ";
    let left = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert!(left.parse::<i64>().unwrap() > 300 * 86_400, "{left}");
}

#[test]
fn the_fail2ban_filter_finds_failed_sign_ins_and_their_source() {
    let place = Place::new();
    let mut server = place.start();
    place.run("account add juliet@localhost --password capulet");
    let mut tcp = TcpStream::connect(server.ports[0]).unwrap();
    tcp.write_all(HEADER).unwrap();
    read_until(&mut tcp, "</stream:features>");
    guess(&mut tcp, "juliet", "192.0.2.9");
    let log = server.log_until("event=\"sign_in_failed\"");
    let line = log.lines().last().unwrap();
    let filter = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../contrib/fail2ban/filter.d/stentor.conf"
    ))
    .unwrap();
    // What the first rule wants, piece by piece, after the time that fail2ban takes away.
    let rest = line.split_once('Z').unwrap().1.trim_start();
    let rest = rest.strip_prefix("WARN stentor_edge::driver::refused: ").unwrap();
    let (sentence, rest) = rest.split_once("127.0.0.1 ").unwrap();
    let rule = filter.lines().find(|line| line.starts_with("failregex = ")).unwrap();
    let sentence = sentence.replace('.', r"\.");
    assert!(rule.contains(&format!(r"\s*WARN \S+: {sentence}<ADDR> .*reason=")), "{line}");
    assert!(rest.contains(" reason=\"wrong-password\" condition="), "{line}");
    assert!(filter.contains("_guess = (?:wrong-password|"), "{filter}");
}

#[test]
fn the_service_manager_is_told_and_the_watchdog_fed() {
    let place = Place::new();
    let path = place.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).trim_end().to_owned()
    };
    let until = |sign: &str| {
        while !told().starts_with(sign) {}
    };
    let notify = ("NOTIFY_SOCKET", path.to_str().unwrap());
    let server = place.start_with(&[notify, ("WATCHDOG_USEC", "20000")]);
    assert_eq!(told(), "READY=1");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    server.signal(Signal::HUP);
    until("RELOADING=1\nMONOTONIC_USEC=");
    until("READY=1");
    server.signal(Signal::TERM);
    until("STOPPING=1");
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn a_log_for_machines_has_nothing_else_in_it() {
    let place = Place::new();
    place.configure("[log]\nformat = 'json'");
    let server = place.start();
    server.signal(Signal::TERM);
    let log = server.log.clone() + &server.ended().1;
    let mut events = Vec::new();
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        events.push(value["event"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(events, ["listening", "listening", "started", "stopping", "stopped"]);
}

#[test]
fn a_reload_refuses_a_broken_certificate_and_takes_a_sound_one() {
    let place = Place::new();
    let server = place.start();
    let made = |name: &str| std::fs::read(place.data().join("tls").join(name)).unwrap();
    let (chain, key) = (made("server.pem"), made("server-key.pem"));
    std::fs::write(place.path().join("c.pem"), &chain).unwrap();
    std::fs::write(place.path().join("k.pem"), "no key").unwrap();
    place.configure("[[certificate]]\nchain = 'c.pem'\nkey = 'k.pem'");
    let said = place.run("reload");
    let wrong = "stentor: DIR/stentor.toml:4:7: DIR/k.pem: holds no unencrypted PEM private key; ";
    assert_eq!((said.code, said.err.starts_with(wrong)), (1, true), "{}", said.err);
    std::fs::write(place.path().join("k.pem"), &key).unwrap();
    let said = place.run("reload");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("Read the configuration; serving localhost.\n"), "{}", said.out);
    drop(server);
}

/// Signs in by SCRAM-SHA-256 with a wrong proof.
fn guess(tcp: &mut TcpStream, name: &str, nonce: &str) {
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    let first = STANDARD.encode(format!("n,,n={name},r={nonce}"));
    let auth = format!("<auth {sasl} mechanism='SCRAM-SHA-256'>{first}</auth>");
    tcp.write_all(auth.as_bytes()).unwrap();
    let challenge = read_until(tcp, "</challenge>");
    let challenge = challenge.split(['<', '>']).nth(2).unwrap();
    let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    let proof = STANDARD.encode([0; 32]);
    let last = STANDARD.encode(format!("c=biws,{nonce},p={proof}"));
    tcp.write_all(format!("<response {sasl}>{last}</response>").as_bytes()).unwrap();
    read_until(tcp, "</failure>");
}

/// Reads until the text has this.
fn read_until(tcp: &mut TcpStream, sign: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 1024];
    while !text.contains(sign) {
        let len = tcp.read(&mut bytes).unwrap();
        assert!(len > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..len]));
    }
    text
}

const HEADER: &[u8] = b"<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
