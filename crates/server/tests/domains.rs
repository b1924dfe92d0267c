//! Domains that come and go while the server runs, and many of them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use stentor_store::{HostRow, Stage, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_stream::fault::Fault;
use stentor_testkit::{Login, TcpClient, Tls};
use stentor_transport::{ConnectorSettings, Roots, TlsConnector, Trust, VersionMin, dev_ca};
use support::{Place, Said, Server};

fn connector(authority: &Path) -> TlsConnector {
    let pem = fs::read(authority).unwrap();
    TlsConnector::new(ConnectorSettings {
        trust: Trust::Roots(Roots::from_pem(&pem).unwrap()),
        alpn: Vec::new(),
        identity: None,
        version_min: VersionMin::default(),
    })
    .unwrap()
}

async fn sign_in(place: &Place, server: &Server, jid: &str) -> Result<TcpClient, String> {
    sign_in_trusting(&place.data().join("tls/ca.pem"), server, jid).await
}

async fn sign_in_trusting(
    authority: &Path,
    server: &Server,
    jid: &str,
) -> Result<TcpClient, String> {
    let connector = connector(authority);
    let tls = Tls::Direct(&connector);
    TcpClient::connect(Login { addr: server.ports[1], jid, password: "secret", tls }).await
}

fn add_account(place: &Place, jid: &str) {
    assert_eq!(place.run(&format!("account add {jid} --password secret")).code, 0);
}

async fn ends_by(client: &mut TcpClient) -> Fault {
    client.wait_for(|_| false).await.err().flatten().unwrap()
}

