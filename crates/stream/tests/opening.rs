//! Stream headers, features and STARTTLS, with exact bytes (RFC 6120 §4, §5).

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stentor_stream::Millis;
use stentor_stream::c2s::{ConnInfo, HostOffer, Settings, TlsInfo};
use stentor_stream::event::{Answer, Ask, Event};
use stentor_stream::fault::Fault;
use stentor_stream::feature::{Bits, ExtraFeature};
use stentor_stream::pair::{Accounts, Served, both_bindings, tokens};
use support::{At, BIND, HEADER, auth, served, served_by, stream_error};

#[test]
fn answers_with_header_and_features() {
    let mut served = Served::plain(Accounts::capulet());
    assert_eq!(
        served.say(HEADER),
        "<?xml version='1.0'?><stream:stream from='capulet.example' id='t0000000000000001' version='1.0' \
         xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\
         <stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
         </stream:features>"
    );
}

// §4.4: who closes its stream with the header gets a header and an end.
#[test]
fn a_header_that_is_an_empty_element_opens_and_closes_the_stream() {
    for at in [At::Start, At::Restart] {
        let mut served = served(at);
        let out = served.say(&HEADER.replace("'>", "'/>"));
        assert!(out.contains("<stream:stream from='capulet.example'"), "{at:?}: {out}");
        assert!(out.ends_with("</stream:features></stream:stream>"), "{at:?}: {out}");
        assert!(served.machine.is_ended(), "{at:?}");
    }
    let mut served = served(At::Start);
    let nowhere = HEADER.replace("'>", "'/>").replace("capulet", "paris");
    let out = served.say(&nowhere);
    assert_eq!(stream_error(&out).as_deref(), Some("host-unknown"), "{out}");
    assert!(served.machine.is_ended());
}

#[test]
fn lists_mechanisms_and_bindings_under_tls() {
    let mut accounts = Accounts::capulet();
    accounts.offer.registration = true;
    let tls = TlsInfo { bindings: both_bindings(), client_cert: true, sni: None };
    let mut served = Served::direct_tls(accounts, tls);
    let out = served.say(HEADER);
    assert_eq!(
        features(&out),
        "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>\
         <channel-binding type='tls-exporter'/><channel-binding type='tls-server-end-point'/>\
         </sasl-channel-binding>\
         <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>\
         <mechanism>SCRAM-SHA-512-PLUS</mechanism><mechanism>SCRAM-SHA-512</mechanism>\
         <mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>\
         <mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-1</mechanism>\
         <mechanism>PLAIN</mechanism></mechanisms>\
         <register xmlns='http://jabber.org/features/iq-register'/>"
    );
}

#[test]
fn leaves_out_what_the_connection_cannot_do() {
    let mut served = Served::direct_tls(Accounts::capulet(), TlsInfo::default());
    let out = served.say(HEADER);
    for absent in ["EXTERNAL", "PLUS", "sasl-cb", "starttls", "register"] {
        assert!(!out.contains(absent), "{absent}: {out}");
    }
    assert!(out.contains("<mechanism>PLAIN</mechanism>"), "{out}");
}

#[test]
fn offers_sign_in_before_tls_only_where_tls_is_not_required() {
    let mut accounts = Accounts::capulet();
    accounts.offer.tls_required = false;
    let mut served = served_by(accounts, At::Start);
    let out = served.say(HEADER);
    assert!(out.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), "{out}");
    assert!(out.contains("<mechanism>SCRAM-SHA-256</mechanism>"), "{out}");
    assert!(!out.contains("PLAIN") && !out.contains("EXTERNAL"), "{out}");
    assert_eq!(
        served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30")),
        failure("encryption-required")
    );
    assert_eq!(served.say(&auth("EXTERNAL", "")), failure("invalid-mechanism"));
    assert_eq!(served.say(STARTTLS), PROCEED);
}

