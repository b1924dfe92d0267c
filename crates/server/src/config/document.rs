//! The reference page of the configuration, from the keys and the modules themselves.

use std::fmt::Write as _;

use super::keys;

/// The page, in Markdown.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         One TOML file, named by `--config`; every key is optional. `stentor check` tells all its \
         mistakes at once. `SIGHUP` or `stentor reload` reads it again: domains, profiles, \
         certificates and the log level follow at once, what needs a restart says so below.\n\n\
         This page is generated from the code.\n",
    );
    for section in keys::ALL {
        let _ = write!(page, "\n## {}\n\n{}\n\n", section.heading, section.about);
        page.push_str("| Key | Default | Meaning |\n|---|---|---|\n");
        for key in section.keys {
            let _ = writeln!(page, "| `{}` | `{}` | {} |", key.name, key.default, key.help);
        }
    }
    page.push_str("\n## Modules\n\nEach in `[profile.NAME.modules.MODULE]`.\n");
    for spec in stentor_modules::registry::ALL.iter().map(|f| f.spec) {
        if spec.options.is_empty() {
            continue;
        }
        let _ = write!(page, "\n### {}\n\n", spec.name);
        page.push_str("| Key | Default | Meaning |\n|---|---|---|\n");
        for option in spec.options {
            let _ = writeln!(page, "| `{}` | `{}` | {} |", option.key, option.default, option.help);
        }
    }
    page
}
