//! Inputs that end a stream, each with its reason and, marked by `|`, its place.

#![allow(clippy::unwrap_used)]

use stentor_xml::MalformedKind::{self as M, Syntax};
use stentor_xml::SyntaxError as S;
use stentor_xml::{Frame, Item, Limits, Malformed, Scanner};

const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

type Row = (&'static [u8], M);

/// After the header.
const IN_STREAM: &[Row] = &[
    // RFC 6120 §11.1: restricted XML.
    (b"|<!-- x -->", M::Comment),
    (b"<message>|<!-- x --></message>", M::Comment),
    (b"<message><body>a|<!---->b</body></message>", M::Comment),
    (b"|<?php x?>", M::ProcessingInstruction),
    (b"|<?xml-stylesheet href='x'?>", M::ProcessingInstruction),
    (b"<message>|<?php x?></message>", M::ProcessingInstruction),
    (b"<message>|<?XML version='1.0'?></message>", M::ProcessingInstruction),
    (b"<message>|<? ?></message>", M::ProcessingInstruction),
    (b"<message>|<??></message>", M::ProcessingInstruction),
    (b"<message>|<?xmlfoo?></message>", M::ProcessingInstruction),
    (b"|<!DOCTYPE x>", M::Doctype),
    (b"<message>|<!DOCTYPE x [<!ENTITY e 'v'>]></message>", M::Doctype),
    (b"<message><body>|&foo;</body></message>", M::UndeclaredEntity),
    (b"<message><body>|&nbsp;</body></message>", M::UndeclaredEntity),
    (b"<message><body>|&LT;</body></message>", M::UndeclaredEntity),
    (b"<message><body>|&\xc3\xa9;</body></message>", M::UndeclaredEntity),
    (b"<message id='|&foo;'/>", M::UndeclaredEntity),
    (b"<message xmlns:p='|&foo;'/>", M::UndeclaredEntity),
    // RFC 6120 §11.6: UTF-8.
    (b"<message><body>|\xc0\x80</body></message>", M::Utf8),
    (b"<message><body>a|\x80</body></message>", M::Utf8),
    (b"<message><body>|\xed\xa0\x80</body></message>", M::Utf8),
    (b"<message><body>\xc3\xa9|\xc3</body></message>", M::Utf8),
    (b"<message><body>|\xe2\x82</body></message>", M::Utf8),
    (b"<message><body>|\xe2\x82 </body></message>", M::Utf8),
    (b"<message><body>|\xf0\x9f\x98</body></message>", M::Utf8),
    (b"<message><body>|\xf4\x90\x80\x80</body></message>", M::Utf8),
    (b"<message><body>|\xf5\x80\x80\x80</body></message>", M::Utf8),
    (b"<message><body>|\xff\xfe</body></message>", M::Utf8),
    (b"<message><body><![CDATA[|\xc0\x80]]></body></message>", M::Utf8),
    (b"<message><body><![CDATA[|\xe2]]></body></message>", M::Utf8),
    (b"<message id='|\xc0\x80'/>", M::Utf8),
    (b"<message id='\xc3\xa9|\xe9'/>", M::Utf8),
    (b"<message><|\xff/></message>", M::Utf8),
    (b"<message><a|\xe9/></message>", M::Utf8),
    (b"<message |\xc1='x'/>", M::Utf8),
    (b"<message><body>&a|\xff;</body></message>", M::Utf8),
    (b"|\xff", M::Utf8),
    (b" |\x80", M::Utf8),
    (b"|\xc0\x80", M::Utf8),
    // XML 1.0 §2.2: characters.
    (b"<message><body>|\x01</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|\0</body></message>", M::ForbiddenCharacter),
    (b"<message><body>a\n\t\r|\x0b</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|\x1f</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|\xef\xbf\xbe</body></message>", M::ForbiddenCharacter),
    (b"<message><body>\xc3\xa9|\xef\xbf\xbf\xff</body></message>", M::ForbiddenCharacter),
    (b"<message><body>0123456789abcdef0123|\x08</body></message>", M::ForbiddenCharacter),
    (b"<message><body><![CDATA[|\x02]]></body></message>", M::ForbiddenCharacter),
    (b"<message><body><![CDATA[|\xef\xbf\xbe]]></body></message>", M::ForbiddenCharacter),
    (b"<message id='|\x01'/>", M::ForbiddenCharacter),
    (b"<message id='x|\xef\xbf\xbf'/>", M::ForbiddenCharacter),
    (b"<message><body>|&#x0;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#0;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#x1;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#xD800;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#xDFFF;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#xFFFE;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#65535;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#x110000;</body></message>", M::ForbiddenCharacter),
    (b"<message><body>|&#99999999999999999999;</body></message>", M::ForbiddenCharacter),
    (b"<message id='|&#8;'/>", M::ForbiddenCharacter),
    (b"<message><|\x01/></message>", M::ForbiddenCharacter),
    (b"<|\0/>", M::ForbiddenCharacter),
    (b"<message |\x01/>", M::ForbiddenCharacter),
    (b"<message|\x7f/>", Syntax(S::Name)),
    (b"<message id|\x01='x'/>", M::ForbiddenCharacter),
    (b"<message id=|\x01'x'/>", M::ForbiddenCharacter),
    (b"<message></mess|\x01age>", M::ForbiddenCharacter),
    (b"<message></message|\x01>", M::ForbiddenCharacter),
    (b"<a|\xef\xbf\xbf/>", M::ForbiddenCharacter),
    (b"|\x01", M::ForbiddenCharacter),
    (b"|\0", M::ForbiddenCharacter),
    // Namespaces in XML 1.0.
    (b"<message><|foo:body/></message>", M::UnboundPrefix),
    (b"<message |foo:a='1'/>", M::UnboundPrefix),
    (b"<|p:message/>", M::UnboundPrefix),
    (b"<message><a xmlns:p='urn:p'/><|p:b/></message>", M::UnboundPrefix),
    (b"<message><a xmlns:p='urn:p'><p:b/></a><c |p:d=''/></message>", M::UnboundPrefix),
    (b"<message><a xmlns:p='urn:p'/><|P:b/></message>", M::UnboundPrefix),
    (b"<message |xmlns:p=''/>", M::EmptyBinding),
    (b"<message><x |xmlns:p=''/></message>", M::EmptyBinding),
    (b"<message |xmlns:xml='urn:x'/>", M::ReservedBinding),
    (b"<message |xmlns:xml=''/>", M::ReservedBinding),
    (b"<message |xmlns:xmlns='urn:x'/>", M::ReservedBinding),
    (b"<message |xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", M::ReservedBinding),
    (b"<message |xmlns:p='http://www.w3.org/2000/xmlns/'/>", M::ReservedBinding),
    (b"<message |xmlns:p='http://www.w3.org/XML/1998/namespace'/>", M::ReservedBinding),
    (b"<message |xmlns:p='http://www.w3.org/XML/1998/namespac&#101;'/>", M::ReservedBinding),
    (b"<message |xmlns='http://www.w3.org/XML/1998/namespace'/>", M::ReservedBinding),
    (b"<message |xmlns='http://www.w3.org/2000/xmlns/'/>", M::ReservedBinding),
    (b"<|xmlns:message/>", M::ReservedBinding),
    // XML 1.0 §3.1 and Namespaces in XML 1.0 §6.3: unique attributes.
    (b"<message id='1' |id='2'/>", M::DuplicateAttribute),
    (b"<message id='1' id2='' |id='1'/>", M::DuplicateAttribute),
    (b"<message xmlns='urn:a' |xmlns='urn:b'/>", M::DuplicateAttribute),
    (b"<message xmlns:p='urn:a' |xmlns:p='urn:a'/>", M::DuplicateAttribute),
    (b"<message xml:lang='en' |xml:lang='en'/>", M::DuplicateAttribute),
    (b"<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='1' |q:b='2'/>", M::DuplicateAttribute),
    (b"<a xmlns:p='urn:x' p:b='1' |q:b='2' xmlns:q='urn:x'/>", M::DuplicateAttribute),
    (b"<a xmlns:p='urn:x&amp;' p:b='1' |q:b='2' xmlns:q='urn:x&#38;'/>", M::DuplicateAttribute),
    (
        b"<m><a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' |c=''/></m>",
        M::DuplicateAttribute,
    ),
    // Tags that do not match.
    (b"<message>|</body>", M::MismatchedTag),
    (b"<message><body>x|</message>", M::MismatchedTag),
    (b"<message>|</messag>", M::MismatchedTag),
    (b"<message>|</messages>", M::MismatchedTag),
    (b"<message>|</Message>", M::MismatchedTag),
    (b"<message>|</message:a>", M::MismatchedTag),
    (b"<message>|</stream:stream>", M::MismatchedTag),
    (b"<p:a xmlns:p='urn:p' xmlns:q='urn:p'>|</q:a>", M::MismatchedTag),
    (b"<p:a xmlns:p='urn:p'>|</a>", M::MismatchedTag),
    (b"|</message>", M::MismatchedTag),
    (b"<message/>|</message>", M::MismatchedTag),
    (b"|</stream>", M::MismatchedTag),
    (b"|</stream:streams>", M::MismatchedTag),
    (b"<a>|</\xc3\xa9>", M::MismatchedTag),
    (b"<\xc3\xa9>|</\xc3\xa8>", M::MismatchedTag),
    // Names.
    (b"<|1a/>", Syntax(S::Name)),
    (b"<|-a/>", Syntax(S::Name)),
    (b"<|.a/>", Syntax(S::Name)),
    (b"<|>", Syntax(S::Name)),
    (b"<| a/>", Syntax(S::Name)),
    (b"<|<a/>", Syntax(S::Name)),
    (b"<|:a/>", Syntax(S::Name)),
    (b"<a:|/>", Syntax(S::Name)),
    (b"<a:|1b/>", Syntax(S::Name)),
    (b"<a:b|:c/>", Syntax(S::Name)),
    (b"<a:|:b/>", Syntax(S::Name)),
    (b"<a|=''/>", Syntax(S::Name)),
    (b"<a|'/>", Syntax(S::Name)),
    (b"<a|<b/>", Syntax(S::Name)),
    (b"<a|&amp;/>", Syntax(S::Name)),
    (b"<|\xc3\x97/>", Syntax(S::Name)),
    (b"<a|\xc3\x97/>", Syntax(S::Name)),
    (b"<|\xcc\x80/>", Syntax(S::Name)),
    (b"<|\xc2\xb7/>", Syntax(S::Name)),
    (b"<a b:c|:d='1'/>", Syntax(S::Name)),
    (b"<a b:|='1'/>", Syntax(S::Name)),
    (b"<a xmlns:|='urn:x'/>", Syntax(S::Name)),
    (b"<a xmlns:a|:b='urn:x'/>", Syntax(S::Name)),
    (b"<a xmlns:|1='urn:x'/>", Syntax(S::Name)),
    (b"<a></|>", Syntax(S::Name)),
    (b"<a></| a>", Syntax(S::Name)),
    (b"<a></|/a>", Syntax(S::Name)),
    // Start tags.
    (b"<a |1='x'/>", Syntax(S::StartTag)),
    (b"<a |='x'/>", Syntax(S::StartTag)),
    (b"<a |'x'/>", Syntax(S::StartTag)),
    (b"<a |:b='x'/>", Syntax(S::StartTag)),
    (b"<a |<b/>", Syntax(S::StartTag)),
    (b"<a |&lt;/>", Syntax(S::StartTag)),
    (b"<a /| >", Syntax(S::StartTag)),
    (b"<a/|/>", Syntax(S::StartTag)),
    (b"<a/|b>", Syntax(S::StartTag)),
    (b"<a x='1'|y='2'/>", Syntax(S::AttributeSpace)),
    (b"<a x='1'|'/>", Syntax(S::AttributeSpace)),
    (b"<a x='1'|<", Syntax(S::AttributeSpace)),
    (b"<a b|/>", Syntax(S::Equals)),
    (b"<a b|>", Syntax(S::Equals)),
    (b"<a b |c='1'/>", Syntax(S::Equals)),
    (b"<a b|'1'/>", Syntax(S::Equals)),
    (b"<a b=|1/>", Syntax(S::Quote)),
    (b"<a b=|/>", Syntax(S::Quote)),
    (b"<a b= |>", Syntax(S::Quote)),
    (b"<a b=|='1'/>", Syntax(S::Quote)),
    (b"<a b=|&quot;1&quot;/>", Syntax(S::Quote)),
    (b"<a b='|<'/>", Syntax(S::LessThanInValue)),
    (b"<a b=\"x'|<\"/>", Syntax(S::LessThanInValue)),
    (b"<a b='x>|</a><b/>", Syntax(S::LessThanInValue)),
    // End tags.
    (b"<a></a |b>", Syntax(S::EndTag)),
    (b"<a></a |b='1'>", Syntax(S::EndTag)),
    (b"<a></a|/>", Syntax(S::EndTag)),
    (b"<a></a|<", Syntax(S::EndTag)),
    (b"<a></a |a>", Syntax(S::EndTag)),
    (b"</stream:stream |x>", Syntax(S::EndTag)),
    // Text.
    (b"<a>|]]></a>", Syntax(S::CdataEnd)),
    (b"<a>]|]]></a>", Syntax(S::CdataEnd)),
    (b"<a>x]] >]>]|]]></a>", Syntax(S::CdataEnd)),
    (b"<a><![CDATA[x]]>|]]></a>", Syntax(S::CdataEnd)),
    // References.
    (b"<a>x |& y</a>", Syntax(S::Reference)),
    (b"<a>|&;</a>", Syntax(S::Reference)),
    (b"<a>|&lt</a>", Syntax(S::Reference)),
    (b"<a>|&lt ;</a>", Syntax(S::Reference)),
    (b"<a>|&#;</a>", Syntax(S::Reference)),
    (b"<a>|&#x;</a>", Syntax(S::Reference)),
    (b"<a>|&#X41;</a>", Syntax(S::Reference)),
    (b"<a>|&#4a;</a>", Syntax(S::Reference)),
    (b"<a>|&#xg;</a>", Syntax(S::Reference)),
    (b"<a>|&#x41</a>", Syntax(S::Reference)),
    (b"<a>|&# 65;</a>", Syntax(S::Reference)),
    (b"<a>|&#-65;</a>", Syntax(S::Reference)),
    (b"<a>|&#x4x1;</a>", Syntax(S::Reference)),
    (b"<a>|&1;</a>", Syntax(S::Reference)),
    (b"<a>|&&amp;</a>", Syntax(S::Reference)),
    (b"<a>|&a:b:c;</a>", Syntax(S::Reference)),
    (b"<a b='|&'/>", Syntax(S::Reference)),
    (b"<a b='|& '/>", Syntax(S::Reference)),
    // Other markup.
    (b"|<!x>", Syntax(S::Markup)),
    (b"|<!>", Syntax(S::Markup)),
    (b"|<!- x -->", Syntax(S::Markup)),
    (b"|<!ELEMENT a EMPTY>", Syntax(S::Markup)),
    (b"|<!ENTITY a 'b'>", Syntax(S::Markup)),
    (b"|<!doctype x>", Syntax(S::Markup)),
    (b"<a>|<![cdata[x]]></a>", Syntax(S::Markup)),
    (b"<a>|<![CDATA x]]></a>", Syntax(S::Markup)),
    (b"<a>|<! [CDATA[x]]></a>", Syntax(S::Markup)),
    // Misplaced.
    (b"|<?xml version='1.0'?>", M::DeclarationInside),
    (b"<message>|<?xml version='1.0'?></message>", M::DeclarationInside),
    (b"<message>|<?xml?></message>", M::DeclarationInside),
    (b"|x", M::TextBetween),
    (b"<message/> |x", M::TextBetween),
    (b"<message/>|>", M::TextBetween),
    (b"|&amp;", M::TextBetween),
    (b"|&#32;", M::TextBetween),
    (b"|]]>", M::TextBetween),
    (b"|\xc3\xa9", M::TextBetween),
    (b"|\xef\xbb\xbf", M::TextBetween),
    (b"|\xc2\xa0<message/>", M::TextBetween),
    (b"|<![CDATA[x]]>", M::TextBetween),
    (b"</stream:stream> |x", M::TextAtTopLevel),
    (b"</stream:stream>|<message/>", M::AfterEnd),
    (b"</stream:stream>|</stream:stream>", M::AfterEnd),
];

/// Instead of a stream.
const AT_START: &[Row] = &[
    (b"|GET / HTTP/1.1\r\nHost: capulet.example\r\n\r\n", M::TextAtTopLevel),
    (b"|\x16\x03\x01\x02\x00\x01\x00", M::ForbiddenCharacter),
    (b"|\x80\x2e\x01\x00\x02", M::Utf8),
    (b"|\xef\xbb\xbf<stream:stream>", M::TextAtTopLevel),
    (b"|\xff\xfe<\0", M::Encoding),
    (b"|\xfe\xff\0<", M::Encoding),
    (b"<|\0?\0x\0m\0l\0", M::Encoding),
    (b"|\0<\0?\0x\0m\0l", M::Encoding),
    (b"<?xml version='1.0' encoding='|ISO-8859-1'?>", M::Encoding),
    (b"<?xml version='1.0' encoding='|UTF-16'?>", M::Encoding),
    (b"<?xml version='1.0' encoding=\"|utf8\"?>", M::Encoding),
    (b"<?xml version='1.0' encoding='|US-ASCII' standalone='no'?>", M::Encoding),
    (b" |<?xml version='1.0'?>", M::DeclarationInside),
    (b"\n|<?xml version='1.0'?>", M::DeclarationInside),
    (b"<?xml version='1.0'?>|<?xml version='1.0'?>", M::DeclarationInside),
    (b"<?xml version='|1.1'?>", Syntax(S::Version)),
    (b"<?xml version='|1'?>", Syntax(S::Version)),
    (b"<?xml version='|'?>", Syntax(S::Version)),
    (b"|<?xml?>", Syntax(S::Declaration)),
    (b"<?xml| ?>", Syntax(S::Declaration)),
    (b"<?xml| encoding='utf-8'?>", Syntax(S::Declaration)),
    (b"<?xml| encoding='utf-8' version='1.0'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0'|encoding='utf-8'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0' encoding='|'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0' encoding='|8-utf'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0' standalone='yes' |encoding='utf-8'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0' standalone='|maybe'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0' |other='x'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0' |? >", Syntax(S::Declaration)),
    (b"<?xml version=1|.0?>", Syntax(S::Declaration)),
    (b"<?xml version '|1.0'?>", Syntax(S::Declaration)),
    (b"<?xml version='|1.0?>", Syntax(S::Declaration)),
    (b"<?xml version='1.0'|>", Syntax(S::Declaration)),
    (b"<?xml version='1.|\x01'?>", Syntax(S::Declaration)),
    (b"<?xml version='1.|\xc3\xa9'?>", Syntax(S::Declaration)),
    (b"|<?xml-model href='x'?>", M::ProcessingInstruction),
    (b"|<?php x?>", M::ProcessingInstruction),
    (b"|<!-- x --><stream:stream>", M::Comment),
    (b"<?xml version='1.0'?>|<!DOCTYPE stream>", M::Doctype),
    (b"|<![CDATA[x]]>", M::TextAtTopLevel),
    (b"<|/stream:stream>", Syntax(S::Name)),
    (b"<|stream:stream xmlns='jabber:client'>", M::UnboundPrefix),
    (b"<s |x:y='1'>", M::UnboundPrefix),
    (b"<s |xmlns:stream=''>", M::EmptyBinding),
    (b"<s a='1' |a='1'>", M::DuplicateAttribute),
    (b"<s a='|&e;'>", M::UndeclaredEntity),
    (b"<s a='|\xff'>", M::Utf8),
];

fn unmark(row: &[u8]) -> (Vec<u8>, u64) {
    let at = row.iter().position(|&byte| byte == b'|').unwrap();
    ([&row[..at], &row[at + 1..]].concat(), at as u64)
}

/// Feeds in pieces of `size` bytes up to the error.
fn refuse(scanner: &mut Scanner, input: &[u8], size: usize) -> Option<Malformed> {
    for mut piece in input.chunks(size) {
        loop {
            match scanner.feed(&mut piece) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(malformed) => {
                    assert_eq!(scanner.feed(&mut &b" "[..]).unwrap_err(), malformed);
                    return Some(malformed);
                }
            }
        }
    }
    None
}

