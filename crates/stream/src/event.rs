//! What passes between a server's stream machine and its shell.

use std::borrow::Cow;
use std::sync::Arc;

use stentor_jid::{BareJid, FullJid};
use stentor_payload::xep0352_csi::ClientState;
use stentor_sasl::{Condition, Hash, Mechanism, ScramKeys, TokenProof};
use stentor_stanza::{Condition as StanzaCondition, Stanza, StanzaError};
use zeroize::Zeroizing;

use crate::c2s::HostOffer;
use crate::fault::Fault;
use crate::sign_in::{SignIn, SignedIn};

/// What the shell must do, or know.
#[derive(Debug)]
pub enum Event {
    /// Send what `take_output` has, then let the TLS handshake begin, then call `handle_tls`.
    ///
    /// The certificate is chosen by the machine's `domain` (RFC 6120 §5.4.3.1). Plaintext that
    /// came behind `<starttls/>` is already thrown away.
    StartTls,
    /// The machine needs the outside; it reads nothing more until `handle_answer`.
    Ask(Ask),
    /// A stanza of the bound session: well-formed, addresses valid, `from` and language stamped.
    Stanza(Stanza),
    /// An answer of the machine's own, for the client: it is to be sent like any other stanza, for
    /// it is counted (XEP-0198).
    Reply(Stanza),
    /// The client wants stream management (XEP-0198 §3): `enable_sm` is due, before anything else
    /// is sent.
    Enable {
        /// Whether it wants to resume the session later.
        resume: bool,
        /// How many seconds it wants to have for that.
        max_secs: Option<u32>,
    },
    /// The client asks what has been handled: `acknowledge` is due once all that it sent is.
    AckRequested,
    /// The client has handled so many stanzas, modulo 2³² (XEP-0198 §4).
    Acked(u32),
    /// The client says whether somebody looks at it (XEP-0352): that holds before anything that comes
    /// next is dealt with.
    Indicated(ClientState),
    /// The client closed its stream. What is still owed may be sent, then `close` is due.
    PeerClosed,
    /// The stream is over: write what `take_output` has, then close the connection.
    Ended {
        /// Why, if not for an ordinary close.
        fault: Option<Fault>,
        /// Whether the peer ended it first.
        by_peer: bool,
    },
    /// An attempt to sign in failed; the client has been told.
    AuthFailed {
        /// What the client tried.
        tried: Tried,
        /// What the client has been told.
        condition: Condition,
    },
    /// The stream ended amid an attempt to sign in, of which the client was told nothing.
    AuthBrokenOff(Tried),
    /// The client's credentials are right; it gets a resource now, or will ask for one.
    AuthOk {
        /// Who it is.
        account: BareJid,
        /// How it proved that.
        mechanism: Mechanism,
    },
}

/// An attempt to sign in, as far as it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// The name it tried: a localpart, or what it claimed instead of one.
    pub username: Option<String>,
    /// The domain.
    pub domain: Option<String>,
    /// The mechanism that it named, whether we know it or not; none if that cannot be the name of a
    /// mechanism (RFC 4422 §3.1).
    pub mechanism: Option<Cow<'static, str>>,
}

