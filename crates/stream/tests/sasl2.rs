//! XEP-0388 on the wire, with exact bytes: offers, exchanges, failures, tasks.

#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::{Bindings, Condition, Hash, Mechanism, Offered, client};
use stentor_stream::c2s::TlsInfo;
use stentor_stream::event::Event;
use stentor_stream::pair::{Accounts, Served};
use support::sasl2::*;
use support::{At, HEADER, auth, served_by, stream_error};

#[test]
fn offers_itself_over_tls_beside_the_old_profile() {
    let mut served = over_tls(Accounts::extended());
    let features = served.say(HEADER);
    let mechanisms: String = [
        "SCRAM-SHA-512-PLUS",
        "SCRAM-SHA-512",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-1",
        "PLAIN",
    ]
    .iter()
    .map(|name| format!("<mechanism>{name}</mechanism>"))
    .collect();
    let offer = format!(
        "<authentication xmlns='urn:xmpp:sasl:2'>{mechanisms}<inline>\
         <bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:example:copies'/>\
         <feature var='urn:example:quiet'/>\
         <feature var='urn:xmpp:sm:3'/></inline></bind><sm xmlns='urn:xmpp:sm:3'/>\
         <fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism>\
         <mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>\
         </inline><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
         <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade></authentication>"
    );
    assert!(features.contains(&offer), "{features}");
    assert!(features.contains("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"));
    assert!(features.contains("<channel-binding type='tls-exporter'/>"));
}

#[test]
fn offers_nothing_without_tls_or_where_it_is_off() {
    let mut accounts = Accounts::extended();
    accounts.offer.tls_required = false;
    let features = Served::plain(accounts.clone()).say(HEADER);
    assert!(features.contains("SCRAM-SHA-256") && !features.contains("urn:xmpp:sasl:2"));
    assert!(!features.contains("urn:xmpp:iap:0"));
    let mut served = Served::plain(accounts);
    served.say(HEADER);
    assert_eq!(served.say(&plain("")), failure("encryption-required"));
    // Where TLS is required, and where there is only the old profile.
    assert_eq!(
        served_by(Accounts::extended(), At::Tls).say(&plain("")),
        failure("encryption-required")
    );
    let mut old = over_tls(Accounts::capulet());
    assert!(!old.say(HEADER).contains("urn:xmpp:sasl:2"));
    assert_eq!(old.say(&plain("")), failure("invalid-mechanism"));
}

#[test]
fn offers_only_tokens_that_the_connection_can_bind() {
    let tls = TlsInfo { bindings: Bindings::default(), ..TlsInfo::default() };
    let mut served = Served::direct_tls(Accounts::extended(), tls);
    let features = served.say(HEADER);
    assert!(
        features.contains(
            "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast>"
        )
    );
    let bound = token_request(Mechanism::HtSha256Expr, "secret", "");
    assert_eq!(served.say(&bound), failure("invalid-mechanism"));
}

