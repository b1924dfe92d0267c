//! Signing in by XEP-0388, seen from the client.

use stentor_jid::{FullJid, Jid};
use stentor_sasl::client::Exchange;
use stentor_sasl::{Bindings, Condition, Hash, Mechanism, ScramKeys};
use stentor_xml::{ElementRef, Writer};

use super::{Credentials, Extended, HeldToken, Settings};
use crate::sign_in::IssuedToken;
use crate::xep0388_sasl2::{self, NS};
use crate::xep0484_fast::{self, Fast};
use crate::{ns, xep0386_bind2, xep0480_upgrade, xep0509_pipelining};

/// What a server lists within `<authentication/>`.
#[derive(Default)]
pub(super) struct Offer {
    pub(super) mechanisms: Vec<String>,
    tokens: Vec<Mechanism>,
    upgrades: Vec<Hash>,
    has_bind: bool,
}

/// One attempt, on its way.
pub(super) struct Attempt {
    pub(super) mechanism: Mechanism,
    exchange: Exchange,
    /// The mechanism that a token was asked for.
    wants_token: Option<Mechanism>,
    /// The upgrade that is under way.
    task: Option<Hash>,
}

/// What follows from one element of the server.
pub(super) enum Step {
    /// Wait for the next one.
    Stay,
    /// Signed in.
    Done(Done),
    /// The server said no.
    Failed(Condition),
}

/// What came with success.
pub(super) struct Done {
    /// The bound address; none where a resource is still to be bound.
    pub(super) jid: Option<FullJid>,
    /// A new token and its mechanism.
    pub(super) token: Option<(Mechanism, IssuedToken)>,
}

/// The server broke the protocol, or did not prove that it knows the password.
#[derive(Debug)]
pub(super) struct Unproven;

impl Offer {
    /// Reads the feature, if the server has it.
    pub(super) fn read(features: ElementRef<'_>) -> Option<Self> {
        let authentication = features.child(NS, "authentication")?;
        let names = authentication.children().filter(|child| child.is(NS, "mechanism"));
        let inline = authentication.child(NS, "inline");
        let inline = || inline.into_iter().flat_map(|inline| inline.children());
        Some(Self {
            mechanisms: names.map(|name| name.text().trim().to_owned()).collect(),
            tokens: inline().find_map(xep0484_fast::read_feature).unwrap_or_default(),
            upgrades: xep0480_upgrade::read_wishes(authentication),
            has_bind: inline().any(|child| child.is(xep0386_bind2::NS, "bind")),
        })
    }

    /// Whether the server takes this token.
    pub(super) fn takes(&self, token: &HeldToken) -> bool {
        self.tokens.contains(&token.mechanism)
    }
}

impl Attempt {
    /// Begins with the token, before or after the server's features are known.
    pub(super) fn with_token(
        settings: &Settings,
        extended: &Extended,
        offer: Option<&Offer>,
        bindings: &Bindings,
        w: &mut Writer,
    ) -> Option<Self> {
        let token = extended.token.as_ref()?;
        let Credentials::Password { username, .. } = &settings.credentials else { return None };
        let HeldToken { mechanism, secret, .. } = token;
        let exchange = Exchange::with_token(*mechanism, username, secret, bindings).ok()?;
        let fast = Fast { count: token.count, invalidates: token.invalidates };
        Some(Self::begin(exchange, extended, offer, bindings, Some(fast), w))
    }

    /// Begins with the password, or whatever else the exchange was made of.
    pub(super) fn begin(
        mut exchange: Exchange,
        extended: &Extended,
        offer: Option<&Offer>,
        bindings: &Bindings,
        fast: Option<Fast>,
        w: &mut Writer,
    ) -> Self {
        let mechanism = exchange.mechanism();
        let wants_token = extended.wants_token.then(|| best_token(offer, bindings)).flatten();
        w.open("authenticate", NS).attr("mechanism", mechanism.name());
        if let Some(data) = exchange.first() {
            xep0388_sasl2::write_data(w, "initial-response", &data);
        }
        xep0388_sasl2::write_user_agent(w, &extended.user_agent);
        if let Some(bind) = extended.bind.as_ref().filter(|_| offer.is_none_or(|o| o.has_bind)) {
            xep0386_bind2::write_request(w, bind);
        }
        if let Some(fast) = fast {
            xep0484_fast::write(w, fast);
        }
        if let Some(mechanism) = wants_token {
            xep0484_fast::write_wish(w, mechanism);
        }
        if extended.upgrades && fast.is_none() {
            let listed = offer.map_or(&[][..], |offer| &offer.upgrades);
            xep0480_upgrade::write_feature(w, listed);
        }
        if let Some(version) = extended.config_version.as_ref().filter(|_| offer.is_none()) {
            xep0509_pipelining::write(w, version);
        }
        w.close();
        Self { mechanism, exchange, wants_token, task: None }
    }

