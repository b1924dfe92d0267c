//! Who may import whom, and that nothing up to `stream` needs an async runtime.

use super::Finding;
use crate::graph::{Graph, Member};

/// One row of the table in `ARCHITECTURE.md`, "Who may import whom".
struct Row {
    name: &'static str,
    tier: u64,
    may_import: &'static [&'static str],
}

const TABLE: &[Row] = &[
    Row { name: "jid", tier: 0, may_import: &[] },
    Row { name: "xml", tier: 0, may_import: &[] },
    Row { name: "sasl", tier: 0, may_import: &[] },
    Row { name: "stanza", tier: 1, may_import: &["jid", "xml"] },
    Row { name: "payload", tier: 2, may_import: &["stanza", "jid", "xml"] },
    Row { name: "stream", tier: 3, may_import: &["payload", "stanza", "sasl", "jid", "xml"] },
    Row { name: "transport", tier: 3, may_import: &[] },
    Row { name: "store", tier: 3, may_import: &["stanza", "jid"] },
    Row {
        name: "client",
        tier: 4,
        may_import: &["stream", "transport", "payload", "stanza", "sasl", "jid", "xml"],
    },
    Row { name: "engine", tier: 4, may_import: &["store", "payload", "stanza", "jid", "xml"] },
    Row {
        name: "modules",
        tier: 5,
        may_import: &["engine", "store", "payload", "stanza", "sasl", "jid", "xml"],
    },
    Row { name: "store-sqlite", tier: 5, may_import: &["store", "stanza", "jid"] },
    Row { name: "store-postgres", tier: 5, may_import: &["store", "stanza", "jid"] },
    Row { name: "fabric-nats", tier: 5, may_import: &["engine", "stanza"] },
    Row {
        name: "edge",
        tier: 5,
        may_import: &[
            "engine",
            "stream",
            "transport",
            "store",
            "payload",
            "stanza",
            "sasl",
            "jid",
            "xml",
        ],
    },
    Row {
        name: "admin",
        tier: 5,
        may_import: &["engine", "store", "payload", "stanza", "sasl", "jid", "xml"],
    },
];

/// May import everything of ours, except that only the server may be made of everything.
const TOP: &[(&str, u64)] = &[("server", 6), ("testkit", 7), ("bench", 7)];

/// Sans-io crates: their code decides, and waits for nothing.
const WITHOUT_RUNTIME: &[&str] = &["jid", "xml", "sasl", "stanza", "payload", "stream"];

/// Names of async runtimes.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "async-executor"];

/// Each crate has the tier and only the imports of the table. Dev-dependencies are free.
pub(super) fn check(graph: &Graph) -> Vec<Finding> {
    graph.members.iter().filter(|m| m.name != "xtask").filter_map(check_member).collect()
}

fn check_member(member: &Member) -> Option<Finding> {
    let name = member.name.as_str();
    if let Some((_, tier)) = TOP.iter().find(|(top, _)| *top == name) {
        let of_server = member.imports.iter().any(|i| i == "server");
        return match (of_server, member.tier == Some(*tier)) {
            (true, _) => Some(Finding::whole(name, "imports the server")),
            (_, false) => Some(Finding::whole(name, format!("tier is not {tier}"))),
            _ => None,
        };
    }
    let Some(row) = TABLE.iter().find(|r| r.name == name) else {
        return Some(Finding::whole(name, "crate has no row in the table of edges"));
    };
    if member.tier != Some(row.tier) {
        return Some(Finding::whole(name, format!("tier is not {}", row.tier)));
    }
    let wrong = member.imports.iter().find(|i| !row.may_import.contains(&i.as_str()))?;
    Some(Finding::whole(name, format!("may not import `{wrong}`")))
}

/// No async runtime in the normal dependencies of a sans-io crate, at any distance.
pub(super) fn check_runtime(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in graph.members.iter().filter(|m| WITHOUT_RUNTIME.contains(&m.name.as_str())) {
        for way in RUNTIMES.iter().filter_map(|r| graph.path_to(&member.id, r)) {
            let message = format!("needs a runtime: {}", way.join(" → "));
            findings.push(Finding::whole(&member.name, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(name: &str, tier: Option<u64>, imports: &[&str]) -> Graph {
        let imports = imports.iter().map(|i| (*i).to_owned()).collect();
        let member = Member { id: name.to_owned(), name: name.to_owned(), tier, imports };
        Graph { members: vec![member], ..Graph::default() }
    }

    #[test]
    fn accepts_edges_of_the_table() {
        assert_eq!(check(&graph("stanza", Some(1), &["jid", "xml"])), []);
        assert_eq!(check(&graph("server", Some(6), &["modules", "edge"])), []);
    }

    #[test]
    fn refuses_other_edges() {
        assert!(check(&graph("engine", Some(4), &["stream"]))[0].message.contains("`stream`"));
        assert!(check(&graph("testkit", Some(7), &["server"]))[0].message.contains("server"));
    }

    #[test]
    fn refuses_wrong_or_missing_tier() {
        assert_eq!(check(&graph("jid", Some(1), &[])).len(), 1);
        assert_eq!(check(&graph("jid", None, &[])).len(), 1);
        assert_eq!(check(&graph("fresh", Some(3), &[])).len(), 1);
    }

    #[test]
    fn edges_only_point_down() {
        let tier_of = |name: &str| TABLE.iter().find(|r| r.name == name).unwrap().tier;
        for row in TABLE {
            assert!(row.may_import.iter().all(|i| tier_of(i) < row.tier), "{}", row.name);
        }
    }

    #[test]
    fn finds_runtime_at_a_distance() {
        let mut graph = graph("stream", Some(3), &[]);
        let package = |name: &str, needs: &[&str]| {
            (name.to_owned(), needs.iter().map(|n| (*n).to_owned()).collect())
        };
        graph.packages.insert("stream".into(), package("stentor-stream", &["x"]));
        graph.packages.insert("x".into(), package("x", &["t"]));
        graph.packages.insert("t".into(), package("tokio", &[]));
        let found = check_runtime(&graph);
        assert!(found[0].message.contains("stentor-stream → x → tokio"), "{found:?}");
        graph.members[0].name = "edge".into();
        assert_eq!(check_runtime(&graph), []);
    }
}