/// A question of the machine. Each is answered exactly once, by the [`Answer`] named with it.
#[derive(Debug)]
pub enum Ask {
    /// What is offered at this domain? [`Answer::Host`].
    Host {
        /// The domain, prepared by RFC 7622.
        domain: String,
        /// Who the client says it is, under TLS: unproven, and only what can work for that account
        /// is to be offered (XEP-0388 §2.1).
        from: Option<BareJid>,
    },
    /// The SCRAM keys of this user, or made-up ones where there is no such user.
    /// [`Answer::Keys`] or [`Answer::Refused`].
    Keys {
        /// The localpart, prepared by RFC 7622 if that is possible at all.
        username: String,
        /// For this hash.
        hash: Hash,
    },
    /// Is this the user's password? [`Answer::Accepted`] or [`Answer::Refused`].
    Password {
        /// The localpart, prepared by RFC 7622 if that is possible at all.
        username: String,
        /// As the client sent it.
        password: Zeroizing<String>,
    },
    /// Is this the proof of a good token of that client (XEP-0484)? Whoever answers yes has noted
    /// that it was used. [`Answer::Token`] or [`Answer::Refused`].
    Token {
        /// The localpart, prepared by RFC 7622 if that is possible at all.
        username: String,
        /// Which of the user's clients it is: [`UserAgent::id`](crate::sign_in::UserAgent::id).
        client: String,
        /// What it shows of the token.
        proof: TokenProof,
        /// How often it has used the token; not more than at the last use is a replay.
        count: Option<u64>,
        /// Whether the token is to be good no more from now on.
        invalidates: bool,
    },
    /// What does a client need to derive keys of this hash for the account (XEP-0480)?
    /// [`Answer::Upgrade`] or [`Answer::Refused`].
    Upgrade {
        /// Whose keys.
        account: BareJid,
        /// Of which hash.
        hash: Hash,
    },
    /// Keep these keys beside those that the account has. [`Answer::Upgraded`] or
    /// [`Answer::Refused`].
    Keep {
        /// Whose keys.
        account: BareJid,
        /// The keys, of the salt and count of [`Answer::Upgrade`].
        keys: ScramKeys,
    },
    /// Give a client whose credentials are right what it wants with success.
    /// [`Answer::SignedIn`] or [`Answer::Refused`].
    SignIn(Box<SignIn>),
    /// Whom does the client's certificate name? [`Answer::Accepted`] or [`Answer::Refused`].
    External {
        /// The bare address that the client wants to act as.
        authzid: Option<String>,
    },
    /// A name for an anonymous user. [`Answer::Accepted`] or [`Answer::Refused`].
    Anonymous,
    /// Bind a resource. [`Answer::Bound`] or [`Answer::BindRefused`].
    Bind {
        /// Who has signed in.
        account: BareJid,
        /// The prepared resource that the client wishes; none leaves the choice to the server.
        resource: Option<String>,
    },
    /// Go on with an earlier session (XEP-0198 §5). [`Answer::Resumed`] or [`Answer::ResumeFailed`].
    Resume {
        /// Who has signed in.
        account: BareJid,
        /// The id of the session.
        previd: String,
        /// How many of our stanzas the client has had, modulo 2³².
        h: u32,
    },
    /// A registration IQ before sign-in (XEP-0077), from nobody. [`Answer::Reply`].
    StreamIq(Stanza),
}

/// What the shell found out. An answer to something that was not asked, or is no longer, is
/// ignored.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What is offered at the domain, or why the stream ends.
    Host(Result<Arc<HostOffer>, Fault>),
    /// The keys asked for.
    Keys {
        /// The user's, or made-up ones.
        keys: ScramKeys,
        /// Whether there is such a user; if not, the exchange runs on and fails at its end.
        exists: bool,
        /// What a client that proves the password is told instead of success, for instance that
        /// the account is disabled: nobody else learns of it.
        barred: Option<Condition>,
    },
    /// The token is good, and this shows the client that we have it.
    Token(Vec<u8>),
    /// Salt and count of new keys; none if the account has keys of this hash.
    Upgrade(Option<(Vec<u8>, u32)>),
    /// The new keys are kept.
    Upgraded,
    /// The client has signed in.
    SignedIn(Box<SignedIn>),
    /// The credentials are good for this user (a localpart).
    Accepted(String),
    /// The credentials are not good, and this is what the client is told.
    Refused(Condition),
    /// The resource is bound.
    Bound(FullJid),
    /// The resource is not bound; the client may try again.
    BindRefused(StanzaError),
    /// The earlier session goes on.
    Resumed {
        /// Its address.
        jid: FullJid,
        /// Stanzas that came on its streams, all of them handled.
        received: u64,
    },
    /// It does not: the client may bind a resource instead.
    ResumeFailed {
        /// Why; as a rule `item-not-found`.
        condition: StanzaCondition,
        /// What was handled, modulo 2³², if that is still known.
        h: Option<u32>,
    },
    /// The client has had more stanzas than it was sent (XEP-0198 §6): the stream ends.
    ResumeTooHigh {
        /// What it says.
        h: u32,
        /// What it was sent.
        sent: u32,
    },
    /// The answer to a registration IQ.
    Reply(Stanza),
}
