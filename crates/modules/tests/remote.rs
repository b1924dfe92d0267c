//! RFC 6121 across domains: what leaves for another server, and what comes from one.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use stentor_engine::{Handling, Inbound, Links, Pressure, Settings};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_testkit::{Client, World};
use stentor_xml::Frame;

/// Another server, as far as the engine sees it.
struct Abroad {
    world: World,
    links: Arc<Wire>,
    inbound: Arc<Inbound>,
}

#[derive(Default)]
struct Wire(Mutex<Vec<Stanza>>);

impl Links for Wire {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        if stanza.head.to.as_ref().unwrap().domain() == "nowhere.example" {
            return Err(StanzaError::new(Condition::RemoteServerNotFound));
        }
        self.0.lock().push(stanza);
        Ok(Pressure::Low)
    }
}

impl Abroad {
    async fn new() -> Self {
        Self::in_world(World::new()).await
    }

    async fn in_world(world: World) -> Self {
        world.add_account("juliet@capulet.example").await;
        let links = Arc::new(Wire::default());
        world.engine.connect_links(links.clone());
        let inbound = Arc::new(Inbound::new(world.engine.clone()));
        Self { world, links, inbound }
    }

    async fn juliet(&self) -> Client {
        let mut juliet = self.world.connect("juliet@capulet.example/balcony").await;
        juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        juliet.send("<presence/>").await;
        juliet.receive_all();
        self.left();
        juliet
    }

    /// What has left since the last call, as `name type from > to`.
    fn left(&self) -> Vec<String> {
        let of = |s: &Stanza| {
            let kind = s.head.kind;
            let (from, to) = (s.head.from.as_ref().unwrap(), s.head.to.as_ref().unwrap());
            format!("{} {} {from} > {to}", kind.name(), kind.type_name().unwrap_or("-"))
        };
        std::mem::take(&mut *self.links.0.lock()).iter().map(of).collect()
    }

    async fn comes(&self, xml: &str) {
        let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
        if let Handling::Later(rest) = self.inbound.handle(stanza) {
            rest.await;
        }
        self.inbound.settle_all().await;
    }
}

fn kinds(client: &mut Client) -> Vec<String> {
    let of = |s: Stanza| {
        let from = s.head.from.as_ref().map_or("-", |f| f.as_str()).to_owned();
        format!("{} {} {from}", s.head.kind.name(), s.head.kind.type_name().unwrap_or("-"))
    };
    client.receive_all().into_iter().map(of).collect()
}

const ROMEO: &str = "romeo@far.example";

#[tokio::test]
async fn messages_leave_and_come() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    juliet
        .send("<message to='romeo@far.example' type='chat' id='1'><body>O</body></message>")
        .await;
    assert_eq!(abroad.left(), ["message chat juliet@capulet.example/balcony > romeo@far.example"]);
    abroad
        .comes(
            "<message from='romeo@far.example/x' to='juliet@capulet.example' type='chat'>\
             <body>Ay</body></message>",
        )
        .await;
    assert_eq!(kinds(&mut juliet), ["message chat romeo@far.example/x"]);
    juliet.send("<message to='x@nowhere.example' id='2'><body>?</body></message>").await;
    let error = juliet.receive().unwrap();
    assert_eq!(error.error().unwrap().condition, Condition::RemoteServerNotFound);
}

#[tokio::test]
async fn messages_to_nobody_come_back_and_those_to_the_absent_are_kept() {
    let abroad = Abroad::new().await;
    let to = |who: &str| {
        format!("<message from='{ROMEO}/x' to='{who}' type='chat' id='1'><body>Ay</body></message>")
    };
    abroad.comes(&to("nobody@capulet.example")).await;
    assert_eq!(abroad.left(), ["message error nobody@capulet.example > romeo@far.example/x"]);
    abroad.comes(&to("capulet.example")).await;
    assert_eq!(abroad.left(), ["message error capulet.example > romeo@far.example/x"]);
    abroad.comes(&to("juliet@capulet.example")).await;
    assert!(abroad.left().is_empty());
    let mut juliet = abroad.world.connect("juliet@capulet.example/balcony").await;
    juliet.send("<presence/>").await;
    assert!(kinds(&mut juliet).contains(&String::from("message chat romeo@far.example/x")));
}

#[tokio::test]
async fn nothing_is_carried_from_one_foreign_domain_to_another() {
    let abroad = Abroad::new().await;
    abroad
        .comes("<message from='a@far.example' to='b@elsewhere.example' id='1'><body/></message>")
        .await;
    assert_eq!(abroad.left(), ["message error b@elsewhere.example > a@far.example"]);
}

