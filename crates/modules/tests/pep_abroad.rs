//! XEP-0163 across domains: contacts of another server are known by their presence alone.

#![allow(clippy::unwrap_used)]

#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;

use stentor_engine::{Handling, Inbound};
use stentor_stanza::Stanza;
use stentor_testkit::{Client, World};
use stentor_xml::Frame;
use wire::Wire;

struct Abroad {
    world: World,
    links: Arc<Wire>,
    inbound: Arc<Inbound>,
}

const MARK: &str = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
    node='urn:example:orchard' ver='YfNmgiQZRNNwqtjF5Cs+eK+8TGU='/>";

impl Abroad {
    async fn new() -> Self {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        let links = Arc::new(Wire::default());
        world.engine.connect_links(links.clone());
        let inbound = Arc::new(Inbound::new(world.engine.clone()));
        Self { world, links, inbound }
    }

    async fn comes(&self, xml: &str) {
        let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
        if let Handling::Later(rest) = self.inbound.handle(stanza) {
            rest.await;
        }
        self.inbound.settle_all().await;
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    async fn presence(&self, kind: &str, inside: &str) {
        self.comes(&format!(
            "<presence {kind} from='romeo@far.example/orchard' to='juliet@capulet.example'>{inside}\
             </presence>"
        ))
        .await;
    }

    /// The messages and requests that left since the last call, as text.
    fn left(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.links.0.lock());
        let text = |s: &Stanza| String::from_utf8(s.to_bytes()).unwrap();
        all.iter().filter(|s| s.presence_type().is_none()).map(text).collect()
    }

    async fn publish(&self, juliet: &mut Client, id: &str) {
        juliet
            .send(&format!(
                "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                 <publish node='http://jabber.org/protocol/tune'><item id='{id}'>\
                 <tune xmlns='http://jabber.org/protocol/tune'/></item></publish></pubsub></iq>"
            ))
            .await;
    }

    /// Romeo may see Juliet's presence.
    async fn befriend(&self, juliet: &mut Client) {
        self.comes(
            "<presence type='subscribe' from='romeo@far.example' to='juliet@capulet.example'/>",
        )
        .await;
        juliet.send("<presence type='subscribed' to='romeo@far.example'/>").await;
        self.left();
    }

    /// What Romeo's client answers when it is asked what its mark stands for.
    async fn answer(&self, asked: &str, from: &str) {
        let asked = Stanza::parse(asked.as_bytes()).unwrap();
        let id = asked.head.id.unwrap();
        self.comes(&format!(
            "<iq type='result' id='{id}' from='{from}' to='juliet@capulet.example'>\
             <query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='client' type='pc' name='Orchard'/>\
             <feature var='http://jabber.org/protocol/tune+notify'/></query></iq>"
        ))
        .await;
    }
}

const ORCHARD: &str = "romeo@far.example/orchard";

#[tokio::test]
async fn a_contact_elsewhere_is_asked_once_and_told_from_then_on() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.world.connect("juliet@capulet.example/balcony").await;
    abroad.befriend(&mut juliet).await;
    abroad.publish(&mut juliet, "0").await;
    assert!(abroad.left().is_empty(), "nobody has shown interest");
    abroad.presence("", MARK).await;
    let asked = abroad.left();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].contains("node='urn:example:orchard#YfNmgiQZRNNwqtjF5Cs+eK+8TGU='"));
    abroad.answer(&asked[0], ORCHARD).await;
    let told = abroad.left();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(" to='romeo@far.example/orchard' from='juliet@capulet.example'"));
    assert!(told[0].contains("<item id='0'>") && told[0].contains("<delay "), "{}", told[0]);
    // The same presence again tells nothing; what is published does.
    abroad.presence("", &format!("<show>away</show>{MARK}")).await;
    assert!(abroad.left().is_empty());
    abroad.publish(&mut juliet, "1").await;
    let told = abroad.left();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("<item id='1'>") && !told[0].contains("<delay "));
    // Whoever is gone is told nothing, and the last item when it comes again.
    abroad.presence("type='unavailable'", "").await;
    abroad.publish(&mut juliet, "2").await;
    assert!(abroad.left().is_empty());
    abroad.presence("", MARK).await;
    assert!(abroad.left()[0].contains("<item id='2'>"));
}

#[tokio::test]
async fn an_owner_who_is_away_has_a_last_item_all_the_same() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.world.connect("juliet@capulet.example/balcony").await;
    abroad.befriend(&mut juliet).await;
    abroad.publish(&mut juliet, "0").await;
    juliet.cut().await;
    abroad.left();
    abroad.presence("", MARK).await;
    let asked = abroad.left();
    // Only the one asked may answer.
    abroad.answer(&asked[0], "romeo@far.example/garden").await;
    assert!(abroad.left().is_empty());
    abroad.answer(&asked[0], ORCHARD).await;
    assert!(abroad.left()[0].contains("<item id='0'>"));
}

#[tokio::test]
async fn strangers_elsewhere_are_neither_asked_nor_told() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.world.connect("juliet@capulet.example/balcony").await;
    abroad.publish(&mut juliet, "0").await;
    abroad.presence("", MARK).await;
    abroad.publish(&mut juliet, "1").await;
    assert!(abroad.left().is_empty());
    let items = "<iq type='get' id='g' from='romeo@far.example/orchard' to='juliet@capulet.example'>\
        <pubsub xmlns='http://jabber.org/protocol/pubsub'>\
        <items node='http://jabber.org/protocol/tune'/></pubsub></iq>";
    abroad.comes(items).await;
    let refused = abroad.left();
    assert!(refused[0].contains("<presence-subscription-required "), "{}", refused[0]);
}

#[tokio::test]
async fn whoever_subscribed_elsewhere_is_told_at_its_address() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.world.connect("juliet@capulet.example/balcony").await;
    juliet
        .send(
            "<iq type='set' id='c'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <create node='http://jabber.org/protocol/tune'/><configure>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
             <field var='pubsub#access_model'><value>open</value></field></x></configure>\
             </pubsub></iq>",
        )
        .await;
    abroad
        .comes(
            "<iq type='set' id='s' from='romeo@far.example/orchard' to='juliet@capulet.example'>\
             <pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <subscribe node='http://jabber.org/protocol/tune' jid='romeo@far.example'/></pubsub></iq>",
        )
        .await;
    assert!(abroad.left()[0].contains("subscription='subscribed'"));
    abroad.publish(&mut juliet, "0").await;
    let told = abroad.left();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(" to='romeo@far.example' "), "{}", told[0]);
}
