//! `unsafe` only in a file whose header says why.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (source, rust) in tree.rust() {
        if source.text.lines().any(|l| l.starts_with("//! Why unsafe:")) {
            continue;
        }
        if let Some(at) = rust.find("unsafe").first() {
            let message = "`unsafe` in a file without a `//! Why unsafe:` line";
            findings.push(Finding::at(source, *at, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn wants_a_reason() {
        let path = "crates/a/src/a.rs";
        assert_eq!(lines(check, path, "//! A.\nfn f() { unsafe { g() } }\n"), [2]);
        assert_eq!(
            lines(check, path, "//! A.\n//! Why unsafe: C.\nfn f() { unsafe { g() } }\n"),
            NONE
        );
        assert_eq!(lines(check, path, "#![deny(unsafe_code)] // unsafe\n"), NONE);
    }
}