#[tokio::test]
async fn both_halves_of_a_subscription() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    juliet.send("<presence to='romeo@far.example' type='subscribe'/>").await;
    assert_eq!(abroad.left(), ["presence subscribe juliet@capulet.example > romeo@far.example"]);
    juliet.receive_all();
    let from_romeo = |kind: &str| {
        format!("<presence from='{ROMEO}' to='juliet@capulet.example' type='{kind}'/>")
    };
    abroad.comes(&from_romeo("subscribed")).await;
    assert!(juliet.find(|s| s.iq_type().is_some()).is_some(), "the roster push");
    juliet.receive_all();
    abroad.comes(&from_romeo("subscribe")).await;
    assert_eq!(kinds(&mut juliet), ["presence subscribe romeo@far.example"]);
    juliet.send("<presence to='romeo@far.example' type='subscribed'/>").await;
    assert_eq!(
        abroad.left(),
        [
            "presence subscribed juliet@capulet.example > romeo@far.example",
            "presence - juliet@capulet.example/balcony > romeo@far.example",
        ]
    );
    juliet.receive_all();
    // Everything from here on is shown to the subscriber, and asked of it.
    juliet.send("<presence><show>away</show></presence>").await;
    assert_eq!(abroad.left(), ["presence - juliet@capulet.example/balcony > romeo@far.example"]);
    juliet.receive_all();
    abroad.comes(&format!("<presence from='{ROMEO}/x' to='juliet@capulet.example'/>")).await;
    assert_eq!(kinds(&mut juliet), ["presence - romeo@far.example/x"]);
    juliet.cut().await;
    assert_eq!(
        abroad.left(),
        ["presence unavailable juliet@capulet.example/balcony > romeo@far.example"]
    );
    let mut again = abroad.world.connect("juliet@capulet.example/balcony").await;
    again.send("<presence/>").await;
    assert_eq!(
        abroad.left(),
        [
            "presence - juliet@capulet.example/balcony > romeo@far.example",
            "presence probe juliet@capulet.example > romeo@far.example",
        ]
    );
    again.receive_all();
    // The end of both halves at once (§2.5.2).
    again
        .send(
            "<iq type='set' id='x'><query xmlns='jabber:iq:roster'>\
             <item jid='romeo@far.example' subscription='remove'/></query></iq>",
        )
        .await;
    assert_eq!(
        abroad.left(),
        [
            "presence unavailable juliet@capulet.example/balcony > romeo@far.example",
            "presence unsubscribed juliet@capulet.example > romeo@far.example",
            "presence unsubscribe juliet@capulet.example > romeo@far.example",
        ]
    );
}

#[tokio::test]
async fn probes_are_answered_for_those_who_may_see_and_denied_to_others() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    let probe = "<presence from='romeo@far.example/x' to='juliet@capulet.example' type='probe'/>";
    abroad.comes(probe).await;
    assert_eq!(
        abroad.left(),
        ["presence unsubscribed juliet@capulet.example > romeo@far.example/x"]
    );
    abroad
        .comes("<presence from='romeo@far.example' to='juliet@capulet.example' type='subscribe'/>")
        .await;
    juliet.send("<presence to='romeo@far.example' type='subscribed'/>").await;
    abroad.left();
    abroad.comes(probe).await;
    assert_eq!(abroad.left(), ["presence - juliet@capulet.example/balcony > romeo@far.example/x"]);
}

#[tokio::test]
async fn requests_are_answered_across_domains() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    juliet
        .send("<iq to='romeo@far.example/x' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    assert_eq!(abroad.left(), ["iq get juliet@capulet.example/balcony > romeo@far.example/x"]);
    abroad
        .comes("<iq from='romeo@far.example/x' to='juliet@capulet.example/balcony' type='result' id='p'/>")
        .await;
    assert_eq!(kinds(&mut juliet), ["iq result romeo@far.example/x"]);
    let ping = |to: &str| {
        format!(
            "<iq from='{ROMEO}/x' to='{to}' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
    };
    abroad.comes(&ping("capulet.example")).await;
    assert_eq!(abroad.left(), ["iq result capulet.example > romeo@far.example/x"]);
    abroad.comes(&ping("juliet@capulet.example")).await;
    // Without a subscription neither account nor resource is shown to be there.
    assert_eq!(abroad.left(), ["iq error juliet@capulet.example > romeo@far.example/x"]);
    abroad.comes(&ping("juliet@capulet.example/balcony")).await;
    assert_eq!(abroad.left(), ["iq error juliet@capulet.example/balcony > romeo@far.example/x"]);
    assert!(kinds(&mut juliet).is_empty());
}

#[tokio::test]
async fn what_cannot_be_delivered_comes_back_to_its_sender() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    for (xml, returns) in [
        ("<message to='romeo@far.example' id='1'><body>O</body></message>", true),
        ("<iq to='romeo@far.example' type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>", true),
        ("<presence to='romeo@far.example' type='subscribe'/>", true),
        ("<presence to='romeo@far.example'/>", false),
        ("<message to='romeo@far.example' type='error'/>", false),
    ] {
        juliet.send(xml).await;
        juliet.receive_all();
        let sent = abroad.links.0.lock().pop().unwrap();
        abroad.world.engine.bounce(&sent, &StanzaError::new(Condition::RemoteServerTimeout));
        let back = juliet.receive_all();
        assert_eq!(back.len(), usize::from(returns), "{xml}");
        for error in back {
            assert_eq!(error.error().unwrap().condition, Condition::RemoteServerTimeout);
        }
    }
}

#[tokio::test]
async fn strangers_of_other_servers_are_slowed_down_unless_they_are_answered() {
    let options = "[strangers]\nmessages_per_hour = 1\n";
    let abroad = Abroad::in_world(World::with(Settings::default(), options)).await;
    let mut juliet = abroad.juliet().await;
    let message = format!(
        "<message from='{ROMEO}/o' to='juliet@capulet.example' type='chat' id='1'>\
         <body>O</body></message>"
    );
    abroad.comes(&message).await;
    abroad.comes(&message).await;
    assert_eq!(kinds(&mut juliet).len(), 1);
    assert_eq!(abroad.left(), ["message error juliet@capulet.example > romeo@far.example/o"]);
    assert_eq!(abroad.world.engine.metrics.strangers_refused.get(), 1);
    juliet
        .send("<message to='romeo@far.example' type='chat' id='2'><body>?</body></message>")
        .await;
    abroad.comes(&message).await;
    abroad.comes(&message).await;
    assert_eq!(kinds(&mut juliet).len(), 2);
    assert_eq!(abroad.world.engine.metrics.strangers_refused.get(), 1);
}
