//! `CHANGELOG.md` is kept in the form of Keep a Changelog and has an open section.

use super::Finding;
use crate::tree::Tree;

const PATH: &str = "CHANGELOG.md";
const KINDS: &[&str] = &["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(source) = tree.get(PATH) else {
        return vec![Finding::whole(PATH, "is missing")];
    };
    let mut findings = Vec::new();
    let first = source.text.lines().find_map(|l| l.strip_prefix("## "));
    if first != Some("[Unreleased]") {
        findings.push(Finding::whole(PATH, "first section is not `## [Unreleased]`"));
    }
    for (index, line) in source.text.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("### ")
            && !KINDS.contains(&kind)
        {
            let message = format!("`{kind}` is none of {}", KINDS.join(", "));
            findings.push(Finding { line: index + 1, ..Finding::whole(PATH, message) });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn wants_an_open_section() {
        assert_eq!(lines(check, PATH, "# Changelog\n\n## [Unreleased]\n\n### Added\n"), NONE);
        assert_eq!(lines(check, PATH, "# Changelog\n\n## [0.1.0]\n"), [0]);
        assert_eq!(lines(check, PATH, "## [Unreleased]\n### New\n"), [2]);
        assert_eq!(lines(check, "README.md", ""), [0]);
    }
}
