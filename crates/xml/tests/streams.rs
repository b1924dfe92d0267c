//! Whole streams through the public interface.

#![allow(clippy::unwrap_used)]

use stentor_xml::{Content, Frame, Header, Item, Limits, MalformedKind, Scanner, ns};

const OPEN: &str = "<?xml version='1.0'?><stream:stream to='capulet.example' version='1.0' \
    xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

fn scan(input: &str) -> Vec<Item> {
    scan_with(Scanner::new(Limits::default()), input)
}

fn scan_with(mut scanner: Scanner, input: &str) -> Vec<Item> {
    let mut rest = input.as_bytes();
    let mut items = Vec::new();
    while let Some(item) = scanner.feed(&mut rest).unwrap_or_else(|e| panic!("{e}: {input}")) {
        items.push(item);
    }
    assert!(rest.is_empty());
    items
}

fn frames(items: Vec<Item>) -> Vec<Frame> {
    items
        .into_iter()
        .filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            _ => None,
        })
        .collect()
}

fn header(items: &[Item]) -> &Header {
    match &items[0] {
        Item::Header(header) => header,
        other => panic!("no header: {other:?}"),
    }
}

/// The one frame after a header, as normalised.
fn portable(header: &str, frame: &str) -> String {
    let frames = frames(scan(&format!("{header}{frame}")));
    assert_eq!(frames.len(), 1, "{frame}");
    frames[0].as_str().to_owned()
}

#[test]
fn reads_header_frames_and_end() {
    let message = "<message to='romeo@montague.example' type='chat'><body>O Romeo</body>\
        <active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    let items = scan(&format!("{OPEN} {message}\n<presence/>\t</stream:stream> \n"));
    let header = header(&items);
    assert_eq!((&*header.prefix, &*header.name, &*header.ns), ("stream", "stream", ns::STREAM));
    assert_eq!(header.content_ns.as_deref(), Some(ns::CLIENT));
    assert_eq!(header.to.as_deref(), Some("capulet.example"));
    assert_eq!(header.version.as_deref(), Some("1.0"));
    assert_eq!(header.lang.as_deref(), Some("en"));
    assert_eq!(header.from, None);
    assert!(matches!(items[3], Item::End));
    let frames = frames(items);
    assert_eq!(frames[0].as_str(), message);
    let root = frames[0].root();
    assert!(root.is(ns::CLIENT, "message"));
    assert_eq!(root.attr("type").as_deref(), Some("chat"));
    assert_eq!(root.child(ns::CLIENT, "body").unwrap().text(), "O Romeo");
    let active = root.children().nth(1).unwrap();
    assert_eq!((active.ns(), active.name()), ("http://jabber.org/protocol/chatstates", "active"));
    assert!(frames[1].root().is(ns::CLIENT, "presence"));
}

#[test]
fn an_empty_header_element_ends_the_stream() {
    let items = scan(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'/>",
    );
    assert!(matches!(items[..], [Item::Header(_), Item::End]));
}

#[test]
fn portable_frames_are_untouched() {
    for frame in [
        "<message><body>x</body></message>",
        "<message xmlns='jabber:client'><body>x</body></message>",
        "<iq><query xmlns='urn:a'><item xmlns='urn:b'/><q:i xmlns:q='urn:q' q:a='1'/></query></iq>",
        "<message><f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body/></message></f>\
         </message>",
        "<message><x xmlns=''/></message>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>",
        "<p:a xmlns:p='urn:p' p:x='1'><p:b/></p:a>",
        "<message xml:lang='la' xmlns:unused='urn:u'/>",
    ] {
        assert_eq!(portable(OPEN, frame), frame);
    }
}

