//! XEP-0388, both ends: a client that signs in, gets a token, and comes back with it.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stentor_sasl::{Condition, Hash, Mechanism};
use stentor_stream::c2s;
use stentor_stream::fault::{Fault, Misbehaviour};
use stentor_stream::initiator::{Credentials, Event, Extended, HeldToken, Settings};
use stentor_stream::pair::{Accounts, Pair, both_bindings};
use stentor_stream::sign_in::{BindRequest, UserAgent};

#[test]
fn signs_in_with_a_password_and_comes_back_with_the_token_in_one_flight() {
    for starts_with_tls in [true, false] {
        let mut first = pair(extended(), Accounts::extended(), starts_with_tls);
        first.run();
        assert_eq!(first.client.jid().unwrap().as_str(), "juliet@capulet.example/Awesome/1");
        let token = token_of(&first).unwrap();
        assert_eq!(token.mechanism, Mechanism::HtSha256Expr);

        let returning = Extended { token: Some(token), pipelines: true, ..extended() };
        let mut second = pair(returning, first.server.accounts.clone(), starts_with_tls);
        second.run();
        assert!(second.client.jid().is_some(), "{:?}", second.client_events);
        let written = String::from_utf8(second.to_server.written.clone()).unwrap();
        let (_, flight) = written.rsplit_once("<stream:stream").unwrap();
        assert!(flight.contains("<authenticate "), "{written}");
        assert!(flight.ends_with("</authenticate>"), "nothing follows before the answer");
    }
}

#[test]
fn signs_in_by_every_mechanism_however_the_bytes_are_split() {
    let mechanisms = [
        Mechanism::ScramSha512Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::Plain,
    ];
    for (seed, mechanism) in (1..).zip(mechanisms) {
        let mut settings = juliet(extended());
        settings.mechanisms = vec![mechanism];
        let mut accounts = Accounts::extended();
        accounts.lacking = vec![Hash::Sha256, Hash::Sha512];
        let mut pair =
            Pair::new(c2s::Settings::default(), accounts, settings, Some(both_bindings()));
        pair.to_server.split_by(seed);
        pair.to_client.split_by(seed + 100);
        pair.run();
        assert!(pair.client.jid().is_some(), "{mechanism}: {:?}", pair.client_events);
        assert_eq!(pair.server.accounts.lacking, [], "upgraded on the way");
    }
}

#[test]
fn binds_by_the_old_way_where_success_brings_no_resource() {
    let without_bind = Extended { bind: None, ..extended() };
    let mut one = pair(without_bind, Accounts::extended(), true);
    one.run();
    assert_eq!(one.client.jid().unwrap().as_str(), "juliet@capulet.example/balcony");
    let mut accounts = Accounts::extended();
    accounts.offer.extended.as_mut().unwrap().bind = None;
    let mut other = pair(extended(), accounts, true);
    other.run();
    assert_eq!(other.client.jid().unwrap().as_str(), "juliet@capulet.example/balcony");
    let mut old = pair(extended(), Accounts::capulet(), true);
    old.run();
    assert_eq!(old.client.jid().unwrap().as_str(), "juliet@capulet.example/balcony");
}

#[test]
fn falls_back_to_the_password_when_the_token_is_refused() {
    for pipelines in [true, false] {
        let token = HeldToken {
            mechanism: Mechanism::HtSha256None,
            secret: "of yesterday".into(),
            count: Some(3),
            invalidates: false,
        };
        let returning = Extended { token: Some(token), pipelines, ..extended() };
        let mut pair = pair(returning, Accounts::extended(), true);
        pair.run();
        assert!(pair.client.jid().is_some(), "{:?}", pair.client_events);
        let is_refusal = |event: &Event| {
            let mechanism = Mechanism::HtSha256None;
            matches!(event, Event::AuthFailed { mechanism: m, condition: Condition::NotAuthorized }
                if *m == mechanism)
        };
        assert!(pair.client_events.iter().any(is_refusal));
    }
}

