//! No stub and no promise: an absence is a "Left out" line, not a marker in the code.

use super::Finding;
use crate::rust::Rust;
use crate::tree::{Source, Tree};

/// Macros that stand where code should.
const STUBS: &[&str] = &[concat!("to", "do!"), concat!("unimplemented", "!")];

/// Words in comments that promise work.
const PROMISES: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Endings of the other languages in the tree, whose comments begin with `#` or `//`.
const SCRIPTS: &[&str] = &[".sh", ".py", ".toml", ".js", ".ts", "/run", "test", "start"];

/// How the lines begin that git leaves in a file about which two changes disagree.
const CONFLICTS: &[&str] = &["<<<<<<< ", ">>>>>>> "];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.files() {
        findings.extend(check_conflicts(source));
        match &source.rust {
            Some(rust) => findings.extend(check_rust(source, rust)),
            None if SCRIPTS.iter().any(|e| source.path.ends_with(e)) => {
                findings.extend(check_script(source));
            }
            None => {}
        }
    }
    findings
}

fn check_rust(source: &Source, rust: &Rust) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stub in STUBS {
        for at in rust.find(stub) {
            findings.push(Finding::at(source, at, format!("`{stub}` stands for code")));
        }
    }
    for at in rust.find("#[ignore]") {
        findings.push(Finding::at(source, at, "an ignored test gives its reason"));
    }
    for (at, comment) in &rust.comments {
        if let Some(word) = promise(comment) {
            findings.push(Finding::at(source, *at, format!("`{word}`: do it or leave it out")));
        }
    }
    findings
}

fn check_conflicts(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| CONFLICTS.iter().any(|begin| line.starts_with(begin)))
        .map(|(index, _)| {
            let whole = Finding::whole(&source.path, "two changes disagree here");
            Finding { line: index + 1, ..whole }
        })
        .collect()
}

fn check_script(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let comment = line.find('#').or(line.find("//")).map_or("", |at| &line[at..]);
        if let Some(word) = promise(comment) {
            let message = format!("`{word}`: do it or leave it out");
            findings.push(Finding { line: index + 1, ..Finding::whole(&source.path, message) });
        }
    }
    findings
}

fn promise(comment: &str) -> Option<&str> {
    comment.split(|c: char| !c.is_alphanumeric()).find(|w| PROMISES.contains(w))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn finds_stubs_and_promises() {
        for marker in STUBS {
            assert_eq!(
                lines(check, "crates/a/src/a.rs", &format!("\nfn f() {{ {marker}() }}")),
                [2]
            );
        }
        for word in PROMISES {
            assert_eq!(lines(check, "crates/a/src/a.rs", &format!("// {word}: later\n")), [1]);
            assert_eq!(lines(check, "fuzz/run", &format!("x\n# {word} later\n")), [2]);
        }
    }

    #[test]
    fn finds_conflicts_in_any_file() {
        let text = format!("a\n{}main\nb\n=======\n", CONFLICTS[0]);
        for path in ["docs/a.md", "crates/a/src/a.rs", "interop/README.md"] {
            assert_eq!(lines(check, path, &text), [2]);
        }
    }

    #[test]
    fn wants_reasons_for_ignored_tests() {
        assert_eq!(lines(check, "crates/a/src/a.rs", "#[ignore]\nfn f() {}\n"), [1]);
        assert_eq!(lines(check, "crates/a/src/a.rs", "#[ignore = \"needs PostgreSQL\"]\n"), NONE);
    }

    #[test]
    fn leaves_strings_alone() {
        assert_eq!(
            lines(check, "crates/a/src/a.rs", &format!("let a = \"{}\";\n", PROMISES[0])),
            NONE
        );
    }
}
