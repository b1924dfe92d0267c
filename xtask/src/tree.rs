//! The files of the project as the checks see them: path and text, Rust already taken apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::rust::Rust;

/// All text files of the project, by path from the root with forward slashes.
pub(crate) struct Tree {
    files: BTreeMap<String, Source>,
}

/// One text file.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// For `.rs` files.
    pub(crate) rust: Option<Rust>,
}

impl Tree {
    /// Reads what `.gitignore` does not exclude; files that are not UTF-8 are passed over.
    pub(crate) fn read(root: &Path) -> Result<Tree> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut files = Vec::new();
        walk(root, "", &Ignored::parse(&ignored), &mut files)?;
        Ok(Tree::of(files))
    }

    /// A tree of the given paths and texts.
    pub(crate) fn of<P: Into<String>, T: Into<String>>(
        files: impl IntoIterator<Item = (P, T)>,
    ) -> Tree {
        let mut files: BTreeMap<String, Source> =
            files.into_iter().map(|(p, t)| Source::new(p.into(), t.into())).collect();
        mark_test_modules(&mut files);
        Tree { files }
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Source> {
        self.files.get(path)
    }

    /// Whether `path` is a file or a folder of the tree.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|p| p.starts_with(&folder))
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Source> {
        self.files.values()
    }

    /// The Rust files, each with its parts.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&Source, &Rust)> {
        self.files.values().filter_map(|s| s.rust.as_ref().map(|r| (s, r)))
    }
}

impl Source {
    fn new(path: String, text: String) -> (String, Source) {
        let rust = path.ends_with(".rs").then(|| Rust::parse(&text, is_test_path(&path)));
        (path.clone(), Source { path, text, rust })
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Line of a byte offset, counted from 1.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count()
    }
}

/// Places whose code exists to test, as a whole.
fn is_test_path(path: &str) -> bool {
    const FOLDERS: &[&str] = &["bench/", "fuzz/", "interop/", "crates/testkit/"];
    FOLDERS.iter().any(|f| path.starts_with(f))
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/contract/")
        || path.ends_with("/tests.rs")
}

/// Follows `#[cfg(test)] mod name;` to its file.
fn mark_test_modules(files: &mut BTreeMap<String, Source>) {
    let mut marked = BTreeSet::new();
    for source in files.values() {
        let Some(rust) = &source.rust else { continue };
        let folder = match source.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        for name in &rust.test_modules {
            marked.insert(format!("{folder}/{name}.rs"));
            marked.insert(format!("{folder}/{name}/mod.rs"));
        }
    }
    for path in marked {
        if let Some(rust) = files.get_mut(&path).and_then(|s| s.rust.as_mut()) {
            rust.is_all_test = true;
        }
    }
}

/// The three forms of line that our `.gitignore` has: `/path`, `name` or `name/`, `*.ext`.
struct Ignored<'a> {
    paths: Vec<&'a str>,
    names: Vec<&'a str>,
    endings: Vec<&'a str>,
}

impl<'a> Ignored<'a> {
    fn parse(text: &'a str) -> Ignored<'a> {
        // `.git` itself and the lock files, which are no one's prose.
        let mut ignored =
            Ignored { paths: vec![], names: vec![".git", "Cargo.lock"], endings: vec![] };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            if let Some(path) = line.strip_prefix('/') {
                ignored.paths.push(path.trim_end_matches('/'));
            } else if let Some(ending) = line.strip_prefix('*') {
                ignored.endings.push(ending);
            } else {
                ignored.names.push(line.trim_end_matches('/'));
            }
        }
        ignored
    }

    fn has(&self, path: &str, name: &str) -> bool {
        self.paths.contains(&path)
            || self.names.contains(&name)
            || self.endings.iter().any(|e| name.ends_with(e))
    }
}

fn walk(
    folder: &Path,
    prefix: &str,
    ignored: &Ignored<'_>,
    files: &mut Vec<(String, String)>,
) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if ignored.has(&path, &name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), ignored, files)?;
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push((path, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_what_gitignore_names() {
        let ignored = Ignored::parse("/target\nnode_modules/\n*.log\n# remark\n");
        assert!(ignored.has("target", "target"));
        assert!(!ignored.has("docs/target", "target"));
        assert!(ignored.has("a/node_modules", "node_modules"));
        assert!(ignored.has("a/b.log", "b.log"));
        assert!(!ignored.has("src/lib.rs", "lib.rs"));
    }

    #[test]
    fn follows_test_modules_to_their_files() {
        let tree = Tree::of([
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod samples;\nmod scan;\n"),
            ("crates/a/src/samples.rs", "fn f() {}"),
            ("crates/a/src/scan.rs", "#[cfg(test)]\nmod cases;\n"),
            ("crates/a/src/scan/cases.rs", "fn f() {}"),
        ]);
        let is_test = |p: &str| tree.get(p).unwrap().rust.as_ref().unwrap().is_all_test;
        assert!(is_test("crates/a/src/samples.rs"));
        assert!(is_test("crates/a/src/scan/cases.rs"));
        assert!(!is_test("crates/a/src/lib.rs") && !is_test("crates/a/src/scan.rs"));
    }

    #[test]
    fn knows_files_and_folders() {
        let tree = Tree::of([("docs/manual/intro.md", "")]);
        assert!(tree.has("docs/manual/intro.md") && tree.has("docs/manual") && tree.has("docs/"));
        assert!(!tree.has("docs/man"));
    }
}
