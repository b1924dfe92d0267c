//! What comes with success by XEP-0388: resources, sessions that go on, tokens.

#![allow(clippy::unwrap_used)]

mod support;

use stentor_sasl::Mechanism;
use stentor_stanza::StanzaError;
use stentor_stream::event::Answer;
use stentor_stream::pair::{Accounts, HeldToken};
use support::sasl2::*;
use support::{At, HEADER, served_by};

#[test]
fn binds_with_success() {
    let mut served = authenticating();
    let said = served.say(&plain(
        "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software>\
         <device>Kiva&apos;s Phone</device></user-agent>\
         <bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag>\
         <enable xmlns='urn:xmpp:carbons:2'/><inactive xmlns='urn:xmpp:csi:0'/></bind>",
    ));
    let success = "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>\
                   juliet@capulet.example/AwesomeXMPP/1</authorization-identifier>\
                   <bound xmlns='urn:xmpp:bind:0'/></success>";
    let features = said.strip_prefix(success).unwrap_or_else(|| panic!("{said}"));
    assert!(!features.contains("xmpp-bind") && !features.contains("xmpp-session"), "{features}");
    assert!(served.machine.is_established());
    assert_eq!(served.machine.jid().unwrap().as_str(), "juliet@capulet.example/AwesomeXMPP/1");
    let asked = served.accounts.signed_in.take().unwrap();
    assert_eq!(asked.user_agent.device.as_deref(), Some("Kiva's Phone"));
    let wishes = asked.bind.unwrap().wishes;
    let wishes: Vec<_> = wishes.iter().map(|w| w.root().ns().to_owned()).collect();
    assert_eq!(wishes, ["urn:xmpp:carbons:2", "urn:xmpp:csi:0"]);
    // The stream goes on: stanzas may follow at once, large ones too.
    let body = "x".repeat(100_000);
    served.say(&format!("<message to='romeo@montague.example'><body>{body}</body></message>"));
    assert_eq!(stentor_stream::pair::stanzas(&served.events).len(), 1);
}

/// Whether the features behind a success have stream management.
fn offers_management(said: &str) -> bool {
    said.rsplit("<stream:features>").next().unwrap().contains("<sm xmlns='urn:xmpp:sm:3'/>")
}

/// XEP-0198 §9.1.
#[test]
fn stanzas_are_counted_from_the_beginning_where_a_client_wishes_so() {
    let wish = |enable: &str| plain(&format!("<bind xmlns='urn:xmpp:bind:0'>{enable}</bind>"));
    for (enable, answer) in [
        (
            "<enable xmlns='urn:xmpp:sm:3' resume='true' max='60'/>",
            "<enabled xmlns='urn:xmpp:sm:3' id='sm-id' resume='true' max='300'/>",
        ),
        ("<enable xmlns='urn:xmpp:sm:3'/>", "<enabled xmlns='urn:xmpp:sm:3'/>"),
    ] {
        let mut served = authenticating();
        let said = served.say(&wish(enable));
        assert!(
            said.contains(&format!("<bound xmlns='urn:xmpp:bind:0'>{answer}</bound>")),
            "{said}"
        );
        assert!(!offers_management(&said), "it is on: {said}");
        served.say("<message to='romeo@montague.example'/><presence/>");
        assert_eq!(served.machine.received(), 2);
        let again = served.say("<enable xmlns='urn:xmpp:sm:3'/>");
        assert!(again.contains("unexpected-request"), "once is enough: {again}");
    }
    assert!(offers_management(&authenticating().say(&wish(""))));
    let mut served = authenticating();
    let said = served.say(&wish("<enable xmlns='urn:xmpp:sm:3' resume='maybe'/>"));
    let failed = "<bound xmlns='urn:xmpp:bind:0'><failed xmlns='urn:xmpp:sm:3'>\
                  <bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed></bound>";
    assert!(said.contains(failed), "{said}");
    assert!(served.machine.is_established());
    let mut without = Accounts::extended();
    without.offer.management = false;
    let mut served = served_by(without, At::Auth);
    let said = served.say(&wish("<enable xmlns='urn:xmpp:sm:3'/>"));
    assert!(said.contains("<feature-not-implemented"), "{said}");
}

