//! The push scanner: bytes of one stream in, header and first-level elements out.

use crate::class::is_space;
use crate::error::{Malformed, MalformedKind};
use crate::frame::{Frame, refuse_first};
use crate::header::Header;
use crate::limits::{Limits, PIECE_BYTES};
use crate::machine::{Context, Machine, Mode, Outcome};
use crate::pool::{self, Work};
use crate::scope::{Content, Scope};

/// Push scanner of one stream.
///
/// It checks what it is given, in one pass, for well-formedness, namespaces, UTF-8, the restrictions
/// of RFC 6120 §11.1 and [`Limits`]. However the input is split, items and errors are the same. It
/// holds heap only for an element that has begun and not ended, and for unusual declarations of
/// the stream header.
pub struct Scanner {
    limits: Limits,
    /// Bytes before the current element or, between elements, before the next byte.
    offset: u64,
    work: Option<Box<Work>>,
    scope: Scope,
    failed: Option<Malformed>,
    content: Content,
    phase: Phase,
}

/// What the scanner found.
#[derive(Clone, Debug)]
pub enum Item {
    /// The start tag of the stream; boxed, since all other items are small.
    Header(Box<Header>),
    /// A complete first-level element.
    Frame(Frame),
    /// The end tag of the stream.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the stream header.
    Prolog,
    /// The same, behind an earlier stream on the same connection.
    Restarted,
    /// Inside the stream.
    Open,
    /// The header was an empty-element tag: the end of the stream is due.
    Closing,
    /// Behind the end of the stream.
    Ended,
}

