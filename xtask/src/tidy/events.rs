//! Every line of the log names what happened in a field `event`, which operators search for.

use super::Finding;
use crate::rust::Rust;
use crate::tree::{Source, Tree};

const LEVELS: &[&str] = &["error!", "warn!", "info!", "debug!", "trace!"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let of_server = tree.files().filter(|source| source.path.starts_with("crates/"));
    of_server
        .filter_map(|source| Some(check_rust(source, source.rust.as_ref()?)))
        .flatten()
        .collect()
}

fn check_rust(source: &Source, rust: &Rust) -> Vec<Finding> {
    let calls = LEVELS.iter().flat_map(|level| {
        let name = format!("tracing::{level}");
        rust.find(&name).into_iter().map(move |at| (at, at + name.len()))
    });
    calls
        .filter(|(at, _)| !rust.is_test(*at))
        .filter(|(_, open)| !rust.code[*open..rust.close_of(*open)].contains("event"))
        .map(|(at, _)| Finding::at(source, at, "a line of the log has a field `event`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn finds_lines_without_an_event() {
        let with = "fn f() {\n    tracing::info!(\n        event = \"a\", \"A.\"\n    );\n}\n";
        assert_eq!(lines(check, "crates/a/src/a.rs", with), NONE);
        let without = "fn f() {\n    tracing::warn!(%error, \"no event\");\n}\n";
        assert_eq!(lines(check, "crates/a/src/a.rs", without), [2]);
        assert_eq!(lines(check, "bench/src/a.rs", without), NONE);
        let in_test = format!("#[cfg(test)]\nmod tests {{\n{without}}}\n");
        assert_eq!(lines(check, "crates/a/src/a.rs", &in_test), NONE);
    }
}
