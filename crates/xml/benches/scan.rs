//! Scanning in pieces, reading and writing. `bench/benches/stanza.rs` compares with other parsers.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use stentor_xml::{Frame, Item, Limits, Scanner, Writer, ns};

fn main() {
    divan::main();
}

const HEADER: &str = "<stream:stream to='capulet.example' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";

/// A chat message of 479 bytes, a message of about 2,000 with base64, one in Cyrillic, a presence.
fn inputs() -> Vec<(&'static str, String)> {
    let chat = "<message from='juliet@capulet.example/balcony' to='romeo@montague.example' \
        type='chat' id='0d4a1b9e-3f63-4f4e-9f5c-0c1f8a2d7b11' xml:lang='en'><body>Wherefore art \
        thou, Romeo? Deny thy father and refuse thy name; or if thou wilt not, be but sworn my \
        love, and I shall no more be a Capulet, my sweet Romeo.</body><active \
        xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
        <origin-id xmlns='urn:xmpp:sid:0' id='0d4a1b9e-3f63-4f4e-9f5c12'/></message>";
    assert_eq!(chat.len(), 479);
    let keys: String = (0..6)
        .map(|rid| format!("<key rid='{rid}31337'>{}</key>", "MwohBdyhN3q0".repeat(12)))
        .collect();
    let omemo = format!(
        "<message from='juliet@capulet.example/balcony' to='romeo@montague.example' type='chat' \
         id='c1'><encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='31415'>{keys}\
         <iv>bWFkZSB5b3UgbG9v</iv></header><payload>{}</payload></encrypted>\
         <encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/>\
         <store xmlns='urn:xmpp:hints'/></message>",
        "q83vEjRWeJA=".repeat(40)
    );
    let cyrillic = format!(
        "<message to='romeo@montague.example' type='chat' id='c2'><body>{}</body></message>",
        "О Ромео, Ромео! зачем же ты Ромео? ".repeat(12)
    );
    let presence = "<presence><show>away</show><c xmlns='http://jabber.org/protocol/caps' \
        hash='sha-1' node='https://client.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>\
        <x xmlns='vcard-temp:x:update'><photo/></x></presence>";
    vec![
        ("chat", chat.to_owned()),
        ("omemo", omemo),
        ("cyrillic", cyrillic),
        ("presence", presence.to_owned()),
    ]
}

const KINDS: [&str; 4] = ["chat", "omemo", "cyrillic", "presence"];

fn input(kind: &str) -> String {
    inputs().into_iter().find(|(name, _)| *name == kind).map(|(_, input)| input).unwrap_or_default()
}

fn opened() -> Scanner {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(scanner.feed(&mut HEADER.as_bytes()), Ok(Some(Item::Header(_)))));
    scanner
}

#[divan::bench(args = KINDS)]
fn stentor(bencher: Bencher, kind: &str) {
    let input = input(kind);
    let mut scanner = opened();
    bencher.counter(BytesCount::of_str(&input)).bench_local(|| {
        let mut rest = black_box(input.as_bytes());
        scanner.feed(&mut rest)
    });
}

#[divan::bench(args = KINDS)]
fn stentor_in_two_pieces(bencher: Bencher, kind: &str) {
    let input = input(kind);
    let mut scanner = opened();
    bencher.counter(BytesCount::of_str(&input)).bench_local(|| {
        let (mut first, mut second) = black_box(input.as_bytes()).split_at(input.len() / 2);
        assert!(matches!(scanner.feed(&mut first), Ok(None)));
        scanner.feed(&mut second)
    });
}

#[divan::bench(args = KINDS)]
fn stentor_byte_by_byte(bencher: Bencher, kind: &str) {
    let input = input(kind);
    let mut scanner = opened();
    bencher.counter(BytesCount::of_str(&input)).bench_local(|| {
        for mut byte in black_box(input.as_bytes()).chunks(1) {
            let _ = black_box(scanner.feed(&mut byte));
        }
    });
}

#[divan::bench(args = KINDS)]
fn stentor_read_children(bencher: Bencher, kind: &str) {
    let input = input(kind);
    let frame = Frame::parse(input.as_bytes()).expect("the input is well-formed");
    bencher.bench_local(|| {
        let root = black_box(&frame).root();
        (
            root.attr("to"),
            root.attr("id"),
            root.child(ns::CLIENT, "body").map(|body| body.text()),
            root.child("urn:xmpp:receipts", "request").is_some(),
            root.child("urn:xmpp:sid:0", "origin-id").and_then(|id| id.attr("id")),
        )
    });
}

#[divan::bench]
fn stentor_write_chat(bencher: Bencher) {
    bencher.bench_local(|| {
        let mut writer = Writer::over(Vec::with_capacity(512));
        writer
            .open("message", ns::CLIENT)
            .attr("to", black_box("romeo@montague.example"))
            .attr("type", "chat")
            .attr("id", "0d4a1b9e-3f63-4f4e-9f5c-0c1f8a2d7b11")
            .text_element("body", ns::CLIENT, black_box("Wherefore art thou, Romeo?"))
            .leaf("active", "http://jabber.org/protocol/chatstates")
            .leaf("request", "urn:xmpp:receipts")
            .close();
        writer.into_bytes()
    });
}