impl Scanner {
    /// A scanner that expects an optional XML declaration, then the stream header.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            offset: 0,
            work: None,
            scope: Scope::Single,
            failed: None,
            content: Content::default(),
            phase: Phase::Prolog,
        }
    }

    /// Changes the limits, also of an element that has begun.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Expects a new header, as after STARTTLS or SASL (RFC 6120 §4.3.3); offsets begin anew.
    ///
    /// White space that comes first still belongs to the earlier stream, whose last element may
    /// well have had a line end behind it; an XML declaration may follow.
    pub fn restart(&mut self) {
        let fresh = Self::new(self.limits);
        *self = Self { content: self.content, phase: Phase::Restarted, ..fresh };
    }

    /// Says which namespace is the content namespace; `jabber:client` unless told.
    pub fn set_content(&mut self, content: Content) {
        self.content = content;
    }

    /// Consumes from `input` until one item is complete; `None` when all input is used up.
    ///
    /// # Errors
    ///
    /// The first fault of the stream. From then on every call returns it again.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Item>, Malformed> {
        match self.failed {
            None => self.next_or_fail(input),
            Some(malformed) => Err(malformed),
        }
    }

    /// Whether the stream has ended with its header, and that has not been told yet: then
    /// [`Scanner::feed`] needs no more input.
    pub fn owes_end(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Whether no element has begun that has not ended; between elements there is no heap.
    pub fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// Bytes of heap held for an unfinished element; 0 while idle.
    pub fn heap_bytes(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.heap_bytes())
    }

    /// Bytes consumed since the stream began, an unfinished element not counted.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn next_or_fail(&mut self, input: &mut &[u8]) -> Result<Option<Item>, Malformed> {
        let mut next = self.next(input);
        if let Err(malformed) = &mut next {
            *malformed = self.placed(*malformed);
            self.failed = Some(*malformed);
            self.work = None;
        }
        next
    }

    fn next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, Malformed> {
        loop {
            if self.phase == Phase::Closing {
                self.phase = Phase::Ended;
                return Ok(Some(Item::End));
            }
            if self.work.is_none() {
                self.skip_between(input)?;
                if input.is_empty() {
                    return Ok(None);
                }
            }
            let (work, outcome) = match self.work.take() {
                None => self.scan_in_place(input)?,
                Some(work) => self.scan_buffered(work, input)?,
            };
            match outcome {
                Outcome::More => {
                    self.work = Some(work);
                    return Ok(None);
                }
                Outcome::Frame => return self.finish_frame(work, input),
                _ => {
                    if let Some(item) = self.finish(work, outcome, input)? {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }

    /// Inside the root, text is no breach of XML.
    fn placed(&self, malformed: Malformed) -> Malformed {
        let is_between =
            malformed.kind == MalformedKind::TextAtTopLevel && self.phase == Phase::Open;
        if is_between {
            Malformed { kind: MalformedKind::TextBetween, ..malformed }
        } else {
            malformed
        }
    }

    /// Skips white space between first-level elements and refuses what begins no markup.
    fn skip_between(&mut self, input: &mut &[u8]) -> Result<(), Malformed> {
        let spaces = input.iter().position(|&byte| !is_space(byte)).unwrap_or(input.len());
        *input = &input[spaces..];
        let is_before = self.phase == Phase::Restarted && self.offset == 0;
        if !is_before {
            self.offset += spaces as u64;
        }
        let Some(&byte) = input.first() else { return Ok(()) };
        let kind = match byte {
            // The first byte of UTF-16, or a byte order mark of it.
            0x00 | 0xfe | 0xff if self.offset == 0 => Some(MalformedKind::Encoding),
            // §11.6: U+FEFF is never a byte order mark, so it is text.
            b'<' if self.phase == Phase::Ended => Some(MalformedKind::AfterEnd),
            _ => refuse_first(Some(byte)),
        };
        match kind {
            None => Ok(()),
            Some(kind) => Err(Malformed { kind, offset: self.offset }),
        }
    }

    /// Scans an element that begins in `input`, without copying it first.
    fn scan_in_place(&mut self, input: &mut &[u8]) -> Result<(Box<Work>, Outcome), Malformed> {
        let mut work = pool::take();
        let limit = self.limits.frame_bytes();
        let visible = &input[..input.len().min(limit)];
        let outcome = match work.machine.run(visible, &self.context()) {
            Ok(outcome) => outcome,
            Err(fault) => {
                pool::give(work);
                return Err(fault.after(self.offset));
            }
        };
        if outcome == Outcome::More {
            self.refuse_too_big(visible.len())?;
            work.buffer = visible.to_vec();
            *input = &input[visible.len()..];
        }
        Ok((work, outcome))
    }

    /// Scans on in an element that began in earlier input.
    fn scan_buffered(
        &mut self,
        mut work: Box<Work>,
        input: &mut &[u8],
    ) -> Result<(Box<Work>, Outcome), Malformed> {
        let limit = self.limits.frame_bytes();
        loop {
            let Work { buffer, machine, .. } = &mut *work;
            let piece = input.len().min(PIECE_BYTES).min(limit.saturating_sub(buffer.len()));
            reserve(buffer, piece, limit);
            buffer.extend_from_slice(&input[..piece]);
            let outcome =
                machine.run(buffer, &self.context()).map_err(|fault| fault.after(self.offset))?;
            if outcome != Outcome::More {
                let excess = buffer.len() - machine.at;
                buffer.truncate(machine.at);
                *input = &input[piece - excess..];
                return Ok((work, outcome));
            }
            self.refuse_too_big(buffer.len())?;
            *input = &input[piece..];
            if input.is_empty() {
                return Ok((work, outcome));
            }
        }
    }

    /// An element that is incomplete after all the bytes it may have is too big.
    fn refuse_too_big(&self, len: usize) -> Result<(), Malformed> {
        let limit = self.limits.frame_bytes();
        if len < limit {
            return Ok(());
        }
        Err(Malformed { kind: MalformedKind::FrameTooBig, offset: self.offset + limit as u64 })
    }

    /// Makes the frame of the element that the machine has accepted.
    fn finish_frame(
        &mut self,
        mut work: Box<Work>,
        input: &mut &[u8],
    ) -> Result<Option<Item>, Malformed> {
        let Work { buffer, machine, block } = &mut *work;
        let bytes = accepted(machine, buffer, input);
        let frame = Frame::finish(machine, block, bytes, &self.context());
        self.offset += bytes.len() as u64;
        pool::give(work);
        match frame {
            Ok(frame) => Ok(Some(Item::Frame(frame))),
            Err(kind) => Err(Malformed { kind, offset: self.offset }),
        }
    }

    /// Makes the item of what else the machine has accepted; a declaration makes none.
    fn finish(
        &mut self,
        work: Box<Work>,
        outcome: Outcome,
        input: &mut &[u8],
    ) -> Result<Option<Item>, Malformed> {
        let bytes = accepted(&work.machine, &work.buffer, input);
        let item = match outcome {
            Outcome::More | Outcome::Declaration | Outcome::Frame => Ok(None),
            Outcome::StreamEnd => {
                self.phase = Phase::Ended;
                Ok(Some(Item::End))
            }
            Outcome::Header { is_empty } => Header::read(&work.machine, bytes, &self.context())
                .map(|(header, scope)| {
                    self.scope = scope;
                    self.phase = if is_empty { Phase::Closing } else { Phase::Open };
                    Some(Item::Header(Box::new(header)))
                }),
        };
        self.offset += bytes.len() as u64;
        pool::give(work);
        item.map_err(|kind| Malformed { kind, offset: self.offset })
    }

    fn context(&self) -> Context<'_> {
        Context {
            mode: if matches!(self.phase, Phase::Prolog | Phase::Restarted) {
                Mode::Header
            } else {
                Mode::Stream
            },
            limits: &self.limits,
            scope: &self.scope,
            content: self.content,
            at_start: self.offset == 0,
        }
    }
}

/// The bytes that the machine has accepted; takes them from the input if they are still there.
#[inline]
fn accepted<'b, 'i: 'b>(machine: &Machine, buffer: &'b [u8], input: &mut &'i [u8]) -> &'b [u8] {
    if !buffer.is_empty() {
        return buffer;
    }
    let (bytes, rest) = input.split_at(machine.at);
    *input = rest;
    bytes
}

/// Makes room for `more` bytes: doubles the buffer, but never beyond `limit`.
fn reserve(buffer: &mut Vec<u8>, more: usize, limit: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let wanted = (buffer.capacity() * 2).clamp(needed, limit.max(needed));
        buffer.reserve_exact(wanted - buffer.len());
    }
}
