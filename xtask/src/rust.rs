//! Rust taken apart just enough to judge it: code, literals and comments, and what of it is test.

use std::ops::Range;

/// The parts of one Rust file.
pub(crate) struct Rust {
    /// The file with comments and the contents of literals blanked, byte for byte in place.
    pub(crate) code: String,
    /// String and byte string literals: offset of the content, and the content as written.
    pub(crate) strings: Vec<(usize, String)>,
    /// Comments: offset and text, with their slashes.
    pub(crate) comments: Vec<(usize, String)>,
    /// Names of `#[cfg(test)] mod name;`.
    pub(crate) test_modules: Vec<String>,
    /// The whole file exists to test.
    pub(crate) is_all_test: bool,
    test_ranges: Vec<Range<usize>>,
}

impl Rust {
    pub(crate) fn parse(text: &str, is_all_test: bool) -> Rust {
        let mut scan =
            Scan { text, at: 0, code: text.as_bytes().to_vec(), strings: vec![], comments: vec![] };
        while scan.at < text.len() {
            scan.step();
        }
        // Only whole characters are blanked, with spaces, so this stays UTF-8.
        let code = String::from_utf8_lossy(&scan.code).into_owned();
        let (strings, comments) = (scan.strings, scan.comments);
        let (test_ranges, test_modules) = find_tests(&code, text);
        let is_all_test = is_all_test || code.contains("#![cfg(test)]");
        Rust { code, strings, comments, test_modules, is_all_test, test_ranges }
    }

    /// Whether the code at `offset` exists to test.
    pub(crate) fn is_test(&self, offset: usize) -> bool {
        self.is_all_test || self.test_ranges.iter().any(|r| r.contains(&offset))
    }

    /// Offsets of `token` in the code, where it does not continue a longer word.
    pub(crate) fn find(&self, token: &str) -> Vec<usize> {
        let found = self.code.match_indices(token).map(|(at, _)| at);
        found.filter(|at| stands_alone(self.code.as_bytes(), *at, token)).collect()
    }

