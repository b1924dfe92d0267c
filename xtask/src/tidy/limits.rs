//! Every maximum is a public constant in a `limits.rs` that says its unit.

use super::Finding;
use crate::tree::Tree;

/// What limits are counted in, in the singular.
const UNITS: &str = "\
    byte bit ms sec certificate kib mib gib second millisecond minute hour day level element \
    attribute stanza frame item entry contact entity retry worker group connection session \
    resource account attempt request round iteration character write task ticket query \
    answer address name feature field message stream host record label row shard exchange \
    restart thread times";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (source, _) in
        tree.rust().filter(|(s, _)| s.name() == "limits.rs" && s.path.contains("/src/"))
    {
        let mut doc = String::new();
        for (index, line) in source.text.lines().map(str::trim).enumerate() {
            if let Some(text) = line.strip_prefix("///") {
                doc.push_str(text);
            } else if let Some(rest) =
                line.strip_prefix("pub const ").or(line.strip_prefix("pub(crate) const "))
            {
                let name = rest.split(':').next().unwrap_or(rest);
                if is_number(rest) && !names_unit(&doc) && !names_unit(name) {
                    let message = format!("neither doc nor name of `{name}` says its unit");
                    findings
                        .push(Finding { line: index + 1, ..Finding::whole(&source.path, message) });
                }
                doc.clear();
            } else if !line.starts_with("#[") {
                doc.clear();
            }
        }
    }
    findings
}

/// Durations and structs say what they are by their type.
fn is_number(constant: &str) -> bool {
    const NUMBERS: &[&str] =
        &["usize", "u8", "u16", "u32", "u64", "u128", "i32", "i64", "f32", "f64"];
    let kind = constant.split_once(':').and_then(|(_, rest)| rest.split_once('='));
    kind.is_some_and(|(kind, _)| NUMBERS.contains(&kind.trim()))
}

fn names_unit(text: &str) -> bool {
    let lower = text.to_lowercase();
    let is_unit = |word: &str| {
        let singular = [
            word.to_owned(),
            word.trim_end_matches('s').to_owned(),
            word.trim_end_matches("es").to_owned(),
            word.trim_end_matches("ies").to_owned() + "y",
        ];
        UNITS.split_whitespace().any(|u| singular.iter().any(|s| s == u))
    };
    lower.split(|c: char| !c.is_alphanumeric()).any(is_unit)
        || ["code point", "how often", "how many"].iter().any(|w| lower.contains(w))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn wants_units() {
        let path = "crates/a/src/limits.rs";
        assert_eq!(
            lines(check, path, "/// Longest part, in bytes (§3.1).\npub const A: usize = 1;\n"),
            NONE
        );
        assert_eq!(lines(check, path, "/// Longest part.\npub const A: usize = 1;\n"), [2]);
        assert_eq!(
            lines(check, path, "/// Bytes.\n\npub const A: usize = 1;\npub const B: usize = 1;\n"),
            [3, 4]
        );
        assert_eq!(lines(check, "crates/a/src/other.rs", "pub const A: usize = 1;\n"), NONE);
    }
}