#[test]
fn frames_that_lean_on_their_surroundings_are_rewritten() {
    for (frame, expected) in [
        (
            "<stream:error><x/></stream:error>",
            "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><x/></stream:error>",
        ),
        (
            "<message><body xmlns='jabber:client'>x</body></message>",
            "<message><body>x</body></message>",
        ),
        (
            "<c:message xmlns:c='jabber:client' id='1'><c:body>a</c:body ></c:message>",
            "<message id='1'><body>a</body></message>",
        ),
        (
            "<message xmlns:p='urn:p' p:a='1'><p:x p:b='2'><p:y/></p:x><p:z/></message>",
            "<message p:a='1' xmlns:p='urn:p'><p:x p:b='2' xmlns:p='urn:p'><p:y/></p:x>\
             <p:z xmlns:p='urn:p'/></message>",
        ),
        (
            "<c:message xmlns:c='jabber:client' xmlns='urn:x&amp;y'><a/><c:body/></c:message>",
            "<message><a xmlns='urn:x&amp;y'/><body/></message>",
        ),
        (
            "<c:message xmlns:c='jabber:client'><x xmlns='urn:x'><c:message><c:body/></c:message>\
             </x></c:message>",
            "<message><x xmlns='urn:x'><c:message xmlns:c='jabber:client'><c:body/></c:message>\
             </x></message>",
        ),
    ] {
        assert_eq!(portable(OPEN, frame), expected);
    }
}

#[test]
fn streams_without_a_default_content_namespace_work() {
    let open = "<s xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>";
    for (frame, expected) in [
        ("<message xmlns='jabber:client'><body/></message>", None),
        ("<c:message><c:body>x</c:body></c:message>", Some("<message><body>x</body></message>")),
        ("<error/>", Some("<error xmlns='http://etherx.jabber.org/streams'/>")),
        (
            "<c:iq><q xmlns='urn:q'/><odd/></c:iq>",
            Some("<iq><q xmlns='urn:q'/><odd xmlns='http://etherx.jabber.org/streams'/></iq>"),
        ),
    ] {
        assert_eq!(portable(open, frame), expected.unwrap_or(frame));
    }
    let open = "<s:stream xmlns:s='http://etherx.jabber.org/streams'>";
    assert_eq!(portable(open, "<x/>"), "<x xmlns=''/>");
}

#[test]
fn the_content_namespace_of_servers_is_reported_like_that_of_clients() {
    let open = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
        xmlns:stream='http://etherx.jabber.org/streams'>";
    let mut scanner = Scanner::new(Limits::default());
    scanner.set_content(Content::Server);
    let input = format!(
        "{open}<message><body/></message><db:result>k</db:result>\
         <message xmlns='jabber:server'><body xmlns='jabber:server'/></message>\
         <message><body xmlns='jabber:client'/></message>"
    );
    let frames = frames(scan_with(scanner, &input));
    assert!(frames[0].root().is(ns::CLIENT, "message"));
    assert!(frames[0].root().child(ns::CLIENT, "body").is_some());
    assert!(frames[1].root().is("jabber:server:dialback", "result"));
    assert_eq!(frames[1].as_str(), "<db:result xmlns:db='jabber:server:dialback'>k</db:result>");
    assert_eq!(frames[2].as_str(), "<message><body/></message>");
    assert_eq!(frames[3].as_str(), "<message><body/></message>");
}

// RFC 6120 §4.8.3: a server sends no peer a stanza in the namespace of clients.
#[test]
fn the_namespace_of_clients_is_none_of_servers() {
    let open = "<stream:stream xmlns='jabber:server' xmlns:c='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'>";
    for stanza in ["<message xmlns='jabber:client'/>", "<c:message/>", "<iq xmlns='jabber:client'>"]
    {
        let mut scanner = Scanner::new(Limits::default());
        scanner.set_content(Content::Server);
        let input = format!("{open}<message xmlns='jabber:server'/>{stanza}");
        let mut rest = input.as_bytes();
        for _ in 0..2 {
            assert!(scanner.feed(&mut rest).is_ok());
        }
        let refused = scanner.feed(&mut rest).unwrap_err().kind;
        assert_eq!(refused, MalformedKind::ForeignContent, "{stanza}");
    }
}

