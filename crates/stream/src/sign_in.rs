//! What a client asks for while it signs in, and what it gets, where both fit into one element
//! (XEP-0388).

use stentor_jid::{BareJid, FullJid};
use stentor_sasl::Mechanism;
use stentor_stanza::Condition;
use stentor_xml::Frame;

/// A client whose credentials are right, and what it wants with success.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who it is.
    pub account: BareJid,
    /// How it proved that.
    pub mechanism: Mechanism,
    /// What it says about itself.
    pub user_agent: UserAgent,
    /// The session that it wants to go on with (XEP-0198 §9.2), before anything else.
    pub resume: Option<ResumeRequest>,
    /// The resource that it wants, if it does not resume (XEP-0386).
    pub bind: Option<BindRequest>,
    /// Whether stanzas of the new session shall be counted (XEP-0198 §9.1).
    pub enable: Option<EnableRequest>,
    /// The mechanism that it wants a token for (XEP-0484); one that is offered here.
    pub wants_token: Option<Mechanism>,
    /// Whether the token that it used is not good any more, so that none follows it unasked
    /// (XEP-0484 §3.6).
    pub has_invalidated: bool,
}

/// What a client says about itself. Nobody but its user is to learn of it (XEP-0388 §2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// What tells this installation from others, the same at each sign-in; a UUID, or anything
    /// else of at most [`CLIENT_ID_BYTES_MAX`](crate::limits::CLIENT_ID_BYTES_MAX).
    pub id: Option<String>,
    /// The software; at most [`CLIENT_TEXT_BYTES_MAX`](crate::limits::CLIENT_TEXT_BYTES_MAX).
    pub software: Option<String>,
    /// The device; at most as much.
    pub device: Option<String>,
}

/// A wish for a resource (XEP-0386 §3.2).
#[derive(Clone, Debug, Default)]
pub struct BindRequest {
    /// What shall stand before the made-up part of the resource.
    pub tag: Option<String>,
    /// What shall be in force from the beginning, for instance `<enable/>` of XEP-0280.
    pub wishes: Vec<Frame>,
}

/// A wish to go on with an earlier session (XEP-0198 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The id of the session.
    pub previd: String,
    /// How many of our stanzas the client has had, modulo 2³².
    pub h: u32,
}

/// A wish for stream management (XEP-0198 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnableRequest {
    /// Whether the client wants to resume the session later.
    pub resume: bool,
    /// How many seconds it wants to have for that.
    pub max_secs: Option<u32>,
}

/// What came of a wish to go on with an earlier session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// It goes on.
    Resumed {
        /// Stanzas that came on its streams, all of them handled.
        received: u64,
    },
    /// It does not.
    Failed {
        /// Why; as a rule `item-not-found`.
        condition: Condition,
        /// What was handled, modulo 2³², if that is still known.
        h: Option<u32>,
    },
}

/// Stream management is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enabled {
    /// The id by which the session may be resumed, if it may.
    pub id: Option<String>,
    /// For how many seconds after a stream of it broke.
    pub max_secs: u32,
}

/// What a client gets with success.
#[derive(Clone, Debug, Default)]
pub struct SignedIn {
    /// Its resource; none if it did not ask for any, or cannot have one now: it may ask by
    /// RFC 6120 §7.
    pub jid: Option<FullJid>,
    /// What came of its wish to go on with an earlier session; if it does, `jid` is that session's.
    pub resumption: Option<Resumption>,
    /// What came of its wishes, to be put into `<bound/>`.
    pub bound: Vec<Frame>,
    /// Stream management, if it wished for that.
    pub enabled: Option<Enabled>,
    /// A new token.
    pub token: Option<IssuedToken>,
}

/// A token on its way to its client. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The secret.
    pub token: String,
    /// When it ends, in the form of XEP-0082.
    pub expiry: String,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// What a domain offers within XEP-0388, beside its mechanisms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedOffer {
    /// Discovery features of what can be wished for with a resource (XEP-0386 §3.1); none where
    /// resources are bound by RFC 6120 alone.
    pub bind: Option<Vec<Box<str>>>,
    /// The mechanisms that take tokens (XEP-0484); those that a connection cannot use are left out.
    pub tokens: Vec<Mechanism>,
    /// The hashes that accounts may be given keys for (XEP-0480).
    pub upgrades: Vec<stentor_sasl::Hash>,
}
