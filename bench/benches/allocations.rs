//! What a stanza's way through the server allocates, beside that of a general tree.
//!
//! Apart from `stanza.rs`, since counting takes time of its own.

use divan::{AllocProfiler, Bencher, black_box};
use stentor_bench::inputs::{CHAT, HEADER};
use stentor_jid::Jid;
use stentor_stanza::Stanza;
use stentor_xml::{Item, Limits, Scanner};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Scan, read the head, stamp `from`, write to a buffer that is there.
#[divan::bench]
fn stentor_relay(bencher: Bencher) {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(scanner.feed(&mut HEADER.as_bytes()), Ok(Some(Item::Header(_)))));
    let sender = Jid::new("juliet@capulet.example/balcony").expect("it is an address");
    let mut out = Vec::with_capacity(2 * CHAT.len());
    bencher.bench_local(|| {
        let mut rest = black_box(CHAT.as_bytes());
        let Ok(Some(Item::Frame(frame))) = scanner.feed(&mut rest) else { unreachable!() };
        let Ok(stanza) = Stanza::from_frame_by(frame, &sender) else { unreachable!() };
        out.clear();
        stanza.write(&mut out);
        black_box(&out).len()
    });
}

/// Parse, set `from`, write to a buffer that is there.
#[divan::bench]
fn minidom_relay(bencher: Bencher) {
    let mut out = Vec::with_capacity(2 * CHAT.len());
    bencher.bench_local(|| {
        let bytes = black_box(CHAT.as_bytes());
        let mut root =
            minidom::Element::from_reader_with_prefixes(bytes, "jabber:client".to_owned())
                .expect("the input is well-formed");
        root.set_attr("from", "juliet@capulet.example/balcony");
        out.clear();
        root.write_to(&mut out).expect("a vector takes everything");
        black_box(&out).len()
    });
}