/// XEP-0198 §9.2.
#[test]
fn a_session_goes_on_with_success_and_no_features_follow() {
    let mut accounts = Accounts::extended();
    let jid = stentor_jid::BareJid::new("juliet@capulet.example").unwrap();
    let jid = jid.with_resource("earlier").unwrap();
    accounts.resumption = Some(Answer::Resumed { jid, received: (1 << 32) + 5 });
    let mut served = served_by(accounts, At::Auth);
    let said = served.say(&plain(
        "<resume xmlns='urn:xmpp:sm:3' h='3' previd='some-id'/><bind xmlns='urn:xmpp:bind:0'/>",
    ));
    assert_eq!(
        said,
        "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@capulet.example/earlier\
         </authorization-identifier><resumed xmlns='urn:xmpp:sm:3' h='5' previd='some-id'/></success>"
    );
    assert!(served.machine.is_established());
    served.say("<presence/>");
    assert_eq!(served.machine.received(), (1 << 32) + 6);
}

/// XEP-0198 §9.2.1.
#[test]
fn a_session_that_does_not_go_on_leaves_room_for_a_new_one() {
    for (resume, failed) in [
        (
            "<resume xmlns='urn:xmpp:sm:3' h='3' previd='gone'/>",
            "<failed xmlns='urn:xmpp:sm:3' h='7'><item-not-found",
        ),
        (
            "<resume xmlns='urn:xmpp:sm:3' previd='gone'/>",
            "<failed xmlns='urn:xmpp:sm:3'><bad-request",
        ),
    ] {
        let mut served = authenticating();
        let said = served.say(&plain(&format!("{resume}<bind xmlns='urn:xmpp:bind:0'/>")));
        let (before, after) = said.split_once(failed).unwrap_or_else(|| panic!("{said}"));
        assert!(before.contains("<authorization-identifier>juliet@capulet.example/untagged/1<"));
        assert!(
            after.contains("</failed><bound xmlns='urn:xmpp:bind:0'/></success><stream:features>")
        );
        assert!(served.machine.is_established());
    }
    let mut alone = authenticating();
    let said = alone.say(&plain("<resume xmlns='urn:xmpp:sm:3' h='3' previd='gone'/>"));
    assert!(said.contains("<item-not-found") && said.contains("xmpp-bind"), "{said}");

    let mut accounts = Accounts::extended();
    accounts.resumption = Some(Answer::ResumeTooHigh { h: 9, sent: 3 });
    let mut served = served_by(accounts, At::Auth);
    let said = served.say(&plain("<resume xmlns='urn:xmpp:sm:3' h='9' previd='some-id'/>"));
    assert!(
        said.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='9' send-count='3'/>"),
        "{said}"
    );
}

#[test]
fn a_resource_that_cannot_be_had_leaves_the_old_way() {
    let mut accounts = Accounts::extended();
    accounts.bind_error = Some(StanzaError::new(stentor_stanza::Condition::ResourceConstraint));
    let mut served = served_by(accounts, At::Auth);
    let said = served.say(&plain("<bind xmlns='urn:xmpp:bind:0'/>"));
    assert!(said.contains(
        "<authorization-identifier>juliet@capulet.example</authorization-identifier></success>"
    ));
    assert!(said.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), "{said}");
    assert!(served.say(support::BIND).contains("resource-constraint"));
}

#[test]
fn gives_a_token_and_takes_it_in_one_round_trip() {
    for mechanism in Mechanism::TOKENS {
        let mut served = authenticating();
        let wish =
            format!("{AGENT}<request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/>");
        let said = served.say(&plain(&wish));
        assert!(
            said.contains("<token xmlns='urn:xmpp:fast:0' expiry='2026-12-24T00:00:00Z' token='secret-token:1'/>"),
            "{said}"
        );
        let mut back = over_tls(served.accounts.clone());
        let bind = "<bind xmlns='urn:xmpp:bind:0'/>";
        let request = token_request(mechanism, "secret-token:1", bind);
        let said = back.say(&format!("{HEADER}{request}"));
        let (_, success) = said.split_once("</stream:features>").unwrap();
        let mut exchange = token_exchange(mechanism, "secret-token:1");
        exchange.finish(Some(&element_data(success, "additional-data"))).unwrap();
        assert!(success.contains("<bound xmlns='urn:xmpp:bind:0'/>"), "{said}");
        assert!(!success.contains("<token"), "none was asked for: {said}");
    }
}

