//! A skipped test of `interop/` says why, and is still there.

use super::Finding;
use crate::tree::Tree;

const PATH: &str = "interop/skips.toml";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = tree.get(PATH).map_or("", |s| s.text.as_str());
    let code: Vec<(usize, &str)> =
        text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with('#')).collect();
    let starts: Vec<usize> = (0..code.len()).filter(|i| code[*i].1.trim() == "[[skip]]").collect();
    for (nth, start) in starts.iter().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(code.len());
        let field = |name: &str| {
            let line = code[*start..end].iter().find(|(_, l)| l.starts_with(name))?.1;
            line.split('"').nth(1)
        };
        let mut object = |message: String| {
            findings.push(Finding { line: code[*start].0 + 1, ..Finding::whole(PATH, message) });
        };
        if field("reason").is_none_or(|r| r.split_whitespace().count() < 3) {
            object("a skip says why".to_owned());
        }
        match field("test") {
            None => object("a skip names its test".to_owned()),
            Some(test) if !exists(tree, test) => object(format!("no such test: {test}")),
            Some(_) => {}
        }
    }
    findings
}

/// Whether `file.py::function` is there; patterns are taken at their word.
fn exists(tree: &Tree, test: &str) -> bool {
    let (file, function) = test.split_once("::").unwrap_or((test, ""));
    let name = function.split(['[', '*']).next().unwrap_or_default();
    let source = tree.get(&format!("interop/{file}"));
    file.contains('*') || source.is_some_and(|s| s.text.contains(&format!("def {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# remark\n[[skip]]\nserver = \"prosody\"\ntest = \"test_a.py::test_one\"\n\
        reason = \"answers by an older RFC\"\n";

    fn lines(skips: &str) -> Vec<usize> {
        let tree = Tree::of([(PATH, skips), ("interop/test_a.py", "def test_one(server):\n")]);
        check(&tree).iter().map(|f| f.line).collect()
    }

    #[test]
    fn wants_reason_and_test() {
        assert_eq!(lines(GOOD), [0_usize; 0]);
        assert_eq!(lines(&GOOD.replace("answers by an older RFC", "later")), [2]);
        assert_eq!(lines(&GOOD.replace("reason = ", "# reason = ")), [2]);
        assert_eq!(lines(&GOOD.replace("test_one", "test_two")), [2]);
        assert_eq!(lines(&format!("{GOOD}[[skip]]\nreason = \"because it is so\"\n")), [6]);
    }
}
