//! The attributes that all stanzas have in common (RFC 6120 §8.1), and where they are in a frame.

use crate::packed::PackedPlace;

/// An attribute that all stanzas have in common (RFC 6120 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Common {
    /// `id`.
    Id,
    /// `to`.
    To,
    /// `from`.
    From,
    /// `type`.
    Type,
    /// `xml:lang`.
    Lang,
}

impl Common {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::To => "to",
            Self::From => "from",
            Self::Type => "type",
            Self::Lang => "xml:lang",
        }
    }
}

/// Where the values of the root's common attributes are, if the root was read in one go.
///
/// Those of a stanza are read once more to route it; another search for the same quotes would take
/// as long as all the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commons {
    /// What has no place is not there.
    pub(crate) places: [PackedPlace; COMMONS],
    pub(crate) are_known: bool,
}

/// How many attributes stanzas have in common.
pub(crate) const COMMONS: usize = 5;
