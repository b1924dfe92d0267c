//! Nothing names the machine it was written on, nor where its registries are.

use super::Finding;
use crate::tree::Tree;

/// Paths and hosts of somebody's machine, put together here so that this file passes.
const SIGNS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/tmp/", "brief"),
    concat!("/tmp/", "target"),
    concat!(".mir", "ror/"),
    concat!(".libr", "ary/"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs"),
    concat!("index-", "url"),
    concat!("replace-", "with"),
    concat!("[sour", "ce."),
    concat!("[regis", "tr"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.files() {
        for sign in SIGNS {
            if let Some(at) = source.text.find(sign) {
                findings.push(Finding::at(source, at, format!("`{sign}` is of one machine only")));
            }
        }
    }
    // An alias is the one thing that everybody wants the same.
    if let Some(config) = tree.get(".cargo/config.toml") {
        for (index, line) in config.text.lines().enumerate() {
            if line.starts_with('[') && line != "[alias]" {
                let message = "only aliases belong here";
                findings.push(Finding { line: index + 1, ..Finding::whole(&config.path, message) });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn finds_places() {
        for sign in SIGNS {
            assert_eq!(lines(check, "docs/a.md", &format!("first\nsee {sign}x\n")), [2], "{sign}");
        }
        assert_eq!(lines(check, "docs/a.md", "see docs/work.md and /etc/stentor\n"), NONE);
    }

    #[test]
    fn allows_only_aliases() {
        assert_eq!(lines(check, ".cargo/config.toml", "[alias]\na = \"b\"\n"), NONE);
        assert_eq!(lines(check, ".cargo/config.toml", "[alias]\n[build]\n"), [2]);
    }
}
