//! Everything that ends a stream, by phase, with the exact condition (RFC 6120 §4.9.3).

#![allow(clippy::unwrap_used)]

mod support;

use support::{At, HEADER, auth, served, stream_error};

/// What is said, and how the stream ends.
type Case = (&'static str, &'static str);

#[test]
fn refuses_headers() {
    check(At::Start, HEADERS);
    check(At::Restart, HEADERS);
}

#[test]
fn refuses_xml_before_the_header() {
    check(At::Start, BEFORE_HEADER);
    check(At::Restart, BEFORE_HEADER);
}

// COMPAT(go-sendxmpp, 0.5): a line end behind its last SASL element, then a declaration.
#[test]
fn refuses_white_space_before_a_declaration_but_not_behind_an_earlier_stream() {
    let input = " <?xml version='1.0'?>";
    check(At::Start, &[(input, "not-well-formed")]);
    assert_eq!(stream_error(&served(At::Restart).say(input)), None);
}

#[test]
fn refuses_what_is_no_xml_of_a_stream_in_every_phase() {
    for at in [At::Tls, At::Auth, At::Bind, At::Session] {
        check(at, BAD_XML);
    }
}

#[test]
fn refuses_first_level_elements_in_every_phase() {
    for at in [At::Tls, At::Auth, At::Bind, At::Session] {
        check(at, UNKNOWN);
    }
}

#[test]
fn refuses_stanzas_before_the_session() {
    for at in [At::Tls, At::Auth, At::Bind] {
        check(at, TOO_EARLY);
    }
    check(
        At::Auth,
        &[(
            "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            "not-authorized",
        )],
    );
    check(
        At::Bind,
        &[
            (
                "<iq type='set' id='1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
                "not-authorized",
            ),
            (
                "<iq type='set' id='1' to='romeo@montague.example'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
                "not-authorized",
            ),
        ],
    );
}

#[test]
fn refuses_headers_after_sign_in_that_say_something_else() {
    let header = |attributes: &str| HEADER.replace("to='capulet.example'", attributes);
    for (attributes, condition) in [
        ("to='montague.example'", "not-authorized"),
        ("to='nosuch.example'", "not-authorized"),
        ("to='capulet.example' from='romeo@capulet.example'", "invalid-from"),
        ("to='capulet.example' from='capulet.example'", "invalid-from"),
        ("to='capulet.example' from='@'", "invalid-from"),
    ] {
        let mut served = served(At::Restart);
        let out = served.say(&header(attributes));
        assert_eq!(stream_error(&out).as_deref(), Some(condition), "{attributes}");
    }
    for attributes in
        ["", "to='Capulet.Example'", "to='capulet.example' from='Juliet@capulet.example/x'"]
    {
        let out = served(At::Restart).say(&header(attributes));
        assert!(out.contains("<bind "), "{attributes}: {out}");
    }
}

#[test]
fn refuses_what_is_too_big() {
    let body = "a".repeat(262_144);
    let fits = format!("<message><body>{}</body></message>", &body[..262_144 - 32]);
    assert_eq!(fits.len(), 262_144);
    for (at, fill, condition) in [
        (At::Start, 16_385, "policy-violation+stanza-too-big"),
        (At::Auth, 16_385, "policy-violation+stanza-too-big"),
        (At::Session, 262_145, "policy-violation+stanza-too-big"),
    ] {
        let start = if at == At::Start { "<stream:stream to='" } else { "<message><body>" };
        let mut served = served(at);
        let out = served.say(&format!("{start}{}", &"a".repeat(fill)[..fill - start.len()]));
        assert_eq!(stream_error(&out).as_deref(), Some(condition), "{at:?}");
    }
    let mut session = served(At::Session);
    assert_eq!(session.say(&fits), "");
    assert_eq!(session.events.len(), 1);
    let one_more = fits.replace("<body>", "<body>b");
    let out = session.say(&one_more);
    assert_eq!(stream_error(&out).as_deref(), Some("policy-violation+stanza-too-big"));
}

#[test]
fn refuses_what_is_too_deep_or_too_wide() {
    let deep = "<message>".to_owned() + &"<a xmlns='urn:example:a'>".repeat(200);
    let wide: String = (0..200).map(|n| format!(" a{n}='1'")).collect();
    for xml in [deep, format!("<message{wide}/>")] {
        let out = served(At::Session).say(&xml);
        assert_eq!(stream_error(&out).as_deref(), Some("policy-violation"));
    }
}

// covers: xml-12
#[test]
fn refuses_bytes_that_are_not_utf_8() {
    for bad in
        [&b"\xc0\x80"[..], b"\x80", b"\xed\xa0\x80", b"\xff", b"\xf5\x80\x80\x80", b"\xe2\x28\xa1"]
    {
        let mut served = served(At::Session);
        let bytes =
            [b"<message to='romeo@montague.example'><body>", bad, b"</body></message>"].concat();
        let out = served.say_bytes(&bytes);
        assert_eq!(stream_error(&out).as_deref(), Some("unsupported-encoding"), "{bad:x?}");
        assert_eq!(stentor_stream::pair::stanzas(&served.events), Vec::<String>::new());
    }
    let out = served(At::Start).say("<?xml version='1.0' encoding='ISO-8859-1'?>");
    assert_eq!(stream_error(&out).as_deref(), Some("unsupported-encoding"));
}

