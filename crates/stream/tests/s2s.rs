//! Streams between servers: both ends joined, and each against a peer that misbehaves.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stentor_stanza::{Condition, Stanza};
use stentor_stream::s2s::{
    Answer, Ask, How, Incoming, IncomingEvent, Key, Offer, Outgoing, OutgoingEvent, Pair, Tls,
    Verdict,
};
use stentor_stream::{Ending, Machine as _, Millis};
use stentor_xml::Frame;

const NOW: Millis = Millis(1_000);

fn pair(local: &str, remote: &str) -> Pair {
    Pair { local: local.into(), remote: remote.into() }
}

fn stanza(xml: &str) -> Stanza {
    Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap()
}

const GREETING: &str =
    "<message from='juliet@capulet.example/b' to='romeo@montague.example'><body>O</body></message>";

/// What the shells of both servers would do.
struct Link {
    capulet: Outgoing,
    montague: Incoming,
    offer: Offer,
    verdict: Verdict,
    told: Vec<String>,
    wire: String,
    is_shaking: (bool, bool),
}

impl Link {
    fn new(change: impl FnOnce(&mut Offer)) -> Self {
        Self::with(|_| {}, change)
    }

    fn with(
        set: impl FnOnce(&mut stentor_stream::s2s::OutgoingSettings),
        change: impl FnOnce(&mut Offer),
    ) -> Self {
        let mut settings = stentor_stream::s2s::OutgoingSettings::default();
        set(&mut settings);
        let mut offer = Offer {
            domain: "montague.example".into(),
            starttls: true,
            tls_required: true,
            external: true,
            dialback: true,
            ..Offer::default()
        };
        change(&mut offer);
        let ours = pair("capulet.example", "montague.example");
        let mut ids = 0;
        let make_id = Box::new(move || {
            ids += 1;
            format!("id-{ids}")
        });
        Self {
            capulet: Outgoing::new(Arc::new(settings), ours, false, true, NOW),
            montague: Incoming::new(Arc::default(), false, make_id, NOW),
            offer,
            verdict: Verdict::Valid,
            told: Vec::new(),
            wire: String::new(),
            is_shaking: (false, false),
        }
    }

    fn run(&mut self) -> &mut Self {
        while self.step() {}
        self
    }

    fn step(&mut self) -> bool {
        let mut bytes = Vec::new();
        self.capulet.take_output(&mut bytes);
        let mut moved = self.montague_hears(&bytes);
        let mut bytes = Vec::new();
        self.montague.take_output(&mut bytes);
        moved |= self.capulet_hears(&bytes);
        if self.is_shaking == (true, true) {
            self.is_shaking = (false, false);
            self.wire.push_str("\n(TLS)");
            self.montague.handle_tls(NOW);
            self.capulet.handle_tls(NOW);
            moved = true;
        }
        moved
    }

    fn montague_hears(&mut self, bytes: &[u8]) -> bool {
        if !bytes.is_empty() {
            self.wire.push_str("\nC: ");
            self.wire.push_str(std::str::from_utf8(bytes).unwrap());
        }
        let (mut rest, mut moved) = (bytes, !bytes.is_empty());
        loop {
            self.montague.handle_bytes(&mut rest, NOW);
            let Some(event) = self.montague.poll_event() else { break };
            moved = true;
            self.montague_event(event);
        }
        moved
    }

