//! What serde says of an option that it refuses, in the words of the other mistakes.

use super::reader::nearest;

/// What is wrong with an option, of which nothing or the name has been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// A whole sentence.
    Sentence(String),
    /// To be read behind the name of the option.
    Predicate(String),
}

/// Says it plainly, if it is one of serde's own sentences.
pub(super) fn plainly(reason: &str) -> Option<Plain> {
    if let Some((name, known)) = quoted(reason, "unknown field `") {
        let known = in_quotes(known);
        let hint = match nearest(name, &known) {
            _ if known.is_empty() => "; it has none".to_owned(),
            Some(known) => format!("; did you mean `{known}`?"),
            None => format!("; there are `{}`", known.join("`, `")),
        };
        return Some(Plain::Sentence(format!("there is no option `{name}`{hint}")));
    }
    if let Some((_, known)) = quoted(reason, "unknown variant `") {
        let known = in_quotes(known);
        return Some(Plain::Predicate(format!("must be one of `{}`", known.join("`, `"))));
    }
    let is_of_type = ["invalid type: ", "invalid value: "].iter().any(|w| reason.starts_with(w));
    let (_, expected) = reason.rsplit_once(", expected ").filter(|_| is_of_type)?;
    let kind = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => {
            return Some(Plain::Predicate(format!("must be {}", whole(expected))));
        }
        "a boolean" => "`true` or `false`",
        "a string" => "a text in quotes",
        "a sequence" => "a list: `[\"…\", \"…\"]`",
        _ => return None,
    };
    Some(Plain::Predicate(format!("must be {kind}")))
}

/// All that stands in backquotes: each other part, from the second on.
fn in_quotes(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The name in the first quotes, and the rest.
fn quoted<'r>(reason: &'r str, begin: &str) -> Option<(&'r str, &'r str)> {
    reason.strip_prefix(begin)?.split_once('`')
}

fn whole(kind: &str) -> String {
    let max = match kind {
        "u8" => u32::from(u8::MAX),
        "u16" => u32::from(u16::MAX),
        "u32" => u32::MAX,
        _ => return "a whole number".to_owned(),
    };
    format!("a whole number from 0 to {max}")
}

#[cfg(test)]
mod tests {
    use super::{Plain, plainly};

    #[test]
    fn what_is_refused_is_told_as_other_mistakes_are() {
        let sentence = |text: &str| Some(Plain::Sentence(text.to_owned()));
        let predicate = |text: &str| Some(Plain::Predicate(text.to_owned()));
        for (reason, expected) in [
            (
                "unknown field `dais`, expected one of `days`, `hours`",
                sentence("there is no option `dais`; did you mean `days`?"),
            ),
            (
                "unknown field `weather`, expected `days` or `hours`",
                sentence("there is no option `weather`; there are `days`, `hours`"),
            ),
            (
                "unknown field `odd`, there are no fields",
                sentence("there is no option `odd`; it has none"),
            ),
            (
                "unknown variant `x`, expected `all` or `none`",
                predicate("must be one of `all`, `none`"),
            ),
            (
                "invalid type: string \"3\", expected u8",
                predicate("must be a whole number from 0 to 255"),
            ),
            ("invalid value: integer `-1`, expected u64", predicate("must be a whole number")),
            (
                "invalid type: integer `1`, expected a boolean",
                predicate("must be `true` or `false`"),
            ),
            ("invalid type: integer `1`, expected a string", predicate("must be a text in quotes")),
            ("`days` must be from 1 to 31", None),
            ("invalid type: integer `1`, expected struct Hours", None),
        ] {
            assert_eq!(plainly(reason), expected, "{reason}");
        }
    }
}
