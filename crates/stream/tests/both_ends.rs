//! A server's machine and the connecting one joined by a link and a virtual clock.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stentor_sasl::{Bindings, Condition, Mechanism};
use stentor_stanza::{Stanza, StanzaError};
use stentor_stream::Millis;
use stentor_stream::c2s;
use stentor_stream::fault::{Fault, Misbehaviour, StreamCondition, Wait};
use stentor_stream::initiator::{Credentials, Event, Initiator, Settings, TlsPolicy};
use stentor_stream::pair::{Accounts, Pair, Served, both_bindings, stanzas, tokens};

#[test]
fn signs_in_by_every_password_mechanism_with_and_without_starttls() {
    for mechanism in PASSWORD_MECHANISMS {
        for direct in [None, Some(both_bindings())] {
            let mut settings = juliet();
            settings.mechanisms = vec![mechanism];
            let mut pair =
                Pair::new(c2s::Settings::default(), Accounts::capulet(), settings, direct);
            pair.run();
            assert_ready(&pair);
            assert!(
                pair.server.events.iter().any(|event| matches!(
                    event,
                    stentor_stream::event::Event::AuthOk { mechanism: used, .. }
                        if *used == mechanism
                )),
                "{mechanism}"
            );
        }
    }
}

#[test]
fn signs_in_however_the_bytes_are_split() {
    for seed in 1..=40 {
        let mut pair = pair(juliet());
        pair.to_server.split_by(seed);
        pair.to_client.split_by(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        pair.run();
        assert_ready(&pair);
    }
}

#[test]
fn takes_the_strongest_mechanism_offered() {
    for (offered, bindings, taken) in [
        (&PASSWORD_MECHANISMS[..], both_bindings(), Mechanism::ScramSha512Plus),
        (&PASSWORD_MECHANISMS[..], Bindings::default(), Mechanism::ScramSha512),
        (&[Mechanism::Plain, Mechanism::ScramSha1][..], both_bindings(), Mechanism::ScramSha1),
        (&[Mechanism::Plain][..], both_bindings(), Mechanism::Plain),
    ] {
        let mut accounts = Accounts::capulet();
        accounts.offer.mechanisms = offered.to_vec();
        let mut pair = Pair::new(c2s::Settings::default(), accounts, juliet(), Some(bindings));
        pair.run();
        assert_ready(&pair);
        let text = written(&pair.to_server.written);
        assert!(text.contains(&format!("mechanism='{taken}'")), "{taken}: {text}");
    }
}

#[test]
fn signs_in_as_a_guest() {
    let mut accounts = Accounts::capulet();
    accounts.offer.mechanisms = vec![Mechanism::Anonymous];
    let settings = Settings::new("capulet.example", Credentials::Anonymous);
    let mut pair = Pair::new(c2s::Settings::default(), accounts, settings, None);
    pair.run();
    assert_eq!(pair.client.jid().unwrap().as_str(), "guest-1@capulet.example/made-2");
}

#[test]
fn says_who_it_is_only_under_encryption() {
    let mut pair = pair(juliet());
    pair.run();
    let text = written(&pair.to_server.written);
    let headers: Vec<&str> =
        text.split("<stream:stream").skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
    assert_eq!(headers.len(), 3);
    assert!(!headers[0].contains("from="), "{}", headers[0]);
    assert!(headers[1].contains(" from='juliet@capulet.example' "), "{}", headers[1]);
    assert!(headers.iter().all(|header| header.contains(" to='capulet.example' ")));
}

#[test]
fn carries_stanzas_both_ways() {
    let mut pair = pair(juliet());
    pair.run();
    let stanza =
        Stanza::parse(b"<message to='romeo@montague.example'><body>hi</body></message>").unwrap();
    let mut out = Vec::new();
    assert!(pair.client.send(&stanza, &mut out));
    pair.to_server.push(&out);
    let mut out = Vec::new();
    assert!(pair.server.machine.send(&stanza, &mut out));
    pair.to_client.push(&out);
    pair.run();
    assert_eq!(
        stanzas(&pair.server.events),
        ["<message to='romeo@montague.example' from='juliet@capulet.example/balcony' \
          xml:lang='en'><body>hi</body></message>"]
    );
    assert!(pair.client_events.iter().any(|event| matches!(event, Event::Stanza(_))));
}

#[test]
fn learns_the_servers_limits() {
    let mut pair = pair(juliet());
    pair.run();
    assert_eq!(pair.client.peer_limits().bytes_max, Some(262_144));
    assert_eq!(pair.client.peer_limits().idle_secs, Some(300));
}

#[test]
fn closes_from_either_end() {
    let mut first = pair(juliet());
    first.run();
    first.client.close(None, first.now());
    first.run();
    assert_eq!(first.server.ended(), Some(None));
    assert_eq!(first.client_ended(), Some(None));
    let mut second = pair(juliet());
    second.run();
    second.server.machine.close(Some(Fault::Shutdown), second.now());
    second.run();
    let Some(Some(Fault::ByPeer(error))) = second.client_ended() else { panic!("told why") };
    assert_eq!(error.condition, StreamCondition::SystemShutdown);
    assert_eq!(second.server.ended(), Some(Some(&Fault::Shutdown)));
}

#[test]
fn stops_at_a_wrong_password() {
    let mut settings = juliet();
    settings.credentials = password("juliet", "wrong");
    let mut pair = pair(settings);
    pair.run();
    assert!(pair.client_events.iter().any(|event| matches!(
        event,
        Event::AuthFailed { condition: Condition::NotAuthorized, .. }
    )));
    assert_eq!(pair.client_ended(), Some(Some(&Fault::Peer(Misbehaviour::SignInRefused))));
    let text = written(&pair.to_server.written);
    assert!(text.ends_with("</stream:stream>") && !text.contains("<stream:error>"), "{text}");
}

#[test]
fn notices_a_man_in_the_middle_by_channel_binding() {
    let mut settings = juliet();
    settings.mechanisms = vec![Mechanism::ScramSha256Plus, Mechanism::Plain];
    let mut pair = pair(settings);
    let other = Bindings { exporter: Some([8; 32]), server_end_point: Some(vec![1; 32]) };
    pair.set_bindings(both_bindings(), other);
    pair.run();
    assert!(pair.client.jid().is_none());
    assert!(!written(&pair.to_server.written).contains("PLAIN"), "no way round the binding");
}

#[test]
fn insists_on_tls_unless_told_otherwise() {
    let mut accounts = Accounts::capulet();
    accounts.offer.tls_required = false;
    accounts.offer.starttls = false;
    let mut strict = Pair::new(c2s::Settings::default(), accounts.clone(), juliet(), None);
    strict.run();
    assert_eq!(strict.client_ended(), Some(Some(&Fault::Peer(Misbehaviour::NoTls))));
    assert!(!written(&strict.to_server.written).contains("<auth"));
    let settings = Settings { tls: TlsPolicy::IfOffered, ..juliet() };
    let mut loose = Pair::new(c2s::Settings::default(), accounts, settings, None);
    loose.run();
    assert_ready(&loose);
}

#[test]
fn says_when_no_mechanism_is_common() {
    let mut accounts = Accounts::capulet();
    accounts.offer.mechanisms = vec![Mechanism::Anonymous];
    let mut pair = Pair::new(c2s::Settings::default(), accounts, juliet(), None);
    pair.run();
    assert_eq!(pair.client_ended(), Some(Some(&Fault::Peer(Misbehaviour::NoMechanism))));
}

#[test]
fn reports_refused_binding() {
    let mut accounts = Accounts::capulet();
    let error = StanzaError::new(stentor_stanza::Condition::ResourceConstraint);
    accounts.bind_error = Some(error.clone());
    let mut pair = Pair::new(c2s::Settings::default(), accounts, juliet(), None);
    pair.run();
    assert!(
        pair.client_events
            .iter()
            .any(|event| matches!(event, Event::BindFailed(Some(told)) if *told == error))
    );
    assert_eq!(pair.client_ended(), Some(Some(&Fault::Peer(Misbehaviour::BindRefused))));
}

#[test]
fn both_ends_time_out_when_the_link_dies_anywhere_in_negotiation() {
    for bytes in (0..2_000).step_by(97) {
        let mut pair = pair(juliet());
        pair.to_server.die_after(bytes);
        pair.run();
        if pair.server.machine.is_established() {
            continue;
        }
        pair.advance(70_000);
        assert!(pair.server.machine.is_ended() && pair.client.is_ended(), "{bytes}");
    }
}

#[test]
fn ends_a_session_whose_client_has_vanished() {
    let mut pair = pair(juliet());
    pair.run();
    pair.to_server.die();
    pair.advance(329_999);
    assert!(pair.server.ended().is_none());
    pair.advance(1);
    assert_eq!(pair.server.ended(), Some(Some(&Fault::Timeout(Wait::Answer))));
}

#[test]
fn both_ends_notice_a_cut() {
    let mut pair = pair(juliet());
    pair.run();
    pair.cut();
    assert_eq!(pair.server.ended(), Some(Some(&Fault::Lost)));
    assert_eq!(pair.client_ended(), Some(Some(&Fault::Lost)));
}

#[test]
fn refuses_comments_and_instructions_from_a_server() {
    for xml in ["<!-- hello -->", "<?php x?>", "<message><!-- x --></message>", "<!DOCTYPE x>"] {
        let mut pair = pair(juliet());
        pair.run();
        pair.to_client.push(xml.as_bytes());
        pair.run();
        let Some(Some(fault)) = pair.client_ended() else { panic!("{xml}") };
        assert_eq!(fault.condition(), StreamCondition::RestrictedXml, "{xml}");
        let text = written(&pair.to_server.written);
        assert!(text.contains("<restricted-xml ") && text.ends_with("</stream:stream>"), "{text}");
    }
}

#[test]
fn does_the_session_step_only_where_an_old_server_insists() {
    for (session, asked) in [
        ("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>", true),
        ("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>", false),
        ("", false),
    ] {
        let mut client = old_server_client();
        let features = format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>{session}");
        let out =
            talk(&mut client, &format!("{HEADER}<stream:features>{features}</stream:features>"));
        assert!(out.contains("<iq type='set' id='bind'>"), "{out}");
        let out = talk(
            &mut client,
            "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <jid>juliet@capulet.example/x</jid></bind></iq>",
        );
        assert_eq!(out.contains("<session "), asked, "{session}");
        assert_eq!(client.jid().is_some(), !asked);
        talk(&mut client, "<iq type='result' id='session'/>");
        assert_eq!(client.jid().unwrap().resource(), "x");
    }
}

#[test]
fn drops_a_server_that_does_not_prove_itself() {
    let mut settings = juliet();
    settings.tls = TlsPolicy::Never;
    settings.mechanisms = vec![Mechanism::ScramSha256];
    let mut client =
        Initiator::new(settings.into(), None, "nonce-of-24-characters-".into(), Millis(0));
    talk(
        &mut client,
        &format!(
            "{HEADER}<stream:features><mechanisms xmlns='{SASL}'><mechanism>SCRAM-SHA-256</mechanism>\
         </mechanisms></stream:features>"
        ),
    );
    let out = talk(&mut client, &format!("<success xmlns='{SASL}'>dj1mb3JnZWQ=</success>"));
    assert_eq!(out, "</stream:stream>");
    assert!(client.jid().is_none());
}

#[test]
fn refuses_a_recorded_sign_in() {
    let mut settings = juliet();
    settings.mechanisms = vec![Mechanism::ScramSha256];
    let direct = Some(both_bindings());
    let mut pair = Pair::new(c2s::Settings::default(), Accounts::capulet(), settings, direct);
    pair.run();
    assert_ready(&pair);
    let recorded = written(&pair.to_server.written);
    let (before_restart, _) = recorded.split_once("</response>").unwrap();
    let tls = c2s::TlsInfo { bindings: both_bindings(), ..c2s::TlsInfo::default() };
    let conn = c2s::ConnInfo { tls: Some(tls), tokens: tokens("another") };
    let mut server = Served::new(c2s::Settings::default(), Accounts::capulet(), conn, Millis(0));
    let out = server.say(&format!("{before_restart}</response>"));
    assert!(out.contains("<challenge ") && !out.contains("<success"), "{out}");
    assert!(out.ends_with("<not-authorized/></failure>"), "{out}");
}

#[test]
fn refuses_what_comes_out_of_turn() {
    for xml in [
        "<message/>",
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    ] {
        let mut settings = juliet();
        settings.tls = TlsPolicy::Never;
        let mut client =
            Initiator::new(settings.into(), None, "nonce-of-24-characters-".into(), Millis(0));
        let out = talk(&mut client, &format!("{HEADER}{xml}"));
        assert!(out.contains("<unsupported-stanza-type "), "{xml}: {out}");
    }
}

proptest! {
    #[test]
    fn prop_splits_change_nothing(there in 1_u64.., back in 1_u64..) {
        let mut whole = pair(juliet());
        whole.run();
        let mut split = pair(juliet());
        split.to_server.split_by(there);
        split.to_client.split_by(back);
        split.run();
        prop_assert_eq!(written(&split.to_server.written), written(&whole.to_server.written));
        prop_assert_eq!(written(&split.to_client.written), written(&whole.to_client.written));
    }
}

/// A client that has signed in at a server which is played by the test.
fn old_server_client() -> Initiator {
    let mut settings = juliet();
    settings.mechanisms = vec![Mechanism::Plain];
    let mut client = Initiator::new(
        settings.into(),
        Some(Bindings::default()),
        "nonce-of-24-characters-".into(),
        Millis(0),
    );
    let out = talk(
        &mut client,
        &format!(
            "{HEADER}<stream:features><mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism>\
         </mechanisms></stream:features>"
        ),
    );
    assert!(out.contains("mechanism='PLAIN'"), "{out}");
    talk(&mut client, &format!("<success xmlns='{SASL}'/>"));
    client
}

fn talk(client: &mut Initiator, text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut out = Vec::new();
    while !rest.is_empty() {
        client.handle_bytes(&mut rest, Millis(1));
        while client.poll_event().is_some() {}
    }
    client.take_output(&mut out);
    written(&out)
}

fn pair(settings: Settings) -> Pair {
    Pair::new(c2s::Settings::default(), Accounts::capulet(), settings, None)
}

fn juliet() -> Settings {
    let credentials = password("juliet", "r0m30myr0m30");
    Settings { resource: Some("balcony".into()), ..Settings::new("capulet.example", credentials) }
}

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password { username: username.into(), password: password.to_owned().into() }
}

fn assert_ready(pair: &Pair) {
    let text = written(&pair.to_client.written);
    assert!(pair.server.machine.is_established(), "{text}");
    let jid = pair.client.jid().map(|jid| jid.as_str().to_owned());
    assert_eq!(jid.as_deref(), Some("juliet@capulet.example/balcony"), "{text}");
}

fn written(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const PASSWORD_MECHANISMS: [Mechanism; 7] = [
    Mechanism::Plain,
    Mechanism::ScramSha1,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha512,
    Mechanism::ScramSha512Plus,
];

const HEADER: &str = "<?xml version='1.0'?><stream:stream from='capulet.example' id='s' \
                      version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