#[test]
fn pushing_down_declarations_cannot_outgrow_the_limit() {
    let uri = "u".repeat(5_000);
    let children = "<p:a/>".repeat(500);
    let input = format!("{OPEN}<message xmlns:p='{uri}'>{children}</message>");
    let limits = Limits { frame_bytes_max: 10_000, ..Limits::default() };
    let mut scanner = Scanner::new(limits);
    let mut rest = input.as_bytes();
    assert!(matches!(scanner.feed(&mut rest), Ok(Some(Item::Header(_)))));
    assert_eq!(scanner.feed(&mut rest).unwrap_err().kind, MalformedKind::FrameTooBig);
}

#[test]
fn prefixes_of_the_header_do_not_disturb_those_of_the_frame() {
    let frame = "<r><x xmlns:p='urn:p'><y><stream:z/><stream:z/></y><p:w/></x></r>";
    let expected = "<r><x xmlns:p='urn:p'><y>\
        <stream:z xmlns:stream='http://etherx.jabber.org/streams'/>\
        <stream:z xmlns:stream='http://etherx.jabber.org/streams'/></y><p:w/></x></r>";
    assert_eq!(portable(OPEN, frame), expected);
}

#[test]
fn scratch_space_keeps_nothing_of_a_broken_element() {
    for broken in
        ["<a b='\u{1}", "<a xmlns:p='urn:p'><b c='1' d", "<a><b><p:c", "<a>&x", "<a b=\"&x;"]
    {
        let mut scanner = Scanner::new(Limits::default());
        let input = format!("{OPEN}{broken}<");
        let mut rest = input.as_bytes();
        while let Ok(Some(_)) = scanner.feed(&mut rest) {}
        assert!(scanner.feed(&mut &b" "[..]).is_err(), "{broken}");
        let frame = "<m><body>&lt;'<i/></body></m>";
        assert_eq!(Frame::parse(frame.as_bytes()).unwrap().as_str(), frame, "after {broken}");
    }
}

#[test]
fn the_writer_tells_escaped_namespaces_apart() {
    let frame = Frame::build(|writer| {
        writer.open("a", "urn:x&y").leaf("b", "urn:x&y").leaf("c", "urn:x&amp;y");
    });
    let children: Vec<_> = frame.root().children().map(|child| child.ns()).collect();
    assert_eq!((frame.root().ns(), children), ("urn:x&y", vec!["urn:x&y", "urn:x&amp;y"]));
}

#[test]
fn a_restart_begins_a_new_stream() {
    let mut scanner = Scanner::new(Limits::default());
    for _ in 0..3 {
        let input = format!("{OPEN}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        let mut rest = input.as_bytes();
        assert!(matches!(scanner.feed(&mut rest), Ok(Some(Item::Header(_)))));
        assert!(matches!(scanner.feed(&mut rest), Ok(Some(Item::Frame(_)))));
        assert_eq!(scanner.offset(), input.len() as u64);
        scanner.restart();
    }
}

#[test]
fn white_space_behind_the_earlier_stream_may_precede_a_declaration() {
    let mut scanner = Scanner::new(Limits::default());
    let mut rest = OPEN.as_bytes();
    scanner.feed(&mut rest).unwrap();
    scanner.restart();
    let again = format!("\n {OPEN}");
    let mut rest = again.as_bytes();
    assert!(matches!(scanner.feed(&mut rest), Ok(Some(Item::Header(_)))));

    let mut first = Scanner::new(Limits::default());
    let fault = first.feed(&mut again.as_bytes()).unwrap_err();
    assert_eq!(fault.kind, MalformedKind::DeclarationInside);
}

#[test]
fn an_idle_scanner_is_small() {
    assert!(size_of::<Scanner>() <= 128);
    assert_eq!(size_of::<Frame>(), 2 * size_of::<usize>());
    let mut scanner = Scanner::new(Limits::default());
    let mut rest = OPEN.as_bytes();
    scanner.feed(&mut rest).unwrap();
    assert!(scanner.is_idle());
    scanner.feed(&mut &b" <a"[..]).unwrap();
    assert!(!scanner.is_idle());
}
