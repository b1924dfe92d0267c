//! Why a stream ends, and how that looks on the wire (RFC 6120 §4.9).
//!
//! Call sites name the reason; the tables in this file alone map it to a condition. Texts that a
//! peer sees are static.

use std::fmt;

use stentor_xml::{ElementRef, Malformed, MalformedKind, escape_text};

use crate::ns;

/// Why a stream is over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// What the peer sent is not the XML of a stream.
    #[error("xml: {0}")]
    Xml(#[from] Malformed),
    /// The peer broke a rule of the protocol.
    #[error("peer misbehaved: {}", .0.text())]
    Peer(Misbehaviour),
    /// The peer used up what it was allowed.
    #[error("limit: {}", .0.text())]
    Limit(Limit),
    /// The peer took too long.
    #[error("timeout: {}", .0.text())]
    Timeout(Wait),
    /// We do not serve the domain that the peer asked for (§4.9.3.6).
    #[error("host unknown")]
    HostUnknown,
    /// We no longer serve the domain that the peer asked for (§4.9.3.5).
    #[error("host gone")]
    HostGone,
    /// The peer shall connect to another machine (§4.9.3.19).
    #[error("see other host")]
    SeeOtherHost {
        /// A domain or address, with `:port` behind it if need be.
        host: Box<str>,
    },
    /// A newer stream of the same resource took this one's place (§4.9.3.3).
    #[error("replaced by a newer stream")]
    Replaced,
    /// The domain of a component has all the streams that it may have (XEP-0114 §3).
    #[error("the component has its streams already")]
    Occupied,
    /// The account was removed or locked (XEP-0077 §3.2: `not-authorized`).
    #[error("account closed")]
    AccountClosed,
    /// The stream must be negotiated anew, for its features changed (§4.9.3.16).
    #[error("reset")]
    Reset,
    /// The server is stopping (§4.9.3.20).
    #[error("shutting down")]
    Shutdown,
    /// The server has no room for the stream, or for what waits to be sent on it (§4.9.3.17).
    #[error("overloaded")]
    Overloaded,
    /// The peer acknowledged more stanzas than it was sent (XEP-0198 §6).
    #[error("the peer acknowledged {h} stanzas of {sent}")]
    AckTooHigh {
        /// What it said.
        h: u32,
        /// What it was sent, both modulo 2³².
        sent: u32,
    },
    /// Local policy, in a sentence for the peer (§4.9.3.14).
    #[error("policy: {0}")]
    Policy(&'static str),
    /// We failed; details are in the log under the same number (§4.9.3.8).
    #[error("internal, incident {0}")]
    Internal(Incident),
    /// The credentials of the connecting side cannot be used, so nothing was sent.
    #[error("the credentials cannot be used")]
    Credentials,
    /// The peer ended the stream with an error of its own, which is never answered by another.
    #[error("ended by the peer: {}", .0.condition.name())]
    ByPeer(Box<PeerError>),
    /// The connection broke without any closing tag.
    #[error("connection lost")]
    Lost,
}

impl Fault {
    /// The condition of RFC 6120 §4.9.3 that stands for this reason.
    #[must_use]
    pub fn condition(&self) -> StreamCondition {
        match self {
            Self::Xml(malformed) => xml_condition(malformed.kind),
            Self::Peer(misbehaviour) => misbehaviour.row().0,
            Self::Limit(_) | Self::Policy(_) => StreamCondition::PolicyViolation,
            Self::Timeout(_) => StreamCondition::ConnectionTimeout,
            Self::HostUnknown => StreamCondition::HostUnknown,
            Self::HostGone => StreamCondition::HostGone,
            Self::SeeOtherHost { .. } => StreamCondition::SeeOtherHost,
            Self::Replaced | Self::Occupied => StreamCondition::Conflict,
            Self::AccountClosed => StreamCondition::NotAuthorized,
            Self::Reset => StreamCondition::Reset,
            Self::Shutdown => StreamCondition::SystemShutdown,
            Self::Overloaded => StreamCondition::ResourceConstraint,
            Self::Internal(_) => StreamCondition::InternalServerError,
            Self::Credentials | Self::AckTooHigh { .. } => StreamCondition::UndefinedCondition,
            Self::ByPeer(error) => error.condition,
            Self::Lost => StreamCondition::RemoteConnectionFailed,
        }
    }

    /// Writes what the peer is told before the closing tag: nothing where it spoke first, and
    /// nothing by a client that cannot sign in.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::ByPeer(_) | Self::Lost | Self::Credentials => return,
            Self::Peer(misbehaviour) if misbehaviour.is_silent() => return,
            // RFC 6120 §5.4.2.2: a refused STARTTLS ends the stream without a stream error.
            Self::Peer(Misbehaviour::StartTlsRefused) => {
                out.extend_from_slice(b"<failure xmlns='");
                out.extend_from_slice(ns::TLS.as_bytes());
                out.extend_from_slice(b"'/>");
                return;
            }
            _ => {}
        }
        out.extend_from_slice(b"<stream:error>");
        self.write_condition(out);
        if let Some(text) = self.text() {
            out.extend_from_slice(b"<text xmlns='");
            out.extend_from_slice(ns::STREAM_ERRORS.as_bytes());
            out.extend_from_slice(b"' xml:lang='en'>");
            escape_text(out, &text);
            out.extend_from_slice(b"</text>");
        }
        if let Some(name) = self.application_condition() {
            out.push(b'<');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b" xmlns='");
            out.extend_from_slice(ns::ERRORS.as_bytes());
            out.extend_from_slice(b"'/>");
        }
        if let Self::AckTooHigh { h, sent } = self {
            let counts =
                format!("<handled-count-too-high xmlns='{}' h='{h}' send-count='{sent}'/>", ns::SM);
            out.extend_from_slice(counts.as_bytes());
        }
        out.extend_from_slice(b"</stream:error>");
    }

    /// Whether what the peer sends after it cannot be read any more.
    pub(crate) const fn is_deaf(&self) -> bool {
        matches!(self, Self::Xml(_) | Self::Timeout(_) | Self::Lost)
    }

    fn write_condition(&self, out: &mut Vec<u8>) {
        let name = self.condition().name();
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b" xmlns='");
        out.extend_from_slice(ns::STREAM_ERRORS.as_bytes());
        if let Self::SeeOtherHost { host } = self {
            out.extend_from_slice(b"'>");
            escape_text(out, host);
            out.extend_from_slice(b"</");
            out.extend_from_slice(name.as_bytes());
            out.push(b'>');
        } else {
            out.extend_from_slice(b"'/>");
        }
    }

    fn text(&self) -> Option<std::borrow::Cow<'static, str>> {
        match self {
            Self::Peer(misbehaviour) => Some(misbehaviour.text().into()),
            Self::Limit(limit) => Some(limit.text().into()),
            Self::Timeout(wait) => Some(wait.text().into()),
            Self::Policy(text) => Some((*text).into()),
            Self::Internal(incident) => Some(format!("Incident {incident}").into()),
            _ => None,
        }
    }

    // XEP-0205 §4.5: what is too big is said in a condition of its own.
    fn application_condition(&self) -> Option<&'static str> {
        matches!(self, Self::Xml(Malformed { kind: MalformedKind::FrameTooBig, .. }))
            .then_some("stanza-too-big")
    }
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// The root is not in the stream namespace.
    WrongStreamNamespace,
    /// The root is in the stream namespace and is not `stream`.
    NotAStream,
    /// The stream namespace has another prefix than `stream`.
    WrongStreamPrefix,
    /// The default namespace is not the content namespace of this kind of stream.
    WrongContentNamespace,
    /// No version, or one below 1.0, whose protocols nobody needs any more (§4.7.5).
    OldVersion,
    /// The header's `from` is no address.
    BadFrom,
    /// The header's `from` is of another domain than its `to` (XEP-0388 §2.1).
    FromElsewhere,
    /// The header's `from` is not who signed in (§6.4.6).
    FromMismatch,
    /// The header after sign-in names another domain than the one before.
    HostChanged,
    /// `<starttls/>` was malformed, or not offered (§5.4.2.2).
    StartTlsRefused,
    /// Something other than STARTTLS before TLS.
    StanzaBeforeTls,
    /// A stanza before sign-in.
    StanzaBeforeAuth,
    /// A stanza before a resource was bound.
    StanzaBeforeBind,
    /// A stanza's name in a namespace that is not the content namespace.
    WrongStanzaNamespace,
    /// A first-level element that is nothing we know.
    UnknownElement,
    /// The server offers no TLS, and we insist on it.
    NoTls,
    /// The server offers no mechanism that we can use.
    NoMechanism,
    /// The server did not prove that it knows the password.
    ServerUnproven,
    /// The server refused to sign us in.
    SignInRefused,
    /// The server refused to bind a resource, or answered nonsense.
    BindRefused,
    /// The server sent something out of turn.
    OutOfTurn,
    /// An acknowledgement was malformed (XEP-0198 §4).
    BadAck,
    /// A dialback element was malformed.
    BadDialback,
    /// A dialback answer came that nobody asked for (XEP-0220 §3.1).
    UnsolicitedDialback,
    /// A dialback key was not made by the domain's own server (XEP-0220 §2.2.1).
    FalseKey,
    /// A component did not prove that it knows the secret (XEP-0114 §3).
    FalseHandshake,
    /// A stanza between servers lacks an address (RFC 6120 §4.9.3.7).
    NoAddress,
    /// A stanza is from a domain that the stream may not speak for (RFC 6120 §4.9.3.9).
    ForeignFrom,
    /// A stanza is to a domain that the stream was not authorized for.
    ForeignTo,
}

