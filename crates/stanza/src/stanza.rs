//! A stanza on its way: validated head, shared body, edits.

use std::sync::Arc;

use stentor_jid::Jid;
use stentor_xml::{Common, ElementRef, Frame, Malformed, Writer, ns};

use crate::edits::Edits;
use crate::{Condition, Head, Id, IqType, Kind, Lang, MessageType, PresenceType, StanzaError};

/// A message, presence or IQ. Cloning shares the body.
#[derive(Clone, Debug)]
pub struct Stanza {
    /// What is written as the start tag.
    pub head: Head,
    /// The children as they were received, or as we built them.
    body: Frame,
    /// What we changed in the body; almost always nothing.
    edits: Option<Arc<Edits>>,
}

/// Why a frame is not a stanza that can be routed.
#[derive(Debug)]
pub enum BadStanza {
    /// Not one of the three elements: the stream ends with `unsupported-stanza-type`
    /// (RFC 6120 §4.9.3.24).
    NotAStanza,
    /// Its sender gets a stanza error.
    Refused(Box<Refusal>),
    /// It is itself an error or an answer, which must not be answered by an error
    /// (RFC 6120 §8.3.1): it is dropped.
    Dropped(Box<Refusal>),
}

/// What is known of a stanza that is not routed, and why it is not.
#[derive(Debug)]
pub struct Refusal {
    /// What could be read of the head; `to` is absent where it is the mistake.
    pub head: Head,
    /// The error for the sender.
    pub error: StanzaError,
}

impl Refusal {
    /// The error stanza for the sender, whose address the caller puts into `head.from` first.
    #[must_use]
    pub fn reply(&self) -> Stanza {
        Stanza::build(self.head.answer(self.head.kind.as_error()), |w| self.error.write(w))
    }
}

impl Stanza {
    /// Reads the head of a frame. `from` is left empty where it is absent or no address: the
    /// stream stamps what it knows, or judges (RFC 6120 §8.1.2).
    ///
    /// # Errors
    /// [`BadStanza`] tells what becomes of a frame that is no routable stanza.
    #[inline]
    pub fn from_frame(frame: Frame) -> Result<Self, BadStanza> {
        Self::read(frame, None)
    }

    /// Reads the head of a frame whose sender the stream knows; what it says of that is not read.
    ///
    /// # Errors
    /// As [`Stanza::from_frame`]; in a refusal, `from` is the sender already.
    #[inline]
    pub fn from_frame_by(frame: Frame, sender: &Jid) -> Result<Self, BadStanza> {
        Self::read(frame, Some(sender))
    }

    /// The stanza is where it stays before its head is read: moved afterwards it would be read back
    /// while it is still on its way to memory.
    #[inline]
    fn read(body: Frame, sender: Option<&Jid>) -> Result<Self, BadStanza> {
        let head = Head::new(Kind::Message(MessageType::Normal));
        let mut stanza = Self { head, body, edits: None };
        match read_head(&mut stanza.head, stanza.body.root(), sender) {
            Ok(()) => Ok(stanza),
            Err(Unfit::NotAStanza) => Err(BadStanza::NotAStanza),
            Err(Unfit::Refused(condition)) => Err(refuse(stanza.head, condition)),
        }
    }

