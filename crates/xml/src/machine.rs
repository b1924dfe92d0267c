//! The tokeniser: judges the bytes of one element, can stop and go on at any byte.
//!
//! It runs over a slice that begins with the `<` of the element and remembers how far it came, so
//! the caller may run it again over the same bytes and more. Nothing is judged twice except the
//! few bytes of an unfinished character or delimiter.

use crate::class::{
    self, CDATA_STOP, Decoded, NAME, NAME_START, TEXT_STOP, VALUE_STOP, WIDE, Wide, class, decode,
    is_space, plain_run, wide_run,
};
use crate::declaration;
use crate::error::{Fault, MalformedKind, SyntaxError};
use crate::index::Entry;
use crate::limits::{DECLARATION_BYTES_MAX, Limits, SCRATCH_ENTRIES_KEPT};
use crate::resolve::{Attr, Binding, Open};
use crate::scope::{Content, Scope};

/// What the machine is run for, and under which rules.
pub(crate) struct Context<'a> {
    pub(crate) mode: Mode,
    pub(crate) limits: &'a Limits,
    pub(crate) scope: &'a Scope,
    pub(crate) content: Content,
    /// No byte came before the slice, so an XML declaration may.
    pub(crate) at_start: bool,
}

/// What is expected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The start tag of the stream.
    Header,
    /// A first-level element, or the end tag of the stream.
    Stream,
    /// One element that is its own document.
    Single,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All bytes are judged and the element is not complete.
    More,
    /// An XML declaration.
    Declaration,
    /// The start tag of the stream; `true` if it is an empty-element tag.
    Header { is_empty: bool },
    /// A complete element.
    Frame,
    /// The end tag of the stream.
    StreamEnd,
}

/// State between two bytes and what is known of the element so far.
#[derive(Default)]
pub(crate) struct Machine {
    state: State,
    /// Every byte before this position is judged.
    pub(crate) at: usize,
    /// Where the current markup or reference begins.
    token: usize,
    /// Where the current name begins.
    mark: usize,
    /// Where the colon of the current name is; 0 if it has none.
    colon: usize,
    /// The quote of the current attribute value; 0 outside of one.
    quote: u8,
    /// White space came before this point of the start tag.
    spaced: bool,
    /// The attribute being read.
    attr: Attr,
    /// Attributes of the current start tag.
    pub(crate) attrs: Vec<Attr>,
    /// Where the name of the current start tag ends.
    pub(crate) name_end: usize,
    /// Open elements, the root first.
    pub(crate) open: Vec<Open>,
    /// The index made so far, in document order.
    pub(crate) entries: Vec<Entry>,
    /// Prefixes bound inside the element.
    pub(crate) bindings: Vec<Binding>,
    /// Namespace names that do not stand verbatim in the element.
    pub(crate) appendix: String,
    /// The element leans on declarations that do not travel with it.
    pub(crate) is_unportable: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// Behind a `<`.
    #[default]
    Less,
    /// Behind a `<!`.
    Bang,
    /// Behind a `<?`.
    Question,
    Declaration,
    TagName,
    /// Between the attributes of a start tag.
    Tag,
    AttrName,
    Equals,
    Quote,
    Value,
    /// Behind the `/` of an empty-element tag.
    Slash,
    Text,
    Cdata,
    Reference,
    EndName,
    EndSpace,
}

enum Flow {
    /// Go on in the state now set.
    On,
    /// The input is used up.
    More,
    Done(Outcome),
}

type Step = Result<Flow, Fault>;

impl Machine {
    /// Forgets the element; keeps a modest amount of scratch space.
    pub(crate) fn reset(&mut self) {
        self.state = State::Less;
        self.at = 1;
        self.token = 0;
        self.quote = 0;
        self.is_unportable = false;
        self.attrs.clear();
        self.open.clear();
        self.entries.clear();
        self.bindings.clear();
        self.appendix = String::new();
        self.attrs.shrink_to(SCRATCH_ENTRIES_KEPT);
        self.open.shrink_to(SCRATCH_ENTRIES_KEPT);
        self.entries.shrink_to(SCRATCH_ENTRIES_KEPT);
        self.bindings.shrink_to(SCRATCH_ENTRIES_KEPT);
    }

