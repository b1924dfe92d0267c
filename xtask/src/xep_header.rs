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
//! `Status:` may be absent: then a `Left out:` makes it partial.

use crate::tree::{Source, Tree};

/// What the header of a XEP file says.
#[derive(Debug, PartialEq)]
pub(crate) struct XepHeader {
    pub(crate) number: u16,
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) implements: Option<String>,
    pub(crate) left_out: Option<String>,
    pub(crate) status: Status,
}

/// How much of a XEP there is, in the words of XEP-0453 §4.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Status {
    Complete,
    Partial,
}

impl Status {
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
        let is_left_out = left_out.as_ref().is_some_and(|t| !t.starts_with("nothing"));
        let status = match paragraph(&lines, "Status:").as_deref().map(|s| s.trim_end_matches('.'))
        {
            Some("complete") => Status::Complete,
            Some("partial") => Status::Partial,
            Some(other) => return Err(format!("status is complete or partial, not `{other}`")),
            None if is_left_out => Status::Partial,
            None => Status::Complete,
        };
        Ok(XepHeader { number, title, version, implements, left_out, status })
    }
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
        assert_eq!(header.status, Status::Partial);
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
    fn takes_explicit_status_over_the_rest() {
        let complete = XepHeader::parse(&PING.replace("//! Phases: none.", "//! Status: complete"));
        assert_eq!(complete.unwrap().status, Status::Complete);
        let nothing = PING.replace("pinging clients", "nothing; pinging clients");
        assert_eq!(XepHeader::parse(&nothing).unwrap().status, Status::Complete);
        assert!(XepHeader::parse(&PING.replace("//! Phases: none.", "//! Status: good")).is_err());
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
