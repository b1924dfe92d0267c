//! Who is told: the push services that an account has enabled, and for which of its devices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use stentor_engine::clients::Clients;
use stentor_engine::{AccountState, Engine, Resident, Resource, Slot, slots};
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0004_forms::Form;
use stentor_payload::xep0357_push::{self as push, Enable};
use stentor_payload::{Decode as _, Encode as _};
use stentor_stanza::Stanza;
use stentor_store::{Stage, Write};
use stentor_xml::Frame;

use super::due::Dues;

/// The registrations of an account, by [`key`].
#[derive(Debug, Default)]
pub(super) struct Registrations(pub(super) BTreeMap<String, Registration>);

/// A service that is told, and the device that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// The service.
    pub(super) service: Jid,
    /// Its node, if it has one for the device.
    pub(super) node: Option<String>,
    /// A form as text that is sent with each notification.
    options: Option<String>,
    /// The resource that enabled it.
    resource: String,
    /// The client of that session, if it told its id.
    pub(super) client: Option<String>,
    enabled_ms: i64,
    /// Until when the service is left alone.
    pub(super) paused_until_ms: i64,
    /// What its client says that it is: category and type, once that is known.
    pub(super) identity: Option<(String, String)>,
}

/// How it is stored.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Row {
    service: String,
    node: Option<String>,
    options: Option<String>,
    resource: String,
    client: Option<String>,
    enabled_ms: i64,
    paused_until_ms: i64,
    identity: Option<(String, String)>,
}

/// §5: a service and a node together.
pub(super) fn key(service: &Jid, node: Option<&str>) -> String {
    format!("{service}\n{}", node.unwrap_or_default())
}

impl Registration {
    pub(super) fn new(ask: Enable, session: &Resource, now_ms: i64) -> Self {
        let text = |form: Form| Frame::build(|w| form.encode(w)).as_str().to_owned();
        Self {
            service: ask.jid,
            node: ask.node,
            options: ask.options.map(text),
            resource: session.jid.resource().to_owned(),
            client: session.client.as_ref().map(ToString::to_string),
            enabled_ms: now_ms,
            paused_until_ms: 0,
            identity: None,
        }
    }

    /// The form that is sent with each notification.
    pub(super) fn options(&self) -> Option<Form> {
        let frame = Frame::parse(self.options.as_ref()?.as_bytes()).ok()?;
        Form::decode(frame.root()).ok()
    }

    /// The resource that enabled it.
    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    /// What its client is, if that is known.
    pub(super) fn application(&self) -> Option<(&str, &str)> {
        self.identity.as_ref().map(|(category, kind)| (category.as_str(), kind.as_str()))
    }

