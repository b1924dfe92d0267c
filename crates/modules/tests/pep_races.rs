//! XEP-0163 where several things happen at once.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stentor_engine::Settings;
use stentor_jid::BareJid;
use stentor_stanza::MessageType;
use stentor_store::{Boxed, Export, NodeItemRow, NodeRow, Owned, Pubsub, Stores};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_testkit::{Client, World};
use tokio::sync::{Notify, Semaphore};

/// Nodes whose items are read when the test lets them be.
struct Slow {
    nodes: Arc<dyn Pubsub>,
    gate: Arc<Gate>,
}

struct Gate {
    is_reached: Notify,
    opens: Semaphore,
}

impl Pubsub for Slow {
    fn nodes(&self, owner: &BareJid) -> Boxed<Vec<NodeRow>> {
        self.nodes.nodes(owner)
    }

    fn items(&self, owner: &BareJid, node: &str, ids: &[&str]) -> Boxed<Vec<NodeItemRow>> {
        let (items, gate) = (self.nodes.items(owner, node, ids), self.gate.clone());
        Box::pin(async move {
            let items = items.await;
            gate.is_reached.notify_one();
            gate.opens.acquire().await.unwrap().forget();
            items
        })
    }

    fn having(&self, owners: &[BareJid], nodes: &[&str]) -> Boxed<Vec<BareJid>> {
        self.nodes.having(owners, nodes)
    }
}

impl Owned for Slow {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        self.nodes.export(owner, after)
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.nodes.forget(owner)
    }
}

#[tokio::test]
async fn the_last_item_does_not_come_behind_a_newer_one() {
    let store = Sqlite::in_memory_inline(&Options::default()).unwrap();
    let gate = Arc::new(Gate { is_reached: Notify::new(), opens: Semaphore::new(0) });
    let stores = store.stores();
    let pubsub = Arc::new(Slow { nodes: stores.pubsub.clone(), gate: gate.clone() });
    let world = World::over(Stores { pubsub, ..stores }, Settings::default(), "");
    world.add_account("juliet@capulet.example").await;
    let mut balcony = world.connect("juliet@capulet.example/balcony").await;
    let mut chamber = world.connect("juliet@capulet.example/chamber").await;
    // What the mark stands for becomes known.
    balcony.send(&format!("<presence>{MARK}</presence>")).await;
    let ask = balcony.find(|stanza| stanza.iq_type().is_some()).unwrap();
    let answer = format!(
        "<iq type='result' id='{}' to='juliet@capulet.example'>\
         <query xmlns='http://jabber.org/protocol/disco#info'>\
         <identity category='client' type='pc' name='Orchard'/>\
         <feature var='http://jabber.org/protocol/tune+notify'/></query></iq>",
        ask.head.id.as_deref().unwrap()
    );
    balcony.send(&answer).await;
    publish(&mut balcony, "old").await;

    let shown = format!("<presence>{MARK}</presence>");
    let mut comes = Box::pin(chamber.send(&shown));
    tokio::select! {
        () = &mut comes => panic!("nothing was read"),
        () = gate.is_reached.notified() => {}
    }
    publish(&mut balcony, "new").await;
    gate.opens.add_permits(1);
    comes.await;
    drop(store);

    let received = chamber.receive_all();
    let events = received.iter().filter(|s| s.message_type() == Some(MessageType::Headline));
    let texts = events.map(|s| String::from_utf8(s.to_bytes()).unwrap()).collect::<Vec<_>>();
    assert!(texts.last().unwrap().contains("id='new'"), "{texts:#?}");
}

async fn publish(client: &mut Client, id: &str) {
    let publish = format!(
        "<iq type='set' id='{id}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='http://jabber.org/protocol/tune'><item id='{id}'>\
         <tune xmlns='http://jabber.org/protocol/tune'/></item></publish></pubsub></iq>"
    );
    client.send(&publish).await;
}

const MARK: &str = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
    node='urn:example:orchard' ver='YfNmgiQZRNNwqtjF5Cs+eK+8TGU='/>";
