//! IQ dispatch: scope, namespace and element name select exactly one typed handler.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hashbrown::HashMap;
use stentor_jid::Jid;
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, IqType, Stanza, StanzaError};
use stentor_xml::ElementRef;

use crate::account::Account;
use crate::engine::Engine;
use crate::host::Host;
use crate::session::Session;

/// A future of the engine, boxed.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whom a request is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The stream itself, before anybody has signed in (XEP-0077).
    Stream,
    /// A domain of ours.
    Host,
    /// A bare address of ours, or no address at all.
    Account,
}

/// Who asks, and whom.
pub struct IqCx<'a> {
    /// Everything shared.
    pub engine: &'a Arc<Engine>,
    /// The domain asked, or the domain of the account asked.
    pub host: &'a Arc<Host>,
    /// The account asked; none in the other scopes.
    pub account: Option<&'a Arc<Account>>,
    /// Who asks; none in scope [`Scope::Stream`].
    pub from: Option<&'a Jid>,
    /// Where a stream comes from; only in scope [`Scope::Stream`].
    pub source: Option<IpAddr>,
    /// The session that asks; none if it is not one of ours.
    pub session: Option<&'a Arc<Session>>,
    /// Whether the asker has the rights of the account asked: a privileged entity (XEP-0356).
    pub is_privileged: bool,
    /// The whole request.
    pub stanza: &'a Stanza,
}

impl IqCx<'_> {
    /// Whether the account asked is the asker's own.
    #[must_use]
    pub fn is_own_account(&self) -> bool {
        match (self.account, self.session) {
            (Some(_), _) if self.is_privileged => true,
            (Some(asked), Some(session)) => Arc::ptr_eq(asked, &session.account),
            _ => false,
        }
    }

    /// Whether the asker may see the presence of the account asked: it is its own, or there is a
    /// subscription (RFC 6121 §11).
    #[must_use]
    pub fn sees_account(&self) -> bool {
        let (Some(account), Some(from)) = (self.account, self.from) else { return false };
        let asker = from.to_bare();
        asker == account.jid || account.lock().roster.item(&asker).is_some_and(|i| i.from)
    }

    /// The account, if it is the asker's own.
    ///
    /// # Errors
    /// `forbidden`: only its owner may do this.
    pub fn own_account(&self) -> Result<&Arc<Account>, StanzaError> {
        match self.account {
            Some(account) if self.is_own_account() => Ok(account),
            _ => Err(StanzaError::new(Condition::Forbidden)),
        }
    }

    /// The account, if it is the asker's own, or one that it has the rights of, and is stored.
    ///
    /// # Errors
    /// `forbidden`, as above; `not-allowed` for an account that is never stored (RFC 4505).
    pub fn own_kept_account(&self) -> Result<&Arc<Account>, StanzaError> {
        let account = self.own_account()?;
        if account.is_ephemeral {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        Ok(account)
    }

    /// The asker's session and the account, if it is its own.
    ///
    /// # Errors
    /// `forbidden`, as above; `not-allowed` for an account that is never stored (RFC 4505).
    pub fn own_stored_account(&self) -> Result<(&Arc<Session>, &Arc<Account>), StanzaError> {
        let session = self.session.ok_or(StanzaError::new(Condition::Forbidden))?;
        Ok((session, self.own_kept_account()?))
    }
}

/// Answers one kind of question. Decoding and addresses are the engine's work.
pub trait OnGet<P: Decode>: Send + Sync + 'static {
    /// What the answer holds.
    type Reply: Encode;

    /// Answers.
    fn get(
        &self,
        cx: &IqCx<'_>,
        ask: P,
    ) -> impl Future<Output = Result<Self::Reply, StanzaError>> + Send;
}

/// Makes one kind of change. The answer is given after everything that was staged is committed.
pub trait OnSet<P: Decode>: Send + Sync + 'static {
    /// What the answer holds, usually nothing.
    type Reply: Encode;

    /// Changes.
    fn set(
        &self,
        cx: &IqCx<'_>,
        ask: P,
    ) -> impl Future<Output = Result<Self::Reply, StanzaError>> + Send;
}

/// Answers one kind of request by itself, because the answer must be queued together with something
/// else, or is many stanzas.
pub trait OnAsk<P: Decode>: Send + Sync + 'static {
    /// Queues the answer.
    fn ask(&self, cx: &IqCx<'_>, ask: P) -> impl Future<Output = Result<(), StanzaError>> + Send;
}

/// The handlers of a profile.
#[derive(Default)]
pub(crate) struct IqTable(HashMap<(Scope, Request, &'static str, &'static str), Arc<dyn Handler>>);

