//! Where a mistake stands, and all mistakes together.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In the file; both counted from 1, the column in characters.
    At {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In a variable of the environment.
    Variable(String),
    /// Nowhere in particular.
    Whole,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// All that is wrong, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Mistakes {
    /// The file; none if there is none.
    pub file: Option<PathBuf>,
    /// Each.
    pub all: Vec<Mistake>,
}

impl Place {
    /// The place of an offset in a text.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::At {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl Mistakes {
    /// Sorted, each once.
    pub(super) fn new(file: Option<PathBuf>, mut all: Vec<Mistake>) -> Self {
        all.sort();
        all.dedup();
        Self { file, all }
    }

    /// One line for each: `FILE:LINE:COLUMN: what is wrong; what would be right`.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let file = self.file.as_ref().map(|f| f.display().to_string()).unwrap_or_default();
        self.all.iter().map(move |mistake| {
            let text = &mistake.text;
            match &mistake.place {
                Place::At { line, column } => format!("{file}:{line}:{column}: {text}"),
                Place::Variable(name) => format!("{name}: {text}"),
                Place::Whole => text.clone(),
            }
        })
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.lines().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_from_one() {
        let text = "a = 1\nγλυ = 2\n";
        for (offset, line, column) in [(0, 1, 1), (4, 1, 5), (6, 2, 1), (13, 2, 5), (999, 3, 1)] {
            assert_eq!(Place::of(text, &(offset..offset)), Place::At { line, column }, "{offset}");
        }
    }
}