#[test]
fn offers_no_starttls_without_a_certificate() {
    let mut accounts = Accounts::capulet();
    accounts.offer.tls_required = false;
    accounts.offer.starttls = false;
    let mut served = served_by(accounts, At::Start);
    let out = served.say(HEADER);
    assert!(!out.contains("starttls") && out.contains("SCRAM"), "{out}");
    assert_eq!(served.say(STARTTLS), TLS_FAILURE);
}

#[test]
fn offers_the_session_after_sign_in() {
    let mut accounts = Accounts::capulet();
    accounts.offer.roster_versions = true;
    accounts.offer.pre_approval = true;
    accounts.offer.features = vec![
        extra(Bits::NONE, "<c xmlns='http://jabber.org/protocol/caps'/>"),
        extra(Bits::AUTHENTICATED, "<sm xmlns='urn:xmpp:sm:3'/>"),
    ];
    let mut served = served_by(accounts, At::Restart);
    let out = served.say(HEADER);
    assert_eq!(
        features(&out),
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
         <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
         <ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>\
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>\
         <idle-seconds>300</idle-seconds></limits>\
         <c xmlns='http://jabber.org/protocol/caps'/><sm xmlns='urn:xmpp:sm:3'/>"
    );
}

#[test]
fn keeps_extra_features_to_their_stage() {
    let mut accounts = Accounts::capulet();
    accounts.offer.features = vec![extra(Bits::AUTHENTICATED, "<sm xmlns='urn:xmpp:sm:3'/>")];
    let out = served_by(accounts, At::Start).say(HEADER);
    assert!(!out.contains("urn:xmpp:sm:3"), "{out}");
}

#[test]
fn echoes_the_bare_from_and_the_lower_version() {
    let header = HEADER
        .replace("to='", "from='Juliet@capulet.example/balcony' to='")
        .replace("version='1.0' xml", "version='2.13' xml");
    let out = served(At::Start).say(&header);
    assert!(out.contains(" to='juliet@capulet.example' "), "{out}");
    assert!(out.contains(" version='1.0' "), "{out}");
    let out = served(At::Start).say(&header.replace("version='2.13' ", ""));
    assert_eq!(
        out,
        "<?xml version='1.0'?><stream:stream from='' to='juliet@capulet.example' id='t0000000000000001' \
         xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\
         <stream:error><unsupported-version xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>XMPP 1.0 is required</text>\
         </stream:error></stream:stream>"
    );
}

#[test]
fn makes_a_new_id_for_every_stream() {
    let mut served = served(At::Auth);
    let success = served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30"));
    assert!(success.starts_with("<success"), "{success}");
    // `t0000000000000001` was the id before sign-in and `t0000000000000002` the nonce.
    assert!(served.say(HEADER).contains(" id='t0000000000000003' "));
}