    /// Reads a stanza that we wrote ourselves with [`Stanza::to_bytes`].
    ///
    /// # Errors
    /// [`Malformed`] or [`BadStanza`], boxed: the record is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, DamagedStanza> {
        let frame = Frame::parse_own(bytes)?;
        Self::from_frame(frame).map_err(|_| DamagedStanza::NotAStanza)
    }

    /// Makes a stanza of our own; `f` writes its children.
    #[must_use]
    pub fn build(head: Head, f: impl FnOnce(&mut Writer)) -> Self {
        let body = Frame::build(|w| {
            w.open(head.kind.name(), ns::CLIENT);
            f(w);
            w.close();
        });
        Self { head, body, edits: None }
    }

    /// Makes a stanza without children.
    #[must_use]
    pub fn empty(head: Head) -> Self {
        Self::build(head, |_| ())
    }

    /// The same body under another head.
    #[must_use]
    pub fn with_head(&self, head: Head) -> Self {
        Self { head, body: self.body.clone(), edits: self.edits.clone() }
    }

    /// The children, without those cut, then those appended.
    #[must_use]
    pub fn children(&self) -> Children<'_> {
        Children {
            own: self.body.root().children(),
            edits: self.edits.as_deref(),
            added: self.edits.as_deref().map_or([].as_slice(), |e| e.added.as_slice()).iter(),
        }
    }

    /// The first child of this name.
    #[must_use]
    pub fn child(&self, ns: &str, name: &str) -> Option<ElementRef<'_>> {
        self.children().find(|c| c.is(ns, name))
    }

    /// Whether there is a child of this name.
    #[must_use]
    pub fn has_child(&self, ns: &str, name: &str) -> bool {
        self.child(ns, name).is_some()
    }

    /// The one child of a request, or the first child of anything else.
    #[must_use]
    pub fn payload(&self) -> Option<ElementRef<'_>> {
        self.children().next()
    }

    /// The error that a stanza of type `error` carries.
    #[must_use]
    pub fn error(&self) -> Option<StanzaError> {
        StanzaError::read(self.child(ns::CLIENT, "error")?)
    }

    /// Leaves out the children for which `cut` is true. Other holders of the body are not touched.
    pub fn cut(&mut self, cut: impl Fn(ElementRef<'_>) -> bool) {
        let doomed: Vec<_> = self
            .body
            .root()
            .children()
            .filter(|c| !self.edits.as_ref().is_some_and(|e| e.is_cut(c.range().start)))
            .filter(|c| cut(*c))
            .map(|c| c.range())
            .collect();
        let added_doomed =
            self.edits.as_ref().is_some_and(|e| e.added.iter().any(|f| cut(f.root())));
        if doomed.is_empty() && !added_doomed {
            return;
        }
        let edits = Arc::make_mut(self.edits.get_or_insert_default());
        for range in doomed {
            edits.cut(range);
        }
        edits.added.retain(|f| !cut(f.root()));
    }

    /// Appends one element that `f` writes. Other holders of the body are not touched.
    pub fn append(&mut self, f: impl FnOnce(&mut Writer)) {
        let edits = Arc::make_mut(self.edits.get_or_insert_default());
        edits.added.push(Frame::build(f));
    }

    /// Writes the stanza for a stream whose default namespace is a content namespace.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes_len());
        self.head.write_open(out);
        let inner = self.body.inner();
        let edits = self.edits.as_deref().filter(|e| !e.is_empty());
        if inner.is_empty() && edits.is_none_or(|e| e.added.is_empty()) {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        match edits {
            None => out.extend_from_slice(inner),
            Some(edits) => edits.write(self.body.bytes(), self.body.root().inner_range(), |part| {
                out.extend_from_slice(part);
            }),
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.head.kind.name().as_bytes());
        out.push(b'>');
    }

    /// Writes at most so many bytes of what [`Stanza::write`] writes, behind the first `from` of
    /// them. Whether that were all that is left.
    pub fn write_part(&self, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let mut window = Window { skip: from, room: bytes_max, is_cut: false, out };
        let mut open = Vec::new();
        self.head.write_open(&mut open);
        window.put(&open);
        let inner = self.body.inner();
        let edits = self.edits.as_deref().filter(|e| !e.is_empty());
        if inner.is_empty() && edits.is_none_or(|e| e.added.is_empty()) {
            window.put(b"/>");
            return !window.is_cut;
        }
        window.put(b">");
        match edits {
            None => window.put(inner),
            Some(edits) => edits.write(self.body.bytes(), self.body.root().inner_range(), |part| {
                window.put(part);
            }),
        }
        window.put(b"</");
        window.put(self.head.kind.name().as_bytes());
        window.put(b">");
        !window.is_cut
    }

    /// The stanza as bytes that [`Stanza::parse`] reads again.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes_len());
        self.write(&mut out);
        out
    }

    /// About how many bytes it takes on the wire; what queues count.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        let address = |jid: &Option<Jid>| jid.as_ref().map_or(0, |j| j.as_str().len() + 8);
        self.body.bytes_len()
            + address(&self.head.to)
            + address(&self.head.from)
            + self.edits.as_ref().map_or(0, |e| e.added_bytes())
            + HEAD_BYTES
    }

    /// The type of a message.
    #[must_use]
    pub const fn message_type(&self) -> Option<MessageType> {
        if let Kind::Message(t) = self.head.kind { Some(t) } else { None }
    }

    /// The type of a presence.
    #[must_use]
    pub const fn presence_type(&self) -> Option<PresenceType> {
        if let Kind::Presence(t) = self.head.kind { Some(t) } else { None }
    }

    /// The type of an IQ.
    #[must_use]
    pub const fn iq_type(&self) -> Option<IqType> {
        if let Kind::Iq(t) = self.head.kind { Some(t) } else { None }
    }

    /// The answer to an IQ request; `f` writes its payload, if any.
    #[must_use]
    pub fn reply_result(&self, f: impl FnOnce(&mut Writer)) -> Self {
        Self::build(self.head.answer(Kind::Iq(IqType::Result)), f)
    }

    /// The error for the sender, or none where RFC 6120 §8.3.1 forbids one: a stanza of type
    /// `error` or an IQ result is never answered.
    #[must_use]
    pub fn reply_error(&self, error: &StanzaError) -> Option<Self> {
        if self.head.kind.is_error() || self.iq_type() == Some(IqType::Result) {
            return None;
        }
        Some(Self::build(self.head.answer(self.head.kind.as_error()), |w| error.write(w)))
    }
}

