//! Comparing what came with what was expected: as trees, with wildcards.

use std::fmt::Write as _;

use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Frame, Node};

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

/// What differs, in words; none if the stanza is as expected. In the expected text, an attribute
/// or text `{any}` fits anything.
#[must_use]
pub fn difference(expected: &str, actual: &Stanza) -> Option<String> {
    let text = String::from_utf8(actual.to_bytes()).unwrap();
    if fits(&tree(expected), &tree(&text)) {
        return None;
    }
    let mut words = String::new();
    let _ = write!(words, "expected\n    {expected}\nbut there came\n    {text}");
    Some(words)
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

fn fits(expected: &Tree, actual: &Tree) -> bool {
    expected.name == actual.name
        && expected.attributes.len() == actual.attributes.len()
        && expected
            .attributes
            .iter()
            .zip(&actual.attributes)
            .all(|(e, a)| e.0 == a.0 && (e.1 == ANY || e.1 == a.1))
        && expected.children.len() == actual.children.len()
        && expected.children.iter().zip(&actual.children).all(|(e, a)| match (e, a) {
            (Child::Element(e), Child::Element(a)) => fits(e, a),
            (Child::Text(e), Child::Text(a)) => e.trim() == ANY || e == a,
            _ => false,
        })
}

const ANY: &str = "{any}";
