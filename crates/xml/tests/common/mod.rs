//! A plain tree, the slow and simple model that the index is compared with.

pub(crate) mod style;

use std::collections::BTreeMap;

use rxml::Parse;
use stentor_xml::{ElementRef, Node, ns};

/// An element, with names expanded and values as they are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) ns: String,
    pub(crate) name: String,
    pub(crate) attrs: BTreeMap<(String, String), String>,
    pub(crate) content: Vec<Content>,
}

/// What an element contains; texts are never empty nor next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Element(Tree),
    Text(String),
}

impl Tree {
    pub(crate) fn push_text(&mut self, more: &str) {
        match self.content.last_mut() {
            _ if more.is_empty() => {}
            Some(Content::Text(text)) => text.push_str(more),
            _ => self.content.push(Content::Text(more.to_owned())),
        }
    }

    /// What the cursor shows.
    pub(crate) fn of(element: ElementRef<'_>) -> Self {
        let mut tree = Self {
            ns: element.ns().to_owned(),
            name: element.name().to_owned(),
            ..Self::default()
        };
        assert!(element.is(element.ns(), element.name()));
        let longer = format!("{}x", element.name());
        let mut shorter = element.name().to_owned();
        shorter.pop();
        assert!(!element.is(element.ns(), &longer) && !element.is(element.ns(), &shorter));
        assert!(!element.is(&format!("{}x", element.ns()), element.name()));
        for attr in element.attrs() {
            let (ns, name, value) = (attr.ns(), attr.name(), attr.value());
            assert_eq!(element.attr_ns(&ns, name).as_ref(), Some(&value));
            tree.attrs.insert((ns.into_owned(), name.to_owned()), value.into_owned());
        }
        let mut text = String::new();
        for node in element.nodes() {
            match node {
                Node::Text(run) => {
                    text.push_str(&run);
                    tree.push_text(&run);
                }
                Node::Element(child) => tree.content.push(Content::Element(Self::of(child))),
            }
        }
        assert_eq!(element.text(), text);
        assert_eq!(element.has_text(), !text.is_empty());
        let children = tree.content.iter().filter(|c| matches!(c, Content::Element(_))).count();
        assert_eq!(element.children().count(), children);
        tree
    }

    /// What rxml makes of a document; `None` if it refuses it.
    pub(crate) fn by_rxml(document: &[u8]) -> Option<Self> {
        let mut parser = rxml::Parser::new();
        let mut rest = document;
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        while let Some(event) = parser.parse(&mut rest, true).ok()? {
            match event {
                rxml::Event::XmlDeclaration(..) => {}
                rxml::Event::StartElement(_, (ns, name), attrs) => {
                    let attrs = attrs.into_iter().map(|((ns, name), value)| {
                        ((ns.as_str().to_owned(), name.as_str().to_owned()), value)
                    });
                    open.push(Self {
                        ns: ns.as_str().to_owned(),
                        name: name.as_str().to_owned(),
                        attrs: attrs.collect(),
                        content: Vec::new(),
                    });
                }
                rxml::Event::EndElement(_) => {
                    let tree = open.pop()?;
                    match open.last_mut() {
                        Some(parent) => parent.content.push(Content::Element(tree)),
                        None => root = Some(tree),
                    }
                }
                rxml::Event::Text(_, text) => open.last_mut()?.push_text(&text),
            }
        }
        root
    }

    /// The same with no namespace where there was the content namespace.
    pub(crate) fn without_content_ns(mut self) -> Self {
        if self.ns == ns::CLIENT {
            self.ns.clear();
        }
        for content in &mut self.content {
            if let Content::Element(child) = content {
                *child = std::mem::take(child).without_content_ns();
            }
        }
        self
    }
}