    fn montague_event(&mut self, event: IncomingEvent) {
        match event {
            IncomingEvent::StartTls => self.is_shaking.1 = true,
            IncomingEvent::Ask(Ask::Host { to, .. }) => {
                let offer = match to.as_deref() {
                    Some("montague.example") => Ok(Arc::new(self.offer.clone())),
                    _ => Err(stentor_stream::fault::Fault::HostUnknown),
                };
                self.montague.handle_answer(Answer::Host(offer), NOW);
            }
            IncomingEvent::Ask(Ask::Dialback { pair, key }) => {
                self.told.push(format!("key {} {}", key.stream_id, key.key));
                self.montague.handle_answer(Answer::Dialback(pair, self.verdict.clone()), NOW);
            }
            IncomingEvent::Ask(Ask::Verify { pair, key }) => {
                let verdict = if key.key == "good" { Verdict::Valid } else { Verdict::Invalid };
                self.montague.handle_answer(Answer::Verify(pair, key, verdict), NOW);
            }
            IncomingEvent::Authorized(pair, how) => {
                self.told.push(format!("in {}>{} {}", pair.remote, pair.local, how.name()));
            }
            IncomingEvent::Stanza(s) => self.told.push(format!("in {}", s.head.kind.name())),
            IncomingEvent::Refused(s) => self.told.push(format!("refused {}", s.head.kind.name())),
            IncomingEvent::Ask(Ask::Resume { .. })
            | IncomingEvent::Managed(_)
            | IncomingEvent::AckRequested
            | IncomingEvent::Acked(_) => unreachable!("it is not offered"),
            IncomingEvent::Ending(Ending::PeerClosed) => self.montague.close(None, NOW),
            IncomingEvent::Ending(Ending::Ended { fault, .. }) => {
                let why = fault.map_or("none", |f| f.condition().name());
                self.told.push(format!("in ended {why}"));
            }
        }
    }

    fn capulet_hears(&mut self, bytes: &[u8]) -> bool {
        if !bytes.is_empty() {
            self.wire.push_str("\nM: ");
            self.wire.push_str(std::str::from_utf8(bytes).unwrap());
        }
        let (mut rest, mut moved) = (bytes, !bytes.is_empty());
        loop {
            self.capulet.handle_bytes(&mut rest, NOW);
            let Some(event) = self.capulet.poll_event() else { break };
            moved = true;
            match event {
                OutgoingEvent::StartTls => self.is_shaking.0 = true,
                OutgoingEvent::Key { pair, stream_id } => {
                    self.capulet.handle_key(&pair, &format!("key-of-{stream_id}"), NOW);
                }
                OutgoingEvent::Authorized(pair, how) => {
                    self.told.push(format!("out {}>{} {}", pair.local, pair.remote, how.name()));
                }
                OutgoingEvent::Denied(pair, verdict) => {
                    self.told.push(format!("denied {} {verdict:?}", pair.remote));
                }
                OutgoingEvent::Verified(_, key, verdict) => {
                    self.told.push(format!("verified {} {verdict:?}", key.stream_id));
                }
                OutgoingEvent::Stanza(s) => self.told.push(format!("out {}", s.head.kind.name())),
                OutgoingEvent::Managed { .. }
                | OutgoingEvent::Resumed(_)
                | OutgoingEvent::NotResumed(_)
                | OutgoingEvent::AckRequested
                | OutgoingEvent::Acked(_) => unreachable!("it is not offered"),
                OutgoingEvent::Ending(Ending::PeerClosed) => self.capulet.close(None, NOW),
                OutgoingEvent::Ending(Ending::Ended { fault, .. }) => {
                    let why = fault.map_or("none", |f| f.condition().name());
                    self.told.push(format!("out ended {why}"));
                }
            }
        }
        moved
    }

    fn told(&mut self) -> Vec<String> {
        self.run();
        std::mem::take(&mut self.told)
    }

    /// Lets Capulet's server say this, whatever its machine thinks of it.
    fn capulet_says(&mut self, xml: &str) -> Vec<String> {
        self.run();
        self.told.clear();
        self.montague_hears(xml.as_bytes());
        self.told()
    }

    fn montague_says(&mut self, xml: &str) -> Vec<String> {
        self.run();
        self.told.clear();
        self.capulet_hears(xml.as_bytes());
        self.told()
    }
}

#[test]
fn certificates_sign_in_over_tls() {
    let mut link = Link::new(|_| {});
    let authorized = [
        "in capulet.example>montague.example external",
        "out capulet.example>montague.example external",
    ];
    assert_eq!(link.told(), authorized, "{}", link.wire);
    let mut out = Vec::new();
    assert!(link.capulet.send(&stanza(GREETING), &mut out));
    link.montague_hears(&out);
    assert_eq!(link.told(), ["in message"]);
    link.capulet.close(None, NOW);
    assert_eq!(link.told(), ["in ended none", "out ended none"]);
}

