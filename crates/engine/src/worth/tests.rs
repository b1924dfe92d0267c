//! Walks the table cell by cell.

use std::collections::BTreeMap;

use super::*;

const TABLE: &str = include_str!("table.txt");
const TYPES: [&str; 5] = ["chat", "normal", "headline", "groupchat", "error"];

fn cell(worth: Worth) -> String {
    let carbon = match worth.carbon {
        Carbon::No => '-',
        Carbon::Sent => '1',
        Carbon::Both => '2',
    };
    let offline = match worth.offline {
        Offline::Keep => 'K',
        Offline::Drop => 'D',
        Offline::Return => 'R',
    };
    let wake = match worth.wake {
        Wake::No => '-',
        Wake::Quiet => 'q',
        Wake::Message => 'M',
        Wake::Call => 'C',
    };
    let archive = if worth.archive { 'A' } else { '-' };
    [archive, carbon, offline, wake, if worth.is_important { '!' } else { '-' }].iter().collect()
}

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with("content "))
}

/// The elements of each content.
fn elements() -> BTreeMap<&'static str, &'static str> {
    lines()
        .filter(|l| !l.starts_with("hints:"))
        .filter_map(|l| l.split_once(" ="))
        .filter(|(name, _)| !name.contains(' '))
        .map(|(name, xml)| (name, xml.trim()))
        .collect()
}

fn message(kind: &str, children: &str) -> Stanza {
    Stanza::parse(format!("<message type='{kind}'>{children}</message>").as_bytes()).unwrap()
}

#[test]
fn every_cell_is_as_the_table_says() {
    let elements = elements();
    let (mut hints, mut cells, mut wrong) = ("", 0, Vec::new());
    let mut unused: Vec<&str> = elements.keys().copied().collect();
    for line in lines() {
        if let Some(rest) = line.strip_prefix("hints:") {
            hints = rest.trim();
            continue;
        }
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let expected: Vec<&str> = words.collect();
        if expected.first().is_none_or(|word| *word == "=") {
            continue;
        }
        unused.retain(|n| *n != name);
        let xml = elements.get(name).unwrap_or_else(|| panic!("{name} has no elements"));
        assert_eq!(expected.len(), TYPES.len(), "{line}");
        for (kind, expected) in TYPES.iter().zip(expected) {
            let found = cell(of(&message(kind, &format!("{xml}{hints}"))));
            cells += 1;
            if found != expected {
                wrong.push(format!("{name} {kind} {hints}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "not in the table: {unused:?}");
    assert!(cells > 300, "{cells}");
}

#[test]
fn what_is_archived_is_important() {
    for xml in elements().values() {
        for kind in TYPES {
            let worth = of(&message(kind, xml));
            assert!(worth.is_important || !worth.archive, "{kind} {xml}");
        }
    }
}

#[test]
fn the_order_of_elements_does_not_matter() {
    let both = |a: &str, b: &str| {
        let one = of(&message("chat", &format!("{a}{b}")));
        assert_eq!(one, of(&message("chat", &format!("{b}{a}"))), "{a} {b}");
    };
    let elements = elements();
    for a in elements.values() {
        for b in elements.values() {
            both(a, b);
        }
    }
}

#[test]
fn other_stanzas_are_no_messages() {
    let presence = Stanza::parse(b"<presence/>").unwrap();
    assert_eq!(of(&presence), NOT_A_MESSAGE);
}