impl Misbehaviour {
    /// A sentence for the peer and for the log.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.row().1
    }

    // RFC 6120 §6.4.5: a client that cannot sign in simply closes the stream.
    const fn is_silent(self) -> bool {
        matches!(self, Self::ServerUnproven | Self::SignInRefused | Self::BindRefused)
    }

    const fn row(self) -> (StreamCondition, &'static str) {
        use StreamCondition as C;
        match self {
            Self::WrongStreamNamespace => {
                (C::InvalidNamespace, "The root element is not in the stream namespace")
            }
            Self::NotAStream => (C::BadFormat, "The root element is not a stream"),
            Self::WrongStreamPrefix => {
                (C::BadNamespacePrefix, "The prefix of the stream namespace must be 'stream'")
            }
            Self::WrongContentNamespace => {
                (C::InvalidNamespace, "The default namespace is not the one of this kind of stream")
            }
            Self::OldVersion => (C::UnsupportedVersion, "XMPP 1.0 is required"),
            Self::BadFrom => (C::InvalidFrom, "The stream's 'from' is not an address"),
            Self::FromElsewhere => {
                (C::InvalidFrom, "The stream's 'from' is not an address of this domain")
            }
            Self::FromMismatch => (C::InvalidFrom, "The stream's 'from' is not who signed in"),
            Self::HostChanged => {
                (C::NotAuthorized, "The stream's 'to' changed after authentication")
            }
            Self::StartTlsRefused => (C::PolicyViolation, "STARTTLS is malformed or not offered"),
            Self::StanzaBeforeTls => (C::NotAuthorized, "TLS comes first"),
            Self::StanzaBeforeAuth => (C::NotAuthorized, "Authentication comes first"),
            Self::StanzaBeforeBind => (C::NotAuthorized, "Resource binding comes first"),
            Self::WrongStanzaNamespace => {
                (C::InvalidNamespace, "The stanza is not in the content namespace")
            }
            Self::UnknownElement => (C::UnsupportedStanzaType, "The element is not known here"),
            Self::NoTls => (C::PolicyViolation, "TLS is required"),
            Self::NoMechanism => (C::UnsupportedFeature, "No common SASL mechanism"),
            Self::ServerUnproven => (C::NotAuthorized, "The server did not prove its identity"),
            Self::SignInRefused => (C::NotAuthorized, "Authentication was refused"),
            Self::BindRefused => (C::UndefinedCondition, "Resource binding was refused"),
            Self::OutOfTurn => (C::UnsupportedStanzaType, "The element was not expected now"),
            Self::BadAck => (C::BadFormat, "The acknowledgement is malformed"),
            Self::BadDialback => (C::BadFormat, "The dialback element is malformed"),
            Self::UnsolicitedDialback => {
                (C::PolicyViolation, "Nobody asked for this dialback answer")
            }
            Self::FalseKey => (C::NotAuthorized, "The dialback key is not valid"),
            Self::FalseHandshake => {
                (C::NotAuthorized, "The handshake was not made with the secret of the component")
            }
            Self::NoAddress => {
                (C::ImproperAddressing, "Stanzas between servers have 'from' and 'to'")
            }
            Self::ForeignFrom => {
                (C::InvalidFrom, "The stanza's 'from' is not of an authenticated domain")
            }
            Self::ForeignTo => {
                (C::HostUnknown, "The stanza's 'to' is no domain that this stream is for")
            }
        }
    }
}