    /// What the log calls the device: nobody learns its node from that.
    pub(super) fn mark(&self) -> String {
        let digest = Sha1::digest(key(&self.service, self.node.as_deref()));
        digest.iter().take(MARK_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this session is one of the device.
    pub(super) fn is_of(&self, session: &Resource) -> bool {
        match (&self.client, &session.client) {
            (Some(ours), Some(theirs)) => ours == theirs.as_str(),
            _ => self.resource == session.jid.resource(),
        }
    }

    /// Whether the device may still know what the account gets: its access may have been taken back.
    pub(super) fn has_access(&self, state: &AccountState, now_ms: i64) -> bool {
        match (&self.client, state.slots.find::<Clients>()) {
            (Some(key), Some(clients)) => {
                clients.find(key).is_some_and(|client| client.has_access(now_ms))
            }
            _ => true,
        }
    }

    /// The write that keeps it as it is now.
    pub(super) fn put(&self, owner: &BareJid, key: &str) -> Write {
        let row = Row {
            service: self.service.to_string(),
            node: self.node.clone(),
            options: self.options.clone(),
            resource: self.resource.clone(),
            client: self.client.clone(),
            enabled_ms: self.enabled_ms,
            paused_until_ms: self.paused_until_ms,
            identity: self.identity.clone(),
        };
        // Texts and numbers: nothing that JSON cannot say.
        let value = serde_json::to_vec(&row).unwrap_or_default();
        let (owner, key) = (owner.clone(), key.to_owned());
        Write::PutData { owner, kind: KIND.into(), key, value }
    }

    fn read(value: &[u8]) -> Option<Self> {
        let row: Row = serde_json::from_slice(value).ok()?;
        Some(Self {
            service: Jid::new(&row.service).ok()?,
            node: row.node,
            options: row.options,
            resource: row.resource,
            client: row.client,
            enabled_ms: row.enabled_ms,
            paused_until_ms: row.paused_until_ms,
            identity: row.identity,
        })
    }
}

/// Removes registrations, and what was due to them. How many there were.
pub(super) fn remove(
    engine: &Engine,
    state: &mut AccountState,
    owner: &BareJid,
    stage: &mut Stage,
    is_it: impl Fn(&Registration) -> bool,
) -> usize {
    let Some(registrations) = state.slots.find_mut::<Registrations>() else { return 0 };
    let gone: Vec<_> =
        registrations.0.extract_if(.., |_, r| is_it(r)).map(|(key, _)| key).collect();
    let count = gone.len();
    engine.metrics.pushes_registered.dec_by(i64::try_from(count).unwrap_or(0));
    for key in gone {
        state.slots.entry::<Dues>().remove(owner, &key, stage);
        stage.push(Write::RemoveData { owner: owner.clone(), kind: KIND.into(), key });
    }
    count
}

/// §8: a service says that a node is closed for the account. Whether one was.
pub(super) fn close(
    engine: &Engine,
    state: &mut AccountState,
    owner: &BareJid,
    message: &Stanza,
    stage: &mut Stage,
) -> bool {
    let Some(from) = &message.head.from else { return false };
    let Some(node) = push::disabled_node(message, owner.as_jid()) else { return false };
    remove(engine, state, owner, stage, |r| r.service == *from && r.node.as_ref() == Some(&node))
        > 0
}

/// Counts all of them: those of accounts that were removed have gone without a word.
pub(super) async fn count(engine: &Engine) {
    let (mut count, mut after) = (0, None);
    loop {
        let page = match engine.stores.data.everyones(KIND, after.take()).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(event = "push_not_counted", %error, "The push services that are told could not be counted.");
                return;
            }
        };
        let Some((owner, row)) = page.last() else { break };
        after = Some((owner.clone(), row.key.clone()));
        count += i64::try_from(page.len()).unwrap_or(0);
    }
    engine.metrics.pushes_registered.set(count);
}

/// Keeps the registrations in memory with the account.
pub(super) struct RegistrationRows;

impl Resident for RegistrationRows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        if rows.is_empty() {
            return slots::nothing();
        }
        let read = |(key, value): (String, Vec<u8>)| {
            let registration = Registration::read(&value);
            if registration.is_none() {
                tracing::error!(
                    event = "damaged",
                    "What is kept of a push service cannot be read."
                );
            }
            Some((key, registration?))
        };
        Box::new(Registrations(rows.into_iter().filter_map(read).collect()))
    }
}

/// The kind of the rows.
const KIND: &str = "push";
/// Bytes of a hash that tell the devices of one account apart.
const MARK_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_as_it_was_written() {
        let registration = Registration {
            service: Jid::new("push.example").unwrap(),
            node: Some("n".into()),
            options: Some("<x xmlns='jabber:x:data' type='submit'/>".into()),
            resource: "phone".into(),
            client: None,
            enabled_ms: 1,
            paused_until_ms: 2,
            identity: Some(("client".into(), "phone".into())),
        };
        let owner = BareJid::new("juliet@capulet.example").unwrap();
        let key = key(&registration.service, registration.node.as_deref());
        assert_eq!(key, "push.example\nn");
        let Write::PutData { value, .. } = registration.put(&owner, &key) else { panic!("no row") };
        assert_eq!(Registration::read(&value).as_ref(), Some(&registration));
        assert!(registration.options().is_some());
        assert_eq!(Registration::read(b"{}"), None);
    }
}
