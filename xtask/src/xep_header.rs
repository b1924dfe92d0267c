//! The fixed header of a XEP file and the files that must have one.
//!
//! ```text
//! //! XEP-0313: Message Archive Management, version 1.1.3.
//! //!
//! //! What the file does, in a sentence or two.
//! //! Implements: §3, §4.
//! //! Left out: §6, because …
//! //! Status: complete
//! ```
//!
//! `Status:` may be absent: then the status of the file's `Xep` literal counts, and where there is
//! none, `Left out:` makes it partial.

use crate::rust::Rust;
use crate::tree::{Source, Tree};

/// What the header of a XEP file says.
#[derive(Debug, PartialEq)]
pub(crate) struct XepHeader {
    pub(crate) number: u16,
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) implements: Option<String>,
    pub(crate) left_out: Option<String>,
    /// Only what a `Status:` line says.
    pub(crate) status: Option<Status>,
}

/// How much of a XEP there is, in the words of XEP-0453 §4.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Status {
    Complete,
    Partial,
}

impl Status {
    fn parse(word: &str) -> Result<Status, String> {
        match word.to_ascii_lowercase().as_str() {
            "complete" => Ok(Status::Complete),
            "partial" => Ok(Status::Partial),
            _ => Err(format!("status is complete or partial, not `{word}`")),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Complete => "complete",
            Status::Partial => "partial",
        }
    }
}

impl XepHeader {
    /// Reads the `//!` block at the top of a file.
    pub(crate) fn parse(text: &str) -> Result<XepHeader, String> {
        let lines: Vec<&str> =
            text.lines().map_while(|l| l.strip_prefix("//!")).map(str::trim).collect();
        let first = lines.first().copied().unwrap_or_default();
        let (number, title, version) = first_line(first).ok_or_else(|| {
            format!("first line is not `//! XEP-NNNN: Title, version X.` but `//! {first}`")
        })?;
        let implements = paragraph(&lines, "Implements:");
        let left_out = paragraph(&lines, "Left out:");
        let status = paragraph(&lines, "Status:").map(|s| Status::parse(s.trim_end_matches('.')));
        let status = status.transpose()?;
        Ok(XepHeader { number, title, version, implements, left_out, status })
    }
}

/// A literal `Xep { number, version, status, .. }` outside of tests.
pub(crate) struct Literal<'a> {
    pub(crate) offset: usize,
    pub(crate) number: Option<u16>,
    pub(crate) version: Option<&'a str>,
    pub(crate) status: Option<Status>,
}

/// The `Xep` literals of a file.
pub(crate) fn literals(rust: &Rust) -> Vec<Literal<'_>> {
    let mut found = Vec::new();
    for offset in rust.find("Xep {").into_iter().filter(|at| !rust.is_test(*at)) {
        let end = rust.close_of(offset + "Xep ".len());
        let code = &rust.code[offset..end];
        let strings = || rust.strings.iter().filter(|(at, _)| (offset..end).contains(at));
        let version_at = code.find("version:").map(|at| offset + at);
        found.push(Literal {
            offset,
            number: field(code, "number").and_then(|n| n.parse().ok()),
            version: strings()
                .find(|(at, _)| version_at.is_some_and(|v| *at > v))
                .map(|s| s.1.as_str()),
            status: field(code, "status")
                .and_then(|s| Status::parse(s.rsplit("::").next().unwrap_or(s)).ok()),
        });
    }
    found
}

/// The word or path behind `name:` in a struct literal; strings are blank in it.
fn field<'a>(literal: &'a str, name: &str) -> Option<&'a str> {
    let rest = literal.split_once(&format!("{name}:"))?.1.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')?;
    Some(&rest[..end])
}

/// The status of the XEP of a file: what is said first of header, literal and `Left out:`.
pub(crate) fn status(source: &Source, header: &XepHeader) -> Status {
    let literal = || {
        let literals = source.rust.as_ref().map(literals).unwrap_or_default();
        literals.into_iter().find(|l| l.number == Some(header.number))?.status
    };
    let is_left_out = header.left_out.as_ref().is_some_and(|t| !t.starts_with("nothing"));
    let by_rest = if is_left_out { Status::Partial } else { Status::Complete };
    header.status.or_else(literal).unwrap_or(by_rest)
}

fn first_line(line: &str) -> Option<(u16, String, String)> {
    let rest = line.strip_prefix("XEP-")?;
    let (number, rest) = rest.split_once(": ")?;
    let (title, version) = rest.strip_suffix('.')?.rsplit_once(", version ")?;
    let is_version = !version.is_empty()
        && version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let is_number = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    (is_number && is_version && !title.is_empty())
        .then(|| Some((number.parse().ok()?, title.to_owned(), version.to_owned())))?
}

/// The text behind `label`, joined up to the next blank line or label.
fn paragraph(lines: &[&str], label: &str) -> Option<String> {
    let start = lines.iter().position(|l| l.starts_with(label))?;
    let mut text = lines[start][label.len()..].trim().to_owned();
    for line in &lines[start + 1..] {
        if line.is_empty() || is_label(line) {
            break;
        }
        text.push(' ');
        text.push_str(line);
    }
    Some(text)
}

