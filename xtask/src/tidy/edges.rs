//! Who may import whom, and that nothing up to `stream` needs an async runtime.

use super::Finding;
use crate::graph::{Graph, Member};

/// A crate, its tier, and what it may import: `ARCHITECTURE.md`, "Who may import whom".
const TABLE: &[(&str, u64, &str)] = &[
    ("jid", 0, ""),
    ("xml", 0, ""),
    ("sasl", 0, ""),
    ("stanza", 1, "jid xml"),
    ("payload", 2, "stanza jid xml"),
    ("stream", 3, "payload stanza sasl jid xml"),
    ("transport", 3, ""),
    ("store", 3, "stanza jid"),
    ("client", 4, "stream transport payload stanza sasl jid xml"),
    ("engine", 4, "store payload stanza sasl jid xml"),
    ("modules", 5, "engine store payload stanza sasl jid xml"),
    ("store-sqlite", 5, "store stanza jid"),
    ("store-postgres", 5, "store stanza jid"),
    ("fabric-nats", 5, "engine stanza"),
    ("edge", 5, "engine stream transport store payload stanza sasl jid xml"),
    ("admin", 5, "engine store payload stanza sasl jid xml"),
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
    let Some((_, tier, may_import)) = TABLE.iter().find(|row| row.0 == name) else {
        return Some(Finding::whole(name, "crate has no row in the table of edges"));
    };
    if member.tier != Some(*tier) {
        return Some(Finding::whole(name, format!("tier is not {tier}")));
    }
    let wrong = member.imports.iter().find(|i| !may_import.split(' ').any(|may| may == *i))?;
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
        let tier_of = |name: &str| TABLE.iter().find(|row| row.0 == name).unwrap().1;
        for (name, tier, may_import) in TABLE {
            assert!(may_import.split_whitespace().all(|i| tier_of(i) < *tier), "{name}");
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
