//! XEP-0494: Client Access Management, version 0.1.0.
//!
//! Shows users who has access to their account, and lets them take it back.
//! Implements: §3.1, §3.2. Taking back ends sessions and tokens in any case; a client that has shown
//! the present password can come back, and the answer says so (`<password-reset-required/>`).
//! Left out: grants and restricted access, which this server does not give; `<uri/>`, which clients
//! do not tell.
//! Status: complete

use std::sync::Arc;

use stentor_engine::clients::{Access, Revoked};
use stentor_engine::registration::AccountError;
use stentor_engine::{
    Factory, IqCx, Module, NoConfig, OnAsk, OnGet, Registrar, Scope, Spec, Status, Xep, refuse,
};
use stentor_payload::{Decode, Encode, xep0082_time};
use stentor_stanza::{Condition, ErrorType, StanzaError};
use stentor_xml::{ElementRef, Writer};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<ClientAccess>();

struct ClientAccess;

impl Module for ClientAccess {
    const SPEC: &'static Spec = &Spec {
        name: "client-access",
        xeps: &[Xep { number: 494, version: "0.1.0", status: Status::Complete, note: "" }],
        requires: &["sasl2"],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<List, _>(Scope::Account, &self);
        r.ask_set::<Revoke, _>(Scope::Account, &self);
        r.disco_stored(Scope::Account, &[NS]);
    }
}

struct List;

impl Decode for List {
    const NS: &'static str = NS;
    const NAME: &'static str = "list";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

struct Revoke {
    key: String,
}

impl Decode for Revoke {
    const NS: &'static str = NS;
    const NAME: &'static str = "revoke";

    fn decode(revoke: ElementRef<'_>) -> Result<Self, StanzaError> {
        let key = revoke.attr("id").ok_or(StanzaError::new(Condition::BadRequest))?;
        Ok(Self { key: key.into_owned() })
    }
}

struct Listed(Vec<Access>);

impl Encode for Listed {
    fn encode(&self, w: &mut Writer) {
        w.open("clients", NS);
        for access in &self.0 {
            write_client(w, access);
        }
        w.close();
    }
}

impl OnGet<List> for ClientAccess {
    type Reply = Listed;

    async fn get(&self, cx: &IqCx<'_>, _: List) -> Result<Listed, StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        cx.engine.clients(&account.jid).await.map(Listed).map_err(refusal)
    }
}

impl OnAsk<Revoke> for ClientAccess {
    async fn ask(&self, cx: &IqCx<'_>, Revoke { key }: Revoke) -> Result<(), StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        // The asker may take back its own access: it is answered before its session ends.
        let answer = |revoked: Revoked| {
            if revoked.knows_password {
                session.refuse(cx.stanza, &password_reset_required());
            } else {
                session.reply(cx.stanza.reply_result(|_| ()));
            }
        };
        match cx.engine.revoke_client(&account.jid, &key, answer).await {
            Ok(Some(revoked)) => {
                let sessions = revoked.sessions;
                tracing::info!(event = "client_revoked", account = %account.jid, client = key, sessions, "A user took back the access of a client.");
                Ok(())
            }
            Ok(None) => Err(StanzaError::new(Condition::ItemNotFound)),
            Err(error) => Err(refusal(error)),
        }
    }
}

fn write_client(w: &mut Writer, access: &Access) {
    let client = &access.client;
    let is_connected = !access.sessions.is_empty();
    w.open("client", NS).attr("id", &access.key).attr("type", "session");
    w.attr("connected", if is_connected { "true" } else { "false" });
    w.text_element("first-seen", NS, &xep0082_time::write(client.first_ms));
    w.text_element("last-seen", NS, &xep0082_time::write(client.last_ms));
    w.open("auth", NS);
    if client.knows_password {
        w.leaf("password", NS);
    }
    if access.has_token {
        w.leaf("fast", NS);
    }
    w.close();
    w.open("permission", NS).attr("status", "unrestricted").close();
    if client.software.is_some() || client.device.is_some() {
        w.open("user-agent", NS);
        for (name, text) in [("software", &client.software), ("device", &client.device)] {
            if let Some(text) = text {
                w.text_element(name, NS, text);
            }
        }
        w.close();
    }
    w.close();
}

/// §3.2.
fn password_reset_required() -> StanzaError {
    StanzaError::new(Condition::ServiceUnavailable)
        .of_type(ErrorType::Cancel)
        .with_app("password-reset-required", NS)
}

fn refusal(error: AccountError) -> StanzaError {
    match error {
        AccountError::Store(error) => refuse::store_error(&error),
        _ => StanzaError::new(Condition::ItemNotFound),
    }
}

const NS: &str = "urn:xmpp:cam:0";