/// A stored stanza cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DamagedStanza {
    /// Its bytes are not XML.
    #[error("a stored stanza is not well-formed")]
    Xml(#[from] Malformed),
    /// Its bytes are not a stanza.
    #[error("a stored element is not a stanza")]
    NotAStanza,
}

/// The children of a stanza after its edits.
pub struct Children<'a> {
    own: stentor_xml::Children<'a>,
    edits: Option<&'a Edits>,
    added: std::slice::Iter<'a, Frame>,
}

impl<'a> Iterator for Children<'a> {
    type Item = ElementRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let edits = self.edits;
        self.own
            .by_ref()
            .find(|c| !edits.is_some_and(|e| e.is_cut(c.range().start)))
            .or_else(|| self.added.next().map(Frame::root))
    }
}

/// What lets a part of what is written through.
struct Window<'a> {
    /// Bytes before it.
    skip: usize,
    /// Bytes in it that are left.
    room: usize,
    /// Whether something stands behind it.
    is_cut: bool,
    out: &'a mut Vec<u8>,
}

impl Window<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let rest = &bytes[self.skip.min(bytes.len())..];
        self.skip -= bytes.len() - rest.len();
        let len = rest.len().min(self.room);
        self.out.extend_from_slice(&rest[..len]);
        self.room -= len;
        self.is_cut |= len < rest.len();
    }
}

/// Why a head is not one that can be routed.
enum Unfit {
    NotAStanza,
    Refused(Condition),
}

/// Reads the attributes of `root` into `head`, where `sender` stands for `from` if there is one.
#[inline(never)]
fn read_head(head: &mut Head, root: ElementRef<'_>, sender: Option<&Jid>) -> Result<(), Unfit> {
    let read_kind = if root.is(ns::CLIENT, "message") {
        read_message
    } else if root.is(ns::CLIENT, "presence") {
        read_presence
    } else if root.is(ns::CLIENT, "iq") {
        read_iq
    } else {
        return Err(Unfit::NotAStanza);
    };
    let is_kind_known;
    (head.kind, is_kind_known) = read_kind(root.common(Common::Type).as_deref());
    head.from = match sender {
        Some(sender) => Some(sender.clone()),
        None => root.common(Common::From).and_then(|from| Jid::new(&from).ok()),
    };
    let mut is_to_bad = false;
    if let Some(to) = root.common(Common::To) {
        head.to = Jid::new(&to).ok();
        is_to_bad = head.to.is_none();
    }
    if let Some(id) = root.common(Common::Id) {
        Id::put(&mut head.id, &id);
    }
    if let Some(lang) = root.common(Common::Lang).filter(|lang| !lang.is_empty()) {
        Lang::put(&mut head.lang, &lang);
    }
    if is_to_bad {
        Err(Unfit::Refused(Condition::JidMalformed))
    } else if !is_kind_known {
        Err(Unfit::Refused(Condition::BadRequest))
    } else {
        check_iq(head, root).map_err(Unfit::Refused)
    }
}