/// What a peer used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Attempts to sign in (RFC 6120 §6.4.5).
    AuthRetries,
    /// Attempts to bind a resource (RFC 6120 §7.7.3).
    BindRetries,
    /// Registration IQs before sign-in.
    StreamIqs,
}

impl Limit {
    /// A sentence for the peer and for the log.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::AuthRetries => "Too many failed authentications",
            Self::BindRetries => "Too many refused resources",
            Self::StreamIqs => "Too many requests before authentication",
        }
    }
}

/// What was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The first stream header.
    Header,
    /// The end of negotiation.
    SignIn,
    /// A sign of life after the peer was asked for one.
    Answer,
}

impl Wait {
    /// A sentence for the peer and for the log.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Header => "No stream header in time",
            Self::SignIn => "Not authenticated in time",
            Self::Answer => "No answer in time",
        }
    }
}

/// The number under which the log has the details of a failure of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident(pub u32);

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A stream error that the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerError {
    /// The defined condition; one that we do not know is undefined (RFC 6120 §4.9.2).
    pub condition: StreamCondition,
    /// What the condition contains: the address of `see-other-host`.
    pub content: Option<String>,
    /// The text for people.
    pub text: Option<String>,
    /// The application-specific condition: name and namespace.
    pub application: Option<(String, String)>,
}