    /// Offset behind the bracket that closes the one at `open`, or the end of the file.
    pub(crate) fn close_of(&self, open: usize) -> usize {
        close_of(self.code.as_bytes(), open)
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    code: Vec<u8>,
    strings: Vec<(usize, String)>,
    comments: Vec<(usize, String)>,
}

impl Scan<'_> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            self.comment(end);
        } else if rest.starts_with("/*") {
            self.comment(block_comment_len(rest));
        } else if let Some(hashes) = raw_string_hashes(rest).filter(|_| !self.follows_word()) {
            let open = rest.find('"').unwrap_or(0) + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            let len = rest[open..].find(&close).unwrap_or(rest.len() - open);
            self.string(open, len, close.len());
        } else if let Some(content) = rest.strip_prefix('"') {
            self.string(1, quoted_len(content, b'"'), 1);
        } else if let Some(len) = char_literal_len(rest) {
            self.blank(self.at + 1..self.at + len - 1);
            self.at += len;
        } else {
            self.at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }

    fn follows_word(&self) -> bool {
        self.at > 0 && is_word(self.text.as_bytes()[self.at - 1])
    }

    fn comment(&mut self, len: usize) {
        self.comments.push((self.at, self.text[self.at..self.at + len].to_owned()));
        self.blank(self.at..self.at + len);
        self.at += len;
    }

    fn string(&mut self, open: usize, len: usize, close: usize) {
        let start = self.at + open;
        self.strings.push((start, self.text[start..start + len].to_owned()));
        self.blank(start..start + len);
        self.at = (start + len + close).min(self.text.len());
    }

    fn blank(&mut self, range: Range<usize>) {
        for byte in &mut self.code[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
}

fn block_comment_len(rest: &str) -> usize {
    let (bytes, mut depth, mut at) = (rest.as_bytes(), 0_usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Number of `#` of a raw string that starts here.
fn raw_string_hashes(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('b').or(rest.strip_prefix('c')).unwrap_or(rest);
    let rest = rest.strip_prefix('r')?;
    let hashes = rest.bytes().take_while(|b| *b == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Bytes before the closing quote.
fn quoted_len(rest: &str, quote: u8) -> usize {
    let (bytes, mut at) = (rest.as_bytes(), 0);
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Length of a character literal with its quotes; `None` for a lifetime.
fn char_literal_len(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    if first == '\\' {
        return Some(quoted_len(inner, b'\'') + 2);
    }
    inner[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

/// Ranges of items behind a test attribute, and the names of test modules in files of their own.
fn find_tests(code: &str, text: &str) -> (Vec<Range<usize>>, Vec<String>) {
    let bytes = code.as_bytes();
    let (mut ranges, mut modules) = (Vec::new(), Vec::new());
    for (start, _) in code.match_indices("#[") {
        let mut at = close_of(bytes, start + 1);
        if !is_test_attribute(&text[start..at]) {
            continue;
        }
        while code[at..].trim_start().starts_with("#[") {
            at += code[at..].find("#[").unwrap_or(0) + 1;
            at = close_of(bytes, at);
        }
        let head = at;
        while at < bytes.len() && !matches!(bytes[at], b';' | b'{') {
            at = if matches!(bytes[at], b'(' | b'[') { close_of(bytes, at) } else { at + 1 };
        }
        if bytes.get(at) == Some(&b';') {
            let words: Vec<&str> = code[head..at].split_whitespace().collect();
            if let [.., "mod", name] = words.as_slice() {
                modules.push((*name).to_owned());
            }
        }
        let end = if bytes.get(at) == Some(&b'{') { close_of(bytes, at) } else { at };
        ranges.push(start..end);
    }
    (ranges, modules)
}

fn is_test_attribute(attribute: &str) -> bool {
    let inside = attribute.trim_start_matches("#[");
    if inside.starts_with("test]") || inside.starts_with("tokio::test") {
        return true;
    }
    let words: Vec<&str> = inside.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    inside.starts_with("cfg(")
        && !inside.contains("not(test")
        && words.iter().any(|w| matches!(*w, "test" | "testing"))
}

fn close_of(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}

fn stands_alone(bytes: &[u8], at: usize, token: &str) -> bool {
    let ends = token.as_bytes().last().is_some_and(|b| is_word(*b));
    let before = at == 0 || !is_word(bytes[at - 1]) || !is_word(token.as_bytes()[0]);
    let after = !ends || bytes.get(at + token.len()).is_none_or(|b| !is_word(*b));
    before && after
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals_in_place() {
        let text =
            "let a = \"x { \\\" y\"; // brace {\nlet b = '{'; let c: &'static str = r#\"q\"q\"#;";
        let rust = Rust::parse(text, false);
        assert_eq!(rust.code.len(), text.len());
        assert!(!rust.code.contains('{'), "{}", rust.code);
        assert!(rust.code.contains("&'static str"));
        let strings: Vec<&str> = rust.strings.iter().map(|(_, s)| s.as_str()).collect();
        assert_eq!(strings, ["x { \\\" y", "q\"q"]);
        assert_eq!(rust.comments.len(), 1);
    }

    #[test]
    fn nests_block_comments() {
        let rust = Rust::parse("/* a /* b */ c */ fn f() {}", false);
        assert_eq!(rust.code.trim(), "fn f() {}");
    }

    #[test]
    fn takes_escaped_characters_whole() {
        let rust = Rust::parse(r"let q = '\''; let b = b'\\'; let u = '\u{1F600}'; x", false);
        assert!(rust.code.ends_with("; x") && !rust.code.contains('{'), "{}", rust.code);
    }

    #[test]
    fn tells_test_code_from_the_rest() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n";
        let rust = Rust::parse(text, false);
        let at = |s: &str| text.find(s).unwrap();
        assert!(!rust.is_test(at("fn a")) && rust.is_test(at("fn b")) && !rust.is_test(at("fn c")));
    }

    #[test]
    fn takes_testing_features_for_test_code() {
        let text =
            "#[cfg(any(test, feature = \"testing\"))]\npub mod pair;\n#[cfg(not(test))]\nfn a() {}";
        let rust = Rust::parse(text, false);
        assert_eq!(rust.test_modules, ["pair"]);
        assert!(!rust.is_test(text.find("fn a").unwrap()));
    }

    #[test]
    fn finds_whole_words_only() {
        let rust = Rust::parse("unsafe_code; not_unsafe; unsafe { }", false);
        assert_eq!(rust.find("unsafe"), [25]);
    }
}