#[test]
fn refuses_unknown_domains_before_anything_else() {
    let header = HEADER.replace("capulet.example", "montague.example");
    for (fault, condition) in [
        (Fault::HostUnknown, "<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
        (Fault::HostGone, "<host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
        (
            Fault::SeeOtherHost { host: "[2001:41D0:1:A49b::1]:9222".into() },
            "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\
             [2001:41D0:1:A49b::1]:9222</see-other-host>",
        ),
    ] {
        let mut accounts = Accounts::capulet();
        accounts.other_hosts = fault;
        let settings = Settings { name: "im.capulet.example".into(), ..Settings::default() };
        let conn = ConnInfo { tls: None, tokens: tokens("t") };
        let mut served = Served::new(settings, accounts, conn, Millis(0));
        assert_eq!(
            served.say(&header),
            format!(
                "<?xml version='1.0'?><stream:stream from='im.capulet.example' id='t0000000000000001' \
                 version='1.0' xml:lang='en' xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams'>\
                 <stream:error>{condition}</stream:error></stream:stream>"
            )
        );
    }
}

#[test]
fn takes_a_missing_domain_from_the_handshake_or_the_settings() {
    let header = HEADER.replace("to='capulet.example' ", "");
    let with = |default_host: Option<&str>, sni: Option<&str>| {
        let settings =
            Settings { default_host: default_host.map(Into::into), ..Settings::default() };
        let tls = sni.map(|sni| TlsInfo { sni: Some(sni.into()), ..TlsInfo::default() });
        let conn = ConnInfo { tls, tokens: tokens("t") };
        Served::new(settings, Accounts::capulet(), conn, Millis(0)).say(&header)
    };
    assert_eq!(stream_error(&with(None, None)).as_deref(), Some("host-unknown"));
    assert!(with(Some("capulet.example"), None).contains("<starttls"));
    assert!(with(None, Some("capulet.example")).contains("<mechanisms"));
    assert!(with(Some("nosuch.example"), Some("capulet.example")).contains("<mechanisms"));
}

#[test]
fn takes_a_declaration_or_none_before_each_header() {
    let bare = HEADER.replace("<?xml version='1.0'?>", "");
    for declaration in [
        "",
        "<?xml version='1.0'?>",
        "<?xml version=\"1.0\" encoding='utf-8' ?>",
        "<?xml version='1.0' encoding='UTF-8'?>\n",
    ] {
        let header = format!("{declaration}{bare}");
        let mut served = served(At::Start);
        assert!(served.say(&header).contains("<starttls"), "{declaration}");
        assert_eq!(served.say(STARTTLS), PROCEED);
        served.handle_tls(TlsInfo::default());
        assert!(served.say(&header).contains("<mechanisms"), "{declaration}");
        served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30"));
        assert!(served.say(&header).contains("<bind"), "{declaration}");
    }
}

#[test]
fn begins_tls_and_starts_again() {
    let mut served = served(At::Tls);
    assert_eq!(served.say(STARTTLS), PROCEED);
    assert!(matches!(served.events[..], [Event::StartTls]));
    assert_eq!(served.machine.domain(), Some("capulet.example"));
    assert!(!served.machine.may_read());
    served.handle_tls(TlsInfo::default());
    let out = served.say(HEADER);
    assert!(out.contains(" id='t0000000000000002' ") && out.contains("<mechanisms"), "{out}");
    assert!(!out.contains("starttls"), "{out}");
}

#[test]
fn forgets_the_domain_that_was_said_in_the_clear() {
    let mut served = served(At::Tls);
    served.say(STARTTLS);
    served.handle_tls(TlsInfo::default());
    let out = served.say(&HEADER.replace("capulet.example", "montague.example"));
    assert_eq!(stream_error(&out).as_deref(), Some("host-unknown"));
}

#[test]
fn throws_away_what_was_injected_behind_starttls() {
    let injected = format!("{STARTTLS}{HEADER}{}", auth("PLAIN", "\0juliet\0r0m30myr0m30"));
    let mut served = served(At::Tls);
    let mut rest = injected.as_bytes();
    served.receive(&mut rest);
    assert!(rest.is_empty(), "nothing is left that could reach the handshake or the new stream");
    assert!(served.settle() && served.is_ready_for_tls());
    assert_eq!(served.take(), PROCEED.as_bytes());
    assert_eq!(served.machine.discarded_bytes(), injected.len() - STARTTLS.len());
    // More of it comes before the handshake begins.
    assert_eq!(served.say(HEADER), "");
    served.handle_tls(TlsInfo::default());
    assert_eq!(served.say(""), "");
    let out = served.say(HEADER);
    assert_eq!(out.matches("<stream:stream ").count(), 1, "{out}");
    assert!(out.contains("<mechanisms"), "{out}");
}

#[test]
fn refuses_starttls_that_is_malformed_or_not_offered() {
    let ns = "urn:ietf:params:xml:ns:xmpp-tls";
    for (at, command) in [
        (At::Tls, format!("<starttls xmlns='{ns}'><required/></starttls>")),
        (At::Tls, format!("<starttls xmlns='{ns}'>now</starttls>")),
        (At::Auth, STARTTLS.to_owned()),
    ] {
        let mut served = served(at);
        assert_eq!(served.say(&command), TLS_FAILURE, "{command}");
        assert!(!served.is_ready_for_tls());
    }
    let out = served(At::Bind).say(STARTTLS);
    assert_eq!(stream_error(&out).as_deref(), Some("unsupported-stanza-type"));
}

#[test]
fn says_no_xml_during_the_handshake() {
    let mut served = served(At::Tls);
    served.say(STARTTLS);
    assert_eq!(served.wait(60_000), "");
    assert!(served.ended().is_some());
}

#[test]
fn refuses_sign_in_before_tls() {
    let mut served = served(At::Tls);
    assert_eq!(
        served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30")),
        failure("encryption-required")
    );
    assert_eq!(
        served.say(&auth("SCRAM-SHA-1", "n,,n=juliet,r=abc")),
        failure("encryption-required")
    );
    assert_eq!(served.say(STARTTLS), PROCEED, "the stream is still open");
}

#[test]
fn reads_nothing_while_a_question_is_open() {
    let conn = ConnInfo { tls: None, tokens: tokens("t") };
    let mut machine = stentor_stream::c2s::C2s::new(Arc::default(), conn, Millis(0));
    let text = format!("{HEADER}{STARTTLS}");
    let mut rest = text.as_bytes();
    machine.handle_bytes(&mut rest, Millis(1));
    assert_eq!(rest, STARTTLS.as_bytes());
    assert!(
        matches!(machine.poll_event(), Some(Event::Ask(Ask::Host { domain, from: None })) if domain == "capulet.example")
    );
    machine.handle_bytes(&mut rest, Millis(2));
    assert_eq!(rest, STARTTLS.as_bytes(), "the answer is still due");
    let offer = HostOffer { starttls: true, tls_required: true, ..HostOffer::default() };
    machine.handle_answer(Answer::Accepted("nobody".into()), Millis(2));
    assert!(!machine.may_read(), "an answer to something else is none");
    machine.handle_answer(Answer::Host(Ok(Arc::new(offer))), Millis(3));
    assert!(machine.may_read());
    machine.handle_bytes(&mut rest, Millis(4));
    assert!(rest.is_empty());
    assert!(matches!(machine.poll_event(), Some(Event::StartTls)));
}

#[test]
fn ignores_answers_that_come_too_late() {
    let conn = ConnInfo { tls: None, tokens: tokens("t") };
    let mut machine = stentor_stream::c2s::C2s::new(Arc::default(), conn, Millis(0));
    machine.handle_bytes(&mut HEADER.as_bytes(), Millis(1));
    machine.close(Some(Fault::Shutdown), Millis(2));
    let mut out = Vec::new();
    machine.take_output(&mut out);
    assert_eq!(stream_error(&String::from_utf8(out).unwrap()).as_deref(), Some("system-shutdown"));
    machine.handle_answer(Answer::Host(Ok(Arc::default())), Millis(3));
    let mut out = Vec::new();
    machine.take_output(&mut out);
    assert!(out.is_empty());
}

#[test]
fn signs_in_through_every_stage_of_a_pipelined_client() {
    let mut served = served(At::Start);
    served.say(&format!("{HEADER}{STARTTLS}"));
    served.handle_tls(TlsInfo::default());
    let auth = auth("PLAIN", "\0juliet\0r0m30myr0m30");
    let out = served.say(&format!("{HEADER}{auth}{HEADER}{BIND}<presence/>"));
    assert!(out.ends_with("<jid>juliet@capulet.example/balcony</jid></bind></iq>"), "{out}");
    assert!(matches!(served.events.last(), Some(Event::Stanza(_))));
}

fn features(out: &str) -> &str {
    let (_, rest) = out.split_once("<stream:features>").unwrap();
    rest.strip_suffix("</stream:features>").unwrap()
}

fn failure(condition: &str) -> String {
    format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>")
}

fn extra(necessary: Bits, xml: &str) -> ExtraFeature {
    ExtraFeature { necessary, prohibited: Bits::NONE, xml: xml.into() }
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const TLS_FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";
