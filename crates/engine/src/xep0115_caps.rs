//! XEP-0115: Entity Capabilities, version 1.6.0.
//!
//! Which nodes sessions and contacts wish to be notified of, by the marks in their presence.
//! Implements: §5.4 (asking and checking), §6.2 (one question for all that show the same mark), §8.2
//! (what was checked is remembered).
//! Left out: nothing. What a mark without a hash that we know stands for is believed of the entity
//! that shows it, and of no other.
//! Status: complete

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use parking_lot::Mutex;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};
use smol_str::{SmolStr, format_smolstr};
use stentor_jid::{BareJid, Jid};
use stentor_payload::Decode;
use stentor_payload::xep0030_disco::{Info, NS_INFO};
use stentor_payload::xep0115_caps::{Caps, verification};
use stentor_stanza::{IqType, Stanza};
use stentor_xml::Writer;

use crate::engine::Engine;
use crate::iq::BoxFuture;
use crate::limits::{
    CAPS_ANSWER_WAIT_MS, CAPS_ASKED_MAX, CAPS_IDENTITIES_MAX, CAPS_IDENTITY_BYTES_MAX,
    CAPS_INTEREST_BYTES_MAX, CAPS_KNOWN_MAX, CAPS_WAITING_MAX,
};
use crate::service;

/// The nodes that an entity wishes to be notified of (XEP-0060 §9.2), and what it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interest {
    nodes: Box<[Box<str>]>,
    identities: Box<[(Box<str>, Box<str>)]>,
}

impl Interest {
    /// Whether this node is among them.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        self.nodes.binary_search_by(|known| (**known).cmp(node)).is_ok()
    }

    /// All of them, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &**node)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What it is: categories and types.
    pub fn identities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.identities.iter().map(|(category, kind)| (&**category, &**kind))
    }

    fn of(info: &Info) -> Self {
        let features = &info.features;
        let mut nodes: Vec<Box<str>> =
            features.iter().filter_map(|f| f.strip_suffix("+notify")).map(Box::from).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut bytes = 0;
        nodes.retain(|node| {
            bytes += node.len();
            bytes <= CAPS_INTEREST_BYTES_MAX
        });
        let is_short = |text: &str| text.len() <= CAPS_IDENTITY_BYTES_MAX;
        let identities = info.identities.iter();
        let identities = identities.filter(|i| is_short(&i.category) && is_short(&i.kind));
        let identities = identities.take(CAPS_IDENTITIES_MAX);
        let identities = identities.map(|i| (i.category.as_str().into(), i.kind.as_str().into()));
        Self { nodes: nodes.into(), identities: identities.collect() }
    }
}

/// What a mark stands for, as it is remembered: the hash, or the one entity that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapsKey(SmolStr);

impl CapsKey {
    /// The key of what this entity's presence shows; none if it shows no mark.
    #[must_use]
    pub fn of(entity: &Jid, presence: &Stanza) -> Option<Self> {
        Some(Self::of_mark(entity, &Caps::find(presence)?))
    }

    fn of_mark(entity: &Jid, caps: &Caps) -> Self {
        let Caps { hash, node, ver } = caps;
        match hash.as_deref().filter(|name| hash_of(name, "").is_some()) {
            Some(hash) => Self(format_smolstr!("{hash} {ver}")),
            // §5.4: only of the entity itself.
            None => Self(format_smolstr!("{entity} {node}#{ver}")),
        }
    }
}

/// What is done once it is known.
type Learned = Box<dyn FnOnce(Arc<Interest>) -> BoxFuture<'static, ()> + Send>;

/// What is known, and what is being asked.
#[derive(Default)]
pub(crate) struct Known(Mutex<Table>);

#[derive(Default)]
struct Table {
    interests: HashMap<CapsKey, Arc<Interest>>,
    /// The order in which they were learned.
    order: VecDeque<CapsKey>,
    asked: HashMap<CapsKey, Asked>,
}

struct Asked {
    at_ms: i64,
    waiting: VecDeque<Waiting>,
}

/// Somebody whose presence showed a mark that nobody knew.
struct Waiting {
    entity: Jid,
    asker: BareJid,
    caps: Caps,
    then: Learned,
}

impl Table {
    fn learn(&mut self, key: &CapsKey, interest: &Arc<Interest>) {
        if self.interests.insert(key.clone(), interest.clone()).is_none() {
            self.order.push_back(key.clone());
        }
        while self.order.len() > CAPS_KNOWN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.interests.remove(&oldest);
            }
        }
    }

    /// Lets one more wait; whether it is to be asked itself.
    fn wait(&mut self, key: &CapsKey, waiting: Waiting, now_ms: i64) -> bool {
        if let Some(asked) = self.asked.get_mut(key) {
            let is_late = now_ms.saturating_sub(asked.at_ms) > CAPS_ANSWER_WAIT_MS;
            if is_late {
                asked.at_ms = now_ms;
            }
            if asked.waiting.len() >= CAPS_WAITING_MAX {
                asked.waiting.pop_front();
            }
            asked.waiting.push_back(waiting);
            return is_late;
        }
        if self.asked.len() >= CAPS_ASKED_MAX {
            let horizon = now_ms.saturating_sub(CAPS_ANSWER_WAIT_MS);
            self.asked.retain(|_, asked| asked.at_ms > horizon);
        }
        if self.asked.len() >= CAPS_ASKED_MAX {
            return false;
        }
        let waiting = VecDeque::from([waiting]);
        self.asked.insert(key.clone(), Asked { at_ms: now_ms, waiting });
        true
    }
}