    pub(super) fn handle(
        &mut self,
        element: ElementRef<'_>,
        settings: &Settings,
        w: &mut Writer,
    ) -> Result<Step, Unproven> {
        match element.name() {
            "challenge" => {
                let challenge = xep0388_sasl2::read_data(element).map_err(|_| Unproven)?;
                let response = self.exchange.step(&challenge).map_err(|_| Unproven)?;
                xep0388_sasl2::write_data(w, "response", &response);
            }
            "continue" => {
                self.finish_exchange(element)?;
                let task = element.child(NS, "tasks").and_then(|tasks| tasks.first_child());
                let task = task.ok_or(Unproven)?.text().into_owned();
                let is_it = |hash: &Hash| xep0480_upgrade::task(*hash) == task;
                self.task = Some(Hash::ALL.into_iter().find(is_it).ok_or(Unproven)?);
                w.open("next", NS).attr("task", &task).close();
            }
            "task-data" => {
                let (salt, iterations) = xep0480_upgrade::read_salt(element).ok_or(Unproven)?;
                let salted = self.derive(settings, &salt, iterations).ok_or(Unproven)?;
                xep0480_upgrade::write_hash(w, &salted);
            }
            "success" => return self.succeed(element).map(Step::Done),
            "failure" => {
                let mut inside = element.children();
                let condition = inside.find(|child| child.ns() == ns::SASL);
                let condition = condition.map(|child| Condition::from_name(child.name()));
                return Ok(Step::Failed(condition.unwrap_or(Condition::NotAuthorized)));
            }
            _ => return Err(Unproven),
        }
        Ok(Step::Stay)
    }

    /// The mechanism's last word comes with success, or before the first task.
    fn finish_exchange(&mut self, element: ElementRef<'_>) -> Result<(), Unproven> {
        if self.task.is_some() {
            return Ok(());
        }
        let data = element.child(NS, "additional-data");
        let data = data.map(xep0388_sasl2::read_data).transpose().map_err(|_| Unproven)?;
        self.exchange.finish(data.as_deref()).map_err(|_| Unproven)
    }

    fn derive(&self, settings: &Settings, salt: &[u8], iterations: u32) -> Option<Vec<u8>> {
        let Credentials::Password { password, .. } = &settings.credentials else { return None };
        let range = stentor_sasl::limits::ITERATIONS_MIN..=stentor_sasl::limits::ITERATIONS_MAX;
        let hash = self.task.filter(|_| range.contains(&iterations))?;
        Some(ScramKeys::salted(hash, password, salt, iterations).ok()?.to_vec())
    }

    fn succeed(&mut self, success: ElementRef<'_>) -> Result<Done, Unproven> {
        self.finish_exchange(success)?;
        let identity = success.child(NS, "authorization-identifier").ok_or(Unproven)?;
        let identity = Jid::new(identity.text().trim()).map_err(|_| Unproven)?;
        // Unasked, a token follows the one in use.
        let mechanism = self.wants_token.unwrap_or(self.mechanism);
        let token = xep0484_fast::read_token(success).filter(|_| mechanism.is_token());
        Ok(Done { jid: identity.as_full(), token: token.map(|token| (mechanism, token)) })
    }
}

/// The strongest mechanism for a token that both sides and the connection have.
fn best_token(offer: Option<&Offer>, bindings: &Bindings) -> Option<Mechanism> {
    let offered = &offer?.tokens;
    let is_bound = |m: &Mechanism| m.token_binding().is_none_or(|b| bindings.data(b).is_some());
    Mechanism::TOKENS.into_iter().filter(is_bound).find(|mechanism| offered.contains(mechanism))
}
