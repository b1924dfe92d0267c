//! Reading a configuration so that all its mistakes are told at once, each with its place, the
//! reason and a remedy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Variable;
use super::key::{Change, Key};
use super::place::{Mistake, Place};
use super::words::{Word, words};

/// A value with its span.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A configuration being read.
pub(super) struct Reader<'a> {
    text: &'a str,
    variables: &'a [Variable],
    folder: PathBuf,
    /// All that has been found wrong.
    pub mistakes: Vec<Mistake>,
    /// What was set of keys that a reload leaves alone, by their paths.
    pub fixed: BTreeMap<String, String>,
}

/// One table, with the keys that have been asked for.
pub(super) struct Section<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    /// For people: `profile.default`.
    name: &'r str,
    /// For comparing: `listen.0`.
    path: String,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// A reader of this text and these variables. Relative paths begin at `folder`.
    pub(super) fn new(text: &'a str, variables: &'a [Variable], folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { text, variables, folder, mistakes: Vec::new(), fixed: BTreeMap::new() }
    }

    /// The span of the first variable; the others follow.
    pub(super) fn variables_begin(&self) -> usize {
        self.text.len() + 1
    }

    /// Where a span is.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        match self.variable(span) {
            Some(variable) => Place::Variable(variable.name.clone()),
            None => Place::of(self.text, span),
        }
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let place = self.place(span);
        self.mistakes.push(Mistake { place, text: text.into() });
    }

    /// Opens a table; an absent one has all defaults.
    pub(super) fn section<'r, 't>(
        &'r mut self,
        name: &'r str,
        value: Option<&'t Value<'t>>,
    ) -> Section<'r, 'a, 't> {
        self.numbered(name, name.to_owned(), &format!("[{name}]"), value)
    }

    /// The keys outside any table.
    pub(super) fn top<'r, 't>(&'r mut self, root: &'t DeTable<'t>) -> Section<'r, 'a, 't> {
        Section { reader: self, name: "", path: "top".to_owned(), table: Some(root), asked: vec![] }
    }

    /// Opens one table of a list of tables.
    pub(super) fn item<'r, 't>(
        &'r mut self,
        name: &'r str,
        index: usize,
        value: &'t Value<'t>,
    ) -> Section<'r, 'a, 't> {
        self.numbered(name, format!("{name}.{index}"), &format!("[[{name}]]"), Some(value))
    }

    /// The tables of a list of tables.
    pub(super) fn items<'t>(
        &mut self,
        name: &str,
        value: Option<&'t Value<'t>>,
    ) -> Vec<&'t Value<'t>> {
        match value.map(|v| (v.span(), v.get_ref())) {
            None => Vec::new(),
            Some((span, DeValue::Array(items))) if items.is_empty() => {
                self.wrong(&span, format!("`{name}` is an empty list: leave it out"));
                Vec::new()
            }
            Some((_, DeValue::Array(items))) => items.iter().collect(),
            Some((span, _)) => {
                self.wrong(&span, format!("`{name}` is a list of tables: write `[[{name}]]`"));
                Vec::new()
            }
        }
    }

    /// Tells of keys that are not among `known`, with the nearest that is.
    pub(super) fn unknown(&mut self, place: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name = key.get_ref();
            if !known.contains(&&**name) {
                let hint = nearest(name, known)
                    .map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
                self.wrong(&key.span(), format!("there is no key `{name}` in {place}{hint}"));
            }
        }
    }

    fn numbered<'r, 't>(
        &'r mut self,
        name: &'r str,
        path: String,
        written: &str,
        value: Option<&'t Value<'t>>,
    ) -> Section<'r, 'a, 't> {
        let table = match value.map(|v| (v.span(), v.get_ref())) {
            None => None,
            Some((_, DeValue::Table(table))) => Some(table),
            Some((span, _)) => {
                self.wrong(&span, format!("`{name}` must be a table: write `{written}`"));
                None
            }
        };
        Section { reader: self, name, path, table, asked: Vec::new() }
    }

    fn variable(&self, span: &Range<usize>) -> Option<&'a Variable> {
        self.variables.get(span.start.checked_sub(self.variables_begin())?)
    }
}

