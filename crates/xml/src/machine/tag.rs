//! Start tags and end tags.

use super::{Context, Flow, Machine, Mode, Outcome, State, Step, forbidden_or};
use crate::class::{NAME, NAME_START, VALUE_STOP, WIDE, class, is_space};
use crate::error::{Fault, MalformedKind, SyntaxError};
use crate::resolve::Attr;

impl Machine {
    #[inline]
    pub(super) fn tag_name(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        let Some(_) = self.name(bytes)? else { return Ok(Flow::More) };
        if self.open.len() >= usize::from(cx.limits.depth_max) {
            return Err(Fault::new(MalformedKind::TooDeep, self.token));
        }
        if self.entries.len() >= cx.limits.elements_max as usize {
            return Err(Fault::new(MalformedKind::TooManyElements, self.token));
        }
        self.start_entry(self.token, self.colon, self.at);
        self.spaced = false;
        self.go(State::Tag)
    }

    #[inline]
    pub(super) fn tag(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        let mut at = self.at;
        while at < bytes.len() && is_space(bytes[at]) {
            at += 1;
        }
        self.spaced |= at > self.at;
        self.at = at;
        let Some(&byte) = bytes.get(at) else { return Ok(Flow::More) };
        match byte {
            b'>' => self.end_of_start_tag(bytes, cx, false),
            b'/' => {
                self.at += 1;
                self.go(State::Slash)
            }
            _ if !self.spaced => {
                let reason = if self.attrs.is_empty() {
                    SyntaxError::Name
                } else {
                    SyntaxError::AttributeSpace
                };
                Err(forbidden_or(reason, byte, at))
            }
            _ if class(byte) & (NAME_START | WIDE) == 0 => {
                Err(forbidden_or(SyntaxError::StartTag, byte, at))
            }
            _ => {
                if self.attrs.len() >= usize::from(cx.limits.attributes_max) {
                    return Err(Fault::new(MalformedKind::TooManyAttributes, at));
                }
                self.mark = at;
                self.colon = 0;
                self.go(State::AttrName)
            }
        }
    }

    #[inline]
    pub(super) fn attr_name(&mut self, bytes: &[u8]) -> Step {
        let Some(byte) = self.name(bytes)? else { return Ok(Flow::More) };
        self.attr = Attr::named(self.mark, self.colon, self.at);
        if byte == b'=' {
            self.at += 1;
            return self.go(State::Quote);
        }
        self.go(State::Equals)
    }

    pub(super) fn equals(&mut self, bytes: &[u8]) -> Step {
        match self.skip_space(bytes) {
            None => Ok(Flow::More),
            Some(b'=') => {
                self.at += 1;
                self.go(State::Quote)
            }
            Some(byte) => Err(forbidden_or(SyntaxError::Equals, byte, self.at)),
        }
    }

    #[inline]
    pub(super) fn open_quote(&mut self, bytes: &[u8]) -> Step {
        match self.skip_space(bytes) {
            None => Ok(Flow::More),
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                self.quote = quote;
                self.attr.begin_value(self.at);
                self.go(State::Value)
            }
            Some(byte) => Err(forbidden_or(SyntaxError::Quote, byte, self.at)),
        }
    }

    #[inline]
    pub(super) fn value(&mut self, bytes: &[u8]) -> Step {
        loop {
            match self.pass::<{ VALUE_STOP | WIDE }>(bytes)? {
                None => return Ok(Flow::More),
                Some(quote) if quote == self.quote => {
                    self.attr.end_value(self.at);
                    self.attrs.push(self.attr);
                    self.at += 1;
                    self.quote = 0;
                    self.spaced = false;
                    return self.go(State::Tag);
                }
                Some(b'&') => return self.begin_reference(),
                Some(b'<') => return Err(Fault::syntax(SyntaxError::LessThanInValue, self.at)),
                Some(_) => self.at += 1,
            }
        }
    }

    #[inline]
    pub(super) fn slash(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        match bytes.get(self.at) {
            None => Ok(Flow::More),
            Some(b'>') => self.end_of_start_tag(bytes, cx, true),
            Some(&byte) => Err(forbidden_or(SyntaxError::StartTag, byte, self.at)),
        }
    }

    /// At the `>` of a start tag or empty-element tag.
    #[inline]
    pub(super) fn end_of_start_tag(
        &mut self,
        bytes: &[u8],
        cx: &Context<'_>,
        is_empty: bool,
    ) -> Step {
        self.at += 1;
        self.resolve(bytes, cx)?;
        if cx.mode == Mode::Header {
            return Ok(Flow::Done(Outcome::Header { is_empty }));
        }
        self.attrs.clear();
        if is_empty {
            return self.close(self.at);
        }
        self.go(State::Text)
    }

    #[inline]
    pub(super) fn end_name(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        let expected = match self.open.last() {
            Some(open) => open.name(bytes),
            None => cx.scope.name().as_bytes(),
        };
        let begin = self.token + 2;
        let known = self.at - begin;
        let rest = &expected[known..];
        let seen = &bytes[self.at..];
        let common = rest.iter().zip(seen).take_while(|(a, b)| a == b).count();
        self.at += common;
        if common == rest.len() {
            return self.go(State::EndSpace);
        }
        let Some(&byte) = seen.get(common) else { return Ok(Flow::More) };
        if class(byte) & (NAME | WIDE) != 0 || byte == b':' || self.at > begin {
            return Err(self.mismatch(byte));
        }
        Err(forbidden_or(SyntaxError::Name, byte, self.at))
    }

    pub(super) fn end_space(&mut self, bytes: &[u8]) -> Step {
        match self.skip_space(bytes) {
            None => Ok(Flow::More),
            Some(b'>') => {
                self.at += 1;
                if self.open.is_empty() {
                    return Ok(Flow::Done(Outcome::StreamEnd));
                }
                self.close(self.token)
            }
            // The name goes on, so it is another name.
            Some(byte)
                if !is_space(bytes[self.at - 1])
                    && (class(byte) & (NAME | WIDE) != 0 || byte == b':') =>
            {
                Err(self.mismatch(byte))
            }
            Some(byte) => Err(forbidden_or(SyntaxError::EndTag, byte, self.at)),
        }
    }

    pub(super) fn mismatch(&self, byte: u8) -> Fault {
        match forbidden_or(SyntaxError::EndTag, byte, self.at) {
            fault @ Fault { kind: MalformedKind::ForbiddenCharacter, .. } => fault,
            _ => Fault::new(MalformedKind::MismatchedTag, self.token),
        }
    }

    /// Ends the element open last; its end tag, if it has one, begins at `close_start`.
    #[inline]
    pub(super) fn close(&mut self, close_start: usize) -> Step {
        self.finish_entry(close_start, self.at);
        if self.open.is_empty() {
            return Ok(Flow::Done(Outcome::Frame));
        }
        self.go(State::Text)
    }
}