fn opened(limits: Limits) -> Scanner {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(scanner.feed(&mut &*HEADER), Ok(Some(Item::Header(_)))));
    scanner.set_limits(limits);
    scanner
}

fn check_rows(rows: &[Row], before: u64, start: impl Fn() -> Scanner) {
    let mut wrong = String::new();
    for (row, kind) in rows {
        let (input, at) = unmark(row);
        for size in [input.len(), 1, 2, 3, 7] {
            let found = refuse(&mut start(), &input, size);
            let expected = Malformed { kind: *kind, offset: before + at };
            if found != Some(expected) {
                let input = input.escape_ascii();
                wrong += &format!("\n{input} by {size}: {found:?}, not {expected:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn refuses_what_a_stream_may_not_contain() {
    check_rows(IN_STREAM, HEADER.len() as u64, || opened(Limits::default()));
}

#[test]
fn refuses_what_may_not_begin_a_stream() {
    check_rows(AT_START, 0, || Scanner::new(Limits::default()));
}

#[test]
fn the_tables_are_long_enough_to_trust() {
    assert!(IN_STREAM.len() + AT_START.len() >= 150);
}

#[test]
fn accepts_declarations_as_they_come() {
    for declaration in [
        "",
        "<?xml version='1.0'?>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
        "<?xml version = '1.0' encoding='utf-8' standalone='no' ?>\n",
        "<?xml\tversion='1.0'\r\nstandalone='yes'?>",
        "<?xml version='1.0' encoding='uTf-8'?> ",
        " \n",
    ] {
        let input = format!("{declaration}<s>");
        for size in [input.len(), 1] {
            let mut scanner = Scanner::new(Limits::default());
            assert_eq!(refuse(&mut scanner, input.as_bytes(), size), None, "{input}");
            assert_eq!(scanner.offset(), input.len() as u64);
        }
    }
}

#[test]
fn a_declaration_does_not_go_on_for_ever() {
    let mut input = b"<?xml version='1.0'".to_vec();
    input.resize(100_000, b' ');
    for size in [input.len(), 1] {
        let found = refuse(&mut Scanner::new(Limits::default()), &input, size).unwrap();
        assert_eq!(found, Malformed { kind: Syntax(S::Declaration), offset: 256 });
    }
}

#[test]
fn limits_hold_exactly() {
    let limits = Limits { frame_bytes_max: 64, depth_max: 3, attributes_max: 4, elements_max: 5 };
    let fits: &[&str] = &[
        "<a><b><c/></b></a>",
        "<a b='' c='' d='' xmlns:e='urn:e'/>",
        "<a><b/><b/><b/><b/></a>",
        &format!("<a>{}</a>", "x".repeat(57)),
        &format!("<a>{}</a>", "é".repeat(28)),
    ];
    for input in fits {
        for size in [input.len(), 1, 5] {
            assert_eq!(refuse(&mut opened(limits), input.as_bytes(), size), None, "{input}");
        }
    }
    let endless = |start: &str, more: &str| format!("{start}{}", more.repeat(100));
    let rows: &[(String, M, usize)] = &[
        ("<a><b><c><d/></c></b></a>".into(), M::TooDeep, 9),
        (endless("", "<a>"), M::TooDeep, 9),
        ("<a b='' c='' d='' xmlns:e='urn:e' f=''/>".into(), M::TooManyAttributes, 34),
        ("<a><b/><b/><b/><b/><b/></a>".into(), M::TooManyElements, 19),
        (format!("<a>{}</a>", "x".repeat(58)), M::FrameTooBig, 64),
        (format!("<a>{}é</a>", "x".repeat(60)), M::FrameTooBig, 64),
        (endless("<", "a"), M::FrameTooBig, 64),
        (endless("<a>", "xyz"), M::FrameTooBig, 64),
        (endless("<a>", "]]"), M::FrameTooBig, 64),
        (endless("<a ", "   "), M::FrameTooBig, 64),
        (endless("<a b='", "xyz"), M::FrameTooBig, 64),
        (endless("<a ", "bcd"), M::FrameTooBig, 64),
        (endless("<a><![CDATA[", "xyz"), M::FrameTooBig, 64),
        (endless("<a>&#", "000"), M::FrameTooBig, 64),
        (endless("<a>&", "amp"), M::FrameTooBig, 64),
        (endless("<a></a", "   "), M::FrameTooBig, 64),
        (endless("</stream:stream", "   "), M::FrameTooBig, 64),
    ];
    for (input, kind, at) in rows {
        for size in [input.len(), 1, 5] {
            let found = refuse(&mut opened(limits), input.as_bytes(), size);
            let expected = Malformed { kind: *kind, offset: (HEADER.len() + at) as u64 };
            assert_eq!(found, Some(expected), "{input} by {size}");
        }
    }
}

#[test]
fn limits_hold_for_the_header() {
    let limits = Limits { frame_bytes_max: 64, ..Limits::default() };
    let found = refuse(&mut Scanner::new(limits), HEADER, 10).unwrap();
    assert_eq!(found, Malformed { kind: M::FrameTooBig, offset: 21 + 64 });
}

#[test]
fn an_unfinished_element_takes_no_more_than_the_limit() {
    let limits = Limits { frame_bytes_max: 200_000, ..Limits::default() };
    for unit in [&b"x"[..], b"</a", b"&amp;", b"<a/>", b"\xd0\xb0"] {
        let mut scanner = opened(limits);
        let mut input = b"<a>".to_vec();
        while input.len() < limits.frame_bytes_max {
            input.extend_from_slice(unit);
        }
        for mut piece in input[..limits.frame_bytes_max - 1].chunks(1_000) {
            if scanner.feed(&mut piece).is_err() {
                break;
            }
            let elements = if unit == b"<a/>" { limits.elements_max as usize } else { 0 };
            assert!(scanner.heap_bytes() <= limits.frame_bytes_max + 2 * 24 * elements + 20_000);
        }
    }
}

#[test]
fn white_space_between_stanzas_does_not_accumulate() {
    let mut scanner = opened(Limits { frame_bytes_max: 64, ..Limits::default() });
    for _ in 0..1_000 {
        assert!(scanner.feed(&mut &b" \t\r\n     "[..]).unwrap().is_none());
        assert!(scanner.is_idle());
        assert_eq!(scanner.heap_bytes(), 0);
    }
    assert!(matches!(scanner.feed(&mut &b"<a/>"[..]), Ok(Some(Item::Frame(_)))));
}

#[test]
fn one_byte_at_a_time_is_linear() {
    // Quadratic work over this much would take minutes, not a moment.
    let limits = Limits { frame_bytes_max: 1 << 21, ..Limits::default() };
    for (start, unit) in [
        ("<a>", "x"),
        ("<a>", "]]"),
        ("<a>", "é"),
        ("<a b='", "x"),
        ("<a b='", "é"),
        ("<a ", " "),
        ("<", "a"),
        ("<", "é"),
        ("<a>&#x", "0"),
        ("<a>&", "x"),
        ("<a><![CDATA[", "]"),
        ("<a></a", " "),
    ] {
        let mut scanner = opened(limits);
        let input = format!("{start}{}", unit.repeat(1_000_000 / unit.len()));
        assert_eq!(refuse(&mut scanner, input.as_bytes(), 1), None, "{start}{unit}…");
    }
}

#[test]
fn single_elements_are_single_and_whole() {
    let rows: &[Row] = &[
        (b"|", M::Unfinished),
        (b"  |", M::Unfinished),
        (b"<a>|", M::Unfinished),
        (b"<a|", M::Unfinished),
        (b"<a><![CDATA[|", M::Unfinished),
        (b"<a>&am|", M::Unfinished),
        (b"<a/>|<b/>", M::AfterEnd),
        (b"<a/> |x", M::TextAtTopLevel),
        (b"<a/>|\0", M::ForbiddenCharacter),
        (b"|x<a/>", M::TextAtTopLevel),
        (b"|<?xml version='1.0'?><a/>", M::DeclarationInside),
        (b"<|/a>", Syntax(S::Name)),
        (b"<|stream:error/>", M::UnboundPrefix),
        (b"|\xef\xbb\xbf<a/>", M::TextAtTopLevel),
    ];
    for (row, kind) in rows {
        let (input, offset) = unmark(row);
        let expected = Malformed { kind: *kind, offset };
        assert_eq!(Frame::parse(&input).unwrap_err(), expected, "{}", input.escape_ascii());
    }
    assert_eq!(Frame::parse(b"\n <a/> \n").unwrap().bytes(), b"<a/>");
    let limits = Limits { frame_bytes_max: 4, ..Limits::default() };
    assert!(Frame::parse_with(b"<a/>", &limits).is_ok());
    let too_big = Malformed { kind: M::FrameTooBig, offset: 4 };
    assert_eq!(Frame::parse_with(b"<ab/>", &limits).unwrap_err(), too_big);
}
