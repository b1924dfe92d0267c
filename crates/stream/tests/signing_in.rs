//! SASL on the wire, with exact bytes (RFC 6120 §6).

#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::{Bindings, Condition, Mechanism, client};
use stentor_stream::Millis;
use stentor_stream::c2s::{C2s, ConnInfo, TlsInfo};
use stentor_stream::event::{Answer, Ask, Event, Tried};
use stentor_stream::pair::{Accounts, Served, both_bindings, tokens};
use support::{At, HEADER, auth, served, served_by, stream_error};

#[test]
fn signs_in_with_plain() {
    let mut served = served(At::Auth);
    assert_eq!(served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30")), SUCCESS);
    assert!(matches!(
        &served.events[..],
        [Event::AuthOk { account, mechanism: Mechanism::Plain }]
            if account.as_str() == "juliet@capulet.example"
    ));
}

#[test]
fn prepares_the_user_name_as_a_localpart() {
    let mut served = served(At::Auth);
    assert_eq!(served.say(&auth("PLAIN", "\0Juliet\0r0m30myr0m30")), SUCCESS);
    assert_eq!(served.machine.account().unwrap().as_str(), "juliet@capulet.example");
}

#[test]
fn fails_wrong_password_unknown_user_and_impossible_user_alike() {
    for data in ["\0juliet\0wrong", "\0nobody\0r0m30myr0m30", "\0a@b\0r0m30myr0m30", "\0\u{a0}x\0y"]
    {
        let mut served = served(At::Auth);
        assert_eq!(served.say(&auth("PLAIN", data)), failure("not-authorized"), "{data:?}");
        assert!(matches!(
            &served.events[..],
            [Event::AuthFailed {
                tried: Tried { username: Some(_), domain: Some(_), mechanism: Some(mechanism) },
                condition: Condition::NotAuthorized,
            }] if mechanism == "PLAIN"
        ));
        assert_eq!(
            served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30")),
            SUCCESS,
            "a retry is fine"
        );
    }
}

#[test]
fn refuses_to_act_as_somebody_else() {
    for (data, answer) in [
        ("juliet@capulet.example\0juliet\0r0m30myr0m30", SUCCESS.to_owned()),
        ("Juliet@Capulet.Example\0juliet\0r0m30myr0m30", SUCCESS.to_owned()),
        ("romeo@capulet.example\0juliet\0r0m30myr0m30", failure("invalid-authzid")),
        ("juliet@capulet.example/x\0juliet\0r0m30myr0m30", failure("invalid-authzid")),
        ("juliet\0juliet\0r0m30myr0m30", failure("invalid-authzid")),
        ("romeo@capulet.example\0juliet\0wrong", failure("not-authorized")),
    ] {
        assert_eq!(served(At::Auth).say(&auth("PLAIN", data)), answer, "{data:?}");
    }
}

#[test]
fn reads_base_64_strictly() {
    for (text, condition) in [
        ("AGp1bGlldAByMG0zMG15cjBtMz!", "incorrect-encoding"),
        ("AGp1bGlldABy MG0zMG15cjBtMzA=", "incorrect-encoding"),
        ("\nAGp1bGlldAByMG0zMG15cjBtMzA=", "incorrect-encoding"),
        ("AGp1bGlldAByMG0zMG15cjBtMzB=", "incorrect-encoding"),
        ("AGp1bGlldAByMG0zMG15cjBtMzA", "incorrect-encoding"),
        ("==", "incorrect-encoding"),
        ("<x xmlns='urn:example:x'/>", "malformed-request"),
        ("=", "malformed-request"),
        ("anVsaWV0", "malformed-request"),
    ] {
        let auth = format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{text}</auth>");
        assert_eq!(served(At::Auth).say(&auth), failure(condition), "{text}");
    }
    let response = format!("<response xmlns='{SASL}'>*</response>");
    let mut served = served(At::Auth);
    assert_eq!(served.say(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'/>")), challenge(""));
    assert_eq!(served.say(&response), failure("incorrect-encoding"));
}

#[test]
fn takes_the_first_message_in_a_response() {
    let mut served = served(At::Auth);
    assert_eq!(served.say(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'/>")), challenge(""));
    let response = format!("<response xmlns='{SASL}'>AGp1bGlldAByMG0zMG15cjBtMzA=</response>");
    assert_eq!(served.say(&response), SUCCESS);
}

#[test]
fn refuses_mechanisms_that_are_not_offered() {
    for name in [
        "mechanism='CRAM-MD5'",
        "mechanism='plain'",
        "mechanism=''",
        "",
        "mechanism='ANONYMOUS'",
        "mechanism='EXTERNAL'",
    ] {
        let out = served(At::Auth).say(&format!("<auth xmlns='{SASL}' {name}>=</auth>"));
        assert_eq!(out, failure("invalid-mechanism"), "{name}");
    }
    let mut no_bindings = Served::direct_tls(Accounts::capulet(), TlsInfo::default());
    no_bindings.say(HEADER);
    let out = no_bindings.say(&auth("SCRAM-SHA-1-PLUS", "p=tls-exporter,,n=juliet,r=abc"));
    assert_eq!(out, failure("invalid-mechanism"));
}

#[test]
fn aborts_on_request() {
    let mut served = served(At::Auth);
    let out = served.say(&auth("SCRAM-SHA-256", "n,,n=juliet,r=rOprNGfwEbeRWgbNEkqO"));
    assert!(out.starts_with(&format!("<challenge xmlns='{SASL}'>")), "{out}");
    assert_eq!(served.say(&format!("<abort xmlns='{SASL}'/>")), failure("aborted"));
    let response = format!("<response xmlns='{SASL}'>Yz1iaXdz</response>");
    assert_eq!(served.say(&response), failure("malformed-request"), "the exchange is over");
    assert_eq!(served.say(&format!("<abort xmlns='{SASL}'/>")), failure("aborted"));
}

#[test]
fn names_a_mechanism_that_it_does_not_know() {
    for (mechanism, named) in [
        ("DIGEST-MD5", Some("DIGEST-MD5")),
        ("SCRAM-SHA-1-PLUS-PLUS", None),
        ("x oauth", None),
        ("", None),
    ] {
        let mut served = served(At::Auth);
        assert_eq!(served.say(&auth(mechanism, "x")), failure("invalid-mechanism"));
        let [Event::AuthFailed { tried, .. }] = &served.events[..] else { panic!("{mechanism}") };
        assert_eq!(tried.mechanism.as_deref(), named);
        assert_eq!(tried.domain.as_deref(), Some("capulet.example"));
    }
}

#[test]
fn tells_of_attempts_that_nothing_decided() {
    let begin = auth("SCRAM-SHA-256", "n,,n=juliet,r=rOprNGfwEbeRWgbNEkqO");
    let cut = |served: &mut Served| {
        served.machine.handle_eof(Millis(0));
        served.settle();
    };
    let close = |served: &mut Served| drop(served.say("</stream:stream>"));
    let stray = |served: &mut Served| drop(served.say("<x xmlns='urn:example:x'/>"));
    let wait = |served: &mut Served| drop(served.wait(120_000));
    let again = |served: &mut Served| drop(served.say(&auth("PLAIN", "\0juliet\0x")));
    let ends: [fn(&mut Served); 5] = [cut, close, stray, wait, again];
    for (n, end) in ends.into_iter().enumerate() {
        let mut served = served(At::Auth);
        served.say(&begin);
        end(&mut served);
        let tried = served.events.iter().filter_map(|event| match event {
            Event::AuthBrokenOff(tried) => Some(tried),
            _ => None,
        });
        let tried: Vec<_> = tried.cloned().collect();
        let scram = Tried {
            username: Some("juliet".to_owned()),
            domain: Some("capulet.example".to_owned()),
            mechanism: Some("SCRAM-SHA-256".into()),
        };
        assert_eq!(tried, [scram], "{n}");
    }
    let mut served = served(At::Auth);
    cut(&mut served);
    assert!(!served.events.iter().any(|event| matches!(event, Event::AuthBrokenOff(_))));
}

#[test]
fn replaces_an_unfinished_exchange() {
    let mut served = served(At::Auth);
    let out = served.say(&auth("SCRAM-SHA-256", "n,,n=juliet,r=rOprNGfwEbeRWgbNEkqO"));
    assert!(out.starts_with("<challenge "), "{out}");
    assert_eq!(served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30")), SUCCESS);
}

#[test]
fn challenges_strangers_like_users_and_always_alike() {
    let challenge = |username: &str| {
        let first = format!("n,,n={username},r=rOprNGfwEbeRWgbNEkqO");
        let out = served(At::Auth).say(&auth("SCRAM-SHA-256", &first));
        let text = out.strip_prefix(&format!("<challenge xmlns='{SASL}'>")).unwrap().to_owned();
        let data = STANDARD.decode(text.strip_suffix("</challenge>").unwrap()).unwrap();
        String::from_utf8(data).unwrap()
    };
    let [user, stranger] = [challenge("juliet"), challenge("nobody")];
    assert_eq!(user.len(), stranger.len());
    for part in ["r=rOprNGfwEbeRWgbNEkqOt", ",s=", ",i=4096"] {
        assert!(user.contains(part) && stranger.contains(part), "{user} {stranger}");
    }
    assert_eq!(challenge("nobody"), stranger, "the salt is always the same");
    assert_ne!(user, stranger);
}

#[test]
fn tells_only_who_knows_the_password_that_the_account_is_closed() {
    for (password, condition) in [("r0m30myr0m30", "account-disabled"), ("x", "not-authorized")] {
        let mut served = served(At::Auth);
        served.accounts.barred = Some(Condition::AccountDisabled);
        let bindings = Bindings::default();
        let nonce = "rOprNGfwEbeRWgbNEkqO";
        let mechanism = Mechanism::ScramSha256;
        let mut client =
            client::Exchange::new(mechanism, "juliet", password, None, &bindings, nonce).unwrap();
        let first = String::from_utf8(client.first().unwrap()).unwrap();
        let out = served.say(&auth("SCRAM-SHA-256", &first));
        let text = out.split(['<', '>']).nth(2).unwrap();
        let last = client.step(&STANDARD.decode(text).unwrap()).unwrap();
        let response = STANDARD.encode(last);
        let out = served.say(&format!("<response xmlns='{SASL}'>{response}</response>"));
        assert_eq!(out, failure(condition));
    }
}

#[test]
fn compares_from_under_tls_with_who_signs_in() {
    let header = HEADER.replace("to='", "from='romeo@capulet.example' to='");
    let mut served = served(At::Start);
    served.say(&header);
    served.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    served.handle_tls(TlsInfo::default());
    served.say(&header);
    let out = served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30"));
    assert_eq!(stream_error(&out).as_deref(), Some("invalid-from"));
    assert!(!out.contains("<success"), "{out}");
}

#[test]
fn signs_in_with_a_certificate() {
    let certificate = |certified: Option<&str>, data: &str| {
        let mut accounts = Accounts::capulet();
        accounts.certified = certified.map(Into::into);
        let tls = TlsInfo { client_cert: true, ..TlsInfo::default() };
        let mut served = Served::direct_tls(accounts, tls);
        served.say(HEADER);
        served.say(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>{data}</auth>"))
    };
    assert_eq!(certificate(Some("juliet"), "="), SUCCESS);
    // `juliet@capulet.example`, then `romeo@capulet.example`.
    assert_eq!(certificate(Some("juliet"), "anVsaWV0QGNhcHVsZXQuZXhhbXBsZQ=="), SUCCESS);
    assert_eq!(
        certificate(Some("juliet"), "cm9tZW9AY2FwdWxldC5leGFtcGxl"),
        failure("invalid-authzid")
    );
    assert_eq!(certificate(None, "="), failure("not-authorized"));
}

#[test]
fn lets_guests_in_where_they_are_welcome() {
    let mut accounts = Accounts::capulet();
    accounts.offer.mechanisms = vec![Mechanism::Anonymous];
    let mut served = served_by(accounts.clone(), At::Auth);
    assert_eq!(served.say(&format!("<auth xmlns='{SASL}' mechanism='ANONYMOUS'/>")), SUCCESS);
    assert_eq!(served.machine.account().unwrap().as_str(), "guest-1@capulet.example");
    let mut served = served_by(accounts.clone(), At::Auth);
    assert_eq!(served.say(&auth("ANONYMOUS", "sirhc")), SUCCESS);
    let mut served = served_by(accounts, At::Auth);
    let long = auth("ANONYMOUS", &"a".repeat(256));
    assert_eq!(served.say(&long), failure("malformed-request"));
}

#[test]
fn passes_on_what_the_shell_says() {
    let tls = TlsInfo { bindings: both_bindings(), ..TlsInfo::default() };
    let conn = ConnInfo { tls: Some(tls), tokens: tokens("t") };
    let mut machine = C2s::new(Default::default(), conn, Millis(0));
    machine.handle_bytes(&mut HEADER.as_bytes(), Millis(1));
    machine.poll_event();
    let offer = Accounts::capulet().offer;
    machine.handle_answer(Answer::Host(Ok(offer.into())), Millis(2));
    machine.handle_bytes(&mut auth("PLAIN", "\0juliet\0x").as_bytes(), Millis(3));
    let Some(Event::Ask(Ask::Password { username, password })) = machine.poll_event() else {
        panic!("asks for the password to be checked");
    };
    assert_eq!((username.as_str(), password.as_str()), ("juliet", "x"));
    machine.take_output(&mut Vec::new());
    machine.handle_answer(Answer::Refused(Condition::TemporaryAuthFailure), Millis(4));
    let mut out = Vec::new();
    machine.take_output(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), failure("temporary-auth-failure"));
}

#[test]
fn answers_registrations_before_sign_in() {
    let mut accounts = Accounts::capulet();
    accounts.offer.registration = true;
    let mut served = served_by(accounts, At::Auth);
    let query = "<query xmlns='jabber:iq:register'/>";
    assert_eq!(
        served.say(&format!("<iq type='get' id='r1' from='forged@x.example'>{query}</iq>")),
        "<iq type='result' id='r1'/>"
    );
    assert_eq!(
        served.say(&format!("<iq type='get' id='r2' to='capulet.example'>{query}</iq>")),
        "<iq type='result' id='r2' from='capulet.example'/>"
    );
    assert_eq!(
        served.say(&format!("<iq type='get'>{query}</iq>")),
        "<iq type='error' id=''><error type='modify'>\
         <bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
    assert_eq!(served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30")), SUCCESS);
}

#[test]
fn bounds_registrations_before_sign_in() {
    let mut accounts = Accounts::capulet();
    accounts.offer.registration = true;
    let mut served = served_by(accounts.clone(), At::Auth);
    let ask = "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>";
    for _ in 0..10 {
        assert_eq!(served.say(ask), "<iq type='result' id='r'/>");
    }
    assert_eq!(stream_error(&served.say(ask)).as_deref(), Some("policy-violation"));
    let mut served = served_by(accounts, At::Auth);
    let elsewhere = ask.replace("id='r'", "id='r' to='montague.example'");
    assert_eq!(stream_error(&served.say(&elsewhere)).as_deref(), Some("not-authorized"));
}

fn failure(condition: &str) -> String {
    format!("<failure xmlns='{SASL}'><{condition}/></failure>")
}

fn challenge(text: &str) -> String {
    if text.is_empty() {
        format!("<challenge xmlns='{SASL}'/>")
    } else {
        format!("<challenge xmlns='{SASL}'>{text}</challenge>")
    }
}

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
