//! The stream scanner: any split gives the same, memory is bounded, frames are portable.
//!
//! The first byte chooses how many cuts follow (two bytes each) and which content namespace the
//! stream has; the rest is what the peer sends.

#![cfg_attr(fuzzing, no_main)]

#[allow(dead_code, reason = "shared with the tests of the crate")]
#[path = "../../crates/xml/tests/common/mod.rs"]
mod common;

use common::Tree;
use stentor_xml::{Content, Frame, Item, Limits, Malformed, Scanner, ns};

stentor_fuzz::target!(check);

const LIMITS: Limits =
    Limits { frame_bytes_max: 4_096, depth_max: 16, attributes_max: 16, elements_max: 64 };

/// The buffer, twice the index and what a thread keeps as scratch space.
const HEAP_BYTES_MAX: usize = LIMITS.frame_bytes_max + 64 * 1_024;

#[derive(Debug, Default, PartialEq)]
struct Seen {
    items: Vec<String>,
    error: Option<Malformed>,
    offset: u64,
}

fn check(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let content = if first & 0x80 == 0 { Content::Client } else { Content::Server };
    let cut_bytes = usize::from(first & 7) * 2;
    let Some((cuts, input)) = rest.split_at_checked(cut_bytes) else { return };

    let whole = feed(std::iter::once(input), content);
    assert_eq!(feed(input.chunks(1), content), whole);

    let mut places: Vec<usize> = cuts
        .chunks(2)
        .map(|cut| usize::from(u16::from_le_bytes([cut[0], cut[1]])) % (input.len() + 1))
        .collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    let pieces = places.windows(2).map(|pair| &input[pair[0]..pair[1]]);
    assert_eq!(feed(pieces, content), whole);
}

fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>, content: Content) -> Seen {
    let mut scanner = Scanner::new(LIMITS);
    scanner.set_content(content);
    let mut seen = Seen::default();
    for mut piece in pieces {
        loop {
            let item = scanner.feed(&mut piece);
            assert!(scanner.heap_bytes() <= HEAP_BYTES_MAX);
            match item {
                Ok(None) => break,
                Ok(Some(item)) => {
                    assert!(scanner.is_idle() && scanner.heap_bytes() == 0);
                    if let Item::Frame(frame) = &item {
                        check_frame(frame);
                    }
                    seen.items.push(format!("{item:?}"));
                }
                Err(error) => {
                    seen.error = Some(error);
                    seen.offset = scanner.offset();
                    return seen;
                }
            }
        }
        assert!(piece.is_empty());
    }
    seen.offset = scanner.offset();
    seen
}

/// A frame means the same alone, its children mean the same under another start tag.
fn check_frame(frame: &Frame) {
    let tree = Tree::of(frame.root());
    let alone = reparse(frame.bytes());
    assert_eq!(Tree::of(alone.root()), tree);
    assert_eq!(alone.bytes(), frame.bytes());
    if tree.ns == ns::CLIENT {
        let forwarded = reparse(&[b"<message>", frame.inner(), b"</message>"].concat());
        assert_eq!(Tree::of(forwarded.root()).content, tree.content);
    }
    for child in frame.root().children() {
        let copy = Frame::build(|writer| {
            writer.open("forwarded", "urn:xmpp:forward:0").element(child);
        });
        let copied = copy.root().first_child().expect("the copy is there");
        assert_eq!(Tree::of(copied), Tree::of(child));
    }
}

fn reparse(bytes: &[u8]) -> Frame {
    Frame::parse_with(bytes, &Limits::OWN).expect("a frame is well-formed alone")
}