impl PeerError {
    /// Reads a `<stream:error/>`.
    #[must_use]
    pub fn read(error: ElementRef<'_>) -> Self {
        let mut read = Self {
            condition: StreamCondition::UndefinedCondition,
            content: None,
            text: None,
            application: None,
        };
        for child in error.children() {
            if child.is(ns::STREAM_ERRORS, "text") {
                read.text = Some(child.text().into_owned());
            } else if child.ns() == ns::STREAM_ERRORS {
                read.condition = StreamCondition::from_name(child.name())
                    .unwrap_or(StreamCondition::UndefinedCondition);
                read.content = Some(child.text().trim().to_owned()).filter(|t| !t.is_empty());
            } else {
                read.application = Some((child.name().to_owned(), child.ns().to_owned()));
            }
        }
        read
    }
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// The defined conditions of RFC 6120 §4.9.3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StreamCondition { $($(#[$doc])* $variant,)* }

        impl StreamCondition {
            /// Every condition, in the order of the RFC.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The element's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

conditions! {
    /// XML that cannot be processed (§4.9.3.1).
    BadFormat = "bad-format";
    /// A prefix that is not supported, or is missing (§4.9.3.2).
    BadNamespacePrefix = "bad-namespace-prefix";
    /// A newer stream takes this one's place (§4.9.3.3).
    Conflict = "conflict";
    /// The other side seems to be gone (§4.9.3.4).
    ConnectionTimeout = "connection-timeout";
    /// The domain is no longer served (§4.9.3.5).
    HostGone = "host-gone";
    /// The domain is not served (§4.9.3.6).
    HostUnknown = "host-unknown";
    /// A stanza between servers lacks an address (§4.9.3.7).
    ImproperAddressing = "improper-addressing";
    /// The server failed (§4.9.3.8).
    InternalServerError = "internal-server-error";
    /// An address that is not the sender's (§4.9.3.9).
    InvalidFrom = "invalid-from";
    /// A namespace that has no place here (§4.9.3.10).
    InvalidNamespace = "invalid-namespace";
    /// XML that breaks a schema (§4.9.3.11).
    InvalidXml = "invalid-xml";
    /// Something that needs authentication first (§4.9.3.12).
    NotAuthorized = "not-authorized";
    /// XML that is not well-formed (§4.9.3.13).
    NotWellFormed = "not-well-formed";
    /// Local policy was broken (§4.9.3.14).
    PolicyViolation = "policy-violation";
    /// A server needed for the stream cannot be reached (§4.9.3.15).
    RemoteConnectionFailed = "remote-connection-failed";
    /// The stream must be negotiated anew (§4.9.3.16).
    Reset = "reset";
    /// Resources are used up (§4.9.3.17).
    ResourceConstraint = "resource-constraint";
    /// XML that streams forbid (§4.9.3.18).
    RestrictedXml = "restricted-xml";
    /// Another machine serves the peer (§4.9.3.19).
    SeeOtherHost = "see-other-host";
    /// The server is stopping (§4.9.3.20).
    SystemShutdown = "system-shutdown";
    /// None of the others (§4.9.3.21).
    UndefinedCondition = "undefined-condition";
    /// An encoding other than UTF-8 (§4.9.3.22).
    UnsupportedEncoding = "unsupported-encoding";
    /// A required feature that the other side lacks (§4.9.3.23).
    UnsupportedFeature = "unsupported-feature";
    /// A first-level element that is not known (§4.9.3.24).
    UnsupportedStanzaType = "unsupported-stanza-type";
    /// A version that is not supported (§4.9.3.25).
    UnsupportedVersion = "unsupported-version";
}

impl StreamCondition {
    /// The condition of this element name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        // §4.9.3.13: RFC 3920 spelled it with a reserved prefix.
        if name == "xml-not-well-formed" {
            return Some(Self::NotWellFormed);
        }
        Self::ALL.iter().copied().find(|c| c.name() == name)
    }
}

fn xml_condition(kind: MalformedKind) -> StreamCondition {
    if kind == MalformedKind::TextBetween {
        StreamCondition::BadFormat
    } else if kind == MalformedKind::ForeignContent {
        StreamCondition::InvalidNamespace
    } else if kind.is_restricted() {
        StreamCondition::RestrictedXml
    } else if kind.is_encoding() {
        StreamCondition::UnsupportedEncoding
    } else if kind.is_limit() {
        StreamCondition::PolicyViolation
    } else {
        StreamCondition::NotWellFormed
    }
}

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read(xml: &str) -> PeerError {
        let error = format!("<error xmlns='http://etherx.jabber.org/streams'>{xml}</error>");
        PeerError::read(Frame::parse(error.as_bytes()).unwrap().root())
    }