fn is_label(line: &str) -> bool {
    const LABELS: &[&str] =
        &["Implements:", "Left out:", "Status:", "Phases:", "Stores:", "Needs:"];
    LABELS.iter().any(|l| line.starts_with(l))
}

/// Number in a name `xepNNNN_word`; `None` if the name does not begin with `xep` and a digit.
pub(crate) fn number_in_name(name: &str) -> Option<Result<u16, String>> {
    let rest = name.strip_prefix("xep").filter(|r| r.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let word = rest[digits..].strip_prefix('_').filter(|w| !w.is_empty());
    Some(match (digits, word, rest[..digits].parse()) {
        (4, Some(_), Ok(number)) => Ok(number),
        _ => Err(format!("`{name}` is not of the form xepNNNN_word")),
    })
}

/// The files that carry a XEP's header, with the stem of the name that says which: `xep0199_ping.rs`
/// itself, or `mod.rs` of a folder `xep0313_mam/`.
pub(crate) fn xep_files(tree: &Tree) -> impl Iterator<Item = (&Source, &str)> {
    tree.files().filter_map(|source| {
        let inside = source.path.strip_prefix("crates/")?.split_once("/src/")?.1;
        let stem = match source.name() {
            "mod.rs" => inside.rsplit('/').nth(1)?,
            name => name.strip_suffix(".rs")?,
        };
        number_in_name(stem).map(|_| (source, stem))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &str = "//! XEP-0199: XMPP Ping, version 2.0.1.\n//!\n//! Answers pings.\n\
        //! Implements: §4.1.\n//! Left out: pinging clients ourselves; the stream's\n//! timers do that.\n\
        //! Phases: none.\n\nuse std::fmt;\n";

    #[test]
    fn reads_header() {
        let header = XepHeader::parse(PING).unwrap();
        assert_eq!((header.number, header.title.as_str()), (199, "XMPP Ping"));
        assert_eq!(header.version, "2.0.1");
        assert_eq!(header.implements.unwrap(), "§4.1.");
        assert_eq!(
            header.left_out.unwrap(),
            "pinging clients ourselves; the stream's timers do that."
        );
        assert_eq!(header.status, None);
    }

    #[test]
    fn refuses_other_first_lines() {
        for first in [
            "//! XEP-199: XMPP Ping, version 2.0.1.",
            "//! XEP-0199: XMPP Ping, version 2.0.1",
            "//! XEP-0199: XMPP Ping.",
            "//! XEP-0199: XMPP Ping, version newest.",
            "//! Ping (XEP-0199).",
            "use std::fmt;",
        ] {
            assert!(XepHeader::parse(first).is_err(), "{first}");
        }
    }

    #[test]
    fn status_is_what_is_said_first() {
        let status_of = |text: String| {
            let tree = Tree::of([("crates/modules/src/xep0199_ping.rs", text)]);
            let source = tree.files().next().unwrap();
            status(source, &XepHeader::parse(&source.text).unwrap())
        };
        let literal = "const X: Xep = Xep { number: 199, version: \"2.0.1\", status: Status::Complete, note: \"\" };";
        assert_eq!(status_of(PING.to_owned()), Status::Partial);
        assert_eq!(status_of(PING.replace("pinging", "nothing;")), Status::Complete);
        assert_eq!(status_of(format!("{PING}{literal}")), Status::Complete);
        let header = PING.replace("//! Phases: none.", "//! Status: partial");
        assert_eq!(status_of(format!("{header}{literal}")), Status::Partial);
        assert!(XepHeader::parse(&header.replace("partial", "good")).is_err());
    }

    #[test]
    fn reads_literals() {
        let text = "&[Xep { number: 30, note: \"a\", version: \"2.5\", status: Partial }, Xep { number: 1 }]";
        let rust = Rust::parse(text, false);
        let found = literals(&rust);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].number, found[0].version), (Some(30), Some("2.5")));
        assert_eq!(found[0].status, Some(Status::Partial));
    }

    #[test]
    fn reads_numbers_in_names() {
        assert_eq!(number_in_name("xep0199_ping"), Some(Ok(199)));
        assert_eq!(number_in_name("ping"), None);
        assert!(matches!(number_in_name("xep199_ping"), Some(Err(_))));
        assert!(matches!(number_in_name("xep0199"), Some(Err(_))));
    }

    #[test]
    fn finds_files_and_folders() {
        let tree = Tree::of([
            ("crates/modules/src/xep0199_ping.rs", ""),
            ("crates/modules/src/xep0313_mam/mod.rs", ""),
            ("crates/modules/src/xep0313_mam/query.rs", ""),
            ("crates/stream/src/c2s/xep0388_sasl2.rs", ""),
            ("crates/stream/src/c2s/mod.rs", ""),
        ]);
        let stems: Vec<&str> = xep_files(&tree).map(|(_, stem)| stem).collect();
        assert_eq!(stems, ["xep0199_ping", "xep0313_mam", "xep0388_sasl2"]);
    }
}
