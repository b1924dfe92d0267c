//! Text, CDATA sections, references, and the markup that streams may not have.

use super::{Context, Flow, Machine, Outcome, State, Step};
use crate::class::{CDATA_STOP, TEXT_STOP, WIDE, is_char, is_space};
use crate::declaration;
use crate::error::{Fault, MalformedKind, SyntaxError};
use crate::limits::DECLARATION_BYTES_MAX;

impl Machine {
    #[inline]
    pub(super) fn text(&mut self, bytes: &[u8]) -> Step {
        loop {
            match self.pass::<{ TEXT_STOP | WIDE }>(bytes)? {
                None => return Ok(Flow::More),
                Some(b'<') => {
                    self.token = self.at;
                    self.at += 1;
                    return self.go(State::Less);
                }
                Some(b'&') => return self.begin_reference(),
                Some(_) => match bytes.get(self.at + 1..) {
                    Some([b']', b'>', ..]) => {
                        return Err(Fault::syntax(SyntaxError::CdataEnd, self.at));
                    }
                    Some([] | [b']']) => return Ok(Flow::More),
                    _ => self.at += 1,
                },
            }
        }
    }

    pub(super) fn cdata(&mut self, bytes: &[u8]) -> Step {
        loop {
            match self.pass::<{ CDATA_STOP | WIDE }>(bytes)? {
                None => return Ok(Flow::More),
                Some(_) => match bytes.get(self.at + 1..) {
                    Some([b']', b'>', ..]) => {
                        self.at += 3;
                        return self.go(State::Text);
                    }
                    Some([] | [b']']) => return Ok(Flow::More),
                    _ => self.at += 1,
                },
            }
        }
    }

    pub(super) fn begin_reference(&mut self) -> Step {
        self.token = self.at;
        self.at += 1;
        self.mark = self.at;
        self.colon = 0;
        self.go(State::Reference)
    }

    pub(super) fn reference(&mut self, bytes: &[u8]) -> Step {
        let malformed = Fault::syntax(SyntaxError::Reference, self.token);
        if bytes.get(self.mark) == Some(&b'#') {
            if let Some(digits) = self.char_reference(bytes)? {
                let legal = char_of(digits).is_some_and(is_char);
                if !legal {
                    return Err(Fault::new(MalformedKind::ForbiddenCharacter, self.token));
                }
            } else {
                return Ok(Flow::More);
            }
        } else {
            let next = self.name(bytes).map_err(|fault| match fault.kind {
                MalformedKind::Utf8 => fault,
                _ => malformed,
            })?;
            match next {
                None => return Ok(Flow::More),
                Some(b';') => {}
                Some(_) => return Err(malformed),
            }
            if predefined(&bytes[self.mark..self.at]).is_none() {
                return Err(Fault::new(MalformedKind::UndeclaredEntity, self.token));
            }
        }
        self.at += 1;
        self.go(if self.quote == 0 { State::Text } else { State::Value })
    }

    /// Passes over the digits of a character reference to its `;`; returns all behind the `#`.
    pub(super) fn char_reference<'b>(
        &mut self,
        bytes: &'b [u8],
    ) -> Result<Option<&'b [u8]>, Fault> {
        let first = self.mark + 1;
        let is_hex = bytes.get(first) == Some(&b'x');
        let digits = first + usize::from(is_hex);
        self.at = self.at.max(first);
        while let Some(&byte) = bytes.get(self.at) {
            let is_legal = match byte {
                b'x' => self.at == first,
                b';' if self.at > digits => return Ok(Some(&bytes[first..self.at])),
                _ if is_hex => byte.is_ascii_hexdigit(),
                _ => byte.is_ascii_digit(),
            };
            if !is_legal {
                return Err(Fault::syntax(SyntaxError::Reference, self.token));
            }
            self.at += 1;
        }
        Ok(None)
    }

    pub(super) fn bang(&mut self, bytes: &[u8]) -> Step {
        let seen = &bytes[self.token..];
        for (start, kind) in
            [("<!--", MalformedKind::Comment), ("<!DOCTYPE", MalformedKind::Doctype)]
        {
            if seen.starts_with(start.as_bytes()) {
                return Err(Fault::new(kind, self.token));
            }
        }
        if seen.starts_with(CDATA_START) {
            if self.open.is_empty() {
                return Err(Fault::new(MalformedKind::TextAtTopLevel, self.token));
            }
            self.at = self.token + CDATA_START.len();
            return self.go(State::Cdata);
        }
        let known: [&[u8]; 3] = [b"<!--", b"<!DOCTYPE", CDATA_START];
        if known.iter().any(|start| start.starts_with(seen)) {
            self.at = bytes.len();
            return Ok(Flow::More);
        }
        Err(Fault::syntax(SyntaxError::Markup, self.token))
    }

    pub(super) fn question(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        let seen = &bytes[self.token..];
        let is_first = cx.at_start && self.token == 0;
        let kind = match seen.get(DECLARATION_START.len()) {
            None if DECLARATION_START.starts_with(seen) => {
                self.at = bytes.len();
                return Ok(Flow::More);
            }
            Some(&byte) if seen.starts_with(DECLARATION_START) && is_space(byte) && is_first => {
                self.at = self.token + DECLARATION_START.len();
                return self.go(State::Declaration);
            }
            Some(&byte)
                if seen.starts_with(DECLARATION_START) && (is_space(byte) || byte == b'?') =>
            {
                if is_first {
                    MalformedKind::Syntax(SyntaxError::Declaration)
                } else {
                    MalformedKind::DeclarationInside
                }
            }
            _ => MalformedKind::ProcessingInstruction,
        };
        Err(Fault::new(kind, self.token))
    }

    pub(super) fn declaration(&mut self, bytes: &[u8]) -> Step {
        while let Some(&byte) = bytes.get(self.at) {
            let is_plain = is_space(byte) || byte.is_ascii_graphic();
            if !is_plain || self.at >= DECLARATION_BYTES_MAX {
                return Err(Fault::syntax(SyntaxError::Declaration, self.at));
            }
            self.at += 1;
            if byte == b'>' {
                declaration::check(&bytes[..self.at])?;
                return Ok(Flow::Done(Outcome::Declaration));
            }
        }
        Ok(Flow::More)
    }
}

/// The character that a predefined entity stands for (XML 1.0 §4.6).
pub(crate) fn predefined(name: &[u8]) -> Option<char> {
    match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => None,
    }
}

/// The character of a reference, given what stands between `&#` and `;`.
pub(crate) fn char_of(digits: &[u8]) -> Option<char> {
    let (digits, radix) = match digits {
        [b'x', hex @ ..] => (hex, 16),
        decimal => (decimal, 10),
    };
    let code = digits.iter().try_fold(0u32, |code, &digit| {
        code.checked_mul(radix)?.checked_add(char::from(digit).to_digit(radix)?)
    })?;
    char::from_u32(code)
}

const CDATA_START: &[u8] = b"<![CDATA[";
const DECLARATION_START: &[u8] = b"<?xml";
