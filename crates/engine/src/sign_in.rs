//! Signing in in one step (XEP-0388): tokens are judged, clients are remembered, and a resource
//! comes with success.

use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::BareJid;
use stentor_sasl::{Condition, Mechanism, TokenProof};
use stentor_store::Stage;
use stentor_xml::{ElementRef, Frame};

use crate::account::AccountState;
use crate::bind::{Wish, random_id};
use crate::clients::tokens::{Token, Usage};
use crate::clients::{Client, Clients};
use crate::engine::Engine;
use crate::host::Host;
use crate::iq::BoxFuture;
use crate::resource::Resource;
use crate::resume::{NotResumed, Resumed};
use crate::session::Session;

/// What clients may do while they sign in, by profile. Modules write it.
#[derive(Default)]
pub struct Rules {
    /// How clients are remembered; none where only RFC 6120 §6 is spoken.
    pub clients: Option<ClientRules>,
    /// Whether a resource may come with success (XEP-0386).
    pub binds: bool,
    /// Whether stored messages that the archive has are left to it then.
    pub clears_offline: bool,
    /// How tokens are given out (XEP-0484); none where they are not.
    pub tokens: Option<TokenRules>,
    pub(crate) inline: Vec<Arc<dyn Inline>>,
}

/// How clients are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRules {
    /// How long one is that does not come back, in milliseconds.
    pub keep_ms: i64,
    /// Whether the names of software and device are kept.
    pub keeps_names: bool,
}

/// How tokens are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// How long one is good, in milliseconds.
    pub lifetime_ms: i64,
    /// How long before its end its use brings another, in milliseconds.
    pub renew_ms: i64,
}

/// A feature that takes part when a resource is bound within sign-in (XEP-0386 §3.2).
pub trait Inline: Send + Sync + 'static {
    /// The discovery feature that announces it; none where nothing is to be wished for.
    fn feature(&self) -> Option<&'static str>;

    /// Acts on wishes of its own before anybody sees the resource, so that nothing slips in between.
    fn set(&self, _: &Resource, _: &Wishes<'_>) {}

    /// What the client is told with its resource, if anything.
    fn answer<'a>(&'a self, _: &'a Binding<'a>) -> BoxFuture<'a, Option<Frame>> {
        Box::pin(std::future::ready(None))
    }
}

/// What a client wishes for with its resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a>(&'a [Frame]);

/// A resource that has just been bound within sign-in.
pub struct Binding<'a> {
    /// The account's domain.
    pub host: &'a Arc<Host>,
    /// The new session.
    pub session: &'a Arc<Session>,
    /// What the client wished for with it.
    pub wishes: Wishes<'a>,
}

impl<'a> Wishes<'a> {
    /// All of them, in the client's order.
    pub fn iter(self) -> impl Iterator<Item = ElementRef<'a>> {
        self.0.iter().map(Frame::root)
    }

    /// Whether this element is among them.
    #[must_use]
    pub fn has(self, ns: &str, name: &str) -> bool {
        self.iter().any(|wish| wish.is(ns, name))
    }
}

/// What a client shows instead of a password.
#[derive(Debug)]
pub struct ShownToken<'a> {
    /// The id of the client.
    pub client: &'a str,
    /// What it makes of the token.
    pub proof: &'a TokenProof,
    /// What it does with it.
    pub usage: Usage,
}

/// A client whose credentials are right.
#[derive(Debug)]
pub struct SignIn {
    /// Its account.
    pub account: BareJid,
    /// How it proved that.
    pub mechanism: Mechanism,
    /// When, by [`Engine::moment`].
    pub proven: u64,
    /// The id that tells it from the user's other clients.
    pub client: Option<String>,
    /// Its software, as it says.
    pub software: Option<String>,
    /// Its device, as it says.
    pub device: Option<String>,
    /// The session that it wants to go on with, before anything else, and how many of our stanzas
    /// it has had (XEP-0198 §9.2).
    pub resume: Option<(String, u32)>,
    /// The resource that it wants, if none goes on.
    pub bind: Option<BindWish>,
    /// Whether the stanzas of the new session shall be counted: whether it wants to resume it, and
    /// for how many seconds (XEP-0198 §9.1).
    pub enable: Option<(bool, Option<u32>)>,
    /// The mechanism that it wants a token for.
    pub wants_token: Option<Mechanism>,
    /// Whether it gave up the token that it used: no other follows unasked.
    pub has_invalidated: bool,
}