// XEP-0440 §3, rule 5: a client gives up where bindings are listed and no mechanism binds.
#[test]
fn lists_bindings_only_beside_mechanisms_that_bind() {
    let mut accounts = Accounts::extended();
    accounts.offer.mechanisms.retain(|mechanism| !mechanism.is_plus());
    let mut served = over_tls(accounts);
    let features = served.say(HEADER);
    assert!(features.contains("SCRAM-SHA-256") && !features.contains("urn:xmpp:sasl-cb:0"));
    // XEP-0474 §6.1: what is not listed is not in the digest of the list.
    let (user, password) = ("juliet", "r0m30myr0m30");
    let (mechanism, none) = (Mechanism::ScramSha256, Bindings::default());
    let mut exchange = client::Exchange::new(
        mechanism,
        user,
        password,
        None,
        &none,
        "nonce-of-the-client-of-tests",
    )
    .unwrap();
    let mechanisms = &["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    exchange.expect(&Offered { mechanisms, bindings: &[] });
    let initial = STANDARD.encode(exchange.first().unwrap());
    let initial = format!("<initial-response>{initial}</initial-response>");
    let said = served.say(&request(mechanism.name(), &initial));
    exchange.step(&element_data(&said, "challenge xmlns='urn:xmpp:sasl:2'")).unwrap();
}

#[test]
fn signs_in_without_a_restart_and_binds_by_the_old_way() {
    let mut served = authenticating();
    let said = served.say(&plain(""));
    let success = "<success xmlns='urn:xmpp:sasl:2'>\
                   <authorization-identifier>juliet@capulet.example</authorization-identifier></success>";
    let features = said.strip_prefix(success).unwrap_or_else(|| panic!("{said}"));
    assert!(features.starts_with("<stream:features>") && features.ends_with("</stream:features>"));
    assert!(features.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"));
    assert!(!features.contains("urn:xmpp:sasl:2") && !features.contains("urn:xmpp:iap:0"));
    let bound = served.say(support::BIND);
    assert!(bound.contains("<jid>juliet@capulet.example/balcony</jid>"), "{bound}");
    assert!(matches!(&served.events[..], [Event::AuthOk { mechanism: Mechanism::Plain, .. }]));
}

#[test]
fn a_first_flight_of_header_and_request_is_answered_in_one() {
    let flight = format!("{HEADER}{}<presence/>", plain("<bind xmlns='urn:xmpp:bind:0'/>"));
    let whole = over_tls(Accounts::extended()).say(&flight);
    assert!(whole.contains("</stream:features><success xmlns='urn:xmpp:sasl:2'>"), "{whole}");
    let mut served = over_tls(Accounts::extended());
    let by_bytes: String =
        flight.as_bytes().iter().map(|byte| served.say_bytes(&[*byte])).collect();
    assert_eq!(by_bytes, whole);
    assert_eq!(stentor_stream::pair::stanzas(&served.events).len(), 1);
}

#[test]
fn signs_in_with_scram_and_its_signature_comes_with_success() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256Plus, Mechanism::ScramSha512Plus]
    {
        let mut served = authenticating();
        let (mut exchange, response) = scram(&mut served, mechanism, "");
        let said = served.say(&response);
        exchange.finish(Some(&element_data(&said, "additional-data"))).unwrap();
        assert!(said.contains("<authorization-identifier>juliet@capulet.example<"), "{said}");
    }
}

#[test]
fn asks_for_a_missing_response_and_takes_it_empty() {
    let mut served = authenticating();
    let request = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>";
    assert_eq!(served.say(request), "<challenge xmlns='urn:xmpp:sasl:2'/>");
    let data = STANDARD.encode("\0juliet\0r0m30myr0m30");
    let said = served.say(&format!("<response xmlns='urn:xmpp:sasl:2'>{data}</response>"));
    assert!(said.starts_with("<success"), "{said}");

    let mut empty = authenticating();
    let request = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response/></authenticate>";
    assert_eq!(empty.say(request), failure("malformed-request"));
}