#[test]
fn dialback_stands_in_for_a_certificate() {
    let mut link = Link::new(|offer| offer.external = false);
    assert_eq!(
        link.told(),
        [
            // The key is made for the stream after TLS.
            "key id-2 key-of-id-2",
            "in capulet.example>montague.example dialback",
            "out capulet.example>montague.example dialback",
        ],
        "{}",
        link.wire
    );
}

#[test]
fn a_server_without_a_certificate_dials_back() {
    let mut link = Link::with(|s| s.has_certificate = false, |_| {});
    assert!(link.told().contains(&String::from("out capulet.example>montague.example dialback")));
}

#[test]
fn false_keys_end_the_first_attempt() {
    let mut link = Link::new(|offer| offer.external = false);
    link.verdict = Verdict::Invalid;
    assert_eq!(
        link.told(),
        [
            "key id-2 key-of-id-2",
            "denied montague.example Invalid",
            "out ended not-authorized",
            "in ended not-authorized",
        ],
        "{}",
        link.wire
    );
}

#[test]
fn dialback_errors_leave_the_stream_alone() {
    let mut link = Link::new(|offer| offer.external = false);
    link.verdict = Verdict::Error(Condition::RemoteServerTimeout);
    link.run();
    assert_eq!(link.told()[1], "denied montague.example Error(RemoteServerTimeout)",);
    assert!(!link.capulet.is_ended() && !link.montague.is_ended());
    assert!(!link.capulet.send(&stanza(GREETING), &mut Vec::new()));
}

#[test]
fn another_pair_joins_by_dialback() {
    let mut link = Link::new(|_| {});
    link.run();
    link.told.clear();
    assert!(link.capulet.authorize(pair("rooms.capulet.example", "montague.example")));
    assert_eq!(
        link.told(),
        [
            "key id-3 key-of-id-3",
            "in rooms.capulet.example>montague.example dialback",
            "out rooms.capulet.example>montague.example dialback",
        ]
    );
}

#[test]
fn stanzas_come_back_where_both_sides_want_that() {
    let answer = stanza(
        "<message from='romeo@montague.example' to='juliet@capulet.example/b'><body/></message>",
    );
    let mut link = Link::new(|offer| offer.bidi = true);
    link.run();
    let mut out = Vec::new();
    assert!(link.capulet.is_bidi());
    assert!(link.montague.send(&answer, &mut out));
    link.told.clear();
    link.capulet_hears(&out);
    assert_eq!(link.told(), ["out message"]);
    let mut link = Link::with(|s| s.wants_bidi = false, |offer| offer.bidi = true);
    link.run();
    assert!(!link.montague.send(&answer, &mut Vec::new()));
    assert_eq!(
        link.montague_says("<message from='romeo@montague.example' to='juliet@capulet.example'/>"),
        ["in ended not-authorized", "out ended not-authorized"]
    );
}

/// COMPAT(ejabberd, 23.01): it returns what it cannot decode on the stream of the sender.
#[test]
fn errors_come_back_on_every_stream_and_nothing_else_does() {
    let mut link = Link::with(|s| s.wants_bidi = false, |_| {});
    link.run();
    link.told.clear();
    let of = |from: &str| {
        format!("<presence type='error' from='romeo@{from}' to='juliet@capulet.example/b'/>")
    };
    assert_eq!(link.montague_says(&of("montague.example")), ["out presence"]);
    assert_eq!(
        link.montague_says(&of("verona.example")),
        ["in ended invalid-from", "out ended invalid-from"]
    );
}

