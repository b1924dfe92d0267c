//! One fuzz target per parser and per state machine, each with seeds that tests replay.

use super::Finding;
use crate::tree::Tree;

/// Targets that must be there, and what they feed.
const WANTED: &[(&str, &str)] = &[
    ("jid", "preparation of addresses"),
    ("scanner", "the scanner, split anywhere, and the frames it makes"),
    ("scanner_vs_rxml", "the scanner and another parser, whose verdicts must agree"),
    ("stanza", "heads, edits and errors"),
    ("payload", "every typed element"),
    ("sasl", "both sides of every mechanism"),
    ("stream_c2s", "the client stream's machine"),
    ("stream_initiator", "the connecting side's machine"),
    ("stream_component", "the machine of a component's stream"),
    ("stream_s2s", "both ends of a stream between servers"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    check_with(tree, WANTED)
}

fn check_with(tree: &Tree, wanted: &[(&str, &str)]) -> Vec<Finding> {
    let path = |name: &str| format!("fuzz/fuzz_targets/{name}.rs");
    let mut findings = Vec::new();
    for (name, feeds) in wanted.iter().filter(|(name, _)| tree.get(&path(name)).is_none()) {
        findings.push(Finding::whole(path(name), format!("is missing; it feeds {feeds}")));
    }
    let manifest = tree.get("fuzz/Cargo.toml").map_or("", |s| s.text.as_str());
    for source in tree.files().filter(|s| s.path.starts_with("fuzz/fuzz_targets/")) {
        let name = source.name().trim_end_matches(".rs");
        if !manifest.contains(&format!("name = \"{name}\"")) {
            findings.push(Finding::whole(&source.path, "has no `[[bin]]` in fuzz/Cargo.toml"));
        }
        for line in ["stentor_fuzz::target!(", "#![cfg_attr(fuzzing, no_main)]"] {
            if !source.text.contains(line) {
                findings.push(Finding::whole(&source.path, format!("lacks `{line}`")));
            }
        }
    }
    if manifest.contains("test = false") {
        findings.push(Finding::whole("fuzz/Cargo.toml", "a target without its seed test"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[[bin]]\nname = \"jid\"\npath = \"fuzz_targets/jid.rs\"\n";
    const TARGET: &str = "#![cfg_attr(fuzzing, no_main)]\nstentor_fuzz::target!(check);";

    fn count(manifest: &str, path: &str, target: &str) -> usize {
        let tree = Tree::of([("fuzz/Cargo.toml", manifest), (path, target)]);
        check_with(&tree, &[("jid", "addresses")]).len()
    }

    #[test]
    fn wants_listed_targets() {
        assert_eq!(count(MANIFEST, "fuzz/fuzz_targets/jid.rs", TARGET), 0);
        assert_eq!(count(MANIFEST, "README.md", ""), 1);
    }

    #[test]
    fn wants_targets_wired_and_tested() {
        let path = "fuzz/fuzz_targets/jid.rs";
        assert_eq!(count("", path, TARGET), 1);
        assert_eq!(count(MANIFEST, path, "fn main() {}"), 2);
        assert_eq!(count(&format!("{MANIFEST}test = false\n"), path, TARGET), 1);
    }
}