/// The request half of [`IqType`], which does not hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// A question.
    Get,
    /// A change, or a question with the form of one.
    Set,
}

pub(crate) trait Handler: Send + Sync {
    /// Whether its answers may be long: nothing else waits for them.
    fn is_long(&self) -> bool {
        false
    }

    fn handle<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        payload: ElementRef<'a>,
    ) -> BoxFuture<'a, Result<Option<Stanza>, StanzaError>>;
}

impl IqTable {
    /// Adds a handler; false if there is one already.
    pub(crate) fn add<P: Decode>(
        &mut self,
        scope: Scope,
        kind: Request,
        handler: Arc<dyn Handler>,
    ) -> bool {
        self.0.insert((scope, kind, P::NS, P::NAME), handler).is_none()
    }

    /// Finds the handler of a request.
    pub(crate) fn find(&self, scope: Scope, stanza: &Stanza) -> Option<&Arc<dyn Handler>> {
        let kind = match stanza.iq_type()? {
            IqType::Get => Request::Get,
            IqType::Set => Request::Set,
            IqType::Result | IqType::Error => return None,
        };
        let payload = stanza.payload()?;
        self.0.get(&(scope, kind, payload.ns(), payload.name()) as &dyn Key)
    }
}

/// A borrowed key: the table's own keys are static, those asked for are not.
trait Key {
    fn parts(&self) -> (Scope, Request, &str, &str);
}

impl Key for (Scope, Request, &str, &str) {
    fn parts(&self) -> (Scope, Request, &str, &str) {
        *self
    }
}

impl std::hash::Hash for dyn Key + '_ {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl hashbrown::Equivalent<(Scope, Request, &'static str, &'static str)> for dyn Key + '_ {
    fn equivalent(&self, key: &(Scope, Request, &'static str, &'static str)) -> bool {
        self.parts() == *key
    }
}

pub(crate) struct Getter<H, P>(pub(crate) Arc<H>, pub(crate) std::marker::PhantomData<fn(P)>);
pub(crate) struct Asker<H, P> {
    pub(crate) handler: Arc<H>,
    pub(crate) is_long: bool,
    pub(crate) asks: std::marker::PhantomData<fn(P)>,
}
pub(crate) struct Setter<H, P>(pub(crate) Arc<H>, pub(crate) std::marker::PhantomData<fn(P)>);

impl<P: Decode + 'static, H: OnGet<P>> Handler for Getter<H, P> {
    fn handle<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        payload: ElementRef<'a>,
    ) -> BoxFuture<'a, Result<Option<Stanza>, StanzaError>> {
        let ask = P::decode(payload);
        Box::pin(async move {
            let reply = self.0.get(cx, ask?).await?;
            Ok(Some(cx.stanza.reply_result(|w| reply.encode(w))))
        })
    }
}

impl<P: Decode + 'static, H: OnSet<P>> Handler for Setter<H, P> {
    fn handle<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        payload: ElementRef<'a>,
    ) -> BoxFuture<'a, Result<Option<Stanza>, StanzaError>> {
        let ask = P::decode(payload);
        Box::pin(async move {
            let reply = self.0.set(cx, ask?).await?;
            Ok(Some(cx.stanza.reply_result(|w| reply.encode(w))))
        })
    }
}

impl<P: Decode + 'static, H: OnAsk<P>> Handler for Asker<H, P> {
    fn is_long(&self) -> bool {
        self.is_long
    }

    fn handle<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        payload: ElementRef<'a>,
    ) -> BoxFuture<'a, Result<Option<Stanza>, StanzaError>> {
        let ask = P::decode(payload);
        Box::pin(async move { self.handler.ask(cx, ask?).await.map(|()| None) })
    }
}

impl Engine {
    /// Answers a request on a stream on which nobody has signed in yet.
    pub async fn answer_stream_iq(
        self: &Arc<Self>,
        host: &Arc<Host>,
        stanza: &Stanza,
        source: Option<IpAddr>,
    ) -> Option<Stanza> {
        let cx = IqCx {
            engine: self,
            host,
            account: None,
            from: None,
            source,
            session: None,
            is_privileged: false,
            stanza,
        };
        let handler = host.profile.iqs.find(Scope::Stream, stanza);
        let outcome = match (handler, stanza.payload()) {
            (Some(handler), Some(payload)) => handler.handle(&cx, payload).await,
            _ => Err(StanzaError::new(Condition::ServiceUnavailable)),
        };
        outcome.unwrap_or_else(|error| stanza.reply_error(&error))
    }
}
