//! A stanza's way through the server, compared with other parsers. Read the ratios, not the digits.
//!
//! After the table of `divan` come the ratios, each of medians that were measured in turns, so that
//! a noisy machine is noisy for all. Every contender has the allocator of the server.

use std::time::{Duration, Instant};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rxml::Parse as _;
use stentor_bench::inputs::{CHAT, HEADER, IQ, PRESENCE, long, omemo};
use stentor_jid::Jid;
use stentor_stanza::Stanza;
use stentor_xml::{Item, Limits, Scanner};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
    let is_whole_run = std::env::args().skip(1).all(|argument| argument == "--bench");
    if is_whole_run {
        print_ratios();
    }
}

/// Scan with every check and the index, read the head, stamp `from`, write.
#[divan::bench(args = KINDS)]
fn stentor_relay(bencher: Bencher, kind: &str) {
    bench(bencher, kind, relay_of_stentor);
}

/// Scan with every check and the index, and no more.
#[divan::bench(args = KINDS)]
fn stentor_scan(bencher: Bencher, kind: &str) {
    bench(bencher, kind, scan_of_stentor);
}

/// A general tree: parse, set `from`, write.
#[divan::bench(args = KINDS)]
fn minidom_relay(bencher: Bencher, kind: &str) {
    bench(bencher, kind, relay_of_minidom);
}

/// Events alone: attributes neither separated nor checked, namespaces not resolved, nothing kept.
#[divan::bench(args = KINDS)]
fn quick_xml_events(bencher: Bencher, kind: &str) {
    bench(bencher, kind, events_of_quick_xml);
}

/// Events, and attributes separated and checked for duplicates.
#[divan::bench(args = KINDS)]
fn quick_xml_events_attributes(bencher: Bencher, kind: &str) {
    bench(bencher, kind, attributes_of_quick_xml);
}

/// The same with namespaces of elements and attributes resolved.
#[divan::bench(args = KINDS)]
fn quick_xml_namespaces(bencher: Bencher, kind: &str) {
    bench(bencher, kind, namespaces_of_quick_xml);
}

/// Events of a parser made for XMPP: everything checked and resolved, nothing kept.
#[divan::bench(args = KINDS)]
fn rxml_events(bencher: Bencher, kind: &str) {
    bench(bencher, kind, events_of_rxml);
}

fn bench<F: FnMut() -> usize>(bencher: Bencher, kind: &str, make: impl Fn(String) -> F) {
    let input = input(kind);
    bencher.counter(BytesCount::of_str(&input)).bench_local(make(input.clone()));
}

fn relay_of_stentor(input: String) -> impl FnMut() -> usize {
    let mut scanner = opened();
    let sender = Jid::new("juliet@capulet.example/balcony").expect("it is an address");
    let mut out = Vec::new();
    move || {
        let mut rest = black_box(input.as_bytes());
        let Ok(Some(Item::Frame(frame))) = scanner.feed(&mut rest) else { unreachable!() };
        let Ok(stanza) = Stanza::from_frame_by(frame, &sender) else { unreachable!() };
        out.clear();
        stanza.write(&mut out);
        black_box(&out).len()
    }
}

fn scan_of_stentor(input: String) -> impl FnMut() -> usize {
    let mut scanner = opened();
    move || {
        let mut rest = black_box(input.as_bytes());
        let Ok(Some(Item::Frame(frame))) = scanner.feed(&mut rest) else { unreachable!() };
        black_box(&frame).bytes().len()
    }
}

fn relay_of_minidom(input: String) -> impl FnMut() -> usize {
    let mut out = Vec::new();
    move || {
        let bytes = black_box(input.as_bytes());
        let mut root =
            minidom::Element::from_reader_with_prefixes(bytes, "jabber:client".to_owned())
                .expect("the input is well-formed");
        root.set_attr("from", "juliet@capulet.example/balcony");
        out.clear();
        root.write_to(&mut out).expect("a vector takes everything");
        black_box(&out).len()
    }
}

fn events_of_quick_xml(input: String) -> impl FnMut() -> usize {
    move || {
        let mut reader = quick_xml::Reader::from_str(black_box(&input));
        let mut events = 0;
        while !matches!(reader.read_event(), Ok(quick_xml::events::Event::Eof) | Err(_)) {
            events += 1;
        }
        events
    }
}

