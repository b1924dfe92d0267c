//! Variables of the environment that stand for keys: `STENTOR__LOG__LEVEL=debug` is `level` in
//! `[log]`.

use std::ffi::OsString;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A variable that names a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name, with the prefix.
    pub name: String,
    /// Its value; what is no UTF-8 in it as U+FFFD.
    pub raw: String,
}

impl Variable {
    /// All that are set, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        // Variables of others may be anything but UTF-8.
        let mut all: Vec<Self> = std::env::vars_os()
            .map(|(name, raw)| (lossy(name), lossy(raw)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, raw)| Self { name, raw })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn lossy(text: OsString) -> String {
    text.into_string().unwrap_or_else(|text| text.to_string_lossy().into_owned())
}

/// Puts variables over the keys of the file. The spans of what they set begin at `base` and count
/// the variables, so that a mistake can be told of its variable. Returns the indices of those that
/// lead nowhere.
pub(super) fn overlay<'t>(
    root: &mut DeTable<'t>,
    variables: &'t [Variable],
    base: usize,
) -> Vec<usize> {
    let mut astray = Vec::new();
    for (index, variable) in variables.iter().enumerate() {
        let path = variable.name[PREFIX.len()..].to_ascii_lowercase();
        let keys: Vec<&str> = path.split("__").collect();
        if keys.iter().any(|key| key.is_empty()) || !set(root, &keys, &variable.raw, base + index) {
            astray.push(index);
        }
    }
    astray
}

fn set<'t>(table: &mut DeTable<'t>, keys: &[&str], raw: &'t str, at: usize) -> bool {
    let Some((first, rest)) = keys.split_first() else { return false };
    let span = at..at + 1;
    if rest.is_empty() {
        // What is no number, truth or list of TOML is a text without its quotes.
        let value = DeValue::parse(raw).map(Spanned::into_inner);
        let mut value = Spanned::new(0..0, value.unwrap_or_else(|_| DeValue::String(raw.into())));
        settle(&mut value, at);
        table.remove(*first);
        table.insert(Spanned::new(span, (*first).to_owned().into()), value);
        return true;
    }
    if table.get(*first).is_none() {
        let empty = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(span, (*first).to_owned().into()), empty);
    }
    match table.get_mut(*first).map(Spanned::get_mut) {
        Some(DeValue::Table(inner)) => set(inner, rest, raw, at),
        _ => false,
    }
}

/// Gives a value and all inside it the place of their variable.
fn settle(value: &mut Spanned<DeValue<'_>>, at: usize) {
    let mut inner = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    match &mut inner {
        DeValue::Array(items) => items.iter_mut().for_each(|item| settle(item, at)),
        DeValue::Table(table) => {
            let placed = std::mem::take(table).into_iter().map(|(key, mut item)| {
                settle(&mut item, at);
                (Spanned::new(at..at + 1, key.into_inner()), item)
            });
            *table = placed.collect();
        }
        _ => {}
    }
    *value = Spanned::new(at..at + 1, inner);
}

/// What the names of such variables begin with.
pub(crate) const PREFIX: &str = "STENTOR__";
