//! Comparing what came with what was expected: as trees, with wildcards and names.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Frame, Node};

/// What names stand for: `$first` in an expected attribute or text is whatever came there first.
pub type Names = BTreeMap<String, String>;

/// An element as a comparable tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Child>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Child {
    Element(Tree),
    Text(String),
}

/// The tree of an element of text; attributes in the order of their names, white space between
/// elements left out.
#[must_use]
pub fn tree(xml: &str) -> Tree {
    let frame = Frame::parse(xml.as_bytes()).unwrap_or_else(|e| panic!("{e}: {xml}"));
    of(frame.root())
}

/// What differs, in words; none if the stanza is as expected, and then `names` knows what it names.
///
/// In the expected text, an attribute or text `{any}` fits anything, and one that begins with `$`
/// anything the first time and the same later on. Ids under which messages are archived are
/// compared only if it has one.
#[must_use]
pub fn difference(expected: &str, actual: &Stanza, names: &mut Names) -> Option<String> {
    differs(expected, actual, expected.contains("<stanza-id"), names)
}

/// The same; ids under which messages are archived are compared in any case.
#[must_use]
pub fn exact_difference(expected: &str, actual: &Stanza, names: &mut Names) -> Option<String> {
    differs(expected, actual, true, names)
}

fn differs(expected: &str, actual: &Stanza, is_exact: bool, names: &mut Names) -> Option<String> {
    let text = String::from_utf8(actual.to_bytes()).unwrap();
    let mut came = tree(&text);
    if !is_exact {
        came.remove(STANZA_ID);
    }
    let mut found = names.clone();
    if fits(&tree(expected), &came, &mut found) {
        *names = found;
        return None;
    }
    let mut words = String::new();
    let _ = write!(words, "expected\n    {expected}\nbut there came\n    {text}");
    if !names.is_empty() {
        let _ = write!(words, "\nwhere {names:?}");
    }
    Some(words)
}

/// The text with names replaced by what they stand for.
#[must_use]
pub fn filled_in(text: &str, names: &Names) -> String {
    // Longer names first: one may begin like another.
    let mut all: Vec<_> = names.iter().collect();
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all.iter().fold(text.to_owned(), |text, (name, value)| text.replace(*name, value))
}

fn of(element: ElementRef<'_>) -> Tree {
    let mut attributes: Vec<(String, String)> = element
        .attrs()
        .filter(|a| a.name() != "xmlns" && a.prefix() != Some("xmlns"))
        .map(|a| (a.name().to_owned(), a.value().into_owned()))
        .collect();
    attributes.sort_unstable();
    let mut children = Vec::new();
    for node in element.nodes() {
        match node {
            Node::Element(child) => children.push(Child::Element(of(child))),
            Node::Text(text) if text.trim().is_empty() => {}
            Node::Text(text) => children.push(Child::Text(text.into_owned())),
        }
    }
    Tree { name: format!("{{{}}}{}", element.ns(), element.name()), attributes, children }
}

impl Tree {
    /// Takes out all elements of this name.
    fn remove(&mut self, name: &str) {
        self.children.retain(|c| !matches!(c, Child::Element(e) if e.name == name));
        for child in &mut self.children {
            if let Child::Element(element) = child {
                element.remove(name);
            }
        }
    }
}

fn fits(expected: &Tree, actual: &Tree, names: &mut Names) -> bool {
    expected.name == actual.name
        && expected.attributes.len() == actual.attributes.len()
        && expected
            .attributes
            .iter()
            .zip(&actual.attributes)
            .all(|(e, a)| e.0 == a.0 && fits_text(&e.1, &a.1, names))
        && expected.children.len() == actual.children.len()
        && expected.children.iter().zip(&actual.children).all(|(e, a)| match (e, a) {
            (Child::Element(e), Child::Element(a)) => fits(e, a, names),
            (Child::Text(e), Child::Text(a)) => e == a || fits_text(e.trim(), a, names),
            _ => false,
        })
}

fn fits_text(expected: &str, actual: &str, names: &mut Names) -> bool {
    if expected == ANY {
        return true;
    }
    if expected.starts_with('$') {
        return names.entry(expected.to_owned()).or_insert_with(|| actual.to_owned()) == actual;
    }
    expected == actual
}

const ANY: &str = "{any}";
/// Where a message is archived (XEP-0359).
const STANZA_ID: &str = "{urn:xmpp:sid:0}stanza-id";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes()).unwrap()
    }

    #[test]
    fn names_stand_for_what_came_first() {
        let mut names = Names::new();
        let mut differs =
            |expected: &str, came: &str| difference(expected, &read(came), &mut names).is_some();
        assert!(!differs("<message id='$a'/>", "<message id='7'/>"));
        assert!(!differs("<message id='$a'/>", "<message id='7'/>"));
        assert!(differs("<message id='$a'/>", "<message id='8'/>"));
        assert!(differs(
            "<message id='$b'><body>y</body></message>",
            "<message id='9'><body>x</body></message>"
        ));
        assert!(!differs("<message id='$b'/>", "<message id='1'/>"));
        assert_eq!(filled_in("$a $b", &names), "7 1");
    }

    #[test]
    fn archive_ids_are_compared_where_one_is_expected() {
        let came = "<message><stanza-id xmlns='urn:xmpp:sid:0' by='a.example' id='1'/></message>";
        let differs =
            |expected: &str| difference(expected, &read(came), &mut Names::new()).is_some();
        assert!(!differs("<message/>"));
        assert!(!differs(came));
        assert!(differs(
            "<message><stanza-id xmlns='urn:xmpp:sid:0' by='a.example' id='2'/></message>"
        ));
    }
}
