//! Where certain things may stand at all: clocks, environment, tasks, queues, SQL, start tags.

use super::Finding;
use crate::rust::Rust;
use crate::tree::{Source, Tree};

/// Something that is at home in few places. Test code is free.
struct Rule {
    what: &'static str,
    signs: Signs,
    /// Paths, or beginnings of paths, where it may stand.
    home: &'static [&'static str],
}

enum Signs {
    /// Words of code.
    Code(&'static [&'static str]),
    /// Beginnings of string literals.
    Literal(&'static [&'static str]),
}

const RULES: &[Rule] = &[
    Rule {
        what: "only the shell reads a clock; others are told the time",
        signs: Signs::Code(&["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"]),
        home: &[
            "crates/server/",
            "crates/edge/",
            "crates/transport/",
            "crates/client/",
            "xtask/",
            // How long a store has refused, and group commit, which waits a bounded time for company.
            "crates/store/src/outage.rs",
            "crates/store/src/writer.rs",
        ],
    },
    Rule {
        what: "only the shell reads the environment",
        signs: Signs::Code(&[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::args",
            "env::args_os",
            "env::current_dir",
            "env::temp_dir",
        ]),
        home: &["crates/server/", "crates/edge/", "crates/transport/", "crates/client/", "xtask/"],
    },
    Rule {
        what: "tasks and threads are started where someone ends them",
        signs: Signs::Code(&[
            "tokio::spawn",
            "task::spawn",
            "task::spawn_blocking",
            "thread::spawn",
            "thread::Builder",
            "JoinSet",
        ]),
        home: &[
            "crates/edge/",
            "crates/server/",
            "crates/admin/",
            "crates/transport/",
            "crates/client/",
            "crates/engine/src/service.rs",
            // Key derivation: awaited where it starts, so many at a time.
            "crates/engine/src/credentials.rs",
            "crates/store/src/writer.rs",
            "crates/store-sqlite/",
            "crates/store-postgres/",
            "crates/fabric-nats/",
        ],
    },
    Rule {
        what: "nothing is unbounded",
        signs: Signs::Code(&[
            "unbounded_channel",
            "UnboundedSender",
            "UnboundedReceiver",
            "mpsc::unbounded",
            "channel::unbounded",
            "mpsc::channel()",
            "std::sync::mpsc::channel",
        ]),
        home: &[],
    },
    Rule {
        what: "SQL stands in the crates of the stores",
        signs: Signs::Literal(&["SELECT ", "INSERT ", "UPDATE ", "DELETE FROM ", "CREATE TABLE "]),
        home: &["crates/store-sqlite/", "crates/store-postgres/", "xtask/src/tidy/placement.rs"],
    },
    Rule {
        what: "a stanza's start tag is written in one place",
        signs: Signs::Literal(&["<message", "<presence", "<iq"]),
        home: &["crates/stanza/src/head.rs", "xtask/src/tidy/placement.rs"],
    },
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let rust = tree.rust();
    rust.flat_map(|(s, r)| RULES.iter().flat_map(|rule| check_rule(s, r, rule)).collect::<Vec<_>>())
        .collect()
}

fn check_rule(source: &Source, rust: &Rust, rule: &Rule) -> Vec<Finding> {
    if rule.home.iter().any(|h| source.path.starts_with(h)) {
        return Vec::new();
    }
    let offsets: Vec<usize> = match rule.signs {
        Signs::Code(words) => words.iter().flat_map(|w| rust.find(w)).collect(),
        Signs::Literal(starts) => {
            let begins = |s: &str| starts.iter().any(|start| s.starts_with(start));
            rust.strings.iter().filter(|(_, s)| begins(s)).map(|(at, _)| *at).collect()
        }
    };
    let outside_tests = offsets.into_iter().filter(|at| !rust.is_test(*at));
    let mut findings: Vec<Finding> =
        outside_tests.map(|at| Finding::at(source, at, rule.what)).collect();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NONE, lines};
    use super::*;

    #[test]
    fn keeps_each_thing_at_home() {
        for (code, home) in [
            ("let t = Instant::now();", "crates/edge/src/driver.rs"),
            ("let v = std::env::var(name);", "crates/server/src/config.rs"),
            ("tokio::spawn(run());", "crates/engine/src/service.rs"),
            ("db.run(\"SELECT 1\");", "crates/store-sqlite/src/archive.rs"),
            ("out.extend(b\"<iq to='\");", "crates/stanza/src/head.rs"),
        ] {
            let text = format!("fn f() {{\n{code}\n}}\n");
            assert_eq!(lines(check, home, &text), NONE, "{code}");
            assert_eq!(lines(check, "crates/modules/src/ping.rs", &text), [2], "{code}");
            let test = format!("#[cfg(test)]\nmod tests {{ {text} }}");
            assert_eq!(lines(check, "crates/modules/src/ping.rs", &test), NONE, "{code}");
        }
    }

    #[test]
    fn allows_unbounded_queues_nowhere() {
        for code in ["mpsc::unbounded_channel()", "std::sync::mpsc::channel()"] {
            let text = format!("fn f() {{ {code}; }}\n");
            assert!(!lines(check, "crates/edge/src/driver.rs", &text).is_empty(), "{code}");
        }
        assert_eq!(
            lines(check, "crates/edge/src/driver.rs", "fn f() { mpsc::channel(8); }\n"),
            NONE
        );
    }
}
