//! XEP-0054: vcard-temp, version 1.3.0.
//!
//! Keeps one vCard for an account and shows it to whoever asks.
//! Implements: §3 (retrieving, updating, viewing another's).
//! Left out: a vCard of the server itself.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::{
    Factory, IqCx, Module, OnGet, OnSet, OptionDoc, Registrar, Scope, Spec, Status, Xep, refuse,
};
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, StanzaError};
use stentor_store::Write;
use stentor_xml::{ElementRef, Frame, Writer};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Vcard>();

struct Vcard {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { bytes_max: 128 * 1024 }
    }
}

impl Module for Vcard {
    const SPEC: &'static Spec = &Spec {
        name: "vcard",
        xeps: &[Xep {
            number: 54,
            version: "1.3.0",
            status: Status::Complete,
            note: "vCards of accounts",
        }],
        requires: &[],
        options: &[OptionDoc {
            key: "bytes_max",
            default: "131072",
            help: "Bytes of one vCard, photo included; beyond, `not-acceptable`.",
        }],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Get, _>(Scope::Account, &self);
        r.set::<Card, _>(Scope::Account, &self);
        r.disco_stored(Scope::Host, &[NS]);
        r.disco_stored(Scope::Account, &[NS]);
    }
}

struct Get;

impl Decode for Get {
    const NS: &'static str = NS;
    const NAME: &'static str = "vCard";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

struct Card(Frame);

impl Decode for Card {
    const NS: &'static str = NS;
    const NAME: &'static str = "vCard";

    fn decode(card: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self(Frame::build(|w| {
            w.element(card);
        })))
    }
}

impl Encode for Card {
    fn encode(&self, w: &mut Writer) {
        w.element(self.0.root());
    }
}

impl OnGet<Get> for Vcard {
    type Reply = Card;

    async fn get(&self, cx: &IqCx<'_>, _: Get) -> Result<Card, StanzaError> {
        let account = cx.account.ok_or(StanzaError::new(Condition::ItemNotFound))?;
        // §3.1, §3.3: no vCard, for another looks the same as no account.
        let missing = if cx.is_own_account() {
            Condition::ItemNotFound
        } else {
            Condition::ServiceUnavailable
        };
        let bytes = cx.engine.stores.vcard.load(&account.jid).await;
        let bytes = bytes.map_err(|e| refuse::store_error(&e))?;
        let card = bytes.and_then(|b| Frame::parse_own(&b).ok());
        card.map(Card).ok_or(StanzaError::new(missing))
    }
}

impl OnSet<Card> for Vcard {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, card: Card) -> Result<(), StanzaError> {
        let account = cx.own_kept_account()?;
        if card.0.bytes().len() > self.config.bytes_max {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        let write = Write::PutVcard { owner: account.jid.clone(), xml: card.0.bytes().to_vec() };
        cx.engine.stores.writer.submit(write).await.map_err(|e| refuse::store_error(&e))
    }
}

const NS: &str = "vcard-temp";
