//! Searching by words.
//!
//! SQLite's index is given words that are cut and folded here, so that a query and the messages
//! that are not in the index yet are compared by the same rules. Among the words of a message
//! stand, in characters that no word has, the archives that hold it and the contacts there, so that
//! a search finds the messages of one archive, or of one contact, alone.
//!
//! What stands in the index is taken out by naming it again. A change of the rules here needs a
//! migration that builds the index anew.

use std::collections::HashSet;
use std::fmt::Write as _;

use rusqlite::{Connection, params};
use stentor_store::StoreError;

use crate::apply::run;
use crate::checksum::crc32;
use crate::limits::{QUERY_WORDS_MAX, WORD_BYTES_MAX};

/// What a message must hold.
#[derive(Clone, Debug)]
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    /// The words of a query.
    pub(crate) fn of(text: &str) -> Self {
        let mut words = Vec::new();
        let mut push = |word: String| {
            if words.len() < QUERY_WORDS_MAX && !words.contains(&word) {
                words.push(word);
            }
        };
        cut(text, |piece| match piece {
            Piece::Word(word) | Piece::Pair(word) | Piece::Single(word, true) => push(word),
            Piece::Single(_, false) => {}
        });
        Self(words)
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text holds them all.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        let mut found = HashSet::new();
        cut(text, |piece| {
            found.insert(piece.into_word());
        });
        self.0.iter().all(|word| found.contains(word))
    }

    /// The expression for the index: these words, and that of a holder if one is given.
    pub(crate) fn expression(&self, holder: Option<&str>) -> String {
        let mut expression = String::new();
        for word in self.0.iter().map(String::as_str).chain(holder) {
            if !expression.is_empty() {
                expression.push_str(" AND ");
            }
            _ = write!(expression, "\"{word}\"");
        }
        expression
    }
}

/// Who has a message: archives, and the bare address of the other side.
pub(crate) type Holders<'a> = [Option<(i64, &'a str)>; 2];

/// Makes the words of a message findable.
pub(crate) fn enter(
    db: &Connection,
    message: i64,
    text: &str,
    holders: Holders<'_>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO archive_words (rowid, words) VALUES (?1, ?2)";
    run(db, sql, params![message, line(text, holders)])
}

/// Takes a message out of the index. The text and the holders are those that were entered.
pub(crate) fn take_out(
    db: &Connection,
    message: i64,
    text: &str,
    holders: Holders<'_>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO archive_words (archive_words, rowid, words) VALUES ('delete', ?1, ?2)";
    run(db, sql, params![message, line(text, holders)])
}

/// What the index is given.
fn line(text: &str, holders: Holders<'_>) -> String {
    let mut line = String::with_capacity(text.len() + 64);
    for (archive, peer) in holders.into_iter().flatten() {
        _ = write!(line, "{} {} ", holder(archive), holder_with(archive, peer));
    }
    cut(text, |piece| {
        line.push_str(&piece.into_word());
        line.push(' ');
    });
    line
}

/// The word that messages in an archive have.
pub(crate) fn holder(archive: i64) -> String {
    format!("{HOLDER}{archive}")
}

/// The word that messages with a contact in an archive have.
pub(crate) fn holder_with(archive: i64, peer: &str) -> String {
    format!("{HOLDER}{archive}{HOLDER}{:x}", crc32(peer.as_bytes()))
}

enum Piece {
    /// A word between spaces and signs.
    Word(String),
    /// Two neighbours in a script without spaces.
    Pair(String),
    /// One character of such a script, and whether it stands alone.
    Single(String, bool),
}

impl Piece {
    fn into_word(self) -> String {
        match self {
            Self::Word(word) | Self::Pair(word) | Self::Single(word, _) => word,
        }
    }
}

/// Cuts a text into pieces, in lower case.
fn cut(text: &str, mut piece: impl FnMut(Piece)) {
    let mut word = String::new();
    let mut chars = text.chars().flat_map(char::to_lowercase).peekable();
    while let Some(c) = chars.next() {
        if !is_dense(c) && c.is_alphanumeric() {
            if word.len() + c.len_utf8() <= WORD_BYTES_MAX {
                word.push(c);
            }
            continue;
        }
        if !word.is_empty() {
            piece(Piece::Word(std::mem::take(&mut word)));
        }
        if is_dense(c) {
            let mut before = None;
            let mut at = c;
            loop {
                let next = chars.next_if(|next| is_dense(*next));
                piece(Piece::Single(at.to_string(), before.is_none() && next.is_none()));
                let Some(next) = next else { break };
                piece(Piece::Pair([at, next].iter().collect()));
                before = Some(at);
                at = next;
            }
        }
    }
    if !word.is_empty() {
        piece(Piece::Word(word));
    }
}

/// Whether a character belongs to a script that is written without spaces between words.
fn is_dense(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30FF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// Begins a word that no text has: it is no letter, and SQLite's tokenizer takes it for one.
const HOLDER: char = '\u{E000}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_words_in_any_case() {
        let text = "Wherefore art thou, ROMEO? Deny thy father's name; Ärger, ÉTÉ 1597.";
        for found in ["romeo", "ART wherefore", "father s", "été", "ärger", "1597", "Romeo romeo"]
        {
            assert!(Wanted::of(found).are_in(text), "{found}");
        }
        for missing in ["rome", "thou juliet", "15"] {
            assert!(!Wanted::of(missing).are_in(text), "{missing}");
        }
        assert!(Wanted::of(" \u{E000}17 ,.").0 == ["17"]);
        assert!(Wanted::of("?! \u{E000}").is_empty());
    }

    #[test]
    fn finds_neighbours_in_scripts_without_spaces() {
        let text = "明日は東京タワーに行く";
        for found in ["東京", "行く", "明", "京", "東京タワー"] {
            assert!(Wanted::of(found).are_in(text), "{found}");
        }
        for missing in ["京東", "雨", "東行"] {
            assert!(!Wanted::of(missing).are_in(text), "{missing}");
        }
    }

    #[test]
    fn cuts_endless_words() {
        let endless = "x".repeat(10_000);
        assert_eq!(Wanted::of(&endless).0[0].len(), WORD_BYTES_MAX);
        assert!(Wanted::of(&endless).are_in(&endless));
    }
}
