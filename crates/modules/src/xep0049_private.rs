//! XEP-0049: Private XML Storage, version 1.2.
//!
//! Keeps small documents for an account's own clients, by the name of their root element.
//! Implements: §3 (storing and retrieving, errors).
//! Left out: nothing.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::{
    Factory, IqCx, Module, OnGet, OnSet, OptionDoc, Registrar, Scope, Spec, Status, Xep, refuse,
};
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, StanzaError};
use stentor_store::{PrivateRow, Stage, Write};
use stentor_xml::{ElementRef, Frame, Writer, ns};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Private>();

struct Private {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { bytes_max: 1024 * 1024 }
    }
}

impl Module for Private {
    const SPEC: &'static Spec = &Spec {
        name: "private",
        xeps: &[Xep { number: 49, version: "1.2", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[OptionDoc {
            key: "bytes_max",
            default: "1048576",
            help: "Bytes of private documents of one account; beyond, `resource-constraint`.",
        }],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Get, _>(Scope::Account, &self);
        r.set::<Set, _>(Scope::Account, &self);
        r.disco_stored(Scope::Host, &[NS]);
    }
}

/// Which document is asked for.
struct Get {
    ns: String,
    name: String,
}

impl Decode for Get {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        let mut children = query.children();
        let document = children.next().ok_or(NOTHING_NAMED)?;
        // §2.3: one namespace at a time.
        if children.next().is_some() {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        check_name(document)?;
        Ok(Self { ns: document.ns().to_owned(), name: document.name().to_owned() })
    }
}

/// The documents to keep.
struct Set(Vec<Frame>);

impl Decode for Set {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        let documents: Vec<Frame> = query
            .children()
            .map(|document| {
                check_name(document)?;
                Ok(Frame::build(|w| {
                    w.element(document);
                }))
            })
            .collect::<Result<_, StanzaError>>()?;
        if documents.is_empty() { Err(NOTHING_NAMED) } else { Ok(Self(documents)) }
    }
}

/// §3: reserved namespaces are not for private documents, and the namespace of the query, which a
/// child without its own has, names nothing.
fn check_name(document: ElementRef<'_>) -> Result<(), StanzaError> {
    match document.ns() {
        "" | NS | ns::CLIENT | ns::SERVER | "vcard-temp" => {
            Err(StanzaError::new(Condition::NotAcceptable))
        }
        reserved if reserved.starts_with("jabber:iq:") => {
            Err(StanzaError::new(Condition::NotAcceptable))
        }
        _ => Ok(()),
    }
}

struct Answer {
    ask: Get,
    document: Option<Frame>,
}

impl Encode for Answer {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS);
        match &self.document {
            Some(document) => w.element(document.root()),
            // §3: the element as it was asked for, empty.
            None => w.leaf(&self.ask.name, &self.ask.ns),
        };
        w.close();
    }
}

impl OnGet<Get> for Private {
    type Reply = Answer;

    async fn get(&self, cx: &IqCx<'_>, ask: Get) -> Result<Answer, StanzaError> {
        let account = cx.own_kept_account()?;
        let bytes = cx.engine.stores.private.load(&account.jid, &ask.ns, &ask.name).await;
        let bytes = bytes.map_err(|e| refuse::store_error(&e))?;
        let document = bytes.and_then(|b| Frame::parse_own(&b).ok());
        Ok(Answer { ask, document })
    }
}

impl OnSet<Set> for Private {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, set: Set) -> Result<(), StanzaError> {
        let account = cx.own_kept_account()?;
        let store_error = |e| refuse::store_error(&e);
        let former = cx.engine.stores.private.list(&account.jid).await.map_err(store_error)?;
        // What takes the place of another does not come on top of it.
        let is_replaced = |row: &PrivateRow| set.0.iter().any(|d| d.root().is(&row.ns, &row.name));
        let kept = former.iter().filter(|row| !is_replaced(row)).map(|row| row.bytes);
        let added = set.0.iter().map(|document| document.bytes().len() as u64);
        if kept.chain(added).fold(0, u64::saturating_add) > self.config.bytes_max {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        let stage: Stage = set
            .0
            .iter()
            .map(|document| Write::PutPrivate {
                owner: account.jid.clone(),
                ns: document.root().ns().to_owned(),
                name: document.root().name().to_owned(),
                xml: document.bytes().to_vec(),
            })
            .collect();
        cx.engine.stores.writer.submit(stage).await.map_err(store_error)
    }
}

const NS: &str = "jabber:iq:private";
/// §2.3: there must be a document, or the name of one.
const NOTHING_NAMED: StanzaError = StanzaError::new(Condition::NotAcceptable);
