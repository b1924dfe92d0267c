//! The XML declaration, which may stand once, at the very start (RFC 6120 §11.5).

use crate::class::is_space;
use crate::error::{Fault, MalformedKind, SyntaxError};

/// Checks a declaration, `<?xml` to `>` inclusive: version 1.0, encoding UTF-8 or none.
///
/// RFC 6120 §11.5 lets us ignore `standalone`.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Fault> {
    let mut rest = Rest { bytes, at: START.len() };
    let (version, at) = rest.pseudo_attribute(b"version")?.ok_or_else(|| rest.malformed())?;
    if version != b"1.0" {
        return Err(Fault::syntax(SyntaxError::Version, at));
    }
    if let Some((encoding, at)) = rest.pseudo_attribute(b"encoding")?
        && !encoding.eq_ignore_ascii_case(b"utf-8")
    {
        let is_name = encoding.first().is_some_and(u8::is_ascii_alphabetic)
            && encoding
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        return Err(if is_name {
            Fault::new(MalformedKind::Encoding, at)
        } else {
            Fault::syntax(SyntaxError::Declaration, at)
        });
    }
    if let Some((standalone, at)) = rest.pseudo_attribute(b"standalone")?
        && !matches!(standalone, b"yes" | b"no")
    {
        return Err(Fault::syntax(SyntaxError::Declaration, at));
    }
    rest.skip_space();
    if &bytes[rest.at..] == b"?>" { Ok(()) } else { Err(rest.malformed()) }
}

struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    /// Reads ` name = 'value'`, if it comes next; returns the value and where it begins.
    fn pseudo_attribute(&mut self, name: &[u8]) -> Result<Option<(&'a [u8], usize)>, Fault> {
        let begin = self.at;
        let spaced = self.skip_space();
        if !spaced || !self.bytes[self.at..].starts_with(name) {
            self.at = begin;
            return Ok(None);
        }
        self.at += name.len();
        self.skip_space();
        if self.next() != Some(b'=') {
            return Err(self.malformed());
        }
        self.skip_space();
        let quote = match self.next() {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => return Err(self.malformed()),
        };
        let value = self.at;
        let len = memchr::memchr(quote, &self.bytes[value..]).ok_or_else(|| self.malformed())?;
        self.at = value + len + 1;
        Ok(Some((&self.bytes[value..value + len], value)))
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn skip_space(&mut self) -> bool {
        let begin = self.at;
        while self.bytes.get(self.at).copied().is_some_and(is_space) {
            self.at += 1;
        }
        self.at > begin
    }

    fn malformed(&self) -> Fault {
        Fault::syntax(SyntaxError::Declaration, self.at)
    }
}

const START: &[u8] = b"<?xml";