#[test]
fn refuses_utf_16_with_and_without_a_mark() {
    let utf16 = |mark: bool, big: bool| -> Vec<u8> {
        let text = mark.then_some('\u{feff}').into_iter().chain(HEADER.chars());
        text.flat_map(|c| {
            let unit = u16::try_from(u32::from(c)).unwrap();
            if big { unit.to_be_bytes() } else { unit.to_le_bytes() }
        })
        .collect()
    };
    for (mark, big) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut served = served(At::Start);
        let out = served.say_bytes(&utf16(mark, big));
        assert!(out.starts_with("<?xml version='1.0'?><stream:stream "), "{out}");
        assert_eq!(stream_error(&out).as_deref(), Some("unsupported-encoding"), "{mark} {big}");
        assert!(served.machine.is_ended(), "closed at once");
    }
}

#[test]
fn ends_after_too_many_failed_attempts() {
    let mut served = served(At::Auth);
    for _ in 0..3 {
        let out = served.say(&auth("PLAIN", "\0juliet\0wrong"));
        assert_eq!(
            out,
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"
        );
    }
    let out = served.say(&auth("PLAIN", "\0juliet\0wrong"));
    assert!(out.starts_with("<failure "), "{out}");
    assert_eq!(stream_error(&out).as_deref(), Some("policy-violation"));
}

/// Says each input to a fresh machine, whole and byte by byte.
fn check(at: At, cases: &[Case]) {
    for (input, condition) in cases {
        let mut whole = served(at);
        let out = whole.say(input);
        assert_eq!(stream_error(&out).as_deref(), Some(*condition), "{at:?}: {input}: {out}");
        let opens = matches!(at, At::Start | At::Restart);
        assert_eq!(out.starts_with("<?xml version='1.0'?><stream:stream "), opens, "{out}");
        let mut pieces = served(at);
        let bytewise: String = input.bytes().map(|byte| pieces.say_bytes(&[byte])).collect();
        assert_eq!(bytewise, out, "{at:?}, byte by byte: {input}");
    }
}

const HEADERS: &[Case] = &[
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://wrong.example/'>",
        "invalid-namespace",
    ),
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/stream'>",
        "invalid-namespace",
    ),
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns='jabber:wrong' xmlns:stream='http://etherx.jabber.org/streams'>",
        "invalid-namespace",
    ),
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
        "invalid-namespace",
    ),
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>",
        "invalid-namespace",
    ),
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns='' xmlns:stream='http://etherx.jabber.org/streams'>",
        "invalid-namespace",
    ),
    ("<message xmlns='jabber:client'>", "invalid-namespace"),
    ("<iq xmlns='jabber:client' type='get' id='1'/>", "invalid-namespace"),
    ("<stream to='capulet.example' version='1.0'>", "invalid-namespace"),
    (
        "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='capulet.example' version='1.0'/>",
        "invalid-namespace",
    ),
    (
        "<stream:streams to='capulet.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "bad-format",
    ),
    (
        "<stream:features to='capulet.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "bad-format",
    ),
    (
        "<foobar:stream to='capulet.example' version='1.0' xmlns='jabber:client' xmlns:foobar='http://etherx.jabber.org/streams'>",
        "bad-namespace-prefix",
    ),
    (
        "<stream to='capulet.example' version='1.0' xmlns='http://etherx.jabber.org/streams'>",
        "bad-namespace-prefix",
    ),
    (
        "<stream:stream to='capulet.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    (
        "<stream:stream to='capulet.example' version='0.9' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    (
        "<stream:stream to='capulet.example' version='00.99' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    (
        "<stream:stream to='capulet.example' version='1' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    (
        "<stream:stream to='capulet.example' version='one.two' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    (
        "<stream:stream to='capulet.example' version='' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    (
        "<stream:stream to='' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "host-unknown",
    ),
    (
        "<stream:stream to='@' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "host-unknown",
    ),
    (
        "<stream:stream to='juliet@capulet.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "host-unknown",
    ),
    (
        "<stream:stream to='capulet.example/x' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "host-unknown",
    ),
    (
        "<stream:stream to='capulet.example' from='@x' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "invalid-from",
    ),
    (
        "<stream:stream to='capulet.example' from='' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "invalid-from",
    ),
    (
        "<stream:stream to='a' to='b' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "not-well-formed",
    ),
    (
        "<stream:stream to='capulet.example' version='1.0' xmlns='jabber:client' xmlns:p='' xmlns:stream='http://etherx.jabber.org/streams'>",
        "not-well-formed",
    ),
    ("<stream:stream to='capulet.example' version='1.0' xmlns='jabber:client'>", "not-well-formed"),
    ("<stream:stream to=capulet.example>", "not-well-formed"),
    ("<stream:stream to='a<b'>", "not-well-formed"),
];

