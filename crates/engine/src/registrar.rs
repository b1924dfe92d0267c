//! What modules register themselves with, and the profile that comes of it.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_payload::Decode;
use stentor_payload::xep0004_forms::FieldKind;
use stentor_xml::Frame;

use crate::chores::Chore;
use crate::commands::Command;
use crate::disco::{DiscoNode, DiscoNodes};
use crate::iq::{Asker, Getter, IqTable, OnAsk, OnGet, OnSet, Request, Scope, Setter};
use crate::module::Spec;
use crate::phase::{Admit, Annotate, Attend, Heed, Lookup, Mirror, Miss, Observe, Record, Screen};
use crate::sign_in::{Inline, Rules};
use crate::slots::Resident;
use crate::watch::Watch;

/// Collects what the modules of one profile take part in.
#[derive(Default)]
pub struct Registrar {
    pub(crate) phases: Phases,
    pub(crate) residents: Vec<Arc<dyn Resident>>,
    pub(crate) chores: Vec<Arc<dyn Chore>>,
    pub(crate) iqs: IqTable,
    pub(crate) disco: Disco,
    pub(crate) stored: Vec<(Scope, &'static str)>,
    pub(crate) nodes: Vec<(Scope, &'static str, Arc<dyn DiscoNode>)>,
    pub(crate) account_nodes: Vec<Arc<dyn DiscoNodes>>,
    pub(crate) commands: Vec<(&'static str, Arc<dyn Command>)>,
    pub(crate) stream_features: Vec<StreamFeature>,
    pub(crate) sign_in: Rules,
    pub(crate) administrators: Vec<BareJid>,
    pub(crate) receivers_max: Option<usize>,
    pub(crate) shared: Vec<Arc<dyn Any + Send + Sync>>,
    pub(crate) specs: Vec<&'static Spec>,
    pub(crate) clashes: Vec<String>,
}

/// Who takes part in which phase, in the order of the registry.
#[derive(Default)]
pub(crate) struct Phases {
    pub(crate) watch: Vec<Arc<dyn Watch>>,
    pub(crate) lookup: Vec<Arc<dyn Lookup>>,
    pub(crate) screen: Vec<Arc<dyn Screen>>,
    pub(crate) admit: Vec<Arc<dyn Admit>>,
    pub(crate) attend: Vec<Arc<dyn Attend>>,
    pub(crate) heed: Vec<Arc<dyn Heed>>,
    pub(crate) annotate: Vec<Arc<dyn Annotate>>,
    pub(crate) record: Vec<Arc<dyn Record>>,
    pub(crate) mirror: Vec<Arc<dyn Mirror>>,
    pub(crate) miss: Vec<Arc<dyn Miss>>,
    pub(crate) observe: Vec<Arc<dyn Observe>>,
}

/// What service discovery shows of a profile (XEP-0030).
#[derive(Clone, Debug, Default)]
pub struct Disco {
    /// Features of the domain.
    pub host: Vec<&'static str>,
    /// Features of an account's bare address.
    pub account: Vec<&'static str>,
    /// Forms of the domain (XEP-0128).
    pub forms: Vec<DiscoForm>,
    /// What an account is beside an account: category and type.
    pub account_identities: Vec<(&'static str, &'static str)>,
}

/// A result form in service discovery: its `FORM_TYPE`, and fields with their values.
#[derive(Clone, Debug)]
pub struct DiscoForm {
    /// The value of the hidden field `FORM_TYPE`.
    pub form_type: &'static str,
    /// The type of the fields.
    pub kind: FieldKind,
    /// Name and values of each field.
    pub fields: Vec<(&'static str, Vec<String>)>,
}

/// An element among the features of a stream.
#[derive(Clone, Debug)]
pub struct StreamFeature {
    /// Whether it is there only after sign-in, or only before.
    pub is_after_sign_in: bool,
    /// The element as it is written.
    pub frame: Frame,
}

impl Registrar {
    /// Answers questions of this kind in this scope.
    pub fn get<P: Decode + 'static, H: OnGet<P>>(&mut self, scope: Scope, handler: &Arc<H>) {
        let getter = Arc::new(Getter(handler.clone(), PhantomData::<fn(P)>));
        if !self.iqs.add::<P>(scope, Request::Get, getter) {
            self.clashes.push(format!("two answers to get {{{}}}{}", P::NS, P::NAME));
        }
    }

    /// Makes changes of this kind in this scope.
    pub fn set<P: Decode + 'static, H: OnSet<P>>(&mut self, scope: Scope, handler: &Arc<H>) {
        let setter = Arc::new(Setter(handler.clone(), PhantomData::<fn(P)>));
        if !self.iqs.add::<P>(scope, Request::Set, setter) {
            self.clashes.push(format!("two answers to set {{{}}}{}", P::NS, P::NAME));
        }
    }

    /// Answers questions of this kind in this scope by itself.
    pub fn ask<P: Decode + 'static, H: OnAsk<P>>(&mut self, scope: Scope, handler: &Arc<H>) {
        self.add_asker(scope, Request::Get, handler, false);
    }

    /// Makes changes of this kind in this scope and answers by itself.
    pub fn ask_set<P: Decode + 'static, H: OnAsk<P>>(&mut self, scope: Scope, handler: &Arc<H>) {
        self.add_asker(scope, Request::Set, handler, false);
    }

