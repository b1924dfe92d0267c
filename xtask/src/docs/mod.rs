//! Pages generated from the code: `docs/xeps.md` for people, `doap.xml` for machines.

mod doap;
mod xeps;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::tree::Tree;

/// Writes all pages.
pub(crate) fn write(root: &Path) -> Result<()> {
    for (path, text) in pages(&Tree::read(root)?)? {
        let full = root.join(path);
        if let Some(folder) = full.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&full, text).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// Pages that differ from what the code says.
pub(crate) fn stale(tree: &Tree) -> Result<Vec<&'static str>> {
    let is_stale = |path: &str, text: &str| tree.get(path).is_none_or(|s| s.text != text);
    Ok(pages(tree)?.into_iter().filter(|(p, t)| is_stale(p, t)).map(|(p, _)| p).collect())
}

fn pages(tree: &Tree) -> Result<Vec<(&'static str, String)>> {
    let xeps = xeps::collect(tree).map_err(|message| anyhow!("{message}"))?;
    let rfcs: Vec<u16> =
        doap::RFCS.iter().filter(|(_, place)| tree.has(place)).map(|(n, _)| *n).collect();
    Ok(vec![("docs/xeps.md", xeps::page(&xeps)), ("doap.xml", doap::page(&xeps, &rfcs))])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &str = "//! XEP-0199: XMPP Ping, version 2.0.1.\n";

    #[test]
    fn committed_pages_are_current() {
        let stale = stale(&Tree::read(&crate::root()).unwrap()).unwrap();
        assert!(stale.is_empty(), "run `cargo xtask docs`: {stale:?}");
    }

    #[test]
    fn tells_stale_pages() {
        let tree = Tree::of([("crates/modules/src/xep0199_ping.rs", PING)]);
        assert_eq!(stale(&tree).unwrap(), ["docs/xeps.md", "doap.xml"]);
        let mut files: Vec<(&str, String)> = pages(&tree).unwrap();
        files.push(("crates/modules/src/xep0199_ping.rs", PING.to_owned()));
        assert_eq!(stale(&Tree::of(files.clone())).unwrap(), Vec::<&str>::new());
        files.push((
            "crates/modules/src/xep0202_time.rs",
            "//! XEP-0202: Entity Time, version 2.0.\n".into(),
        ));
        assert_eq!(stale(&Tree::of(files)).unwrap().len(), 2);
    }
}