/// What a type makes of a message. Here and below: and whether the type is known.
fn read_message(kind: Option<&str>) -> (Kind, bool) {
    (Kind::Message(MessageType::read(kind)), true)
}

fn read_presence(kind: Option<&str>) -> (Kind, bool) {
    let known = PresenceType::read(kind);
    (Kind::Presence(known.unwrap_or(PresenceType::Available)), known.is_some())
}

fn read_iq(kind: Option<&str>) -> (Kind, bool) {
    let known = IqType::read(kind);
    (Kind::Iq(known.unwrap_or(IqType::Get)), known.is_some())
}

/// RFC 6120 §8.2.3: an id always; one child in a request, at most one in a result.
fn check_iq(head: &Head, root: ElementRef<'_>) -> Result<(), Condition> {
    let Kind::Iq(kind) = head.kind else { return Ok(()) };
    let children = root.children().take(2).count();
    let fits = match kind {
        IqType::Get | IqType::Set => children == 1,
        IqType::Result => children <= 1,
        IqType::Error => true,
    };
    if head.id.is_some() && fits { Ok(()) } else { Err(Condition::BadRequest) }
}

fn refuse(head: Head, condition: Condition) -> BadStanza {
    let error = StanzaError::new(condition);
    let answered = head.kind.is_error() || head.kind == Kind::Iq(IqType::Result);
    let refusal = Box::new(Refusal { head, error });
    if answered { BadStanza::Dropped(refusal) } else { BadStanza::Refused(refusal) }
}

