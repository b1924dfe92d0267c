//! File names: `xepNNNN_word.rs`, `rfcNNNN_word.rs`, otherwise a noun that says what is inside.

use super::Finding;
use crate::tree::Tree;
use crate::xep_header::number_in_name;

/// Words that say nothing about what a file holds.
const EMPTY_WORDS: &[&str] =
    &["util", "utils", "common", "manager", "managers", "helper", "helpers", "misc", "stuff"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (source, _) in tree.rust() {
        // The one place that Cargo itself names for what integration tests share.
        let path = source.path.replace("/tests/common/", "/tests/");
        for part in path.split('/') {
            if let Err(message) = judge(part.trim_end_matches(".rs")) {
                findings.push(Finding::whole(&source.path, message));
            }
        }
        if let Err(message) = judge_rfc(source.name(), &source.text) {
            findings.push(Finding::whole(&source.path, message));
        }
    }
    findings
}

fn judge(name: &str) -> Result<(), String> {
    if let Some(word) = name.split(['_', '-']).find(|w| EMPTY_WORDS.contains(w)) {
        return Err(format!("`{word}` says nothing about what is inside"));
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("`{name}` is not lower case"));
    }
    match number_in_name(name) {
        Some(Err(message)) => Err(message),
        _ => Ok(()),
    }
}

/// `rfcNNNN_word.rs` begins with a line that names the RFC.
fn judge_rfc(name: &str, text: &str) -> Result<(), String> {
    let Some(rest) = name.strip_prefix("rfc") else { return Ok(()) };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    if digits.len() != 4 || !rest[4..].starts_with('_') {
        return Err(format!("`{name}` is not of the form rfcNNNN_word.rs"));
    }
    let first = text.lines().next().unwrap_or_default();
    match first.starts_with("//!") && first.contains(&format!("RFC {digits}")) {
        true => Ok(()),
        false => Err(format!("first line does not name RFC {digits}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    #[test]
    fn refuses_empty_words() {
        for path in
            ["crates/a/src/utils.rs", "crates/a/src/session_manager.rs", "crates/a/src/common/x.rs"]
        {
            assert_eq!(lines(check, path, "").len(), 1, "{path}");
        }
        assert_eq!(lines(check, "crates/a/src/outbox.rs", "").len(), 0);
        assert_eq!(lines(check, "crates/a/tests/common/tree.rs", "").len(), 0);
    }

    #[test]
    fn refuses_crooked_numbers() {
        assert_eq!(lines(check, "crates/a/src/xep199_ping.rs", "").len(), 1);
        assert_eq!(lines(check, "crates/a/src/rfc612_x.rs", "//! RFC 612").len(), 1);
        assert_eq!(lines(check, "crates/a/src/xep0199_ping.rs", "").len(), 0);
    }

    #[test]
    fn wants_the_rfc_on_the_first_line() {
        let path = "crates/a/src/rfc6121_roster.rs";
        assert_eq!(lines(check, path, "//! Rosters (RFC 6121 §2).\n").len(), 0);
        assert_eq!(lines(check, path, "//! Rosters.\n").len(), 1);
    }
}
