//! What a key of the configuration is: its type, default, bounds and meaning, stated once for the
//! reader and for the reference page.

use std::net::SocketAddr;

use super::words::Words;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name within its section.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// The default as it would stand in the file. Numbers, words and truths are read from here.
    pub default: &'static str,
    /// When a change takes effect.
    pub change: Change,
    /// What it does.
    pub help: &'static str,
}

/// What may stand behind a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A file or folder; a relative one begins at the folder of the configuration file.
    Path,
    /// An IP address with a port; an example of one.
    Address(&'static str),
    /// `true` or `false`.
    Truth,
    /// A whole number from the first to the second, of this unit.
    Number(u64, u64, &'static str),
    /// One of several words.
    Word(Words),
    /// A list of texts.
    Texts,
    /// Tables below.
    Tables,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// At a reload.
    Reload,
    /// At the next start.
    Restart,
}

impl Key {
    /// The type with unit and bounds, for the reference page.
    pub(crate) fn kind_words(&self) -> String {
        match self.kind {
            Kind::Text => "text".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Address(_) => "address with port".to_owned(),
            Kind::Truth => "`true` or `false`".to_owned(),
            Kind::Number(min, max, unit) => format!("{unit}, {min} to {max}"),
            Kind::Word(words) => {
                words().iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
            }
            Kind::Texts => "list of texts".to_owned(),
            Kind::Tables => "tables".to_owned(),
        }
    }

    /// An address that could stand there.
    pub(super) fn address(&self) -> SocketAddr {
        match self.kind {
            Kind::Address(example) => example.parse().ok(),
            _ => None,
        }
        .unwrap_or_else(|| unreachable!("`{}` has no example of an address", self.name))
    }

    /// The bounds and the default of a number.
    pub(super) fn number(&self) -> (u64, u64, u64) {
        match (self.kind, self.default.parse()) {
            (Kind::Number(min, max, _), Ok(default)) => (min, max, default),
            _ => unreachable!("`{}` is not a number with a default", self.name),
        }
    }
}

impl Change {
    /// In words, for the reference page.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}