/// A wish for a resource within sign-in.
#[derive(Debug, Default)]
pub struct BindWish {
    /// What shall stand before the made-up part.
    pub tag: Option<String>,
    /// What shall be in force from the beginning.
    pub wishes: Vec<Frame>,
}

/// What it gets.
#[derive(Default)]
pub struct SignedIn {
    /// The new session, if it wanted one and could have it.
    pub session: Option<Arc<Session>>,
    /// What came of its wish for an earlier one.
    pub resumption: Option<Result<Resumed, NotResumed>>,
    /// The id by which the new session may be resumed, and for how many seconds; the inner one is
    /// none where it may not. None where stanzas are not counted.
    pub enabled: Option<Option<(String, u32)>>,
    /// What it is told with its resource.
    pub bound: Vec<Frame>,
    /// A new token and its end, in milliseconds since 1970 UTC.
    pub token: Option<(String, i64)>,
}

impl Rules {
    /// The discovery features that clients may wish for with a resource.
    pub fn inline_features(&self) -> impl Iterator<Item = &'static str> {
        self.inline.iter().filter_map(|inline| inline.feature())
    }
}

impl Engine {
    /// Judges a token, and notes its use on disk. Returns what shows the client that we have it.
    ///
    /// # Errors
    /// What the client is told. `account-disabled` is told only to who has a good token.
    pub async fn take_token(
        &self,
        account: &BareJid,
        shown: ShownToken<'_>,
    ) -> Result<Vec<u8>, Condition> {
        let found = self.account(account).await.map_err(|error| unread(account, &error))?;
        let account = found.ok_or(Condition::NotAuthorized)?;
        let now_ms = self.clock.unix_ms();
        let secrets = &self.credentials.clients;
        let key = secrets.client_key(&account.jid, shown.client);
        let (answer, ticket) = {
            let mut state = account.lock();
            // A lock is against guesses at the password: nobody guesses a token.
            let is_barred = state.is_suspended;
            let clients = state.slots.find_mut::<Clients>().ok_or(Condition::NotAuthorized)?;
            let client = clients.find_mut(&key).ok_or(Condition::NotAuthorized)?;
            let before = client.tokens.clone();
            let secret = |token: &Token| secrets.token(&account.jid, &key, token);
            let answer = client.tokens.take(shown.proof, shown.usage, now_ms, secret)?;
            if is_barred {
                client.tokens = before;
                return Err(Condition::AccountDisabled);
            }
            let write = clients.put(&account.jid, &key).ok_or(Condition::TemporaryAuthFailure)?;
            (answer, self.stores.writer.submit(write))
        };
        self.settle(&account, ticket).await.map_err(|_| Condition::TemporaryAuthFailure)?;
        Ok(answer)
    }

    /// Gives a client whose credentials are right what it asks for. A token is on disk when this
    /// returns.
    ///
    /// # Errors
    /// What the client is told instead of success. A resource that cannot be had is no such reason.
    pub async fn sign_in(self: &Arc<Self>, wish: SignIn) -> Result<SignedIn, Condition> {
        let host = self.host(wish.account.domain()).ok_or(Condition::TemporaryAuthFailure)?;
        let secrets = &self.credentials.clients;
        let key = wish.client.as_deref().map(|id| secrets.client_key(&wish.account, id));
        let mut signed_in = SignedIn::default();
        if let Some(key) = key.as_ref().filter(|_| !host.profile.settings.is_anonymous) {
            signed_in.token = self.remember(&host, &wish, key).await?;
        }
        if let Some((id, h)) = &wish.resume {
            let outcome = self.resume(&wish.account, id, *h).await;
            let is_over = matches!(outcome, Ok(_) | Err(NotResumed::TooHigh(_)));
            signed_in.resumption = Some(outcome);
            if is_over {
                return Ok(signed_in);
            }
        }
        self.bind_inline(&host, &wish, key, &mut signed_in).await;
        Ok(signed_in)
    }

