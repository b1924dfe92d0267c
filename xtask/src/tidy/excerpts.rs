//! Code quoted in Markdown is still what the file says.
//!
//! A block behind `<!-- from: PATH -->` must stand in that file, line for line. Lines of `…` alone
//! mean that something was left out.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.files().filter(|s| s.path.ends_with(".md")) {
        for (line, path, block) in excerpts(&source.text) {
            let message = match tree.get(path) {
                None => format!("quotes {path}, which is gone"),
                Some(quoted) if !pieces(&block).all(|p| quoted.text.contains(&p)) => {
                    format!("{path} no longer says this")
                }
                Some(_) => continue,
            };
            findings.push(Finding { line, ..Finding::whole(&source.path, message) });
        }
    }
    findings
}

/// Line, quoted path and text of each block behind a `from:` remark.
fn excerpts(text: &str) -> Vec<(usize, &str, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let path = line.strip_prefix("<!-- from: ").and_then(|r| r.strip_suffix(" -->"));
        let Some(path) = path else { continue };
        let block: Vec<&str> = lines
            .by_ref()
            .skip_while(|(_, l)| !l.starts_with("```"))
            .skip(1)
            .take_while(|(_, l)| !l.starts_with("```"))
            .map(|(_, l)| l)
            .collect();
        found.push((index + 1, path, block.join("\n")));
    }
    found
}

fn pieces(block: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = block.lines().collect();
    let pieces = lines.split(|l| l.trim() == "…").map(|p| p.join("\n")).collect::<Vec<_>>();
    pieces.into_iter().filter(|p| !p.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(code: &str, from: &str, block: &str) -> usize {
        let page = format!("Text.\n<!-- from: {from} -->\n```rust\n{block}\n```\n");
        check(&Tree::of([("a.rs", code), ("docs/a.md", &page)])).len()
    }

    #[test]
    fn compares_quotes_with_their_source() {
        let code = "fn a() {}\nfn b() {}\nfn c() {}\n";
        assert_eq!(count(code, "a.rs", "fn a() {}\nfn b() {}"), 0);
        assert_eq!(count(code, "a.rs", "fn a() {}\n…\nfn c() {}"), 0);
        assert_eq!(count(code, "a.rs", "fn a() {}\nfn c() {}"), 1);
        assert_eq!(count(code, "b.rs", "fn a() {}"), 1);
    }
}