/// What the server says to a header in clear.
fn header(server: &Server, to: &str) -> String {
    let mut tcp = TcpStream::connect(server.ports[0]).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let xml = format!(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         {to} version='1.0'>"
    );
    tcp.write_all(xml.as_bytes()).unwrap();
    let mut heard = String::new();
    while !heard.contains("</stream:features>") && !heard.contains("</stream:error>") {
        let mut bytes = [0; 4_096];
        let len = tcp.read(&mut bytes).unwrap();
        assert!(len > 0, "{heard}");
        heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    heard
}

#[tokio::test]
async fn a_domain_comes_and_goes_without_a_restart() {
    let place = Place::new();
    let server = place.start();
    add_account(&place, "juliet@localhost");
    let mut juliet = sign_in(&place, &server, "juliet@localhost/balcony").await.unwrap();
    let added = place.run("domain add Montague.example");
    let expected = "Serving montague.example. Make an account by `stentor account add \
                    NAME@montague.example`.\n";
    assert_eq!(added, Said::done(expected));
    add_account(&place, "romeo@montague.example");
    // The certificate for it is chosen by the name in the handshake.
    let mut romeo = sign_in(&place, &server, "romeo@montague.example/orchard").await.unwrap();
    romeo.send("<presence/>").await.unwrap();
    juliet.send("<message to='romeo@montague.example'><body>O</body></message>").await.unwrap();
    romeo.wait_for(|stanza| stanza.message_type().is_some()).await.unwrap();
    let list = place.run("domain list").out;
    let expected = "localhost  profile: default  served  from: configuration  accounts: 1\n\
                    montague.example  profile: default  served  from: command  accounts: 1\n";
    assert_eq!(list, expected);
    let removed = place.run("domain remove montague.example").out;
    let expected = "Not serving montague.example any more; sessions ended: 1, accounts kept: 1.\n";
    assert_eq!(removed, expected);
    assert_eq!(ends_by(&mut romeo).await.condition().name(), "host-gone");
    assert!(header(&server, "to='montague.example'").contains("<host-gone "));
    // Nobody else noticed, and what it had is there when it comes back.
    juliet.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await.unwrap();
    juliet.wait_for(|stanza| stanza.iq_type().is_some()).await.unwrap();
    place.run("domain add montague.example");
    sign_in(&place, &server, "romeo@montague.example/orchard").await.unwrap();
}

#[tokio::test]
async fn domains_outlive_the_server_and_a_reload_and_can_be_changed_without_it() {
    let place = Place::new();
    let server = place.start();
    place.run("domain add montague.example");
    place.run("domain add capulet.example");
    place.run("domain remove capulet.example");
    assert_eq!(place.run("reload").code, 0);
    assert!(header(&server, "to='montague.example'").contains("<stream:features>"));
    drop(server);
    let here = place.run("domain add verona.example");
    assert!(here.err.contains("the folder itself was changed"), "{here:?}");
    let server = place.start();
    assert!(header(&server, "to='montague.example'").contains("<stream:features>"));
    assert!(header(&server, "to='verona.example'").contains("<stream:features>"));
    assert!(header(&server, "to='capulet.example'").contains("<host-gone "));
    assert!(header(&server, "to='mantua.example'").contains("<host-unknown "));
}

#[tokio::test]
async fn a_reload_that_removes_a_domain_ends_its_sessions() {
    let place = Place::new();
    let both = "[[host]]\nname = 'localhost'\n[[host]]\nname = 'capulet.example'";
    place.configure(both);
    let server = place.start();
    add_account(&place, "nurse@capulet.example");
    add_account(&place, "juliet@localhost");
    let mut nurse = sign_in(&place, &server, "nurse@capulet.example/house").await.unwrap();
    let mut juliet = sign_in(&place, &server, "juliet@localhost/balcony").await.unwrap();
    place.configure("[[host]]\nname = 'localhost'");
    assert_eq!(place.run("reload").code, 0);
    assert_eq!(ends_by(&mut nurse).await.condition().name(), "host-gone");
    juliet.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await.unwrap();
    juliet.wait_for(|stanza| stanza.iq_type().is_some()).await.unwrap();
}

#[test]
fn a_header_without_a_domain_means_the_only_one_there_is_at_that_time() {
    let place = Place::new();
    let server = place.start();
    assert!(header(&server, "").contains("from='localhost'"));
    place.run("domain add montague.example");
    assert!(header(&server, "").contains("<host-unknown "));
    place.run("domain remove montague.example");
    assert!(header(&server, "").contains("from='localhost'"));
}

#[tokio::test]
async fn a_new_domain_finds_its_certificate_in_the_folder() {
    let place = Place::new();
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    let first = dev_ca::open(&ours, &["localhost".into()]).unwrap();
    let second = dev_ca::open(&theirs, &["montague.example".into()]).unwrap();
    let folder = place.path().join("live");
    fs::create_dir_all(folder.join("montague.example")).unwrap();
    place.configure(&format!(
        "[tls]\ncertificate_folder = 'live'\n[[certificate]]\nchain = '{}'\nkey = '{}'\n",
        first.certificate.display(),
        first.key.display()
    ));
    let server = place.start();
    fs::copy(&second.certificate, folder.join("montague.example/fullchain.pem")).unwrap();
    fs::copy(&second.key, folder.join("montague.example/privkey.pem")).unwrap();
    assert_eq!(place.run("domain add montague.example").code, 0);
    add_account(&place, "romeo@montague.example");
    add_account(&place, "juliet@localhost");
    sign_in_trusting(&second.authority, &server, "romeo@montague.example/x").await.unwrap();
    sign_in_trusting(&first.authority, &server, "juliet@localhost/x").await.unwrap();
    assert!(sign_in_trusting(&first.authority, &server, "romeo@montague.example/x").await.is_err());
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let place = Place::new();
    place.configure(
        "[[component]]\ndomain = 'irc.localhost'\nsecret = 's'\n\
                     [[listen]]\nkind = 'component'\naddress = '127.0.0.1:0'",
    );
    let _server = place.start();
    for (words, reason) in [
        ("domain add localhost", "the domain is served already"),
        ("domain add irc.localhost", "the domain is that of a component"),
        ("domain add a_@b", "`a_@b` is no domain: the domainpart is not a domain name"),
        (
            "domain add m.example --profile x",
            "there is no profile `x`; write `[profile.x]` and reload",
        ),
        ("domain remove nowhere.example", "the domain is not served"),
        (
            "domain remove localhost",
            "the domain stands in the configuration; take it out there and reload",
        ),
    ] {
        assert_eq!(place.run(words), Said::failed(reason), "{words}");
    }
}

/// Memory of a server that has just started, in kB.
fn resident_kb(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_domains_cost_little() {
    let place = Place::new();
    let ca = dev_ca::open(&place.path().join("ca"), &["*.many.example".into()]).unwrap();
    let (chain, key) = (ca.certificate.display(), ca.key.display());
    place.configure(&format!("[[certificate]]\nchain = '{chain}'\nkey = '{key}'\n"));
    let server = place.start();
    header(&server, "to='localhost'");
    let alone = resident_kb(&server);
    assert_eq!(place.run("stop").code, 0);
    server.ended();
    {
        let store = Sqlite::open(&place.data(), &Options::default()).unwrap();
        let mut stage = Stage::default();
        for n in 0..1_000 {
            let (name, profile) = (format!("d{n}.many.example"), "default".to_owned());
            stage.push(Write::PutHost(HostRow { name, profile, is_enabled: true, created_ms: 0 }));
        }
        store.stores().writer.submit(stage).await.unwrap();
        store.stop().await.unwrap();
    }
    let begin = Instant::now();
    let server = place.start();
    let started = begin.elapsed();
    header(&server, "to='d999.many.example'");
    let many = resident_kb(&server);
    let begin = Instant::now();
    assert_eq!(place.run("domain add one.many.example").code, 0);
    let added = begin.elapsed();
    println!(
        "1 domain: {alone} kB; 1,001 domains: {many} kB; start: {started:?}; one more: {added:?}"
    );
    assert!(many.saturating_sub(alone) < 8_192, "{alone} kB became {many} kB");
    add_account(&place, "romeo@d500.many.example");
    sign_in_trusting(&ca.authority, &server, "romeo@d500.many.example/x").await.unwrap();
    let list = place.run("domain list").out;
    assert_eq!(list.lines().count(), 1_002);
}