// RFC 6120 §8.1.1.2, §8.1.2.2.
#[test]
fn what_has_no_addresses_ends_the_stream_also_where_it_comes_back() {
    for xml in [
        "<presence type='error' from='romeo@montague.example'/>",
        "<message from='romeo@montague.example' to='a b@capulet.example'/>",
        "<iq type='result' from='@montague.example' to='juliet@capulet.example' id='1'/>",
    ] {
        let mut link = Link::with(|s| s.wants_bidi = true, |offer| offer.bidi = true);
        link.run();
        link.told.clear();
        let told = link.montague_says(xml);
        assert!(told.contains(&String::from("out ended improper-addressing")), "{xml}: {told:?}");
    }
}

/// RFC 6120 §4.7.4, §8.1.5: a stanza without a language is in that of its stream; ours are English.
#[test]
fn stanzas_are_in_the_language_of_their_stream() {
    let offer = Offer { domain: "montague.example".into(), dialback: true, ..Offer::default() };
    for (of_stream, of_stanza, seen) in [
        ("xml:lang='it'", "", Some("it")),
        ("xml:lang='it'", "xml:lang='fr'", Some("fr")),
        ("xml:lang='en'", "", None),
        ("", "", None),
        ("xml:lang='no language'", "", None),
    ] {
        let mut montague = Incoming::new(Arc::default(), false, Box::new(|| "id".into()), NOW);
        let header = format!(
            "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' {of_stream} \
             xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' \
             to='montague.example' version='1.0'>"
        );
        let pair = Pair { local: "montague.example".into(), remote: "capulet.example".into() };
        let mut hear = |xml: &str, answer: Option<Answer>| {
            montague.handle_bytes(&mut xml.as_bytes(), NOW);
            let event = montague.poll_event();
            answer.into_iter().for_each(|answer| montague.handle_answer(answer, NOW));
            event
        };
        hear(&header, Some(Answer::Host(Ok(Arc::new(offer.clone())))));
        let key = "<db:result from='capulet.example' to='montague.example'>key</db:result>";
        hear(key, Some(Answer::Dialback(pair, Verdict::Valid)));
        let authorized = hear("", None);
        assert!(matches!(authorized, Some(IncomingEvent::Authorized(..))), "{authorized:?}");
        let message = GREETING.replace("<message", &format!("<message {of_stanza}"));
        let Some(IncomingEvent::Stanza(stanza)) = hear(&message, None) else { panic!() };
        assert_eq!(stanza.head.lang.as_deref(), seen, "{of_stream} {of_stanza}");
    }
}

// RFC 6120 §4.4: who closes its stream with the header gets a header and an end.
#[test]
fn a_header_that_is_an_empty_element_opens_and_closes_the_stream() {
    let mut montague = Incoming::new(Arc::default(), false, Box::new(|| "id".into()), NOW);
    let header = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                  xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' \
                  to='montague.example' version='1.0'/>";
    montague.handle_bytes(&mut header.as_bytes(), NOW);
    assert!(matches!(montague.poll_event(), Some(IncomingEvent::Ask(Ask::Host { .. }))));
    let offer = Offer { domain: "montague.example".into(), ..Offer::default() };
    montague.handle_answer(Answer::Host(Ok(Arc::new(offer))), NOW);
    let event = montague.poll_event();
    assert!(matches!(event, Some(IncomingEvent::Ending(Ending::PeerClosed))), "{event:?}");
    montague.close(None, NOW);
    let mut out = Vec::new();
    montague.take_output(&mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("<stream:features>") && out.ends_with("</stream:stream>"), "{out}");
    let event = montague.poll_event();
    let ended = Some(IncomingEvent::Ending(Ending::Ended { fault: None, by_peer: true }));
    assert_eq!(format!("{event:?}"), format!("{ended:?}"));
}

#[test]
fn a_stream_may_only_verify_keys() {
    let mut link = Link::new(|_| {});
    let ours = pair("capulet.example", "montague.example");
    let settings = Arc::default();
    link.capulet = Outgoing::new(settings, ours.clone(), false, false, NOW);
    let key = |key: &str, id: &str| Key { stream_id: id.into(), key: key.into() };
    assert!(link.capulet.verify(ours.clone(), key("good", "a")));
    assert!(link.capulet.verify(ours, key("bad", "b")));
    assert_eq!(link.told(), ["verified a Valid", "verified b Invalid"], "{}", link.wire);
}

