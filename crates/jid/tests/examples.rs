//! The examples of RFC 7622 §3.5 and of RFC 8265 §3.6 and §4.3, legal and not.

#![allow(clippy::unwrap_used, reason = "a failed example is a failed test")]

use stentor_jid::{Jid, JidError, Part, prep_local, prep_resource};

#[test]
fn accepts_the_legal_addresses_of_rfc_7622() {
    type Parts = (Option<&'static str>, &'static str, Option<&'static str>);
    let legal: [(u8, &str, Parts); 15] = [
        (1, "juliet@example.com", (Some("juliet"), "example.com", None)),
        (2, "juliet@example.com/foo", (Some("juliet"), "example.com", Some("foo"))),
        (3, "juliet@example.com/foo bar", (Some("juliet"), "example.com", Some("foo bar"))),
        (4, "juliet@example.com/foo@bar", (Some("juliet"), "example.com", Some("foo@bar"))),
        (5, r"foo\20bar@example.com", (Some(r"foo\20bar"), "example.com", None)),
        (6, "fussball@example.com", (Some("fussball"), "example.com", None)),
        (7, "fu\u{DF}ball@example.com", (Some("fu\u{DF}ball"), "example.com", None)),
        (8, "\u{3C0}@example.com", (Some("\u{3C0}"), "example.com", None)),
        (9, "\u{3A3}@example.com/foo", (Some("\u{3C3}"), "example.com", Some("foo"))),
        (10, "\u{3C3}@example.com/foo", (Some("\u{3C3}"), "example.com", Some("foo"))),
        (11, "\u{3C2}@example.com/foo", (Some("\u{3C2}"), "example.com", Some("foo"))),
        (12, "king@example.com/\u{265A}", (Some("king"), "example.com", Some("\u{265A}"))),
        (13, "example.com", (None, "example.com", None)),
        (14, "example.com/foobar", (None, "example.com", Some("foobar"))),
        (15, "a.example.com/b@example.net", (None, "a.example.com", Some("b@example.net"))),
    ];
    for (number, text, parts) in legal {
        let jid = Jid::new(text).unwrap_or_else(|e| panic!("example {number}: {e}"));
        assert_eq!((jid.local(), jid.domain(), jid.resource()), parts, "example {number}");
    }
}

#[test]
fn compares_addresses_as_rfc_7622_does() {
    let jid = |text| Jid::new(text).unwrap();
    assert_ne!(jid("fussball@example.com"), jid("fu\u{DF}ball@example.com"));
    assert_eq!(jid("\u{3A3}@example.com/foo"), jid("\u{3C3}@example.com/foo"));
    assert_ne!(jid("\u{3A3}@example.com/foo"), jid("\u{3C2}@example.com/foo"));
    assert_ne!(jid("\u{3C3}@example.com/foo"), jid("\u{3C2}@example.com/foo"));
    assert_eq!(jid("b\u{FC}cher.example/a"), jid("xn--bcher-kva.example/a"));
}

#[test]
fn refuses_the_illegal_addresses_of_rfc_7622() {
    let disallowed = |character| JidError::Disallowed { part: Part::Local, character };
    for (number, text, reason) in [
        (16, "\"juliet\"@example.com", disallowed('"')),
        (17, "foo bar@example.com", disallowed(' ')),
        (18, "juliet@example.com/ foo", JidError::LeadingSpace),
        (19, "@example.com/", JidError::Empty(Part::Local)),
        // Named after mapping: SMALL ROMAN NUMERAL FOUR.
        (20, "henry\u{2163}@example.com", disallowed('\u{2173}')),
        (21, "\u{265A}@example.com", disallowed('\u{265A}')),
        (22, "juliet@", JidError::Empty(Part::Domain)),
        (23, "/foobar", JidError::Empty(Part::Domain)),
    ] {
        assert_eq!(Jid::new(text), Err(reason), "example {number}");
    }
}

#[test]
fn prepares_the_userparts_of_rfc_8265() {
    // Example 1, with an `@`, is no localpart by RFC 7622 §3.3.1.
    assert_eq!(
        prep_local("juliet@example.com"),
        Err(JidError::Disallowed { part: Part::Local, character: '@' })
    );
    for (number, text, prepared) in [
        (2, "fussball", "fussball"),
        (3, "fu\u{DF}ball", "fu\u{DF}ball"),
        (4, "\u{3C0}", "\u{3C0}"),
        (5, "\u{3A3}", "\u{3C3}"),
        (6, "\u{3C3}", "\u{3C3}"),
        (7, "\u{3C2}", "\u{3C2}"),
    ] {
        assert_eq!(prep_local(text).as_deref(), Ok(prepared), "example {number}");
    }
    let disallowed = |character| JidError::Disallowed { part: Part::Local, character };
    for (number, text, reason) in [
        (8, "foo bar", disallowed(' ')),
        (9, "", JidError::Empty(Part::Local)),
        (10, "henry\u{2163}", disallowed('\u{2173}')),
        (11, "\u{221E}", disallowed('\u{221E}')),
    ] {
        assert_eq!(prep_local(text), Err(reason), "example {number}");
    }
}

#[test]
fn prepares_the_opaque_strings_of_rfc_8265() {
    for (number, text, prepared) in [
        (12, "correct horse battery staple", "correct horse battery staple"),
        (13, "Correct Horse Battery Staple", "Correct Horse Battery Staple"),
        (14, "\u{3C0}\u{DF}\u{E5}", "\u{3C0}\u{DF}\u{E5}"),
        (15, "Jack of \u{2666}s", "Jack of \u{2666}s"),
        (16, "foo\u{1680}bar", "foo bar"),
    ] {
        assert_eq!(prep_resource(text).as_deref(), Ok(prepared), "example {number}");
    }
    assert_eq!(prep_resource(""), Err(JidError::Empty(Part::Resource)), "example 17");
    assert_eq!(
        prep_resource("my cat is a \tby"),
        Err(JidError::Disallowed { part: Part::Resource, character: '\t' }),
        "example 18"
    );
}
