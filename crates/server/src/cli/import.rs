//! Reading a list of accounts to make: one a line, `name@domain password`.

use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use stentor_admin::accounts::Credentials;

/// Accounts of a list, each with its line.
pub(super) type Rows = Vec<(usize, Credentials)>;

/// Reads a whole list, `-` for standard input. Empty lines and those that begin with `#` say
/// nothing.
///
/// # Errors
/// It cannot be read, or a line is no account; nothing is made then.
pub(super) fn read(path: &Path) -> anyhow::Result<Rows> {
    if path == Path::new("-") {
        return rows(std::io::stdin().lock());
    }
    let name = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read `{name}`"))?;
    rows(BufReader::new(file)).with_context(|| format!("nothing was imported from `{name}`"))
}

fn rows(list: impl BufRead) -> anyhow::Result<Rows> {
    let mut rows = Vec::new();
    for (index, line) in list.take(LIST_BYTES_MAX).lines().enumerate() {
        let line = line?;
        let number = index + 1;
        // A password may begin or end with spaces: only what stands before it is trimmed.
        let line = line.trim_start().trim_end_matches('\r');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (jid, password) = line
            .split_once([' ', '\t'])
            .filter(|(_, password)| !password.is_empty())
            .with_context(|| {
                format!("line {number} has no password: write `name@domain password`")
            })?;
        let credentials = Credentials { jid: jid.to_owned(), password: password.to_owned() };
        rows.push((number, credentials));
    }
    Ok(rows)
}

/// Longer than a list of ten million accounts with ordinary names.
const LIST_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_skipped_and_passwords_are_taken_as_they_stand() {
        let list = "# house\njuliet@capulet.example  two words \r\n\n  a@b.example\tc\n";
        let rows = rows(list.as_bytes()).unwrap();
        let read: Vec<_> =
            rows.iter().map(|(n, c)| (*n, c.jid.as_str(), c.password.as_str())).collect();
        assert_eq!(read, [(2, "juliet@capulet.example", " two words "), (4, "a@b.example", "c")]);
    }

    #[test]
    fn a_line_without_a_password_is_named() {
        for list in ["a@b.example c\n\njuliet@capulet.example\n", "#\n\nromeo@b.example \n"] {
            let error = rows(list.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 3 has no password"), "{error}");
        }
    }
}