    async fn bind_inline(
        self: &Arc<Self>,
        host: &Arc<Host>,
        wish: &SignIn,
        key: Option<SmolStr>,
        signed_in: &mut SignedIn,
    ) {
        let Some(bind) = &wish.bind else { return };
        let resource = self.resource_for(wish, bind.tag.as_deref());
        let wishes = Wishes(&bind.wishes);
        let features = &host.profile.sign_in.inline;
        let prepare = |resource: &Resource| {
            features.iter().for_each(|inline| inline.set(resource, &wishes));
        };
        let resource =
            Wish { resource: Some(&resource), client: key, proven: wish.proven, prepare: &prepare };
        let session = match self.bind_as(&wish.account, resource).await {
            Ok(session) => session,
            Err(error) => {
                let condition = error.condition.name();
                tracing::info!(event = "bind_failed", account = %wish.account, condition, "No resource could be bound.");
                return;
            }
        };
        if let Some((resume, max_secs)) = wish.enable {
            signed_in.enabled = Some(session.enable_sm(resume, max_secs).await);
        }
        let cx = Binding { host, session: &session, wishes };
        for inline in features {
            signed_in.bound.extend(inline.answer(&cx).await);
        }
        signed_in.session = Some(session);
    }

    /// Notes that a client signed in, and gives it a token if one is due.
    async fn remember(
        &self,
        host: &Host,
        wish: &SignIn,
        key: &SmolStr,
    ) -> Result<Option<(String, i64)>, Condition> {
        let Some(rules) = host.profile.sign_in.clients else { return Ok(None) };
        let found = self.account(&wish.account).await.map_err(|e| unread(&wish.account, &e))?;
        let account = found.ok_or(Condition::NotAuthorized)?;
        let id = random_id().map_err(|_| Condition::TemporaryAuthFailure)?;
        let now_ms = self.clock.unix_ms();
        let (token, ticket) = {
            let mut state = account.lock();
            if state.credentials_changed > wish.proven {
                return Err(Condition::TemporaryAuthFailure);
            }
            let AccountState { slots, resources, .. } = &mut *state;
            let Some(clients) = slots.find_mut::<Clients>() else { return Ok(None) };
            let client = clients.entry(key, now_ms);
            client.note(wish, now_ms, rules.keeps_names);
            let token = host.profile.sign_in.tokens.and_then(|tokens| {
                let mechanism = wanted(wish, client, now_ms, tokens)?;
                let expires_ms = now_ms.saturating_add(tokens.lifetime_ms);
                let token = Token::new(id.to_string(), mechanism, expires_ms);
                client.tokens.add(token.clone());
                Some(token)
            });
            let mut stage: Stage = clients.put(&account.jid, key).into_iter().collect();
            let is_here = |key: &str| resources.iter().any(|r| r.client.as_deref() == Some(key));
            let is_needed = |other: &str| other == key.as_str() || is_here(other);
            for write in clients.prune(&account.jid, now_ms, rules.keep_ms, is_needed) {
                stage.push(write);
            }
            (token, self.stores.writer.submit(stage))
        };
        self.settle(&account, ticket).await.map_err(|_| Condition::TemporaryAuthFailure)?;
        Ok(token.map(|token| {
            self.metrics.tokens_issued.inc();
            let secret = self.credentials.clients.token(&account.jid, key, &token);
            (secret, token.expires_ms)
        }))
    }

    /// XEP-0386 §3.2.1: the tag of the client, and a part of ours that stays the same for it.
    fn resource_for(&self, wish: &SignIn, tag: Option<&str>) -> String {
        let ours = match &wish.client {
            Some(id) => self.credentials.clients.resource(&wish.account, id),
            None => random_id().unwrap_or_default(),
        };
        let tagged = tag.filter(|tag| !tag.is_empty()).map(|tag| format!("{tag}/{ours}"));
        // A tag that is fit for no resource is left out.
        tagged
            .filter(|resource| wish.account.with_resource(resource).is_ok())
            .unwrap_or_else(|| ours.to_string())
    }
}

impl Client {
    fn note(&mut self, wish: &SignIn, now_ms: i64, keeps_names: bool) {
        let name = |name: &Option<String>| name.clone().filter(|_| keeps_names);
        self.software = name(&wish.software);
        self.device = name(&wish.device);
        self.last_ms = now_ms;
        self.knows_password |= wish.mechanism.is_password();
    }
}

/// The mechanism for which a client gets a token now.
fn wanted(wish: &SignIn, client: &Client, now_ms: i64, rules: TokenRules) -> Option<Mechanism> {
    let is_renewed = wish.mechanism.is_token()
        && !wish.has_invalidated
        && client.tokens.is_due(now_ms, rules.renew_ms);
    wish.wants_token.or_else(|| is_renewed.then_some(wish.mechanism))
}

fn unread(account: &BareJid, error: &stentor_store::StoreError) -> Condition {
    tracing::error!(event = "store_failed", %account, %error, "An account could not be read.");
    Condition::TemporaryAuthFailure
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn")
            .field("is_bound", &self.session.is_some())
            .finish_non_exhaustive()
    }
}
