//! The profiles with their modules.

use std::collections::BTreeMap;
use std::ops::Range;

use stentor_engine::Registrar;
use stentor_modules::registry;
use toml::de::{DeTable, DeValue};

use super::plainly::{Plain, plainly};
use super::reader::{Reader, Section, Value, nearest};
use super::sections::{size, small};
use super::{ProfileEntry, keys};

/// Reads `[profile.NAME]`; `default` is always there.
pub(super) fn read<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
) -> BTreeMap<String, ProfileEntry> {
    let mut profiles = BTreeMap::from([("default".to_owned(), ProfileEntry::default())]);
    let Some(value) = value else { return profiles };
    let DeValue::Table(tables) = value.get_ref() else {
        reader.wrong(
            &value.span(),
            "`profile` must be a table of profiles: write `[profile.default]`",
        );
        return profiles;
    };
    for (name, table) in tables {
        let section = format!("profile.{}", name.get_ref());
        let mut s = reader.section(&section, Some(table));
        let mut entry = ProfileEntry::default();
        let settings = &mut entry.settings;
        settings.delivery = s.word(&keys::DELIVERY);
        settings.resource_conflict = s.word(&keys::RESOURCE_CONFLICT);
        settings.sessions_max = size(s.number(&keys::SESSIONS_MAX));
        settings.unknown_account_silent = s.truth(&keys::UNKNOWN_ACCOUNT_SILENT);
        settings.is_anonymous = s.truth(&keys::ANONYMOUS);
        settings.roster_items_max = size(s.number(&keys::ROSTER_ITEMS_MAX));
        settings.resume_secs = small(s.number(&keys::RESUME_SECS));
        modules(&mut s, &mut entry);
        s.finish();
        profiles.insert(name.get_ref().to_string(), entry);
    }
    profiles
}

/// Takes the tables of modules over, and builds the profile once, to hear what its modules say of
/// them.
fn modules(s: &mut Section<'_, '_, '_>, entry: &mut ProfileEntry) {
    let Some(value) = s.value(&keys::MODULES) else { return };
    let DeValue::Table(tables) = value.get_ref() else {
        s.wrong(
            &value.span(),
            "`modules` must be a table: write `[profile.default.modules.offline]`",
        );
        return;
    };
    let known: Vec<&str> = registry::ALL.iter().map(|f| f.spec.name).collect();
    for (key, table) in tables {
        let name = &**key.get_ref();
        if !known.contains(&name) {
            let remedy = nearest(name, &known).map_or_else(
                || "`stentor modules` lists them".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            s.wrong(&key.span(), format!("there is no module `{name}`; {remedy}"));
            continue;
        }
        let DeValue::Table(options) = table.get_ref() else {
            s.wrong(&table.span(), format!("`{name}` must be a table: write `[….modules.{name}]`"));
            continue;
        };
        if let Some(enabled) = options.get("enabled").filter(|v| !v.get_ref().is_bool()) {
            s.wrong(&enabled.span(), "`enabled` must be `true` or `false`");
        } else if let Some(owned) = owned(table) {
            entry.modules.insert(name.to_owned(), owned);
        }
    }
    let built = registry::profile(entry.settings.clone(), entry.modules.clone());
    for text in built.err().unwrap_or_default() {
        let (span, text) = blame(&text, tables).unwrap_or_else(|| (value.span(), text.clone()));
        s.wrong(&span, format!("module {}", text.trim_end()));
    }
}

/// The place that a module speaks of, and the text with the option's name: an option that it
/// names, or the one that it refuses alone, or else its table.
fn blame(text: &str, tables: &DeTable<'_>) -> Option<(Range<usize>, String)> {
    let (name, reason) = text.split_once(": ")?;
    let module = tables.get(name)?;
    let options = module.get_ref().as_table()?;
    let mut named = reason.split('`').skip(1).step_by(2);
    if let Some(key) = named.find_map(|word| options.keys().find(|key| &**key.get_ref() == word)) {
        return Some((key.span(), told(name, None, reason)));
    }
    let factory = registry::ALL.iter().find(|factory| factory.spec.name == name)?;
    let alone = options.iter().find(|(key, value)| {
        let option = owned(value).map(|value| (key.get_ref().to_string(), value));
        let table = toml::Value::Table(option.into_iter().collect());
        factory.install(Some(table), &mut Registrar::default()).is_err()
    });
    Some(match alone {
        Some((key, value)) => (value.span(), told(name, Some(key.get_ref()), reason)),
        None => (module.span(), text.to_owned()),
    })
}

/// What a module says of one of its options, which it has named unless it stands there.
fn told(module: &str, option: Option<&str>, reason: &str) -> String {
    let plain = plainly(reason.trim_end());
    match (plain, option) {
        (Some(Plain::Sentence(text)), _) => format!("{module}: {text}"),
        (Some(Plain::Predicate(text)), Some(option)) => format!("{module}: `{option}` {text}"),
        (_, Some(option)) => format!("{module}: `{option}`: {reason}"),
        (_, None) => format!("{module}: {reason}"),
    }
}

fn owned(value: &Value<'_>) -> Option<toml::Value> {
    use serde::Deserialize as _;
    toml::Value::deserialize(toml::de::ValueDeserializer::from(value.clone())).ok()
}
