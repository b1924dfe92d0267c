//! The clients of an account: installations told apart by the id that they sign in with
//! (XEP-0388 §2.3), what they say about themselves, and how they may come back.
//!
//! Rows of small data, resident with the account. A row's key is made of the id and the server's
//! secret, so it may be shown: the id itself is what a token hangs on.

mod access;
mod secrets;
pub mod tokens;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use stentor_jid::BareJid;
use stentor_store::Write;

pub use self::access::{Access, Revoked};
pub use self::secrets::Secrets;
use self::tokens::Tokens;
use crate::limits::CLIENTS_MAX;
use crate::slots::{Resident, Slot};

/// The clients of one account, by their keys.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<SmolStr, Client>);

/// What is known of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Its software, as it says.
    pub software: Option<String>,
    /// The device that it runs on, as it says.
    pub device: Option<String>,
    /// When it first signed in, in milliseconds since 1970 UTC.
    pub first_ms: i64,
    /// When it last signed in.
    pub last_ms: i64,
    /// Whether it has shown the present password.
    pub knows_password: bool,
    /// What it may come back with instead.
    pub tokens: Tokens,
}

/// Reads the rows when an account comes into memory.
#[derive(Debug)]
pub struct ClientRows;

impl Clients {
    /// The client of this key.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&Client> {
        self.0.get(key)
    }

    /// The same, to be changed. What is changed must be staged, see [`Clients::put`].
    pub fn find_mut(&mut self, key: &str) -> Option<&mut Client> {
        self.0.get_mut(key)
    }

    /// All of them, by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Client)> {
        self.0.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&SmolStr, &mut Client)> {
        self.0.iter_mut()
    }

    /// The client of this key, made if there is none.
    pub fn entry(&mut self, key: &SmolStr, now_ms: i64) -> &mut Client {
        let made = || Client { first_ms: now_ms, ..Client::default() };
        self.0.entry(key.clone()).or_insert_with(made)
    }

    /// The write that keeps a client as it is now.
    #[must_use]
    pub fn put(&self, owner: &BareJid, key: &SmolStr) -> Option<Write> {
        // Texts, numbers and truth values: nothing that JSON cannot say.
        let value = serde_json::to_vec(self.0.get(key)?).ok()?;
        let (owner, key) = (owner.clone(), key.to_string());
        Some(Write::PutData { owner, kind: KIND.into(), key, value })
    }

    /// Forgets clients that have not been here for so long, and those seen longest ago when there
    /// are too many. `is_needed` keeps one whatever its age.
    pub fn prune(
        &mut self,
        owner: &BareJid,
        now_ms: i64,
        keep_ms: i64,
        is_needed: impl Fn(&str) -> bool,
    ) -> Vec<Write> {
        let mut ages: Vec<(i64, SmolStr)> = (self.0.iter())
            .filter(|(key, _)| !is_needed(key))
            .map(|(key, client)| (client.last_ms, key.clone()))
            .collect();
        ages.sort_unstable();
        let mut over = self.0.len().saturating_sub(CLIENTS_MAX);
        let mut writes = Vec::new();
        for (last_ms, key) in ages {
            let is_old = now_ms.saturating_sub(last_ms) > keep_ms;
            let has_token = self.0.get(&key).is_some_and(|c| c.tokens.is_any_good(now_ms));
            if over > 0 || (is_old && !has_token) {
                over = over.saturating_sub(1);
                self.0.remove(&key);
                let (owner, key) = (owner.clone(), key.to_string());
                writes.push(Write::RemoveData { owner, kind: KIND.into(), key });
            }
        }
        writes
    }
}

impl Client {
    /// Whether it can sign in by what it has shown before.
    #[must_use]
    pub fn has_access(&self, now_ms: i64) -> bool {
        self.knows_password || self.tokens.is_any_good(now_ms)
    }
}

impl Resident for ClientRows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        let read = |(key, value): (String, Vec<u8>)| match serde_json::from_slice(&value) {
            Ok(client) => Some((SmolStr::from(key), client)),
            Err(error) => {
                tracing::error!(event = "damaged", key, %error, "What is kept of a client cannot be read.");
                None
            }
        };
        Box::new(Clients(rows.into_iter().filter_map(read).collect()))
    }
}

const KIND: &str = "client";

#[cfg(test)]
mod tests {
    use stentor_sasl::Mechanism;

    use super::*;
    use crate::clients::tokens::Token;

    fn owner() -> BareJid {
        BareJid::new("juliet@capulet.example").unwrap()
    }

    fn row(write: Write) -> (String, Vec<u8>) {
        match write {
            Write::PutData { key, value, .. } => (key, value),
            write => panic!("{write:?}"),
        }
    }

    #[test]
    fn come_back_from_the_store_as_they_were() {
        let mut clients = Clients::default();
        let key = SmolStr::from("key");
        let client = clients.entry(&key, 7);
        client.device = Some("Kiva's Phone".into());
        client.tokens.add(Token::new("id".into(), Mechanism::HtSha256Expr, 100));
        let client = client.clone();
        let rows = vec![
            row(clients.put(&owner(), &key).unwrap()),
            ("damaged".into(), b"{".to_vec()),
            // What an earlier or later release may write.
            ("other".into(), br#"{"first_ms":1,"more":true}"#.to_vec()),
        ];
        let slot = ClientRows.build(rows);
        let read = slot.downcast_ref::<Clients>().unwrap();
        assert_eq!(read.find("key"), Some(&client));
        assert_eq!(read.find("damaged"), None);
        assert_eq!(read.find("other").map(|c| c.first_ms), Some(1));
        assert_eq!(clients.put(&owner(), &"nobody".into()), None);
    }

    #[test]
    fn old_ones_are_forgotten_unless_they_can_come_back_or_are_here() {
        let mut clients = Clients::default();
        for (name, last_ms) in [("new", 90), ("old", 10), ("here", 10), ("able", 10)] {
            clients.entry(&name.into(), 0).last_ms = last_ms;
        }
        let token = Token::new("id".into(), Mechanism::HtSha256None, 1_000);
        clients.find_mut("able").unwrap().tokens.add(token);
        let writes = clients.prune(&owner(), 100, 50, |key| key == "here");
        assert!(matches!(&writes[..], [Write::RemoveData { key, .. }] if key == "old"));
        let left: Vec<_> = clients.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(left, ["able", "here", "new"]);
    }

    #[test]
    fn are_bounded_and_the_oldest_go_first() {
        let mut clients = Clients::default();
        for n in 0..CLIENTS_MAX + 2 {
            let last_ms = i64::try_from(n).unwrap();
            clients.entry(&format!("{n:03}").into(), 0).last_ms = last_ms;
        }
        let writes = clients.prune(&owner(), 100, 1_000, |key| key == "000");
        assert_eq!(writes.len(), 2);
        assert_eq!(clients.iter().count(), CLIENTS_MAX);
        let mut keys = clients.iter().map(|(key, _)| key.as_str());
        assert_eq!((keys.next(), keys.next()), (Some("000"), Some("003")));
    }
}
