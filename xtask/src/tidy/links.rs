//! Relative links in Markdown lead somewhere, heading included.

use super::Finding;
use crate::tree::{Source, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.files().filter(|s| s.path.ends_with(".md")) {
        for (line, target) in links(&source.text) {
            if let Err(message) = resolve(tree, source, target) {
                findings.push(Finding { line, ..Finding::whole(&source.path, message) });
            }
        }
    }
    findings
}

/// Line and target of each inline link outside of code.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Every second piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            let targets = piece.match_indices("](").filter_map(|(at, _)| {
                let rest = &piece[at + 2..];
                rest.find(')').map(|end| &rest[..end])
            });
            found.extend(targets.map(|t| (index + 1, t)));
        }
        // A link whose text is code: [`STYLE.md`](STYLE.md).
        let targets = line.match_indices("`](").filter_map(|(at, _)| {
            let rest = &line[at + 3..];
            rest.find(')').map(|end| &rest[..end])
        });
        found.extend(targets.map(|t| (index + 1, t)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn resolve(tree: &Tree, source: &Source, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") || target.starts_with("xmpp:") {
        return Ok(());
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let full = if path.is_empty() { source.path.clone() } else { join(&source.path, path)? };
    if !full.is_empty() && !tree.has(&full) {
        return Err(format!("link leads nowhere: {target}"));
    }
    let page = tree.get(&full).filter(|s| s.path.ends_with(".md"));
    if !fragment.is_empty()
        && page.is_some_and(|p| !headings(&p.text).contains(&fragment.to_owned()))
    {
        return Err(format!("no such heading: {target}"));
    }
    Ok(())
}

/// `target` as seen from the file `from`, with `..` resolved.
fn join(from: &str, target: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." {
            parts.pop().ok_or_else(|| format!("link leaves the project: {target}"))?;
        } else {
            parts.push(part);
        }
    }
    Ok(parts.join("/"))
}

/// The anchors that forges make of headings.
fn headings(text: &str) -> Vec<String> {
    let titles =
        text.lines().filter(|l| l.starts_with('#')).map(|l| l.trim_start_matches('#').trim());
    let anchor = |title: &str| -> String {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let tree = Tree::of([
            ("docs/a.md", text),
            ("docs/b.md", "# Who may import whom?\n"),
            ("STYLE.md", ""),
            ("crates/jid/src/lib.rs", ""),
        ]);
        check(&tree).len()
    }

    #[test]
    fn accepts_links_that_lead_somewhere() {
        for link in [
            "b.md",
            "b.md#who-may-import-whom",
            "../STYLE.md",
            "../crates/jid",
            "https://xmpp.org/x",
            "#own",
        ] {
            assert_eq!(count(&format!("# Own\nsee [this]({link})\n")), 0, "{link}");
        }
    }

    #[test]
    fn finds_links_that_lead_nowhere() {
        for link in ["c.md", "b.md#other", "../../x.md", "../style.md", "#other"] {
            assert_eq!(count(&format!("# Own\nsee [this]({link})\n")), 1, "{link}");
            assert_eq!(count(&format!("# Own\nsee [`this`]({link})\n")), 1, "{link}");
        }
    }

    #[test]
    fn leaves_code_alone() {
        assert_eq!(count("```text\n[x](gone.md)\n```\nand `[x](gone.md)`\n"), 0);
    }
}
