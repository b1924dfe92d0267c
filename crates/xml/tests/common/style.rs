//! A tree as a peer might write it: prefixes, quotes, references and sections as the dice fall.

use stentor_xml::ns;

use super::{Content, Tree};

/// A source of choices that a seed fixes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

/// Writes a tree in a way that a seed chooses.
pub(crate) struct Style {
    dice: Dice,
    out: String,
    /// Prefixes in scope, innermost last.
    bound: Vec<(String, String)>,
    prefixes: usize,
    /// Prefixes that the current tag uses.
    used: Vec<String>,
}

impl Style {
    pub(crate) fn new(seed: u64, bound: Vec<(String, String)>) -> Self {
        Self { dice: Dice(seed | 1), out: String::new(), bound, prefixes: 0, used: vec![] }
    }

    /// Writes `tree` where `default` is the default namespace.
    pub(crate) fn write(mut self, tree: &Tree, default: &str) -> String {
        self.element(tree, default);
        self.out
    }

    fn element(&mut self, tree: &Tree, default: &str) {
        let outer = self.bound.len();
        self.used.clear();
        let mut declared: Vec<(String, String)> = Vec::new();
        let mut default = default.to_owned();
        let name = if default == tree.ns && !self.dice.one_in(4) {
            tree.name.clone()
        } else if tree.ns.is_empty() || self.dice.one_in(2) {
            default.clone_from(&tree.ns);
            declared.push(("xmlns".into(), default.clone()));
            tree.name.clone()
        } else {
            format!("{}:{}", self.prefix(&tree.ns, &mut declared), tree.name)
        };
        let mut attrs = Vec::new();
        for ((ns, local), value) in &tree.attrs {
            let name = match &**ns {
                "" => local.clone(),
                ns::XML => format!("xml:{local}"),
                ns => format!("{}:{local}", self.prefix(ns, &mut declared)),
            };
            attrs.push((name, value.clone()));
        }
        if self.dice.one_in(8) {
            declared.push(("xmlns:unused".into(), "urn:unused".into()));
        }
        let at = self.dice.below(attrs.len() as u64 + 1) as usize;
        attrs.splice(at..at, declared);
        self.out.push('<');
        self.out.push_str(&name);
        for (name, value) in attrs {
            self.attr(&name, &value);
        }
        self.space(4);
        if tree.content.is_empty() && !self.dice.one_in(3) {
            self.out.push_str("/>");
        } else {
            self.out.push('>');
            for content in &tree.content {
                match content {
                    Content::Element(child) => self.element(child, &default),
                    Content::Text(text) => self.text(text),
                }
            }
            self.out.push_str("</");
            self.out.push_str(&name);
            self.space(4);
            self.out.push('>');
        }
        self.bound.truncate(outer);
    }

    /// A prefix in scope for `ns`, or one declared now.
    fn prefix(&mut self, ns: &str, declared: &mut Vec<(String, String)>) -> String {
        let known = self.bound.iter().rev().find(|(_, uri)| uri == ns).map(|(p, _)| p.clone());
        if let Some(prefix) = known {
            let current = self.bound.iter().rev().find(|(p, _)| *p == prefix).unwrap();
            if current.1 == ns && !self.dice.one_in(5) {
                self.used.push(prefix.clone());
                return prefix;
            }
        }
        // Few prefixes, so that inner declarations hide outer ones.
        self.prefixes += 1;
        let mut prefix = format!("p{}", self.prefixes % 3);
        while declared.iter().any(|(name, _)| *name == format!("xmlns:{prefix}")) {
            prefix.push('x');
        }
        // One already used on this tag must keep its meaning: take a fresh name.
        if self.used.contains(&prefix) {
            prefix = format!("q{}", self.prefixes);
        }
        declared.push((format!("xmlns:{prefix}"), ns.to_owned()));
        self.used.push(prefix.clone());
        self.bound.push((prefix.clone(), ns.to_owned()));
        prefix
    }

    fn attr(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.space(6);
        self.out.push_str(name);
        self.space(6);
        self.out.push('=');
        self.space(6);
        let quote = if self.dice.one_in(2) { '"' } else { '\'' };
        self.out.push(quote);
        for c in value.chars() {
            let must = matches!(c, '<' | '&' | '\t' | '\n' | '\r') || c == quote;
            match c {
                ' ' if self.dice.one_in(8) => {
                    let space = ["\t", "\n", "\r\n"][self.choice(3)];
                    self.out.push_str(space);
                }
                _ if must || self.dice.one_in(20) => self.reference(c),
                _ => self.out.push(c),
            }
        }
        self.out.push(quote);
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\n' if self.dice.one_in(3) => self.out.push_str("\r\n"),
                '\r' | '>' => self.reference(c),
                _ if self.dice.one_in(15) => {
                    self.out.push_str("<![CDATA[");
                    self.out.push(c);
                    self.out.push_str("]]>");
                }
                '<' | '&' => self.reference(c),
                _ if self.dice.one_in(20) => self.reference(c),
                _ => self.out.push(c),
            }
        }
    }

    fn reference(&mut self, c: char) {
        let predefined = match c {
            '<' => "&lt;",
            '>' => "&gt;",
            '&' => "&amp;",
            '"' => "&quot;",
            '\'' => "&apos;",
            _ => "",
        };
        self.out += &match self.dice.below(3) {
            0 if !predefined.is_empty() => predefined.to_owned(),
            1 => format!("&#{};", c as u32),
            _ => format!("&#x{:04x};", c as u32),
        };
    }

    fn space(&mut self, sides: u64) {
        if self.dice.one_in(sides) {
            let space = [" ", "\n", "\t\r\n"][self.choice(3)];
            self.out.push_str(space);
        }
    }

    fn choice(&mut self, sides: u64) -> usize {
        self.dice.below(sides) as usize
    }
}
