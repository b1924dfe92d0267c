//! Every crate says what it is and takes the lints of the workspace.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in tree.files().filter(|s| s.name() == "Cargo.toml" && s.path.contains('/')) {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let is_member = folder != "fuzz/";
        if is_member && !manifest.text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::whole(&manifest.path, "lacks `[lints]` `workspace = true`"));
        }
        let roots = ["src/lib.rs", "src/main.rs"].map(|r| tree.get(&format!("{folder}{r}")));
        let Some(root) = roots.into_iter().flatten().next() else {
            findings.push(Finding::whole(&manifest.path, "has neither src/lib.rs nor src/main.rs"));
            continue;
        };
        if !root.text.starts_with("//! ") {
            findings.push(Finding::whole(&root.path, "does not begin with a `//!` header"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\n\n[lints]\nworkspace = true\n";

    fn count(manifest: &str, root: &str) -> usize {
        check(&Tree::of([("crates/a/Cargo.toml", manifest), ("crates/a/src/lib.rs", root)])).len()
    }

    #[test]
    fn wants_header_and_lints() {
        assert_eq!(count(GOOD, "//! What it is.\n"), 0);
        assert_eq!(count(GOOD, "mod a;\n"), 1);
        assert_eq!(count("[package]\n", "//! What it is.\n"), 1);
    }

    #[test]
    fn wants_a_root() {
        assert_eq!(check(&Tree::of([("crates/a/Cargo.toml", GOOD)])).len(), 1);
    }
}