const BEFORE_HEADER: &[Case] = &[
    ("<!-- hello -->", "restricted-xml"),
    ("<?php x?>", "restricted-xml"),
    ("<?xml-stylesheet href='x'?>", "restricted-xml"),
    ("<!DOCTYPE stream>", "restricted-xml"),
    ("<!DOCTYPE lolz [<!ENTITY lol 'lol'>]>", "restricted-xml"),
    ("<?xml version='1.0' encoding='ISO-8859-1'?>", "unsupported-encoding"),
    ("<?xml version='1.0' encoding='UTF-16'?>", "unsupported-encoding"),
    ("<?xml version='1.1'?>", "not-well-formed"),
    ("<?xml encoding='UTF-8'?>", "not-well-formed"),
    ("<?xml version='1.0'?><?xml version='1.0'?>", "not-well-formed"),
    ("GET / HTTP/1.1\r\n", "not-well-formed"),
    ("hello", "not-well-formed"),
    ("\u{feff}<stream:stream>", "not-well-formed"),
    ("</stream:stream>", "not-well-formed"),
    ("&amp;", "not-well-formed"),
    ("<![CDATA[x]]>", "not-well-formed"),
    ("\u{1}", "not-well-formed"),
    ("<>", "not-well-formed"),
    ("<1>", "not-well-formed"),
];

const BAD_XML: &[Case] = &[
    ("<message to='romeo@montague.example'><body>x</message>", "not-well-formed"),
    ("<message><body>a < b</body></message>", "not-well-formed"),
    ("<message><body>a & b</body></message>", "not-well-formed"),
    ("<message><body>]]></body></message>", "not-well-formed"),
    ("<message><foo:body>x</foo:body></message>", "not-well-formed"),
    ("<message><a xmlns:p=''/></message>", "not-well-formed"),
    ("<message to='a' to='b'/>", "not-well-formed"),
    ("<message><body>\u{1}</body></message>", "not-well-formed"),
    ("<message><body>\u{fffe}</body></message>", "not-well-formed"),
    ("<message><body>&#x0;</body></message>", "not-well-formed"),
    ("<message><body>&#x1;</body></message>", "not-well-formed"),
    ("<message><body>&#xD800;</body></message>", "not-well-formed"),
    ("<message><body>&#x110000;</body></message>", "not-well-formed"),
    ("<message><body a='1'b='2'/></message>", "not-well-formed"),
    ("<message/ >", "not-well-formed"),
    ("<?xml version='1.0'?>", "not-well-formed"),
    // §4.9.3.1: text beside stanzas is well-formed, and cannot be processed.
    ("text", "bad-format"),
    ("<![CDATA[x]]>", "bad-format"),
    ("&lt;", "bad-format"),
    ("</stream:features>", "not-well-formed"),
    ("</message>", "not-well-formed"),
    ("<!-- comment -->", "restricted-xml"),
    ("<message><!-- comment --><body>x</body></message>", "restricted-xml"),
    ("<?php x?>", "restricted-xml"),
    ("<message><?php x?></message>", "restricted-xml"),
    ("<!DOCTYPE x>", "restricted-xml"),
    ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>", "restricted-xml"),
    ("<message><body>&foo;</body></message>", "restricted-xml"),
];

const UNKNOWN: &[Case] = &[
    ("<pubsub xmlns='jabber:client'/>", "unsupported-stanza-type"),
    ("<foo xmlns='urn:example:z'/>", "unsupported-stanza-type"),
    ("<stream:features/>", "unsupported-stanza-type"),
    ("<stream:stream/>", "unsupported-stanza-type"),
    ("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "unsupported-stanza-type"),
    ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "unsupported-stanza-type"),
    ("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "unsupported-stanza-type"),
    ("<enable xmlns='urn:xmpp:nobody:0'/>", "unsupported-stanza-type"),
    ("<compress xmlns='http://jabber.org/protocol/compress'/>", "unsupported-stanza-type"),
    ("<message xmlns='jabber:server'/>", "invalid-namespace"),
    ("<presence xmlns='urn:example:z'/>", "unsupported-stanza-type"),
    ("<n:message xmlns:n='urn:example:z' to='a@b.example'/>", "unsupported-stanza-type"),
    ("<iq xmlns='jabber:component:accept' type='get' id='1'/>", "invalid-namespace"),
    ("<foo xmlns='jabber:server'/>", "invalid-namespace"),
];

const TOO_EARLY: &[Case] = &[
    ("<message to='romeo@montague.example'><body>hi</body></message>", "not-authorized"),
    ("<message/>", "not-authorized"),
    ("<presence/>", "not-authorized"),
    ("<presence to='@'/>", "not-authorized"),
    ("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "not-authorized"),
    ("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", "not-authorized"),
    ("<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>", "not-authorized"),
    ("<iq/>", "not-authorized"),
];
