//! Answers to what a stream machine asks within XEP-0388.

use std::sync::Arc;

use stentor_engine::clients::tokens::Usage;
use stentor_engine::sign_in::{BindWish, ShownToken, SignIn};
use stentor_engine::{Engine, Host, NotResumed, Resumed, Session, TooHigh};
use stentor_jid::BareJid;
use stentor_payload::xep0082_time;
use stentor_sasl::{Condition, Hash, Mechanism, ScramKeys, TokenProof};
use stentor_stream::c2s::HostOffer;
use stentor_stream::event::Answer;
use stentor_stream::fault::Fault;
use stentor_stream::sign_in::{self, Enabled, ExtendedOffer, IssuedToken, Resumption, SignedIn};

use crate::asks::{Answered, Caller, account_of, is_hasty, refused, too_often};
use crate::finding::Finding;

/// What a domain offers over TLS beside its mechanisms; none where it has only the old profile.
pub(crate) fn offer(host: &Host, mechanisms: &[Mechanism]) -> Option<ExtendedOffer> {
    let profile = &host.profile;
    let rules = &profile.sign_in;
    rules.clients?;
    let is_anonymous = profile.settings.is_anonymous;
    let has_tokens = rules.tokens.is_some() && !is_anonymous;
    let is_upgrade = |hash: &Hash| {
        let mut used = mechanisms.iter().filter_map(|mechanism| mechanism.hash());
        // SHA-1 is kept for old clients; nobody should be led to it.
        !is_anonymous && *hash != Hash::Sha1 && used.any(|other| other == *hash)
    };
    Some(ExtendedOffer {
        bind: rules.binds.then(|| rules.inline_features().map(Box::from).collect()),
        tokens: if has_tokens { Mechanism::TOKENS.to_vec() } else { Vec::new() },
        upgrades: Hash::ALL.into_iter().filter(is_upgrade).collect(),
    })
}

/// Tells what is offered at a domain, to who says to be `from`.
pub(crate) async fn host(
    engine: &Engine,
    offer: Result<HostOffer, Fault>,
    from: Option<BareJid>,
) -> Answer {
    let mut offer = match offer {
        Ok(offer) => offer,
        Err(fault) => return Answer::Host(Err(fault)),
    };
    if let Some(from) = from.filter(|from| from.domain() == offer.domain) {
        match engine.hashes(&from).await {
            Ok(hashes) => narrow(&mut offer.mechanisms, &hashes),
            Err(error) => {
                tracing::error!(event = "store_failed", account = %from, %error, "Keys could not be read.");
            }
        }
    }
    Answer::Host(Ok(Arc::new(offer)))
}

/// Leaves out mechanisms that cannot work for an account with keys of these hashes: it may have come
/// from elsewhere (XEP-0388 §2.1). Nobody and most accounts get the whole list, so it tells nothing
/// about who exists.
fn narrow(mechanisms: &mut Vec<Mechanism>, hashes: &[Hash]) {
    let works = |mechanism: &Mechanism| mechanism.hash().is_none_or(|hash| hashes.contains(&hash));
    if !hashes.is_empty() && mechanisms.iter().any(works) {
        mechanisms.retain(works);
    }
}

/// What a client shows of a token.
pub(crate) struct Shown {
    pub(crate) username: String,
    pub(crate) client: String,
    pub(crate) proof: TokenProof,
    pub(crate) usage: Usage,
}

/// Whether a token is good.
pub(crate) async fn token(engine: &Engine, caller: &Caller, shown: Shown) -> Answered {
    // Others' guesses at the password do not lock out a device that needs none.
    if is_hasty(engine, caller, None) {
        return too_often();
    }
    let Some(account) = account_of(caller, &shown.username) else {
        return refused(Condition::NotAuthorized, Finding::NoAccount);
    };
    let Shown { client, proof, usage, .. } = &shown;
    match engine.take_token(&account, ShownToken { client, proof, usage: *usage }).await {
        Ok(data) => Answered::Machine(Answer::Token(data)),
        Err(condition) => refused(condition, Finding::Token),
    }
}

