//! XEP files: header, file name and `Xep` literal say the same, and so do twins in other crates.

use std::collections::BTreeMap;

use super::Finding;
use crate::rust::Rust;
use crate::tree::{Source, Tree};
use crate::xep_header::{XepHeader, literals, number_in_name, xep_files};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: BTreeMap<u16, (String, XepHeader)> = BTreeMap::new();
    for (source, stem) in xep_files(tree) {
        let header = match XepHeader::parse(&source.text) {
            Ok(header) => header,
            Err(message) => {
                findings.push(Finding { line: 1, ..Finding::whole(&source.path, message) });
                continue;
            }
        };
        if !matches!(number_in_name(stem), Some(Ok(number)) if number == header.number) {
            let message = format!("header says XEP-{:04}, the name `{stem}`", header.number);
            findings.push(Finding { line: 1, ..Finding::whole(&source.path, message) });
        }
        if let Some(rust) = &source.rust {
            findings.extend(check_literals(source, rust, &header));
        }
        match seen.get(&header.number) {
            Some((other, twin))
                if (&twin.title, &twin.version) != (&header.title, &header.version) =>
            {
                let message = format!("title or version differs from {other}");
                findings.push(Finding { line: 1, ..Finding::whole(&source.path, message) });
            }
            Some(_) => {}
            None => {
                seen.insert(header.number, (source.path.clone(), header));
            }
        }
    }
    findings
}

/// Each `Xep { number, version, status, .. }` of this XEP agrees with the header.
fn check_literals(source: &Source, rust: &Rust, header: &XepHeader) -> Vec<Finding> {
    let mut findings = Vec::new();
    for literal in literals(rust).iter().filter(|l| l.number == Some(header.number)) {
        if literal.version != Some(&header.version) {
            let message = format!("header says version {}, `Xep` another", header.version);
            findings.push(Finding::at(source, literal.offset, message));
        }
        if header.status.is_some() && literal.status != header.status {
            let message = "the header's status is not that of `Xep`";
            findings.push(Finding::at(source, literal.offset, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    const PATH: &str = "crates/modules/src/xep0199_ping.rs";
    const GOOD: &str = "//! XEP-0199: XMPP Ping, version 2.0.1.\n//! Status: partial\n\
        const X: &[Xep] = &[\n    Xep { number: 199, version: \"2.0.1\", status: Partial, note: \"n\" },\n];\n";

    #[test]
    fn accepts_agreement() {
        assert_eq!(lines(check, PATH, GOOD), NONE);
    }

    #[test]
    fn wants_header() {
        assert_eq!(lines(check, PATH, "//! Ping.\n"), [1]);
        assert_eq!(lines(check, "crates/modules/src/xep0045_muc/mod.rs", ""), [1]);
    }

    #[test]
    fn compares_header_with_name() {
        assert_eq!(lines(check, "crates/modules/src/xep0198_ping.rs", GOOD), [1]);
    }

    #[test]
    fn compares_header_with_literal() {
        assert_eq!(lines(check, PATH, &GOOD.replace("\"2.0.1\"", "\"2.0\"")), [4]);
        assert_eq!(lines(check, PATH, &GOOD.replace("Partial", "Status::Complete")), [4]);
        assert_eq!(lines(check, PATH, &GOOD.replace("number: 199", "number: 300")), NONE);
    }

    #[test]
    fn compares_twins() {
        let other = GOOD.replace("version 2.0.1.", "version 2.0.");
        let tree = Tree::of([
            ("crates/payload/src/xep0199_ping.rs", other.replace("\"2.0.1\"", "\"2.0\"")),
            (PATH, GOOD.to_owned()),
        ]);
        assert_eq!(check(&tree).len(), 1);
    }
}