    fn text(fault: &Fault) -> String {
        let mut out = Vec::new();
        fault.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_condition_is_read_by_its_name() {
        for &condition in StreamCondition::ALL {
            let xml = format!("<{} xmlns='{}'/>", condition.name(), ns::STREAM_ERRORS);
            assert_eq!(read(&xml).condition, condition);
        }
        assert_eq!(
            StreamCondition::from_name("xml-not-well-formed"),
            Some(StreamCondition::NotWellFormed)
        );
    }

    #[test]
    fn unknown_conditions_are_undefined() {
        for xml in
            ["", "<odd xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", "<odd xmlns='urn:o'/>"]
        {
            assert_eq!(read(xml).condition, StreamCondition::UndefinedCondition, "{xml}");
        }
    }

    #[test]
    fn reads_the_address_of_another_host() {
        let error = read(
            "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'> im.capulet.example:9 \
             </see-other-host>",
        );
        assert_eq!(error.condition, StreamCondition::SeeOtherHost);
        assert_eq!(error.content.as_deref(), Some("im.capulet.example:9"));
    }

    #[test]
    fn escapes_what_comes_from_outside() {
        let fault = Fault::SeeOtherHost { host: "<&>".into() };
        assert_eq!(
            text(&fault),
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\
             &lt;&amp;&gt;</see-other-host></stream:error>"
        );
    }

    #[test]
    fn never_answers_an_error_with_an_error() {
        let error = read("<conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
        for fault in [Fault::ByPeer(Box::new(error)), Fault::Lost, Fault::Credentials] {
            assert_eq!(text(&fault), "");
        }
    }
}