/// What a client needs to derive keys.
pub(crate) async fn upgrade(engine: &Engine, account: &BareJid, hash: Hash) -> Answer {
    match engine.lacking_keys(account, hash).await {
        Ok(found) => Answer::Upgrade(found),
        Err(condition) => Answer::Refused(condition),
    }
}

/// Keeps what it derived.
pub(crate) async fn keep(
    engine: &Engine,
    caller: &Caller,
    account: &BareJid,
    keys: ScramKeys,
) -> Answer {
    match engine.keep_keys(account, keys, caller.proven).await {
        Ok(()) => Answer::Upgraded,
        Err(condition) => Answer::Refused(condition),
    }
}

/// Gives a client what it asks for with success.
pub(crate) async fn finish(
    engine: &Arc<Engine>,
    caller: &Caller,
    wish: sign_in::SignIn,
) -> Answered {
    let is_token = wish.mechanism.is_token();
    let claimed = wish.resume.as_ref().map_or(0, |resume| resume.h);
    let wish = SignIn {
        account: wish.account,
        mechanism: wish.mechanism,
        proven: caller.proven,
        client: wish.user_agent.id,
        software: wish.user_agent.software,
        device: wish.user_agent.device,
        resume: wish.resume.map(|resume| (resume.previd, resume.h)),
        bind: wish.bind.map(|bind| BindWish { tag: bind.tag, wishes: bind.wishes }),
        enable: wish.enable.map(|enable| (enable.resume, enable.max_secs)),
        wants_token: wish.wants_token,
        has_invalidated: wish.has_invalidated,
    };
    let signed_in = match engine.sign_in(wish).await {
        Ok(signed_in) => signed_in,
        Err(condition) => return Answered::Machine(Answer::Refused(condition)),
    };
    if is_token {
        engine.metrics.sign_ins_by_token.inc();
    }
    let issued = |(token, expires_ms)| {
        let expiry = xep0082_time::write(expires_ms);
        IssuedToken { token, expiry }
    };
    let mut answer = SignedIn {
        bound: signed_in.bound,
        token: signed_in.token.map(issued),
        enabled: signed_in.enabled.map(|resumable| {
            let (id, max_secs) = resumable.unzip();
            Enabled { id, max_secs: max_secs.unwrap_or(0) }
        }),
        ..SignedIn::default()
    };
    let begun = match (signed_in.session, signed_in.resumption) {
        (_, Some(Ok(resumed))) => {
            answer.jid = Some(resumed.session.resource.jid.clone());
            answer.resumption = Some(Resumption::Resumed { received: resumed.received });
            Begun::Resumed(resumed)
        }
        (_, Some(Err(NotResumed::TooHigh(TooHigh { sent })))) => {
            return Answered::Machine(Answer::ResumeTooHigh { h: claimed, sent });
        }
        (session, resumption) => {
            answer.resumption = resumption.and_then(Result::err).map(failed);
            answer.jid = session.as_ref().map(|session| session.resource.jid.clone());
            session.map_or(Begun::Nothing, Begun::New)
        }
    };
    Answered::SignedIn(begun, Box::new(answer))
}

fn failed(why: NotResumed) -> Resumption {
    use stentor_stanza::Condition::{FeatureNotImplemented, ItemNotFound};
    let (condition, handled) = match why {
        NotResumed::NotOffered => (FeatureNotImplemented, None),
        NotResumed::Unknown(handled) => (ItemNotFound, handled),
        NotResumed::TooHigh(_) => (ItemNotFound, None),
    };
    Resumption::Failed { condition, h: handled.map(|handled| (handled & 0xFFFF_FFFF) as u32) }
}

/// The session that a client gets with success.
pub(crate) enum Begun {
    /// A new one.
    New(Arc<Session>),
    /// An earlier one.
    Resumed(Resumed),
    /// None.
    Nothing,
}
