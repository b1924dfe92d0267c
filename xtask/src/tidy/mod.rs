//! The rules of the house that a machine can judge, one file per check.
//!
//! Every check is a function from the tree (or the graph of crates) to findings, with tests that
//! show it failing on a small sample. Exceptions stand in the check they weaken, each with a reason.

mod bans;
mod changelog;
mod crate_header;
mod dependencies;
mod edges;
mod events;
mod excerpts;
mod file_name;
mod fuzz;
mod length;
mod limits;
mod links;
mod machine;
mod markers;
mod namespace;
mod placement;
mod skips;
mod unsafety;
mod xep;

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::graph::Graph;
use crate::tree::{Source, Tree};

/// All checks, in the order in which they report.
pub(crate) const CHECKS: &[Check] = &[
    Check { name: "edges", judge: Judge::Graph(edges::check) },
    Check { name: "runtime", judge: Judge::Graph(edges::check_runtime) },
    Check { name: "crate-header", judge: Judge::Tree(crate_header::check) },
    Check { name: "file-name", judge: Judge::Tree(file_name::check) },
    Check { name: "xep", judge: Judge::Tree(xep::check) },
    Check { name: "length", judge: Judge::Tree(length::check) },
    Check { name: "markers", judge: Judge::Tree(markers::check) },
    Check { name: "unsafe", judge: Judge::Tree(unsafety::check) },
    Check { name: "placement", judge: Judge::Tree(placement::check) },
    Check { name: "namespace", judge: Judge::Tree(namespace::check) },
    Check { name: "limits", judge: Judge::Tree(limits::check) },
    Check { name: "fuzz", judge: Judge::Tree(fuzz::check) },
    Check { name: "dependencies", judge: Judge::Tree(dependencies::check) },
    Check { name: "bans", judge: Judge::Both(bans::check) },
    Check { name: "events", judge: Judge::Tree(events::check) },
    Check { name: "skips", judge: Judge::Tree(skips::check) },
    Check { name: "machine", judge: Judge::Tree(machine::check) },
    Check { name: "links", judge: Judge::Tree(links::check) },
    Check { name: "excerpts", judge: Judge::Tree(excerpts::check) },
    Check { name: "changelog", judge: Judge::Tree(changelog::check) },
];

/// A named rule.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    judge: Judge,
}

enum Judge {
    Tree(fn(&Tree) -> Vec<Finding>),
    Graph(fn(&Graph) -> Vec<Finding>),
    Both(fn(&Tree, &Graph) -> Vec<Finding>),
}

/// One thing to mend.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    check: &'static str,
    /// From the root of the project.
    path: String,
    /// Counted from 1; 0 is the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    /// About a file, or a crate, as a whole.
    fn whole(path: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { check: "", path: path.into(), line: 0, message: message.into() }
    }

    /// About the place at `offset` in a file.
    fn at(source: &Source, offset: usize, message: impl Into<String>) -> Finding {
        Finding { line: source.line_at(offset), ..Finding::whole(&source.path, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {} [{}]", self.path, self.message, self.check),
            line => write!(f, "{}:{line}: {} [{}]", self.path, self.message, self.check),
        }
    }
}

/// Runs every check over the project at `root`.
pub(crate) fn run(root: &Path) -> Result<Vec<Finding>> {
    let (tree, graph) = (Tree::read(root)?, Graph::read(root)?);
    Ok(CHECKS.iter().flat_map(|c| c.run(&tree, &graph)).collect())
}

impl Check {
    fn run(&self, tree: &Tree, graph: &Graph) -> Vec<Finding> {
        let findings = match self.judge {
            Judge::Tree(judge) => judge(tree),
            Judge::Graph(judge) => judge(graph),
            Judge::Both(judge) => judge(tree, graph),
        };
        findings.into_iter().map(|f| Finding { check: self.name, ..f }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing found.
    pub(super) const NONE: [usize; 0] = [];

    /// The lines of what `check` finds in a tree of one file.
    #[track_caller]
    pub(super) fn lines(check: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of([(path, text)])).iter().map(|f| f.line).collect()
    }

    #[test]
    fn this_project_is_tidy() {
        let findings = run(&crate::root()).unwrap();
        let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(list.is_empty(), "\n{}\n", list.join("\n"));
    }
}