    /// Answers requests of this kind to accounts by itself and at length: the answer may wait until
    /// the session has taken what it was sent (see [`crate::Session::wait_for_room`]).
    pub fn tell<P: Decode + 'static, H: OnAsk<P>>(&mut self, kind: Request, handler: &Arc<H>) {
        self.add_asker(Scope::Account, kind, handler, true);
    }

    fn add_asker<P: Decode + 'static, H: OnAsk<P>>(
        &mut self,
        scope: Scope,
        kind: Request,
        handler: &Arc<H>,
        is_long: bool,
    ) {
        let asks = PhantomData::<fn(P)>;
        let asker = Arc::new(Asker { handler: handler.clone(), is_long, asks });
        if !self.iqs.add::<P>(scope, kind, asker) {
            self.clashes.push(format!("two answers to {kind:?} {{{}}}{}", P::NS, P::NAME));
        }
    }

    /// Announces an element among the stream features.
    pub fn stream_feature(&mut self, feature: StreamFeature) {
        self.stream_features.push(feature);
    }

    /// Answers service discovery for a node.
    pub fn disco_node(&mut self, scope: Scope, name: &'static str, node: Arc<dyn DiscoNode>) {
        if self.nodes.iter().any(|(of, known, _)| *of == scope && *known == name) {
            self.clashes.push(format!("two answers for the node {name}"));
        }
        self.nodes.push((scope, name, node));
    }

    /// Answers service discovery for nodes of accounts that come and go.
    pub fn account_nodes(&mut self, nodes: Arc<dyn DiscoNodes>) {
        self.account_nodes.push(nodes);
    }

    /// Lets owners of accounts execute a command; `node` names it (XEP-0050 §3.2).
    pub fn command(&mut self, node: &'static str, command: Arc<dyn Command>) {
        if self.commands.iter().any(|(known, _)| *known == node) {
            self.clashes.push(format!("two commands {node}"));
        }
        self.commands.push((node, command));
    }

    /// Says what an account is beside an account.
    pub fn account_identity(&mut self, category: &'static str, kind: &'static str) {
        self.disco.account_identities.push((category, kind));
    }

    /// Sends stanzas to the domain on to those whom they name, at most so many (XEP-0033).
    pub const fn multicast(&mut self, receivers_max: usize) {
        self.receivers_max = Some(receivers_max);
    }

    /// Names somebody who is told what only the administrators of the domain can mend.
    pub fn administrator(&mut self, who: BareJid) {
        self.administrators.push(who);
    }

    /// Adds a form to the domain's service discovery (XEP-0128).
    pub fn disco_form(&mut self, form: DiscoForm) {
        self.disco.forms.push(form);
    }

    /// Looks into the store before messages are decided.
    pub fn lookup(&mut self, handler: Arc<dyn Lookup>) {
        self.phases.lookup.push(handler);
    }

    /// Takes part in presence.
    pub fn watch(&mut self, handler: Arc<dyn Watch>) {
        self.phases.watch.push(handler);
    }

    /// Has work that is due now and then.
    pub fn chore(&mut self, chore: Arc<dyn Chore>) {
        self.chores.push(chore);
    }

    /// Lets whoever has the profile find this by its type: work that is under way can tell whether
    /// the configuration has changed since it began.
    pub fn share<T: Any + Send + Sync>(&mut self, shared: Arc<T>) {
        self.shared.push(shared);
    }

    /// Takes part in the phase `screen`.
    pub fn screen(&mut self, handler: Arc<dyn Screen>) {
        self.phases.screen.push(handler);
    }

    /// Takes part in deciding which sessions see what is for many.
    pub fn admit(&mut self, handler: Arc<dyn Admit>) {
        self.phases.admit.push(handler);
    }

    /// Knows how much of their chats users want to be told of. The first that knows decides.
    pub fn heed(&mut self, handler: Arc<dyn Heed>) {
        self.phases.heed.push(handler);
    }

    /// Is told when somebody looks again, and of what does not come as a message.
    pub fn attend(&mut self, handler: Arc<dyn Attend>) {
        self.phases.attend.push(handler);
    }

    /// Takes part in the phase `annotate`.
    pub fn annotate(&mut self, handler: Arc<dyn Annotate>) {
        self.phases.annotate.push(handler);
    }

    /// Takes part in the phase `record`.
    pub fn record(&mut self, handler: Arc<dyn Record>) {
        self.phases.record.push(handler);
    }

    /// Takes part in the phase `mirror`.
    pub fn mirror(&mut self, handler: Arc<dyn Mirror>) {
        self.phases.mirror.push(handler);
    }

    /// Takes part in the phase `observe`.
    pub fn observe(&mut self, handler: Arc<dyn Observe>) {
        self.phases.observe.push(handler);
    }

    /// Keeps small data in memory with every account.
    pub fn resident(&mut self, resident: Arc<dyn Resident>) {
        let kind = resident.kind();
        if self.residents.iter().any(|r| r.kind() == kind) {
            self.clashes.push(format!("two features keep data of the kind {kind}"));
        }
        self.residents.push(resident);
    }

    /// What clients may do while they sign in.
    pub const fn sign_in(&mut self) -> &mut Rules {
        &mut self.sign_in
    }

    /// Takes part in binding a resource within sign-in (XEP-0386).
    pub fn inline(&mut self, handler: Arc<dyn Inline>) {
        self.sign_in.inline.push(handler);
    }

    /// Takes part in the phase `miss`.
    pub fn miss(&mut self, handler: Arc<dyn Miss>) {
        self.phases.miss.push(handler);
    }

    /// Announces features of this scope.
    pub fn disco(&mut self, scope: Scope, features: &[&'static str]) {
        let list = match scope {
            Scope::Host => &mut self.disco.host,
            Scope::Account => &mut self.disco.account,
            // Nobody discovers a stream.
            Scope::Stream => return,
        };
        list.extend_from_slice(features);
    }

    /// Announces features that take an account that is stored. Where there are only visitors
    /// (RFC 4505) nobody has them.
    pub fn disco_stored(&mut self, scope: Scope, features: &[&'static str]) {
        self.stored.extend(features.iter().map(|feature| (scope, *feature)));
    }

    /// Notes which module registers itself next.
    pub fn begin(&mut self, spec: &'static Spec) {
        self.specs.push(spec);
    }

    /// Claims that two modules cannot both have; empty in a sound list of modules.
    #[must_use]
    pub fn clashes(&self) -> &[String] {
        &self.clashes
    }
}