fn attributes_of_quick_xml(input: String) -> impl FnMut() -> usize {
    use quick_xml::events::Event;
    move || {
        let mut reader = quick_xml::Reader::from_str(black_box(&input));
        let mut attributes = 0;
        loop {
            match reader.read_event() {
                Ok(Event::Eof) | Err(_) => return attributes,
                Ok(Event::Start(tag) | Event::Empty(tag)) => {
                    attributes += tag.attributes().filter(|a| black_box(a).is_ok()).count();
                }
                Ok(event) => {
                    black_box(event);
                }
            }
        }
    }
}

fn namespaces_of_quick_xml(input: String) -> impl FnMut() -> usize {
    use quick_xml::events::Event;
    move || {
        let mut reader = quick_xml::NsReader::from_str(black_box(&input));
        let mut attributes = 0;
        loop {
            match reader.read_resolved_event() {
                Ok((_, Event::Eof)) | Err(_) => return attributes,
                Ok((ns, Event::Start(tag) | Event::Empty(tag))) => {
                    black_box(ns);
                    for attribute in tag.attributes().flatten() {
                        black_box(reader.resolver().resolve_attribute(attribute.key));
                        attributes += 1;
                    }
                }
                Ok(event) => {
                    black_box(event);
                }
            }
        }
    }
}

fn events_of_rxml(input: String) -> impl FnMut() -> usize {
    let mut parser = rxml::Parser::default();
    let mut header = HEADER.as_bytes();
    while let Ok(Some(_)) = parser.parse(&mut header, false) {}
    move || {
        let mut rest = black_box(input.as_bytes());
        let mut events = 0;
        while let Ok(Some(_)) = parser.parse(&mut rest, false) {
            events += 1;
        }
        events
    }
}

fn opened() -> Scanner {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(scanner.feed(&mut HEADER.as_bytes()), Ok(Some(Item::Header(_)))));
    scanner
}

fn input(kind: &str) -> String {
    match kind {
        "chat" => CHAT.to_owned(),
        "presence" => PRESENCE.to_owned(),
        "iq" => IQ.to_owned(),
        "omemo" => omemo(),
        _ => long(),
    }
}

/// Times of all contenders in turns, and each as a multiple of our whole relay.
#[allow(clippy::print_stdout, reason = "a benchmark's result")]
fn print_ratios() {
    print!("\n{:<30}", "time in multiples of the relay");
    KINDS.iter().for_each(|kind| print!("{kind:>18}"));
    println!();
    let columns: Vec<Vec<Duration>> = KINDS.iter().map(|kind| medians(&input(kind))).collect();
    for (row, name) in CONTENDERS.iter().enumerate() {
        print!("{name:<30}");
        for column in &columns {
            let ratio = column[row].as_secs_f64() / column[0].as_secs_f64();
            print!("{:>18}", format!("{ratio:.2} ({} ns)", column[row].as_nanos()));
        }
        println!();
    }
}

/// The median time of each contender, in the order of [`CONTENDERS`].
fn medians(input: &str) -> Vec<Duration> {
    let mut contenders: [Box<dyn FnMut() -> usize>; 7] = [
        Box::new(relay_of_stentor(input.to_owned())),
        Box::new(scan_of_stentor(input.to_owned())),
        Box::new(events_of_quick_xml(input.to_owned())),
        Box::new(attributes_of_quick_xml(input.to_owned())),
        Box::new(namespaces_of_quick_xml(input.to_owned())),
        Box::new(events_of_rxml(input.to_owned())),
        Box::new(relay_of_minidom(input.to_owned())),
    ];
    let mut times = vec![Vec::with_capacity(TURNS); contenders.len()];
    for _ in 0..TURNS {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                black_box(contender());
            }
            times.push(start.elapsed() / ROUNDS);
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    times.iter().map(|times| times[TURNS / 2]).collect()
}

const KINDS: [&str; 5] = ["chat", "presence", "iq", "omemo", "long"];
const CONTENDERS: [&str; 7] = [
    "stentor relay",
    "stentor scan",
    "quick-xml events",
    "quick-xml events, attributes",
    "quick-xml namespaces",
    "rxml events",
    "minidom relay",
];
const TURNS: usize = 201;
const ROUNDS: u32 = 100;
