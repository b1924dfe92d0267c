//! The tokeniser: judges the bytes of one element, can stop and go on at any byte.
//!
//! It runs over a slice that begins with the `<` of the element and remembers how far it came, so
//! the caller may run it again over the same bytes and more. Nothing is judged twice except the
//! few bytes of an unfinished character or delimiter.

mod straight;
mod tag;
mod text;

use self::straight::Way;
use crate::class::{
    self, Decoded, NAME, NAME_START, Wide, class, decode, is_space, plain_run, wide_run,
};
use crate::error::{Fault, MalformedKind, SyntaxError};
use crate::index::Entry;
use crate::limits::{Limits, SCRATCH_ENTRIES_KEPT};
use crate::places::Commons;
use crate::resolve::{Attr, Binding, Open};
use crate::scope::{Content, Scope};

pub(crate) use text::{char_of, predefined};

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
    /// The attributes of the root as far as they are known.
    pub(crate) commons: Commons,
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
        self.commons = Commons::default();
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

    /// Bytes of heap held.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.attrs.capacity() * size_of::<Attr>()
            + self.open.capacity() * size_of::<Open>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.bindings.capacity() * size_of::<Binding>()
            + self.appendix.capacity()
    }

    /// Judges `bytes` from where the last run stopped.
    pub(crate) fn run(&mut self, bytes: &[u8], cx: &Context<'_>) -> Result<Outcome, Fault> {
        loop {
            let flow = match self.state {
                State::Less => match self.straight(bytes, cx) {
                    Way::Done => return Ok(Outcome::Frame),
                    Way::Text => self.go(State::Text),
                    Way::Tag => self.less(bytes, cx),
                },
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