    /// Judges `bytes` from where the last run stopped.
    pub(crate) fn run(&mut self, bytes: &[u8], cx: &Context<'_>) -> Result<Outcome, Fault> {
        loop {
            let flow = match self.state {
                State::Less => self.less(bytes, cx),
                State::TagName => self.tag_name(bytes, cx),
                State::Tag => self.tag(bytes, cx),
                State::AttrName => self.attr_name(bytes),
                State::Equals => self.equals(bytes),
                State::Quote => self.open_quote(bytes),
                State::Value => self.value(bytes),
                State::Slash => self.slash(bytes, cx),
                State::Text => self.text(bytes),
                State::EndName => self.end_name(bytes, cx),
                State::EndSpace => self.end_space(bytes),
                State::Cdata => self.cdata(bytes),
                State::Reference => self.reference(bytes),
                State::Bang => self.bang(bytes),
                State::Question => self.question(bytes, cx),
                State::Declaration => self.declaration(bytes),
            }?;
            match flow {
                Flow::On => {}
                Flow::More => return Ok(Outcome::More),
                Flow::Done(outcome) => return Ok(outcome),
            }
        }
    }

    #[inline]
    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Ok(Flow::On)
    }

    fn less(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        let Some(&byte) = bytes.get(self.at) else { return Ok(Flow::More) };
        match byte {
            b'/' if self.open.is_empty() && cx.mode != Mode::Stream => {
                Err(Fault::syntax(SyntaxError::Name, self.at))
            }
            b'/' => {
                self.at += 1;
                self.go(State::EndName)
            }
            b'!' => self.go(State::Bang),
            b'?' => self.go(State::Question),
            // `<` in UTF-16, little endian.
            0 if cx.at_start && self.at == 1 => Err(Fault::new(MalformedKind::Encoding, self.at)),
            _ => {
                self.mark = self.at;
                self.colon = 0;
                self.go(State::TagName)
            }
        }
    }

    fn bang(&mut self, bytes: &[u8]) -> Step {
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

    fn question(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
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

    fn declaration(&mut self, bytes: &[u8]) -> Step {
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

    /// Passes over a name that begins at `mark`; returns the byte behind it.
    #[inline]
    fn name(&mut self, bytes: &[u8]) -> Result<Option<u8>, Fault> {
        let mut at = self.at;
        loop {
            let Some(&byte) = bytes.get(at) else {
                self.at = at;
                return Ok(None);
            };
            let is_start = at == self.mark || (self.colon != 0 && at == self.colon + 1);
            let wanted = if is_start { NAME_START } else { NAME };
            if class(byte) & wanted != 0 {
                at += 1;
                while at < bytes.len() && class(bytes[at]) & NAME != 0 {
                    at += 1;
                }
            } else if byte == b':' && !is_start && self.colon == 0 {
                self.colon = at;
                at += 1;
            } else if byte >= 0x80 {
                match decode(bytes, at) {
                    Decoded::Cut => {
                        self.at = at;
                        return Ok(None);
                    }
                    Decoded::Bad => return Err(Fault::new(MalformedKind::Utf8, at)),
                    Decoded::Char(c, len)
                        if class::is_name_start(c) || (!is_start && class::is_name(c)) =>
                    {
                        at += len;
                    }
                    Decoded::Char(c, _) => return Err(not_in_name(c, at)),
                }
            } else if is_start || byte == b':' {
                return Err(not_in_name(char::from(byte), at));
            } else {
                self.at = at;
                return Ok(Some(byte));
            }
        }
    }

    #[inline]
    fn tag_name(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
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
    fn tag(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
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
    fn attr_name(&mut self, bytes: &[u8]) -> Step {
        let Some(byte) = self.name(bytes)? else { return Ok(Flow::More) };
        self.attr = Attr::named(self.mark, self.colon, self.at);
        if byte == b'=' {
            self.at += 1;
            return self.go(State::Quote);
        }
        self.go(State::Equals)
    }

    fn equals(&mut self, bytes: &[u8]) -> Step {
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
    fn open_quote(&mut self, bytes: &[u8]) -> Step {
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
    fn value(&mut self, bytes: &[u8]) -> Step {
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
    fn slash(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
        match bytes.get(self.at) {
            None => Ok(Flow::More),
            Some(b'>') => self.end_of_start_tag(bytes, cx, true),
            Some(&byte) => Err(forbidden_or(SyntaxError::StartTag, byte, self.at)),
        }
    }

    /// At the `>` of a start tag or empty-element tag.
    #[inline]
    fn end_of_start_tag(&mut self, bytes: &[u8], cx: &Context<'_>, is_empty: bool) -> Step {
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
    fn text(&mut self, bytes: &[u8]) -> Step {
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

    fn cdata(&mut self, bytes: &[u8]) -> Step {
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

    fn begin_reference(&mut self) -> Step {
        self.token = self.at;
        self.at += 1;
        self.mark = self.at;
        self.colon = 0;
        self.go(State::Reference)
    }

    fn reference(&mut self, bytes: &[u8]) -> Step {
        let malformed = Fault::syntax(SyntaxError::Reference, self.token);
        if bytes.get(self.mark) == Some(&b'#') {
            if let Some(digits) = self.char_reference(bytes)? {
                let legal = char_of(digits).is_some_and(class::is_char);
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
    fn char_reference<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Fault> {
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

    #[inline]
    fn end_name(&mut self, bytes: &[u8], cx: &Context<'_>) -> Step {
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

    fn end_space(&mut self, bytes: &[u8]) -> Step {
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

    fn mismatch(&self, byte: u8) -> Fault {
        match forbidden_or(SyntaxError::EndTag, byte, self.at) {
            fault @ Fault { kind: MalformedKind::ForbiddenCharacter, .. } => fault,
            _ => Fault::new(MalformedKind::MismatchedTag, self.token),
        }
    }

    /// Ends the element open last; its end tag, if it has one, begins at `close_start`.
    #[inline]
    fn close(&mut self, close_start: usize) -> Step {
        self.finish_entry(close_start, self.at);
        if self.open.is_empty() {
            return Ok(Flow::Done(Outcome::Frame));
        }
        self.go(State::Text)
    }

    /// Passes over legal characters; returns the first byte of class `STOP` below 0x80.
    #[inline]
    fn pass<const STOP: u8>(&mut self, bytes: &[u8]) -> Result<Option<u8>, Fault> {
        let mut at = self.at;
        loop {
            at = plain_run::<STOP>(bytes, at);
            let Some(&byte) = bytes.get(at) else {
                self.at = at;
                return Ok(None);
            };
            if byte < 0x20 {
                return Err(Fault::new(MalformedKind::ForbiddenCharacter, at));
            }
            if byte < 0x80 {
                self.at = at;
                return Ok(Some(byte));
            }
            match wide_run::<STOP>(bytes, at) {
                Ok(Wide::Legal(end)) => at = end,
                Ok(Wide::Cut(start)) => {
                    self.at = start;
                    return Ok(None);
                }
                Err((kind, at)) => return Err(Fault::new(kind, at)),
            }
        }
    }

    #[inline]
    fn skip_space(&mut self, bytes: &[u8]) -> Option<u8> {
        while let Some(&byte) = bytes.get(self.at) {
            if !is_space(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
        None
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

fn not_in_name(c: char, at: usize) -> Fault {
    if class::is_char(c) {
        Fault::syntax(SyntaxError::Name, at)
    } else {
        Fault::new(MalformedKind::ForbiddenCharacter, at)
    }
}

/// A byte that the grammar does not have here: a forbidden one is named as such.
fn forbidden_or(reason: SyntaxError, byte: u8, at: usize) -> Fault {
    if byte < 0x20 && !is_space(byte) {
        Fault::new(MalformedKind::ForbiddenCharacter, at)
    } else {
        Fault::syntax(reason, at)
    }
}

const CDATA_START: &[u8] = b"<![CDATA[";
const DECLARATION_START: &[u8] = b"<?xml";