/// What a head takes on the wire apart from its addresses, roughly.
const HEAD_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap()
    }

    fn text(stanza: &Stanza) -> String {
        String::from_utf8(stanza.to_bytes()).unwrap()
    }

    #[test]
    fn writes_the_head_afresh_and_forwards_the_children() {
        let mut stanza = read(
            "<message to='romeo@montague.example' from='forged@x.example' id='a&amp;b' type='chat' \
             odd='1'><body>x &lt; y</body><q:e xmlns:q='urn:example:q'/></message>",
        );
        stanza.head.from = Some(Jid::new("juliet@capulet.example/balcony").unwrap());
        assert_eq!(
            text(&stanza),
            "<message type='chat' id='a&amp;b' to='romeo@montague.example' \
             from='juliet@capulet.example/balcony'><body>x &lt; y</body>\
             <q:e xmlns:q='urn:example:q'/></message>"
        );
    }

    #[test]
    fn edits_are_private_to_one_copy() {
        let original = read("<message><body>x</body><a xmlns='urn:example:a'/></message>");
        let mut copy = original.clone();
        copy.cut(|c| c.ns() == "urn:example:a");
        copy.append(|w| {
            w.leaf("b", "urn:example:b");
        });
        assert!(original.has_child("urn:example:a", "a"));
        assert!(!copy.has_child("urn:example:a", "a"));
        assert_eq!(text(&copy), "<message><body>x</body><b xmlns='urn:example:b'/></message>");
        copy.cut(|c| c.ns() == "urn:example:b");
        assert_eq!(text(&copy), "<message><body>x</body></message>");
    }

    #[test]
    fn parts_are_together_what_is_written_at_once() {
        let mut edited = read(
            "<message to='romeo@montague.example' id='a'><body>x &lt; y</body>\
             <a xmlns='urn:example:a'/>tail</message>",
        );
        edited.cut(|c| c.ns() == "urn:example:a");
        edited.append(|w| {
            w.leaf("b", "urn:example:b");
        });
        for stanza in [edited, read("<presence/>"), read("<message><body>x</body></message>")] {
            let whole = stanza.to_bytes();
            for size in 1..=whole.len() + 1 {
                let (mut parts, mut is_end) = (Vec::new(), false);
                while !is_end {
                    let before = parts.len();
                    is_end = stanza.write_part(before, size, &mut parts);
                    assert!(parts.len() - before <= size);
                    assert_eq!(is_end, parts.len() == whole.len());
                }
                assert_eq!(parts, whole);
            }
        }
    }

    #[test]
    fn refuses_bad_addresses_types_and_iqs() {
        for (xml, condition) in [
            ("<message to='@x.example'/>", Condition::JidMalformed),
            ("<presence type='online'/>", Condition::BadRequest),
            ("<presence type=''/>", Condition::BadRequest),
            ("<iq id='1' type='ask'><x xmlns='u:x'/></iq>", Condition::BadRequest),
            ("<iq id='1'><x xmlns='u:x'/></iq>", Condition::BadRequest),
            ("<iq type='get'><x xmlns='u:x'/></iq>", Condition::BadRequest),
            ("<iq id='1' type='get'/>", Condition::BadRequest),
            ("<iq id='1' type='set'><x xmlns='u:x'/><y xmlns='u:x'/></iq>", Condition::BadRequest),
        ] {
            match Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()) {
                Err(BadStanza::Refused(refusal)) => {
                    assert_eq!(refusal.error.condition, condition, "{xml}");
                    assert!(refusal.reply().head.kind.is_error());
                }
                other => panic!("{xml}: {other:?}"),
            }
        }
    }

    #[test]
    fn drops_bad_answers_silently() {
        for xml in [
            "<iq type='result'/>",
            "<iq type='error' id='1' to='@'/>",
            "<message type='error' to='a@@b'/>",
            "<iq type='result' id='1'><a xmlns='u:a'/><b xmlns='u:b'/></iq>",
        ] {
            let bad = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap());
            assert!(matches!(bad, Err(BadStanza::Dropped(_))), "{xml}");
        }
    }

    #[test]
    fn knows_what_is_not_a_stanza() {
        for xml in ["<pubsub/>", "<message xmlns='urn:example:z'/>"] {
            let bad = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap());
            assert!(matches!(bad, Err(BadStanza::NotAStanza)), "{xml}");
        }
    }

    #[test]
    fn answers_requests_and_never_answers_answers() {
        let ask = read("<iq type='get' id='7' to='a.example'><x xmlns='u:x'/></iq>");
        assert_eq!(text(&ask.reply_result(|_| ())), "<iq type='result' id='7' from='a.example'/>");
        let error = StanzaError::new(Condition::ServiceUnavailable);
        let reply = ask.reply_error(&error).unwrap();
        assert_eq!(reply.error(), Some(error.clone()));
        // §8.3.1 rule 3: only that of an IQ is there in any case.
        for (xml, reply) in [
            (
                "<iq type='get' from='a.example'><x xmlns='u:x'/></iq>",
                "<iq type='error' id='' to='a.example'>",
            ),
            ("<iq type='get' id='' from='a.example'/>", "<iq type='error' id='' to='a.example'>"),
        ] {
            match Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()) {
                Err(BadStanza::Refused(refusal)) => {
                    assert!(text(&refusal.reply()).starts_with(reply))
                }
                other => panic!("{xml}: {other:?}"),
            }
        }
        let reply = read("<message from='a.example'/>").reply_error(&error).unwrap();
        assert!(text(&reply).starts_with("<message type='error' to='a.example'>"));
        for xml in ["<iq type='result' id='7'/>", "<message type='error'/>"] {
            assert!(read(xml).reply_error(&error).is_none());
        }
    }

    #[test]
    fn survives_the_store() {
        let stanza = read(
            "<message to='a@x.example' from='b@x.example/r' xml:lang='cs'><body>&amp;</body></message>",
        );
        let again = Stanza::parse(&stanza.to_bytes()).unwrap();
        assert_eq!(again.head, stanza.head);
        assert_eq!(again.to_bytes(), stanza.to_bytes());
        assert!(Stanza::parse(b"<message><body>").is_err());
    }

    #[test]
    fn survives_the_store_though_it_has_become_longer_than_what_may_come() {
        let mut stanza = read(&format!("<message><body>{}</body></message>", "x".repeat(262_000)));
        stanza.head.from = Some(Jid::new(&format!("{}@x.example", "a".repeat(1_000))).unwrap());
        stanza.append(|w| {
            w.open("a", "urn:example:a").text(&"y".repeat(300_000)).close();
        });
        let again = Stanza::parse(&stanza.to_bytes()).unwrap();
        assert!(again.to_bytes() == stanza.to_bytes());
    }
}
