//! Every dependency, ban and licence stands there with its reason.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(root) = tree.get("Cargo.toml") {
        findings.extend(check_workspace(&root.text));
    }
    match tree.get("deny.toml") {
        Some(deny) => findings.extend(check_deny(&deny.text)),
        None => findings.push(Finding::whole("deny.toml", "is missing")),
    }
    for source in tree.files().filter(|s| s.name() == "Cargo.toml" && is_member(&s.path)) {
        findings.extend(check_member(&source.path, &source.text));
    }
    findings
}

fn is_member(path: &str) -> bool {
    path.contains('/') && !path.starts_with("fuzz/")
}

/// In `[workspace.dependencies]` a comment leads every group of lines.
fn check_workspace(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut is_inside, mut has_reason) = (false, false);
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line == "[workspace.dependencies]";
        }
        if line.is_empty() {
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if is_inside && line.contains('=') && !has_reason {
            let message = "no comment says why this is needed";
            findings.push(Finding { line: index + 1, ..Finding::whole("Cargo.toml", message) });
        }
    }
    findings
}

/// In `deny.toml` every entry of a list has `reason = "…"` or a comment on its line.
fn check_deny(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.trim_start();
        let is_entry = line.starts_with(' ') && (entry.starts_with('"') || entry.starts_with('{'));
        if is_entry && !line.contains("reason = \"") && !line.contains(" # ") {
            let message = "an entry without its reason";
            findings.push(Finding { line: index + 1, ..Finding::whole("deny.toml", message) });
        }
    }
    findings
}

/// Members take versions from the workspace, so that there is one of anything.
fn check_member(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line.ends_with("dependencies]");
        } else if is_inside && line.contains('=') && !line.starts_with('#') {
            let is_shared = line.contains(".workspace = true") || line.contains("workspace = true");
            // A crate's own tests may name it with other features.
            if !is_shared && !line.contains("path = ") {
                let message = "version is not taken from the workspace";
                findings.push(Finding { line: index + 1, ..Finding::whole(path, message) });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_reasons_in_the_workspace() {
        let good = "[workspace.dependencies]\n# Search.\nmemchr = \"2\"\nsimdutf8 = \"0.1\"\n\n[profile.dev]\na = 1\n";
        assert_eq!(check_workspace(good), []);
        assert_eq!(check_workspace(&good.replace("# Search.\n", "")).len(), 2);
        assert_eq!(check_workspace(&good.replace("simdutf8", "\nsimdutf8")).len(), 1);
    }

    #[test]
    fn wants_reasons_for_bans() {
        let good = "deny = [\n    { crate = \"ring\", reason = \"second library\" },\n    \"MIT\", # usual\n]\n";
        assert_eq!(check_deny(good), []);
        assert_eq!(check_deny(&good.replace(" # usual", "")).len(), 1);
        assert_eq!(check_deny(&good.replace(", reason = \"second library\"", "")).len(), 1);
    }

    #[test]
    fn wants_shared_versions() {
        let good = "[dependencies]\nmemchr.workspace = true\n[dev-dependencies]\na = { workspace = true, features = [\"x\"] }\n";
        assert_eq!(check_member("crates/a/Cargo.toml", good), []);
        assert_eq!(
            check_member("crates/a/Cargo.toml", "[dependencies]\nmemchr = \"2\"\n").len(),
            1
        );
    }
}
