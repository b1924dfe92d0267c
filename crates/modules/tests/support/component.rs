//! A domain with a component that is attached, and what leaves for it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

use std::sync::Arc;

use parking_lot::Mutex;
use stentor_engine::{
    Component, Components, Delegation, Handling, Inbound, Links, Pressure, Privileges,
};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_testkit::{Client, World};
use stentor_xml::Frame;

pub const PUBSUB: &str = "pubsub.capulet.example";
pub const NS_PUBSUB: &str = "http://jabber.org/protocol/pubsub";

/// Whatever leaves, to the component or to other servers.
#[derive(Default)]
pub struct Wire {
    pub left: Mutex<Vec<Stanza>>,
    pub is_away: Mutex<bool>,
}

impl Links for Wire {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        if *self.is_away.lock() {
            return Err(StanzaError::new(Condition::RemoteServerTimeout));
        }
        self.left.lock().push(stanza);
        Ok(Pressure::Low)
    }
}

/// `capulet.example` with a component that is attached.
pub struct Stage {
    pub world: World,
    pub wire: Arc<Wire>,
    pub inbound: Arc<Inbound>,
}

impl Stage {
    pub async fn new(privileges: Privileges, delegations: &[&str]) -> Self {
        let world = World::new();
        for name in ["juliet@capulet.example", "nurse@capulet.example", "romeo@montague.example"] {
            world.add_account(name).await;
        }
        let wire = Arc::new(Wire::default());
        world.engine.connect_links(wire.clone());
        let delegations = delegations.iter().map(|text| {
            let mut words = text.split(' ').map(str::to_owned);
            Delegation { namespace: words.next().unwrap(), attributes: words.collect() }
        });
        let component = Component {
            domain: PUBSUB.into(),
            privileges,
            delegations: delegations.collect(),
            ..Component::default()
        };
        world.engine.components.store(Arc::new(Components::new([component])));
        let inbound = Arc::new(Inbound::new(world.engine.clone()));
        Self { world, wire, inbound }
    }

    /// What the component is told when it connects.
    pub fn attach(&self) -> Vec<String> {
        let mut told = Vec::new();
        self.world.engine.component_attached(PUBSUB, true, &mut |stanza| told.push(text(&stanza)));
        told
    }

    pub async fn comes(&self, xml: &str) {
        let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
        if let Handling::Later(rest) = self.inbound.handle(stanza) {
            rest.await;
        }
        self.inbound.settle_all().await;
    }

    /// The next stanza that leaves.
    pub async fn leaves(&self) -> String {
        for _ in 0..10_000 {
            if let Some(stanza) = self.take() {
                return stanza;
            }
            tokio::task::yield_now().await;
        }
        panic!("nothing leaves");
    }

    pub fn take(&self) -> Option<String> {
        let mut left = self.wire.left.lock();
        (!left.is_empty()).then(|| text(&left.remove(0)))
    }

    pub async fn client(&self, jid: &str) -> Client {
        let mut client = self.world.connect(jid).await;
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        client.send("<presence/>").await;
        client.receive_all();
        client
    }
}

pub fn text(stanza: &Stanza) -> String {
    String::from_utf8(stanza.to_bytes()).unwrap()
}

/// The next stanza that comes, once it is there.
pub async fn next(client: &mut Client) -> String {
    for _ in 0..10_000 {
        if let Some(stanza) = client.receive() {
            return text(&stanza);
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing comes");
}

pub fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

pub fn id_of(text: &str) -> &str {
    text.split(" id='").nth(1).unwrap().split('\'').next().unwrap()
}