#[test]
fn insists_on_tls_on_both_sides() {
    let mut link = Link::new(|offer| (offer.starttls, offer.tls_required) = (false, false));
    assert_eq!(link.told(), ["in ended policy-violation", "out ended policy-violation"]);
    let mut link = Link::with(|s| s.tls = Tls::Never, |_| {});
    // TLS is required: EXTERNAL is not offered and dialback is refused.
    assert_eq!(link.told(), ["denied montague.example Error(PolicyViolation)"], "{}", link.wire);
}

#[test]
fn what_federation_must_never_allow() {
    // (what the peer says once authenticated, the condition that it gets)
    for (xml, condition) in [
        // A sender that is not of an authenticated domain.
        ("<message from='x@evil.example' to='romeo@montague.example'/>", "invalid-from"),
        ("<message from='juliet@rooms.capulet.example' to='a@montague.example'/>", "invalid-from"),
        // A domain authenticated for one domain of ours used for another.
        ("<message from='a@capulet.example' to='b@verona.example'/>", "host-unknown"),
        // Missing addresses.
        ("<message to='romeo@montague.example'/>", "improper-addressing"),
        ("<message from='juliet@capulet.example'/>", "improper-addressing"),
        // Addresses that RFC 7622 forbids, in whatever stanza (RFC 6120 §8.1.1.2, §8.1.2.2).
        ("<message from='juliet@capulet.example' to=''/>", "improper-addressing"),
        ("<message from='' to='romeo@montague.example'/>", "improper-addressing"),
        ("<message from='juliet@capulet.example' to='@montague.example'/>", "improper-addressing"),
        (
            "<presence from='ju\u{265a}liet@capulet.example' to='romeo@montague.example'/>",
            "improper-addressing",
        ),
        (
            "<iq type='get' id='1' from='juliet@capulet.example' to='romeo@montague.example/ '>\
             <ping xmlns='urn:xmpp:ping'/></iq>",
            "improper-addressing",
        ),
        (
            "<iq type='result' id='1' from='juliet@capulet.example/b' to='henryⅣ@montague.example'/>",
            "improper-addressing",
        ),
        ("<iq type='what' from='juliet@capulet.example'/>", "improper-addressing"),
        ("<iq type='result' to='romeo@montague.example'/>", "improper-addressing"),
        // The namespace of clients' streams (RFC 6120 §4.8.3).
        (
            "<message xmlns='jabber:client' from='a@capulet.example' to='b@montague.example'/>",
            "invalid-namespace",
        ),
        ("text", "bad-format"),
        // Answers that nobody asked for.
        ("<db:result from='evil.example' to='montague.example' type='valid'/>", "policy-violation"),
        (
            "<db:verify from='evil.example' to='montague.example' id='1' type='valid'/>",
            "policy-violation",
        ),
        // Malformed dialback.
        ("<db:result from='evil.example'>x</db:result>", "bad-format"),
        ("<db:verify from='a.example' to='montague.example'>x</db:verify>", "bad-format"),
        ("<db:result from='a b' to='montague.example'>x</db:result>", "bad-format"),
        ("<db:result from='a.example' to='montague.example' type='?'/>", "bad-format"),
        // Out of place.
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "policy-violation"),
        ("<rubbish xmlns='urn:x'/>", "unsupported-stanza-type"),
        ("<!-- -->", "restricted-xml"),
    ] {
        let mut link = Link::new(|_| {});
        let told = link.capulet_says(xml);
        assert!(told.contains(&format!("in ended {condition}")), "{xml}: {told:?}\n{}", link.wire);
        assert!(!told.contains(&String::from("in message")), "{xml}");
    }
}