impl Engine {
    /// The nodes that an entity wishes to be notified of, if what its presence shows is known.
    pub fn interest(&self, key: &CapsKey) -> Option<Arc<Interest>> {
        self.caps.0.lock().interests.get(key).cloned()
    }

    /// The same; where it is not known yet it is asked for in the name of `asker`, and `then` is done
    /// with it. Of those who show the same mark one is asked.
    pub fn learn_interest(
        self: &Arc<Self>,
        entity: &Jid,
        presence: &Stanza,
        asker: &BareJid,
        then: impl FnOnce(Arc<Interest>) -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Option<Arc<Interest>> {
        let caps = Caps::find(presence)?;
        let key = CapsKey::of_mark(entity, &caps);
        let question = (entity.clone(), asker.clone(), caps.clone());
        {
            let mut table = self.caps.0.lock();
            if let Some(known) = table.interests.get(&key) {
                return Some(known.clone());
            }
            let (entity, asker) = (entity.clone(), asker.clone());
            let waiting = Waiting { entity, asker, caps, then: Box::new(then) };
            if !table.wait(&key, waiting, self.clock.unix_ms()) {
                return None;
            }
        }
        let (entity, asker, caps) = question;
        self.ask_for(key, &entity, &asker, &caps);
        None
    }

    /// Asks beside everything else: whoever shows the mark waits for nothing.
    fn ask_for(self: &Arc<Self>, key: CapsKey, entity: &Jid, asker: &BareJid, caps: &Caps) {
        let (engine, caps) = (self.clone(), caps.clone());
        let (asker, asked) = (asker.as_jid().clone(), entity.clone());
        service::start(async move {
            let node = caps.disco_node();
            let question = |w: &mut Writer| {
                w.open("query", NS_INFO).attr("node", &node).close();
            };
            let answer = engine.request_as(asker, &asked, IqType::Get, question).await;
            let learned = answer.ok().and_then(|answer| read(&answer, &caps));
            let waiting = engine.settle_caps(&key, &asked, learned.as_ref());
            let (Some(waiting), Some(learned)) = (waiting, learned) else { return };
            for waiting in waiting {
                (waiting.then)(learned.clone()).await;
            }
        });
    }

    /// Takes an answer down; returns whom to tell. Where it proves nothing the next who shows the
    /// mark is asked.
    fn settle_caps(
        self: &Arc<Self>,
        key: &CapsKey,
        asked: &Jid,
        learned: Option<&Arc<Interest>>,
    ) -> Option<VecDeque<Waiting>> {
        let next = {
            let mut table = self.caps.0.lock();
            if let Some(interest) = learned {
                table.learn(key, interest);
                return table.asked.remove(key).map(|asked| asked.waiting);
            }
            let now_ms = self.clock.unix_ms();
            let open = table.asked.get_mut(key)?;
            open.waiting.retain(|w| w.entity != *asked);
            open.at_ms = now_ms;
            let next = open.waiting.front();
            let next = next.map(|w| (w.entity.clone(), w.asker.clone(), w.caps.clone()));
            if next.is_none() {
                table.asked.remove(key);
            }
            next
        };
        if let Some((entity, asker, caps)) = next {
            self.ask_for(key.clone(), &entity, &asker, &caps);
        }
        None
    }
}

/// What an answer says, if it proves the mark (§5.4).
fn read(answer: &Stanza, caps: &Caps) -> Option<Arc<Interest>> {
    let info = Info::decode(answer.child(Info::NS, Info::NAME)?).ok()?;
    let text = verification(&info)?;
    let hash = caps.hash.as_deref().and_then(|name| hash_of(name, &text));
    if hash.is_some_and(|hash| hash != caps.ver) {
        return None;
    }
    Some(Arc::new(Interest::of(&info)))
}

/// §8.1: the string by the hash of this name; none for a hash that we do not know.
fn hash_of(name: &str, text: &str) -> Option<String> {
    Some(match name {
        "sha-1" => STANDARD.encode(Sha1::digest(text)),
        "sha-256" => STANDARD.encode(Sha256::digest(text)),
        "sha-512" => STANDARD.encode(Sha512::digest(text)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use stentor_payload::xep0030_disco::Identity;

    use super::*;

    fn caps(hash: Option<&str>, ver: &str) -> Caps {
        Caps { hash: hash.map(str::to_owned), node: "urn:example:node".into(), ver: ver.into() }
    }

    fn answer(inside: &str) -> Stanza {
        let xml = format!(
            "<iq type='result' id='1'><query xmlns='http://jabber.org/protocol/disco#info'>{inside}\
             </query></iq>"
        );
        Stanza::parse(xml.as_bytes()).unwrap()
    }

    const EXODUS: &str = "<identity category='client' type='pc' name='Exodus 0.9.1'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/>";

    #[test]
    fn s5_2_the_simple_example_proves_its_mark() {
        let ver = "QgayPKawpkPSDYmwT/WM94uAlu0=";
        assert!(read(&answer(EXODUS), &caps(Some("sha-1"), ver)).is_some());
        assert!(read(&answer(EXODUS), &caps(Some("sha-256"), ver)).is_none());
        assert!(read(&answer(EXODUS), &caps(Some("sha-1"), "other")).is_none());
        // What cannot be checked is believed, of the one who says it.
        assert!(read(&answer(EXODUS), &caps(Some("md4"), "other")).is_some());
        assert!(read(&answer(EXODUS), &caps(None, "0.9.1")).is_some());
    }

    #[test]
    fn interest_is_in_the_features_that_end_so() {
        let features = ["b+notify", "a+notify", "a", "b+notify", "+notify"].map(String::from);
        let interest = Interest::of(&Info { features: features.into(), ..Info::default() });
        assert_eq!(interest.nodes().collect::<Vec<_>>(), ["", "a", "b"]);
        assert!(interest.has("a") && !interest.has("c"));
    }

    #[test]
    fn what_somebody_is_is_known_with_it() {
        let read = read(&answer(EXODUS), &caps(None, "0.9.1")).unwrap();
        assert_eq!(read.identities().collect::<Vec<_>>(), [("client", "pc")]);
        let long = "x".repeat(CAPS_IDENTITY_BYTES_MAX + 1);
        let identity = |kind: &str| Identity { kind: kind.to_owned(), ..Identity::default() };
        let mut identities = vec![identity(&long)];
        identities.resize(2 * CAPS_IDENTITIES_MAX, identity("pc"));
        let interest = Interest::of(&Info { identities, ..Info::default() });
        assert_eq!(interest.identities().count(), CAPS_IDENTITIES_MAX);
    }

    #[test]
    fn marks_that_cannot_be_checked_stand_for_one_entity() {
        let jid = |text| Jid::new(text).unwrap();
        let (one, two) = (jid("a@x.example/1"), jid("b@x.example/1"));
        let key = |entity, caps: &Caps| CapsKey::of_mark(entity, caps);
        let hashed = caps(Some("sha-1"), "v");
        assert_eq!(key(&one, &hashed), key(&two, &hashed));
        for caps in [caps(None, "v"), caps(Some("md4"), "v")] {
            assert_ne!(key(&one, &caps), key(&two, &caps));
        }
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut table = Table::default();
        let interest = Arc::new(Interest::default());
        for n in 0..=CAPS_KNOWN_MAX {
            table.learn(&CapsKey(n.to_string().into()), &interest);
            table.learn(&CapsKey(n.to_string().into()), &interest);
        }
        assert_eq!((table.interests.len(), table.order.len()), (CAPS_KNOWN_MAX, CAPS_KNOWN_MAX));
        assert!(!table.interests.contains_key(&CapsKey("0".into())));
    }

    fn waiting(entity: &str) -> Waiting {
        Waiting {
            entity: Jid::new(entity).unwrap(),
            asker: BareJid::new("juliet@capulet.example").unwrap(),
            caps: caps(Some("sha-1"), "v"),
            then: Box::new(|_| Box::pin(async {})),
        }
    }

    #[test]
    fn one_is_asked_and_the_next_when_it_is_late() {
        let mut table = Table::default();
        let key = CapsKey("k".into());
        assert!(table.wait(&key, waiting("a.example"), 0));
        assert!(!table.wait(&key, waiting("b.example"), CAPS_ANSWER_WAIT_MS));
        assert!(table.wait(&key, waiting("c.example"), CAPS_ANSWER_WAIT_MS + 1));
        assert!(!table.wait(&key, waiting("d.example"), CAPS_ANSWER_WAIT_MS + 2));
        for _ in 0..CAPS_WAITING_MAX {
            table.wait(&key, waiting("e.example"), 0);
        }
        assert_eq!(table.asked[&key].waiting.len(), CAPS_WAITING_MAX);
    }

    #[test]
    fn questions_under_way_are_bounded() {
        let mut table = Table::default();
        for n in 0..CAPS_ASKED_MAX {
            assert!(table.wait(&CapsKey(n.to_string().into()), waiting("a.example"), 0));
        }
        let next = CapsKey("next".into());
        assert!(!table.wait(&next, waiting("a.example"), 0));
        // What was not answered in time makes room.
        assert!(table.wait(&next, waiting("a.example"), CAPS_ANSWER_WAIT_MS + 1));
        assert_eq!(table.asked.len(), 1);
    }
}
