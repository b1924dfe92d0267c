//! The crates and their dependencies, as `cargo metadata` tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Members of the workspace and the normal dependencies of every package.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) members: Vec<Member>,
    /// Package id to its name and the ids it needs at run time.
    pub(crate) packages: BTreeMap<String, (String, Vec<String>)>,
    /// What is really compiled, tests included. `packages` has a few more: crates that an optional
    /// feature of a dependency names and nothing turns on.
    pub(crate) linked: Vec<Package>,
}

/// A crate and its terms.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression; empty if it has none.
    pub(crate) license: String,
}

/// One crate of ours.
pub(crate) struct Member {
    pub(crate) id: String,
    /// Without the project's prefix: `jid`, `store-sqlite`; the binary is `server`.
    pub(crate) name: String,
    /// From `[package.metadata.stentor]`.
    pub(crate) tier: Option<u64>,
    /// Our crates that it needs outside of tests, named like `name`.
    pub(crate) imports: Vec<String>,
}

impl Graph {
    /// Asks cargo, for the platform that runs this.
    pub(crate) fn read(root: &Path) -> Result<Graph> {
        let version = run(root, "rustc".as_ref(), &["-vV"])?;
        let host = version.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let metadata =
            run(root, &cargo, &["metadata", "--format-version=1", "--filter-platform", host])?;
        let mut graph = Graph::parse(&serde_json::from_str(&metadata)?);
        let tree = ["tree", "--workspace", "--prefix=none", "--no-dedupe", "--format={p}|{l}"];
        graph.linked = parse_tree(&run(root, &cargo, &tree)?);
        Ok(graph)
    }

    pub(crate) fn parse(metadata: &Value) -> Graph {
        let texts = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let members: BTreeSet<String> = list(&metadata["workspace_members"]).map(texts).collect();
        let mut graph = Graph::default();
        for package in list(&metadata["packages"]) {
            let (id, name) = (texts(&package["id"]), texts(&package["name"]));
            if members.contains(&id) {
                graph.members.push(Member {
                    id: id.clone(),
                    name: short(&name),
                    tier: package["metadata"]["stentor"]["tier"].as_u64(),
                    imports: list(&package["dependencies"])
                        .filter(|d| d["kind"].as_str() != Some("dev"))
                        .map(|d| texts(&d["name"]))
                        .filter(|n| n == "stentor" || n.starts_with("stentor-"))
                        .map(|n| short(&n))
                        .collect(),
                });
            }
            graph.packages.insert(id, (name, Vec::new()));
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let is_normal = |d: &&Value| list(&d["dep_kinds"]).any(|k| k["kind"].is_null());
            let needs = list(&node["deps"]).filter(is_normal).map(|d| texts(&d["pkg"])).collect();
            if let Some(package) = graph.packages.get_mut(&texts(&node["id"])) {
                package.1 = needs;
            }
        }
        graph
    }

    /// How `id` comes to need a package of the given name: names along the way, or `None`.
    pub(crate) fn path_to(&self, id: &str, wanted: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        self.search(id, wanted, &mut seen)
    }

    fn search<'a>(
        &'a self,
        id: &'a str,
        wanted: &str,
        seen: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        let (name, needs) = self.packages.get(id)?;
        if name == wanted {
            return Some(vec![name.clone()]);
        }
        if !seen.insert(id) {
            return None;
        }
        let mut way = needs.iter().find_map(|n| self.search(n, wanted, seen))?;
        way.insert(0, name.clone());
        Some(way)
    }
}

fn run(root: &Path, program: &OsStr, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(root).output();
    let output = output.with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        bail!("{} {arguments:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lines `name vVERSION (where)|LICENCE`, each crate once.
fn parse_tree(text: &str) -> Vec<Package> {
    let lines: BTreeSet<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    let package = |line: &str| {
        let (package, license) = line.split_once('|')?;
        let (name, rest) = package.split_once(" v")?;
        let version = rest.split(' ').next()?.to_owned();
        Some(Package { name: name.to_owned(), version, license: license.to_owned() })
    };
    lines.into_iter().filter_map(package).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The folder name of a crate of ours.
fn short(package: &str) -> String {
    match package.strip_prefix("stentor-") {
        Some(name) => name.to_owned(),
        None if package == "stentor" => "server".to_owned(),
        None => package.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_trees() {
        let linked = parse_tree(
            "stentor v0.1.0 (/src)|MIT OR Apache-2.0\nmemchr v2.8.3|MIT\n\nmemchr v2.8.3|MIT\n",
        );
        let names: Vec<(&str, &str)> =
            linked.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(names, [("memchr", "2.8.3"), ("stentor", "0.1.0")]);
        assert_eq!(linked[1].license, "MIT OR Apache-2.0");
    }

    #[test]
    fn leaves_out_what_only_tests_need() {
        let graph = Graph::parse(&serde_json::json!({
            "workspace_members": ["a"],
            "packages": [
                {"id": "a", "name": "stentor-xml", "metadata": {"stentor": {"tier": 0}},
                 "dependencies": [{"name": "stentor-jid", "kind": null},
                                  {"name": "stentor-testkit", "kind": "dev"},
                                  {"name": "memchr", "kind": null}]},
                {"id": "m", "name": "memchr", "dependencies": []},
                {"id": "t", "name": "tokio", "dependencies": []}],
            "resolve": {"nodes": [
                {"id": "a", "deps": [{"pkg": "m", "dep_kinds": [{"kind": null}]},
                                     {"pkg": "t", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "m", "deps": []}, {"id": "t", "deps": []}]}
        }));
        assert_eq!(graph.members[0].imports, ["jid"]);
        assert_eq!(graph.members[0].tier, Some(0));
        assert_eq!(graph.path_to("a", "tokio"), None);
        assert_eq!(graph.path_to("a", "memchr").unwrap(), ["stentor-xml", "memchr"]);
    }
}
