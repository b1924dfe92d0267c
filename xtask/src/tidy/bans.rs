//! What `deny.toml` bans is not linked, and every licence is one that it allows.
//!
//! The subset of `cargo deny` that needs no further tool, so that every test run shows it.

use super::Finding;
use crate::graph::{Graph, Package};
use crate::tree::Tree;

pub(super) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let Some(deny) = tree.get("deny.toml") else { return Vec::new() };
    let rules = Rules::parse(&deny.text);
    let messages = graph.linked.iter().filter_map(|p| Some((p, rules.objection(p)?)));
    messages.map(|(p, m)| Finding::whole(format!("{} {}", p.name, p.version), m)).collect()
}

/// The lists of `deny.toml`, one entry per line.
#[derive(Default)]
struct Rules<'a> {
    allowed: Vec<&'a str>,
    /// Crate and the licence that it alone may have.
    exceptions: Vec<(&'a str, &'a str)>,
    /// Crate, major version below which it is banned if not altogether, reason.
    banned: Vec<(&'a str, Option<u64>, &'a str)>,
}

impl<'a> Rules<'a> {
    fn parse(text: &'a str) -> Rules<'a> {
        let mut rules = Rules::default();
        let mut list = "";
        for line in text.lines() {
            if !line.starts_with(' ') {
                list = line.split_once(" = [").map_or("", |(name, _)| name);
                continue;
            }
            match list {
                "allow" => rules.allowed.extend(quoted(line, "")),
                "exceptions" => {
                    let pair = quoted(line, "crate = ").zip(quoted(line, "allow = ["));
                    rules.exceptions.extend(pair);
                }
                // Permitted below certain crates: for `cargo deny`, which sees who needs whom.
                "deny" if line.contains("wrappers = ") => {}
                "deny" => {
                    let name = quoted(line, "crate = ").unwrap_or_default();
                    let (name, below) = match name.split_once(":<") {
                        Some((name, version)) => (name, version.parse().ok()),
                        None => (name, None),
                    };
                    rules.banned.push((name, below, quoted(line, "reason = ").unwrap_or_default()));
                }
                _ => {}
            }
        }
        rules
    }

    fn objection(&self, package: &Package) -> Option<String> {
        let major: Option<u64> = package.version.split('.').next().and_then(|v| v.parse().ok());
        for (name, below, reason) in &self.banned {
            let is_old = below.is_none_or(|below| major.is_some_and(|m| m < below));
            if *name == package.name && is_old {
                return Some(format!("is banned: {reason}"));
            }
        }
        let may = |id: &str| {
            self.allowed.contains(&id) || self.exceptions.contains(&(package.name.as_str(), id))
        };
        let is_allowed = allows(&package.license, &may);
        (!is_allowed).then(|| format!("licence `{}` is not allowed", package.license))
    }
}

/// The first string in quotes behind `label`.
fn quoted<'a>(line: &'a str, label: &str) -> Option<&'a str> {
    let rest = &line[line.find(label)? + label.len()..];
    rest.split('"').nth(1)
}

/// Whether an SPDX expression can be met by licences that `may` accepts.
fn allows(expression: &str, may: &impl Fn(&str) -> bool) -> bool {
    let text = expression.trim();
    if let Some(parts) = split(text, " AND ") {
        return parts.into_iter().all(|p| allows(p, may));
    }
    if let Some(parts) = split(text, " OR ").or_else(|| split(text, "/")) {
        return parts.into_iter().any(|p| allows(p, may));
    }
    match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        Some(inside) => allows(inside, may),
        None => may(text),
    }
}

/// The parts between `separator` outside of parentheses, if there is more than one.
fn split<'a>(text: &'a str, separator: &str) -> Option<Vec<&'a str>> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && text[at..].starts_with(separator) => {
                parts.push(&text[start..at]);
                start = at + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "allow = [\n    \"MIT\", # ours\n    \"ISC\", # fine\n]\nexceptions = [\n    \
        { allow = [\"MPL-2.0\"], crate = \"rxml\" }, # tests\n]\ndeny = [\n    \
        { crate = \"ring\", reason = \"second library\" },\n    \
        { crate = \"hyper:<1\", reason = \"old\" },\n]\n";

    fn count(name: &str, version: &str, license: &str) -> usize {
        let linked = vec![Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.to_owned(),
        }];
        check(&Tree::of([("deny.toml", DENY)]), &Graph { linked, ..Graph::default() }).len()
    }

    #[test]
    fn refuses_banned_crates() {
        assert_eq!(count("ring", "0.17.14", "ISC"), 1);
        assert_eq!(count("hyper", "0.14.0", "MIT"), 1);
        assert_eq!(count("hyper", "1.6.0", "MIT"), 0);
    }

    #[test]
    fn reads_licence_expressions() {
        assert_eq!(count("a", "1.0.0", "MIT OR GPL-3.0"), 0);
        assert_eq!(count("a", "1.0.0", "MIT/GPL-3.0"), 0);
        assert_eq!(count("a", "1.0.0", "ISC AND (GPL-3.0 OR MIT)"), 0);
        assert_eq!(count("a", "1.0.0", "ISC AND GPL-3.0"), 1);
        assert_eq!(count("a", "1.0.0", "(MIT OR ISC) AND GPL-3.0"), 1);
        assert_eq!(count("a", "1.0.0", ""), 1);
    }

    #[test]
    fn excepts_named_crates_only() {
        assert_eq!(count("rxml", "0.14.0", "MPL-2.0"), 0);
        assert_eq!(count("other", "0.14.0", "MPL-2.0"), 1);
    }
}
