//! A namespace URI is written once, in the file of its specification.

use std::collections::BTreeMap;

use super::Finding;
use crate::tree::Tree;

/// How the namespaces of XMPP begin.
const BEGINNINGS: &[&str] = &[
    "urn:xmpp:",
    "urn:ietf:params:xml:ns:",
    "http://jabber.org/",
    "http://etherx.jabber.org/",
    "jabber:",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    let mut findings = Vec::new();
    for (source, rust) in tree.rust() {
        for (at, literal) in rust.strings.iter().filter(|(at, _)| !rust.is_test(*at)) {
            // A pattern such as `urn:xmpp:{}` or a lone beginning is not a namespace.
            let is_beginning = BEGINNINGS.contains(&literal.as_str());
            if is_beginning || !BEGINNINGS.iter().any(|b| literal.starts_with(b)) {
                continue;
            }
            match first.get(literal.as_str()) {
                Some(place) => {
                    let message = format!("`{literal}` is already written in {place}");
                    findings.push(Finding::at(source, *at, message));
                }
                None => {
                    let place = format!("{}:{}", source.path, source.line_at(*at));
                    first.insert(literal, place);
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(first: &str, second: &str) -> usize {
        let files = [("crates/a/src/a.rs", first), ("crates/b/src/b.rs", second)];
        check(&Tree::of(files)).len()
    }

    #[test]
    fn finds_second_writing() {
        let line = "const NS: &str = \"urn:xmpp:ping\";\n";
        assert_eq!(count(line, line), 1);
        assert_eq!(count(&line.repeat(2), ""), 1);
        assert_eq!(count(line, &line.replace("ping", "time")), 0);
        assert_eq!(count(line, "f(b\"urn:xmpp:ping\");"), 1);
    }

    #[test]
    fn leaves_tests_and_prose_alone() {
        let line = "const NS: &str = \"urn:xmpp:ping\";\n";
        assert_eq!(count(line, &format!("#[cfg(test)]\nmod tests {{ {line} }}")), 0);
        assert_eq!(count(line, "// urn:xmpp:ping\nlet s = \"see urn:xmpp:ping\";"), 0);
    }
}
