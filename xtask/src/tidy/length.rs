//! A file is one room with one purpose, a function fits a screen.

use super::Finding;
use crate::rust::Rust;
use crate::tree::{Source, Tree};

/// Lines of a file, tests included.
const FILE_LINES_MAX: usize = 600;

/// Lines of a function from its name to its closing brace; tests are free.
const FUNCTION_LINES_MAX: usize = 70;

/// Longer files: path, lines that they may have, and why they are not split.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// Longer functions: path, name, and why they are not split.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    check_with(tree, LONG_FILES, LONG_FUNCTIONS)
}

fn check_with(
    tree: &Tree,
    long_files: &[(&str, usize, &str)],
    long_functions: &[(&str, &str, &str)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _, _) in long_files.iter().filter(|f| tree.get(f.0).is_none()) {
        findings.push(Finding::whole(*path, "stands in the list of long files but is gone"));
    }
    for (source, rust) in tree.rust() {
        let allowed = long_files.iter().find(|f| f.0 == source.path);
        let max = allowed.map_or(FILE_LINES_MAX, |f| f.1);
        let lines = source.text.lines().count();
        if lines > max {
            findings.push(Finding::whole(&source.path, format!("{lines} lines, may have {max}")));
        }
        for (name, start, lines) in functions(source, rust) {
            let is_allowed = long_functions.iter().any(|f| (f.0, f.1) == (&source.path, name));
            if lines > FUNCTION_LINES_MAX && !is_allowed && !rust.is_test(start) {
                let message = format!("`{name}` has {lines} lines, may have {FUNCTION_LINES_MAX}");
                findings.push(Finding::at(source, start, message));
            }
        }
    }
    findings
}

/// Name, offset and lines of each function with a body.
fn functions<'a>(source: &Source, rust: &'a Rust) -> Vec<(&'a str, usize, usize)> {
    let bytes = rust.code.as_bytes();
    let mut found = Vec::new();
    for start in rust.find("fn") {
        let rest = rust.code[start + 2..].trim_start();
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if len == 0 {
            continue; // a function pointer type
        }
        let mut at = start;
        while at < bytes.len() && !matches!(bytes[at], b'{' | b';') {
            at = if matches!(bytes[at], b'(' | b'[') { rust.close_of(at) } else { at + 1 };
        }
        if bytes.get(at) == Some(&b'{') {
            let body = &source.text[start..rust.close_of(at)];
            found.push((&rest[..len], start, body.lines().count()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    const PATH: &str = "crates/a/src/lib.rs";

    fn function(lines: usize) -> String {
        format!("fn long(f: fn(u8)) -> [u8; 2] {{\n{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[test]
    fn measures_files() {
        assert_eq!(lines(check, PATH, &"\n".repeat(600)), NONE);
        assert_eq!(lines(check, PATH, &"\n".repeat(601)), [0]);
    }

    #[test]
    fn measures_functions() {
        assert_eq!(lines(check, PATH, &function(70)), NONE);
        assert_eq!(lines(check, PATH, &format!("// x\n{}", function(71))), [2]);
        let test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(90));
        assert_eq!(lines(check, PATH, &test), NONE);
    }

    #[test]
    fn exceptions_are_named_and_current() {
        let tree = Tree::of([(PATH, "\n".repeat(700) + &function(90))]);
        let functions = [(PATH, "long", "one table")];
        assert_eq!(check_with(&tree, &[(PATH, 800, "one table")], &functions), []);
        assert_eq!(check_with(&tree, &[(PATH, 750, "one table")], &functions).len(), 1);
        assert_eq!(check_with(&tree, &[(PATH, 800, "one table")], &[]).len(), 1);
        assert_eq!(check_with(&Tree::of([("a.rs", "")]), &[("b.rs", 700, "gone")], &[]).len(), 1);
    }
}