#[test]
fn features_of_another_version_cost_no_attempt() {
    let mut first = pair(extended(), Accounts::extended(), true);
    first.run();
    let token = token_of(&first);
    let config_version = Some("of yesterday".to_owned());
    let returning = Extended { token, pipelines: true, config_version, ..extended() };
    let mut second = pair(returning, first.server.accounts.clone(), true);
    second.run();
    assert!(second.client.jid().is_some());
    let events = &second.server.events;
    let is_failure = |event: &_| matches!(event, stentor_stream::event::Event::AuthFailed { .. });
    assert!(!events.iter().any(is_failure), "{events:?}");
}

/// XEP-0474: whoever is between takes the strong mechanisms away.
#[test]
fn notices_that_a_list_was_changed_on_the_way() {
    for profile in [Some(extended()), None] {
        let mut settings = juliet(extended());
        settings.extended = profile;
        let mut pair = Pair::new(
            c2s::Settings::default(),
            Accounts::extended(),
            settings,
            Some(both_bindings()),
        );
        let strip = |text: &str| {
            let whole = text.replace("<mechanism>SCRAM-SHA-512-PLUS</mechanism>", "");
            whole.replace("<mechanism>SCRAM-SHA-512</mechanism>", "")
        };
        pair.to_client.rewrite_by(strip);
        pair.run();
        let fault = pair.client_ended().unwrap().cloned();
        assert_eq!(fault, Some(Fault::Peer(Misbehaviour::ServerUnproven)));
        assert!(pair.client.jid().is_none());
    }
}

#[test]
fn does_not_believe_a_server_that_does_not_have_the_token() {
    let token = HeldToken {
        mechanism: Mechanism::HtSha256None,
        secret: "ours".into(),
        count: None,
        invalidates: false,
    };
    let returning = Extended { token: Some(token), ..extended() };
    let mut pair = pair(returning, Accounts::extended(), true);
    // An impostor lets everybody in.
    pair.to_client.rewrite_by(|text| {
        text.replace(
            "<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>",
            "<success xmlns='urn:xmpp:sasl:2'><additional-data>AAAA</additional-data>\
             <authorization-identifier>juliet@capulet.example/x</authorization-identifier></success>",
        )
    });
    pair.run();
    let fault = pair.client_ended().unwrap().cloned();
    assert_eq!(fault, Some(Fault::Peer(Misbehaviour::ServerUnproven)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn prop_a_cut_at_any_byte_leaves_neither_end_waiting(at in 0_usize..4_000) {
        let mut pair = pair(extended(), Accounts::extended(), true);
        pair.to_server.die_after(at);
        pair.run();
        pair.cut();
        prop_assert!(pair.client.is_ended() && pair.server.machine.is_ended());
    }
}

fn extended() -> Extended {
    Extended {
        user_agent: UserAgent {
            id: Some("d4565fa7-4d72-4749-b3d3-740edbf87770".into()),
            software: Some("Awesome".into()),
            device: None,
        },
        bind: Some(BindRequest { tag: Some("Awesome".into()), wishes: Vec::new() }),
        wants_token: true,
        upgrades: true,
        ..Extended::default()
    }
}

fn juliet(extended: Extended) -> Settings {
    let credentials = Credentials::Password {
        username: "juliet".into(),
        password: String::from("r0m30myr0m30").into(),
    };
    let mut settings = Settings::new("capulet.example", credentials);
    settings.resource = Some("balcony".into());
    settings.extended = Some(extended);
    settings
}

fn pair(extended: Extended, accounts: Accounts, starts_with_tls: bool) -> Pair {
    let direct = starts_with_tls.then(both_bindings);
    Pair::new(c2s::Settings::default(), accounts, juliet(extended), direct)
}

fn token_of(pair: &Pair) -> Option<HeldToken> {
    pair.client_events.iter().find_map(|event| match event {
        Event::Token { mechanism, token } => Some(HeldToken {
            mechanism: *mechanism,
            secret: token.token.clone(),
            count: Some(1),
            invalidates: false,
        }),
        _ => None,
    })
}
