//! Reading a configuration file so that all its mistakes are told at once, each with its line, the
//! reason and a remedy.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One key, for the reader and for the reference page.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name within its section.
    pub name: &'static str,
    /// The default as it would stand in the file.
    pub default: &'static str,
    /// What it does, with unit and bounds.
    pub help: &'static str,
}

/// Something wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The line, counted from 1; none if it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// A file being read.
pub(crate) struct Reader<'a> {
    text: &'a str,
    /// All that has been found wrong.
    pub mistakes: Vec<Mistake>,
}

/// One table of the file, with the keys that have been asked for.
pub(crate) struct Section<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    name: String,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// A reader of this text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, mistakes: Vec::new() }
    }

    /// Notes a mistake at a place.
    pub(crate) fn wrong(&mut self, span: Range<usize>, text: impl Into<String>) {
        let line = self.text[..span.start.min(self.text.len())].matches('\n').count() + 1;
        self.mistakes.push(Mistake { line: Some(line), text: text.into() });
    }

    /// Opens a table; an absent one has all defaults.
    pub(crate) fn section<'r, 't>(
        &'r mut self,
        name: &str,
        value: Option<&'t Spanned<DeValue<'t>>>,
    ) -> Section<'r, 'a, 't> {
        let table = match value.map(|v| (v.span(), v.get_ref())) {
            None => None,
            Some((_, DeValue::Table(table))) => Some(table),
            Some((span, _)) => {
                self.wrong(span, format!("`{name}` must be a table: write `[{name}]`"));
                None
            }
        };
        Section { reader: self, name: name.to_owned(), table, asked: Vec::new() }
    }

    /// The tables of an array of tables.
    pub(crate) fn array<'t>(
        &mut self,
        name: &str,
        value: Option<&'t Spanned<DeValue<'t>>>,
    ) -> Vec<&'t Spanned<DeValue<'t>>> {
        match value.map(|v| (v.span(), v.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(items))) => items.iter().collect(),
            Some((span, _)) => {
                self.wrong(span, format!("`{name}` is a list of tables: write `[[{name}]]`"));
                Vec::new()
            }
        }
    }
}

impl<'t> Section<'_, '_, 't> {
    /// The raw value of a key.
    pub(crate) fn value(&mut self, key: &'static Key) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key.name);
        self.table?.get(key.name)
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static Key) -> Option<(Range<usize>, String)> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((value.span(), text.to_string())),
            _ => self.must_be(key, value.span(), "a text in quotes"),
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static Key) -> Vec<(Range<usize>, String)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.must_be::<()>(key, value.span(), "a list of texts: `[\"…\", \"…\"]`");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push((item.span(), text.to_string())),
                _ => {
                    self.must_be::<()>(key, item.span(), "a list of texts");
                }
            }
        }
        texts
    }

    /// Yes or no.
    pub(crate) fn truth(&mut self, key: &'static Key, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(truth) => *truth,
            _ => self.must_be(key, value.span(), "`true` or `false`").unwrap_or(default),
        }
    }

    /// A number within bounds.
    pub(crate) fn number(&mut self, key: &'static Key, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let number = match value.get_ref() {
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok()
            }
            _ => None,
        };
        match number.filter(|n| bounds.contains(n)) {
            Some(number) => number,
            None => {
                let what = format!("a number from {} to {}", bounds.start(), bounds.end());
                self.must_be(key, value.span(), &what).unwrap_or(default)
            }
        }
    }

    /// One of several words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static Key, choices: &[(&str, T)], default: T) -> T {
        let Some((span, text)) = self.text(key) else { return default };
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == text) {
            return *chosen;
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        self.must_be(key, span, &format!("one of {}", words.join(", "))).unwrap_or(default)
    }

    /// Notes a mistake at a place.
    pub(crate) fn wrong(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.reader.wrong(span, text);
    }


    /// Tells of keys that nobody asked for, with the nearest one that exists.
    pub(crate) fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name = key.get_ref();
            if self.asked.iter().any(|asked| *asked == &**name) {
                continue;
            }
            let place = if self.name.is_empty() {
                "the file".to_owned()
            } else {
                format!("`{}`", self.name)
            };
            let nearest = self.asked.iter().min_by_key(|asked| distance(asked, name));
            let hint = nearest
                .filter(|asked| distance(asked, name) <= 3)
                .map_or_else(String::new, |asked| format!("; did you mean `{asked}`?"));
            self.reader.wrong(key.span(), format!("there is no key `{name}` in {place}{hint}"));
        }
    }

    fn must_be<T>(&mut self, key: &Key, span: Range<usize>, what: &str) -> Option<T> {
        self.reader.wrong(span, format!("`{}` must be {what}", key.name));
        None
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
    use super::distance;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (one, other, expected) in
            [("", "", 0), ("adress", "address", 1), ("kitten", "sitting", 3), ("a", "b", 1)]
        {
            assert_eq!(distance(one, other), expected);
        }
    }
}