impl<'t> Section<'_, '_, 't> {
    /// The value of a key as it stands there.
    pub(super) fn value(&mut self, key: &'static Key) -> Option<&'t Value<'t>> {
        self.asked.push(key.name);
        let value = self.table?.get(key.name)?;
        if key.change == Change::Restart {
            let path = format!("{}.{}", self.path, key.name);
            self.reader.fixed.insert(path, shown(value.get_ref()));
        }
        Some(value)
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static Key) -> Option<(Range<usize>, String)> {
        let value = self.value(key)?;
        match (value.get_ref(), self.reader.variable(&value.span())) {
            (DeValue::String(text), _) => Some((value.span(), text.to_string())),
            // `STENTOR__TLS__VERSION_MIN=1.2` needs no quotes.
            (_, Some(variable)) => Some((value.span(), variable.raw.clone())),
            _ => self.must_be(key, &value.span(), "a text in quotes"),
        }
    }

    /// A file or folder.
    pub(super) fn path(&mut self, key: &'static Key) -> Option<(Range<usize>, PathBuf)> {
        let (span, text) = self.text(key)?;
        if text.is_empty() {
            return self.must_be(key, &span, "the path of a file or folder");
        }
        Some((span, self.reader.folder.join(text)))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static Key) -> Vec<(Range<usize>, String)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.must_be::<()>(key, &value.span(), "a list of texts: `[\"…\", \"…\"]`");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push((item.span(), text.to_string())),
                _ => {
                    self.must_be::<()>(key, &item.span(), "a list of texts: `[\"…\", \"…\"]`");
                }
            }
        }
        texts
    }

    /// Yes or no.
    pub(super) fn truth(&mut self, key: &'static Key) -> bool {
        let default = key.default == "true";
        let Some(value) = self.value(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(truth) => *truth,
            _ => self.must_be(key, &value.span(), "`true` or `false`").unwrap_or(default),
        }
    }

    /// A number within the bounds of the key.
    pub(super) fn number(&mut self, key: &'static Key) -> u64 {
        let (min, max, default) = key.number();
        let Some(value) = self.value(key) else { return default };
        let number = match value.get_ref() {
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok()
            }
            _ => None,
        };
        let number = number.filter(|n| (min..=max).contains(n));
        let what = || format!("a number from {min} to {max}");
        number.or_else(|| self.must_be(key, &value.span(), &what())).unwrap_or(default)
    }

    /// One of several words.
    pub(super) fn word<T: Word>(&mut self, key: &'static Key) -> T {
        let default = || T::of(key.default.trim_matches('"')).unwrap_or(T::ALL[0].1);
        let Some((span, text)) = self.text(key) else { return default() };
        T::of(&text).unwrap_or_else(|| {
            let known = words::<T>();
            let all: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            self.must_be::<()>(key, &span, &format!("one of {}", all.join(", ")));
            default()
        })
    }

    /// An address with a port.
    pub(super) fn address(&mut self, key: &'static Key) -> Option<(Range<usize>, SocketAddr)> {
        let (span, text) = self.text(key)?;
        if let Ok(address) = text.parse() {
            return Some((span, address));
        }
        let mut example = key.address();
        if let Ok(host) = text.parse() {
            example.set_ip(host);
        }
        self.wrong(
            &span,
            format!("`{text}` is no IP address with a port: write it as `{example}`"),
        );
        None
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.reader.wrong(span, text);
    }

    /// Where a span is.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.reader.place(span)
    }

    /// Tells of keys that nobody asked for, with the nearest one that exists.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        self.reader.unknown(&format!("`{}`", self.name), table, &self.asked);
    }

    fn must_be<T>(&mut self, key: &Key, span: &Range<usize>, what: &str) -> Option<T> {
        self.reader.wrong(span, format!("`{}` must be {what}", key.name));
        None
    }
}

/// The known name that a wrong one was probably meant to be.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|known| (distance(known, name), *known)).min()?;
    (near.0 <= 3 && near.0 < near.1.len()).then_some(near.1)
}

/// A value for comparing with what stood there before.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Array(items) => items.iter().map(|i| shown(i.get_ref()) + ",").collect(),
        other => format!("{other:?}"),
    }
}

/// How many letters must be changed, added or removed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let cost = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (one, other, expected) in
            [("", "", 0), ("adress", "address", 1), ("kitten", "sitting", 3), ("a", "b", 1)]
        {
            assert_eq!(distance(one, other), expected);
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["address", "kind", "tls"];
        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("weather", &known), None);
        assert_eq!(nearest("abc", &known), None, "nothing of `tls` is left");
    }
}