#[test]
fn fails_with_the_exact_condition() {
    let right = STANDARD.encode("\0juliet\0r0m30myr0m30");
    let initial = |data: &str| format!("<initial-response>{data}</initial-response>");
    let wrong = STANDARD.encode("\0juliet\0wrong");
    let other = STANDARD.encode("romeo@capulet.example\0juliet\0r0m30myr0m30");
    for (mechanism, inner, condition) in [
        ("PLAIN", initial(&wrong), "not-authorized"),
        ("PLAIN", initial(&other), "invalid-authzid"),
        ("PLAIN", initial("="), "incorrect-encoding"),
        ("PLAIN", initial("AA!="), "incorrect-encoding"),
        ("PLAIN", initial("<a/>"), "malformed-request"),
        ("PLAIN", initial(""), "malformed-request"),
        ("PLAIN", format!("{}<user-agent id=''/>", initial(&right)), "malformed-request"),
        ("plain", initial(&right), "invalid-mechanism"),
        ("EXTERNAL", initial(""), "invalid-mechanism"),
        ("HT-SHA-256-NONE", initial(&right), "invalid-mechanism"),
        ("X-OTHER", String::new(), "invalid-mechanism"),
    ] {
        let mut served = authenticating();
        let request = request(mechanism, &inner);
        assert_eq!(served.say(&request), failure(condition), "{mechanism} {inner}");
        assert!(matches!(&served.events[..], [Event::AuthFailed { condition: c, .. }]
            if c.name() == condition));
        // The stream is as it was, for either profile.
        assert!(served.say(&plain("")).starts_with("<success xmlns='urn:xmpp:sasl:2'>"));
    }
    let mut unnamed = authenticating();
    let request = "<authenticate xmlns='urn:xmpp:sasl:2'/>";
    assert_eq!(unnamed.say(request), failure("invalid-mechanism"));
    let old = unnamed.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30"));
    assert_eq!(old, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
}

#[test]
fn too_many_failures_end_the_stream() {
    let mut served = authenticating();
    let wrong = request("PLAIN", "<initial-response>AGEAYg==</initial-response>");
    for _ in 0..3 {
        assert_eq!(served.say(&wrong), failure("not-authorized"));
    }
    assert_eq!(stream_error(&served.say(&wrong)).as_deref(), Some("policy-violation"));
}

#[test]
fn a_barred_account_and_a_failure_of_ours_are_told_as_such() {
    let mut accounts = Accounts::extended();
    accounts.barred = Some(Condition::AccountDisabled);
    assert_eq!(served_by(accounts, At::Auth).say(&plain("")), failure("account-disabled"));
    let mut accounts = Accounts::extended();
    accounts.sign_in_error = Some(Condition::TemporaryAuthFailure);
    let mut served = served_by(accounts, At::Auth);
    assert_eq!(served.say(&plain("")), failure("temporary-auth-failure"));
    served.accounts.sign_in_error = None;
    assert!(served.say(&plain("")).starts_with("<success"));
}

#[test]
fn aborts_when_asked_to() {
    let mut served = authenticating();
    let abort = "<abort xmlns='urn:xmpp:sasl:2'><text>never mind</text></abort>";
    assert_eq!(served.say(abort), failure("aborted"));
    served.say("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>");
    assert_eq!(served.say(abort), failure("aborted"));
    assert_eq!(
        served.say("<response xmlns='urn:xmpp:sasl:2'>AA==</response>"),
        failure("malformed-request")
    );
    assert!(served.say(&plain("")).starts_with("<success"));
}

#[test]
fn nothing_else_may_come_during_an_exchange() {
    for (element, condition) in [
        ("<presence/>", "unsupported-stanza-type"),
        ("<iq type='get' id='1'/>", "unsupported-stanza-type"),
        ("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "unsupported-stanza-type"),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
            "unsupported-stanza-type",
        ),
        ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "unsupported-stanza-type"),
        ("<task-data xmlns='urn:xmpp:sasl:2'/>", "unsupported-stanza-type"),
        ("<enable xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
    ] {
        let mut served = authenticating();
        served.say("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>");
        assert_eq!(stream_error(&served.say(element)).as_deref(), Some(condition), "{element}");
    }
}

#[test]
fn a_second_request_after_success_ends_the_stream() {
    for inner in ["", "<bind xmlns='urn:xmpp:bind:0'/>"] {
        let mut served = authenticating();
        assert!(served.say(&plain(inner)).starts_with("<success"));
        let said = served.say(&plain(""));
        assert_eq!(stream_error(&said).as_deref(), Some("unsupported-stanza-type"), "{inner}");
    }
}

#[test]
fn who_the_header_names_must_be_who_signs_in() {
    let header = |from: &str| HEADER.replacen(" to=", &format!(" from='{from}' to="), 1);
    let mut served = over_tls(Accounts::extended());
    served.say(&header("romeo@capulet.example"));
    assert_eq!(served.say(&plain("")), failure("invalid-authzid"));
    let mut served = over_tls(Accounts::extended());
    assert!(served.say(&header("juliet@capulet.example")).contains("to='juliet@capulet.example'"));
    assert!(served.say(&plain("")).starts_with("<success"));
    let mut served = over_tls(Accounts::extended());
    let said = served.say(&header("juliet@montague.example"));
    assert_eq!(stream_error(&said).as_deref(), Some("invalid-from"));
}

/// XEP-0480 §3.
#[test]
fn upgrades_an_account_that_lacks_keys_and_passes_over_those_it_has() {
    let mut accounts = Accounts::extended();
    accounts.lacking = vec![Hash::Sha256];
    let mut served = served_by(accounts, At::Auth);
    let wish = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
                <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>\
                <bind xmlns='urn:xmpp:bind:0'/>";
    let (mut exchange, response) = scram(&mut served, Mechanism::ScramSha1Plus, wish);
    let said = served.say(&response);
    exchange.finish(Some(&element_data(&said, "additional-data"))).unwrap();
    assert!(
        said.ends_with(
            "</additional-data><tasks><task>UPGR-SCRAM-SHA-256</task></tasks></continue>"
        ),
        "{said}"
    );
    assert!(served.events.is_empty(), "nobody has signed in yet");
    let said = served.say("<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>");
    let salt = STANDARD.encode("a salt for tests");
    let task = format!(
        "<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='4096'>\
         {salt}</salt></task-data>"
    );
    assert_eq!(said, task);
    let salted =
        stentor_sasl::ScramKeys::salted(Hash::Sha256, "r0m30myr0m30", b"a salt for tests", 4096);
    let said = served.say(&hash(&salted.unwrap()));
    assert!(
        said.starts_with("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>"),
        "{said}"
    );
    assert!(said.contains("<bound xmlns='urn:xmpp:bind:0'/>"));
    assert_eq!(served.accounts.lacking, []);
}

#[test]
fn a_task_that_goes_wrong_fails_the_whole() {
    let wish = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>";
    let begin = || {
        let mut accounts = Accounts::extended();
        accounts.lacking = vec![Hash::Sha512];
        let mut served = served_by(accounts, At::Auth);
        let said = served.say(&plain(wish));
        assert_eq!(
            said,
            "<continue xmlns='urn:xmpp:sasl:2'><tasks><task>UPGR-SCRAM-SHA-512</task></tasks></continue>"
        );
        served
    };
    let next = "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>";
    for (elements, condition) in [
        (vec!["<abort xmlns='urn:xmpp:sasl:2'/>".to_owned()], "aborted"),
        (vec![next.replace("512", "256")], "malformed-request"),
        (vec![next.into(), "<abort xmlns='urn:xmpp:sasl:2'/>".into()], "aborted"),
        (vec![next.into(), "<task-data xmlns='urn:xmpp:sasl:2'/>".into()], "malformed-request"),
        (vec![next.into(), hash(b"too short")], "malformed-request"),
        (vec![next.into(), hash(&[0; 64])], "malformed-request"),
        (
            vec![
                next.into(),
                hash(b"").replace("></hash>", ">A</hash>").replace("/>", ">A</hash>"),
            ],
            "incorrect-encoding",
        ),
    ] {
        let mut served = begin();
        let said = elements.iter().map(|element| served.say(element)).last().unwrap();
        assert_eq!(said, failure(condition), "{elements:?}");
        assert!(served.machine.account().is_none());
        assert!(served.say(&plain("")).starts_with("<success"), "the stream is as it was");
    }
    for element in [&plain(""), "<presence/>", "<response xmlns='urn:xmpp:sasl:2'/>"] {
        let said = begin().say(element);
        assert_eq!(stream_error(&said).as_deref(), Some("unsupported-stanza-type"), "{element}");
    }
}

#[test]
fn tells_a_version_of_the_features_and_refuses_another_without_prejudice() {
    let mut served = over_tls(Accounts::extended());
    let features = served.say(HEADER);
    let (_, version) = features
        .split_once("<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='")
        .unwrap();
    let (version, _) = version.split_once('\'').unwrap();
    let with = |version: &str| {
        plain(&format!("<config-version xmlns='urn:xmpp:iap:0' value='{version}'/>"))
    };
    // Often enough that failures would have ended the stream.
    for _ in 0..9 {
        assert_eq!(
            served.say(&with("VGhpcyBpcyBvcGFxdWUh")),
            "<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
             <config-version-mismatch xmlns='urn:xmpp:iap:0'/></failure>"
        );
    }
    assert!(served.events.is_empty(), "not a failed sign-in");
    assert!(served.say(&with(version)).starts_with("<success"));

    let again = over_tls(Accounts::extended()).say(HEADER);
    assert!(again.contains(version), "the same features have the same version");
    let mut other = Accounts::extended();
    other.offer.mechanisms.pop();
    assert!(!over_tls(other).say(HEADER).contains(version));
}