#[test]
fn a_token_is_good_for_its_mechanism_client_and_user_only() {
    let held = |mechanism| HeldToken { token: "secret".into(), mechanism, count: 0 };
    let with = |mechanism| {
        let mut accounts = Accounts::extended();
        accounts.tokens.insert(("juliet".into(), CLIENT.into()), held(mechanism));
        accounts
    };
    let (none, bound) = (Mechanism::HtSha256None, Mechanism::HtSha256Expr);
    for (accounts, request, condition) in [
        (with(bound), token_request(none, "secret", ""), "not-authorized"),
        (with(none), token_request(bound, "secret", ""), "not-authorized"),
        (with(none), token_request(none, "other", ""), "not-authorized"),
        (
            with(none),
            token_request(none, "secret", "").replace(CLIENT, "another"),
            "not-authorized",
        ),
        (with(none), token_request(none, "secret", "").replace(AGENT, ""), "malformed-request"),
        (with(none), token_request(none, "secret", "").replace(FAST, ""), "invalid-mechanism"),
        (
            with(none),
            token_request(none, "secret", "").replace(none.name(), "HT-SHA-256-UNIQ"),
            "invalid-mechanism",
        ),
        (
            with(none),
            token_request(none, "secret", "")
                .replace(FAST, "<fast xmlns='urn:xmpp:fast:0' count='x'/>"),
            "malformed-request",
        ),
    ] {
        assert_eq!(served_by(accounts, At::Auth).say(&request), failure(condition), "{request}");
    }
    let right = token_request(none, "secret", "");
    assert!(served_by(with(none), At::Auth).say(&right).starts_with("<success"));
}

#[test]
fn a_count_that_was_seen_is_a_replay_and_an_invalidated_token_is_gone() {
    let mut accounts = Accounts::extended();
    let mechanism = Mechanism::HtSha256None;
    let held = HeldToken { token: "secret".into(), mechanism, count: 4 };
    accounts.tokens.insert(("juliet".into(), CLIENT.into()), held);
    let say = |accounts: &mut Accounts, fast: &str| {
        let request = token_request(mechanism, "secret", "")
            .replace(FAST, &format!("<fast xmlns='urn:xmpp:fast:0' {fast}/>"));
        let mut served = served_by(accounts.clone(), At::Auth);
        let said = served.say(&request);
        *accounts = served.accounts;
        said
    };
    assert_eq!(say(&mut accounts, "count='4'"), failure("not-authorized"));
    assert!(say(&mut accounts, "count='5'").starts_with("<success"));
    assert_eq!(say(&mut accounts, "count='5'"), failure("not-authorized"));
    assert!(say(&mut accounts, "count='6' invalidate='true'").starts_with("<success"));
    assert!(accounts.signed_in.as_ref().is_some_and(|sign_in| sign_in.has_invalidated));
    assert_eq!(say(&mut accounts, "count='7'"), failure("not-authorized"));
}

#[test]
fn a_token_is_not_used_up_by_who_names_somebody_else_in_the_header() {
    let mut accounts = Accounts::extended();
    let mechanism = Mechanism::HtSha256None;
    let held = HeldToken { token: "secret".into(), mechanism, count: 0 };
    accounts.tokens.insert(("juliet".into(), CLIENT.into()), held.clone());
    let mut served = over_tls(accounts);
    served.say(&HEADER.replacen(" to=", " from='romeo@capulet.example' to=", 1));
    let request = token_request(mechanism, "secret", "")
        .replace(FAST, "<fast xmlns='urn:xmpp:fast:0' count='9' invalidate='1'/>");
    assert_eq!(served.say(&request), failure("invalid-authzid"));
    assert_eq!(served.accounts.tokens.values().collect::<Vec<_>>(), [&held]);
}
