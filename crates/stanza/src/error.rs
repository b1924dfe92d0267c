//! Stanza errors (RFC 6120 §8.3): the one table of conditions and how they are written.

use std::borrow::Cow;

use stentor_xml::{ElementRef, Writer};

/// Why a stanza is refused, as its sender will read it.
///
/// `Display` names the condition; the optional text is for people and never depends on the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", condition.name())]
pub struct StanzaError {
    /// What the sender may do about it.
    pub kind: ErrorType,
    /// The defined condition.
    pub condition: Condition,
    /// A sentence for people, in English.
    pub text: Option<Cow<'static, str>>,
    /// An application-specific condition: element name and namespace (RFC 6120 §8.3.4).
    pub app: Option<(&'static str, &'static str)>,
    /// An attribute of that element: name and value (XEP-0060 §11, `unsupported`).
    pub app_attr: Option<(&'static str, &'static str)>,
}

impl StanzaError {
    /// An error of this condition with the type that RFC 6120 §8.3.3 recommends for it.
    #[must_use]
    pub const fn new(condition: Condition) -> Self {
        Self { kind: condition.usual_type(), condition, text: None, app: None, app_attr: None }
    }

    /// The same error with another type.
    #[must_use]
    pub const fn of_type(mut self, kind: ErrorType) -> Self {
        self.kind = kind;
        self
    }

    /// The same error with a sentence for people.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The same error with an application-specific condition.
    #[must_use]
    pub const fn with_app(mut self, name: &'static str, ns: &'static str) -> Self {
        self.app = Some((name, ns));
        self
    }

    /// The same error with an attribute on its application-specific condition.
    #[must_use]
    pub const fn with_app_attr(mut self, name: &'static str, value: &'static str) -> Self {
        self.app_attr = Some((name, value));
        self
    }

    /// Writes the `<error/>` child.
    pub fn write(&self, w: &mut Writer) {
        w.open("error", stentor_xml::ns::CLIENT).attr("type", self.kind.name());
        w.leaf(self.condition.name(), NS_STANZAS);
        if let Some(text) = &self.text {
            w.open("text", NS_STANZAS).lang("en").text(text);
            w.close();
        }
        if let Some((name, ns)) = self.app {
            w.open(name, ns);
            if let Some((name, value)) = self.app_attr {
                w.attr(name, value);
            }
            w.close();
        }
        w.close();
    }

    /// Reads the `<error/>` child of a stanza of type `error`.
    ///
    /// An unknown condition is read as `undefined-condition`, as RFC 6120 §8.3.2 lets an entity
    /// treat conditions it does not understand.
    #[must_use]
    pub fn read(error: ElementRef<'_>) -> Option<Self> {
        let kind = ErrorType::from_name(&error.attr("type")?)?;
        let condition = error
            .children()
            .filter(|c| c.ns() == NS_STANZAS && c.name() != "text")
            .find_map(|c| Condition::from_name(c.name()))
            .unwrap_or(Condition::UndefinedCondition);
        let text = error.child(NS_STANZAS, "text").map(|t| Cow::Owned(t.text().into_owned()));
        Some(Self { kind, condition, text, app: None, app_attr: None })
    }
}

/// What the sender of a refused stanza may do (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Proceed: it was only a warning.
    Continue,
    /// Retry after changing what was sent.
    Modify,
    /// Retry after waiting.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Auth, Self::Cancel, Self::Continue, Self::Modify, Self::Wait]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $usual:ident;)*) => {
        /// The defined conditions of RFC 6120 §8.3.3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Condition { $($(#[$doc])* $variant,)* }

        impl Condition {
            /// Every condition, in the order of the RFC.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The element's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The error type that the RFC recommends for this condition.
            #[must_use]
            pub const fn usual_type(self) -> ErrorType {
                match self { $(Self::$variant => ErrorType::$usual,)* }
            }
        }
    };
}

conditions! {
    /// The stanza cannot be processed as it stands (§8.3.3.1).
    BadRequest = "bad-request", Modify;
    /// Something of this name exists already (§8.3.3.2).
    Conflict = "conflict", Cancel;
    /// Nobody here implements the feature (§8.3.3.3).
    FeatureNotImplemented = "feature-not-implemented", Cancel;
    /// The sender lacks a permission (§8.3.3.4).
    Forbidden = "forbidden", Auth;
    /// The address has moved for good (§8.3.3.5).
    Gone = "gone", Cancel;
    /// We failed (§8.3.3.6).
    InternalServerError = "internal-server-error", Cancel;
    /// There is no such item (§8.3.3.7).
    ItemNotFound = "item-not-found", Cancel;
    /// An address is not an address (§8.3.3.8).
    JidMalformed = "jid-malformed", Modify;
    /// The recipient's criteria are not met (§8.3.3.9).
    NotAcceptable = "not-acceptable", Modify;
    /// Nobody may do this (§8.3.3.10).
    NotAllowed = "not-allowed", Cancel;
    /// Credentials come first (§8.3.3.11).
    NotAuthorized = "not-authorized", Auth;
    /// Local policy forbids it (§8.3.3.12).
    PolicyViolation = "policy-violation", Modify;
    /// The recipient is not there for now (§8.3.3.13).
    RecipientUnavailable = "recipient-unavailable", Wait;
    /// The recipient is elsewhere for now (§8.3.3.14).
    Redirect = "redirect", Modify;
    /// The sender must register first (§8.3.3.15).
    RegistrationRequired = "registration-required", Auth;
    /// The other domain does not exist or cannot be reached (§8.3.3.16).
    RemoteServerNotFound = "remote-server-not-found", Cancel;
    /// The other domain did not answer in time (§8.3.3.17).
    RemoteServerTimeout = "remote-server-timeout", Wait;
    /// Something is used up (§8.3.3.18).
    ResourceConstraint = "resource-constraint", Wait;
    /// The recipient offers no such service, or it is not said why not (§8.3.3.19).
    ServiceUnavailable = "service-unavailable", Cancel;
    /// A subscription comes first (§8.3.3.20).
    SubscriptionRequired = "subscription-required", Auth;
    /// None of the other conditions (§8.3.3.21).
    UndefinedCondition = "undefined-condition", Cancel;
    /// The stanza was not expected now (§8.3.3.22).
    UnexpectedRequest = "unexpected-request", Wait;
}

impl Condition {
    /// The condition of this element name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name() == name)
    }
}

/// The namespace of the defined conditions and of their text (RFC 6120 §8.3.2).
pub const NS_STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    #[test]
    fn every_condition_survives_writing_and_reading() {
        for &condition in Condition::ALL {
            let error = StanzaError::new(condition).with_text("Because.");
            let frame = Frame::build(|w| error.write(w));
            assert_eq!(StanzaError::read(frame.root()), Some(error));
        }
    }

    #[test]
    fn unknown_conditions_are_undefined() {
        let frame = Frame::parse(
            b"<error type='wait'><odd xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
        )
        .unwrap();
        let error = StanzaError::read(frame.root()).unwrap();
        assert_eq!(error.condition, Condition::UndefinedCondition);
        assert_eq!(error.kind, ErrorType::Wait);
    }
}