#[test]
fn answers_on_our_own_streams_are_not_believed_unasked() {
    for xml in [
        "<db:result from='evil.example' to='capulet.example' type='valid'/>",
        "<db:verify from='montague.example' to='capulet.example' id='1' type='valid'/>",
        "<db:result from='montague.example' to='capulet.example' type='valid'/>",
        "<db:verify from='evil.example' to='capulet.example' id='1'>key</db:verify>",
    ] {
        let mut link = Link::new(|_| {});
        let told = link.montague_says(xml);
        assert!(told.contains(&String::from("out ended policy-violation")), "{xml}: {told:?}");
    }
}

#[test]
fn nothing_counts_before_tls_and_authentication() {
    for (xml, condition) in [
        (GREETING, "not-authorized"),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", ""),
    ] {
        let mut montague = Incoming::new(Arc::default(), false, Box::new(|| "id".into()), NOW);
        let header = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' \
                      to='montague.example' version='1.0'>";
        montague.handle_bytes(&mut header.as_bytes(), NOW);
        assert!(matches!(montague.poll_event(), Some(IncomingEvent::Ask(Ask::Host { .. }))));
        let offer = Offer {
            domain: "montague.example".into(),
            starttls: true,
            tls_required: true,
            ..Offer::default()
        };
        montague.handle_answer(Answer::Host(Ok(Arc::new(offer))), NOW);
        montague.handle_bytes(&mut xml.as_bytes(), NOW);
        let mut out = Vec::new();
        montague.take_output(&mut out);
        let out = String::from_utf8(out).unwrap();
        if condition.is_empty() {
            assert!(out.ends_with("<invalid-mechanism/></failure>"), "{out}");
        } else {
            assert!(out.contains(&format!("<{condition} ")), "{out}");
        }
    }
}

#[test]
fn unknown_domains_and_old_versions_are_told_so() {
    for (to, version, condition) in [
        ("to='verona.example'", "1.0", "host-unknown"),
        ("", "1.0", "host-unknown"),
        ("to='montague.example'", "0.9", "unsupported-version"),
    ] {
        let mut montague = Incoming::new(Arc::default(), false, Box::new(|| "id".into()), NOW);
        let header = format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             from='capulet.example' {to} version='{version}'>"
        );
        montague.handle_bytes(&mut header.as_bytes(), NOW);
        if matches!(montague.poll_event(), Some(IncomingEvent::Ask(Ask::Host { .. }))) {
            let unknown = Err(stentor_stream::fault::Fault::HostUnknown);
            montague.handle_answer(Answer::Host(unknown), NOW);
        }
        let mut out = Vec::new();
        montague.take_output(&mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("<?xml version='1.0'?><stream:stream "), "{out}");
        assert!(out.contains(&format!("<{condition} ")), "{out}");
    }
}

#[test]
fn deadlines_end_streams_that_get_nowhere() {
    let mut montague = Incoming::new(Arc::default(), false, Box::new(|| "id".into()), NOW);
    let due = montague.poll_timeout().unwrap();
    montague.handle_timeout(due);
    assert!(matches!(montague.poll_event(), Some(IncomingEvent::Ending(Ending::Ended { .. }))));
    let mut link = Link::new(|offer| offer.external = false);
    link.verdict = Verdict::Error(Condition::RemoteServerTimeout);
    link.run();
    let (out_due, in_due) =
        (link.capulet.poll_timeout().unwrap(), link.montague.poll_timeout().unwrap());
    link.capulet.handle_timeout(out_due);
    link.montague.handle_timeout(in_due);
    link.told.clear();
    assert_eq!(link.told().len(), 2);
    let mut link = Link::new(|_| {});
    link.run();
    assert_eq!((link.capulet.poll_timeout(), link.montague.poll_timeout()), (None, None));
}

#[test]
fn pairs_and_requests_are_bounded() {
    let mut link = Link::new(|_| {});
    link.run();
    for n in 0..200 {
        link.capulet.authorize(pair(&format!("d{n}.capulet.example"), "montague.example"));
        link.run();
    }
    assert_eq!(link.montague.pairs().count(), 64);
    assert!(link.wire.contains("resource-constraint"));
    assert_eq!(How::External.name(), "external");
}
