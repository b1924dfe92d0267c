//! RFC 6121 across domains: what leaves for another server, and what comes from one.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use stentor_engine::limits::REQUESTS_MAX;
use stentor_engine::{Component, Components, Handling, Inbound, Links, Pressure, Settings};
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
struct Wire(Mutex<Vec<Stanza>>, AtomicBool);

impl Links for Wire {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        if stanza.head.to.as_ref().unwrap().domain() == "nowhere.example" {
            return Err(StanzaError::new(Condition::RemoteServerNotFound));
        }
        if self.1.load(Ordering::Relaxed) {
            return Err(StanzaError::new(Condition::RemoteServerTimeout));
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

    /// From here on the other server is known not to answer.
    fn goes_down(&self) {
        self.links.1.store(true, Ordering::Relaxed);
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
        ("<presence to='romeo@far.example'/>", true),
        ("<presence to='romeo@far.example' type='unavailable'/>", true),
        ("<presence to='romeo@far.example' type='probe'/>", false),
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

fn errors(client: &mut Client) -> Vec<String> {
    let of = |s: Stanza| {
        let error = s.error().map_or("-", |e| e.condition.name());
        let (from, to) = (s.head.from.as_ref().unwrap(), s.head.to.as_ref().unwrap());
        format!("{} {error} {from} > {to} {}", s.head.kind.name(), s.head.id.as_deref().unwrap())
    };
    client.receive_all().into_iter().map(of).collect()
}

async fn contact(abroad: &Abroad, juliet: &mut Client) {
    for kind in ["subscribe", "subscribed"] {
        juliet.send(&format!("<presence to='{ROMEO}' type='{kind}'/>")).await;
        let xml = format!("<presence from='{ROMEO}' to='juliet@capulet.example' type='{kind}'/>");
        abroad.comes(&xml).await;
    }
    juliet.send("<presence to='romeo@far.example' type='subscribed'/>").await;
    juliet.receive_all();
    abroad.left();
}

async fn item(client: &mut Client) -> String {
    client.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    let roster = client.receive().unwrap();
    let query = roster.payload().unwrap();
    query.first_child().map_or_else(String::new, |item| {
        let of = |name: &str| item.attr(name).unwrap_or_default().into_owned();
        format!("{} {} {}", of("jid"), of("subscription"), of("ask"))
    })
}

/// RFC 6121 §3.1.2: what cannot be routed brings an error and no entry, whether it was a request or
/// its approval; §3.2.2, §3.3.2: what ends a subscription ends it here all the same.
#[tokio::test]
async fn subscriptions_to_a_server_that_is_away_bring_errors() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    juliet.send("<presence type='subscribe' to='x@nowhere.example/r' id='1'/>").await;
    assert_eq!(
        errors(&mut juliet),
        ["presence remote-server-not-found x@nowhere.example > juliet@capulet.example/balcony 1"]
    );
    assert_eq!(item(&mut juliet).await, "", "no entry");
    let request =
        format!("<presence from='{ROMEO}' to='juliet@capulet.example' type='subscribe'/>");
    abroad.comes(&request).await;
    juliet.receive_all();
    abroad.goes_down();
    juliet.send("<presence type='subscribed' to='romeo@far.example' id='2'/>").await;
    let timeout = |id: &str| {
        format!("presence remote-server-timeout {ROMEO} > juliet@capulet.example/balcony {id}")
    };
    assert_eq!(errors(&mut juliet), [timeout("2")]);
    assert_eq!(item(&mut juliet).await, "");
    // The request waits on.
    let mut chamber = abroad.world.connect("juliet@capulet.example/chamber").await;
    chamber.send("<presence/>").await;
    assert!(kinds(&mut chamber).contains(&String::from("presence subscribe romeo@far.example")));
}

#[tokio::test]
async fn what_ends_a_subscription_ends_it_though_the_other_server_is_away() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    contact(&abroad, &mut juliet).await;
    assert_eq!(item(&mut juliet).await, "romeo@far.example both ");
    abroad.goes_down();
    for (kind, id, after) in [
        ("unsubscribed", "1", "romeo@far.example to "),
        ("unsubscribe", "2", "romeo@far.example none "),
    ] {
        juliet.send(&format!("<presence type='{kind}' to='{ROMEO}' id='{id}'/>")).await;
        let back: Vec<_> = juliet.receive_all();
        let errors: Vec<_> = back.iter().filter_map(Stanza::error).collect();
        assert_eq!(errors.len(), 1, "{kind}: one error, and none for the presence that goes along");
        assert_eq!(errors[0].condition, Condition::RemoteServerTimeout);
        assert_eq!(item(&mut juliet).await, after);
    }
    // What a subscriber would have got is not returned, nor is what nobody sent (RFC 6120 §10.4.3).
    let mut again = abroad.world.connect("juliet@capulet.example/again").await;
    again.send("<presence/>").await;
    assert!(again.receive_all().iter().all(|s| s.error().is_none()));
}

/// RFC 6120 §10.4.3: who addressed a presence hears that it could not be routed; a broadcast and
/// the server's own probes return to nobody.
#[tokio::test]
async fn directed_presence_comes_back_and_broadcasts_do_not() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    contact(&abroad, &mut juliet).await;
    let timeout = StanzaError::new(Condition::RemoteServerTimeout);
    juliet.send("<presence id='b'><show>away</show></presence>").await;
    let mut again = abroad.world.connect("juliet@capulet.example/again").await;
    again.send("<presence/>").await;
    let sent = std::mem::take(&mut *abroad.links.0.lock());
    assert_eq!(sent.len(), 3, "two broadcasts and a probe");
    juliet.receive_all();
    sent.iter().for_each(|stanza| abroad.world.engine.bounce(stanza, &timeout));
    assert!(juliet.receive_all().is_empty());
    // A contact may be addressed as well, and by its bare address.
    juliet.send("<presence to='romeo@far.example' id='d'/>").await;
    let sent = abroad.links.0.lock().pop().unwrap();
    abroad.world.engine.bounce(&sent, &timeout);
    let error =
        format!("presence remote-server-timeout {ROMEO} > juliet@capulet.example/balcony d");
    assert_eq!(errors(&mut juliet), [error]);
    // Where no answer is known at once, it is the same.
    abroad.goes_down();
    juliet.send("<presence to='room@far.example/j' id='m'/>").await;
    assert_eq!(errors(&mut juliet).len(), 1);
    juliet.send("<presence to='room@far.example/j' id='u' type='unavailable'/>").await;
    assert_eq!(errors(&mut juliet).len(), 1);
    juliet.send("<presence/>").await;
    assert!(juliet.receive_all().iter().all(|s| s.error().is_none()));
}

/// RFC 6120 §10.4.3: what a component sends it has addressed itself, so that a room hears of
/// occupants whose server is gone.
#[tokio::test]
async fn presence_of_components_comes_back() {
    let abroad = Abroad::new().await;
    let rooms = "rooms.capulet.example";
    let rooms = Component { domain: rooms.into(), may_federate: true, ..Component::default() };
    abroad.world.engine.components.store(Arc::new(Components::new([rooms])));
    for (kind, returns) in [("", true), ("type='unavailable'", true), ("type='probe'", false)] {
        let addresses = "from='verona@rooms.capulet.example/j' to='romeo@far.example/x'";
        abroad.comes(&format!("<presence {addresses} {kind}/>")).await;
        let sent = abroad.links.0.lock().pop().unwrap();
        abroad.world.engine.bounce(&sent, &StanzaError::new(Condition::RemoteServerNotFound));
        let error = "presence error romeo@far.example/x > verona@rooms.capulet.example/j";
        assert_eq!(abroad.left(), returns.then_some(error).into_iter().collect::<Vec<_>>());
    }
}

/// RFC 6121 §3.1.2: a request that has no place to wait comes back.
#[tokio::test]
async fn one_request_too_many_comes_back() {
    let options = "[strangers]\nrequests_per_hour = 0\naccounts_per_hour = 0\n";
    let abroad = Abroad::in_world(World::with(Settings::default(), options)).await;
    let request = |n: usize| {
        let from = format!("romeo{n}@far.example");
        format!("<presence from='{from}' to='juliet@capulet.example' type='subscribe'/>")
    };
    for n in 0..REQUESTS_MAX {
        abroad.comes(&request(n)).await;
    }
    // One that waits already needs no other place.
    abroad.comes(&request(0)).await;
    assert!(abroad.left().is_empty());
    abroad.comes(&request(REQUESTS_MAX)).await;
    let back = abroad.links.0.lock().pop().unwrap().error().unwrap();
    assert_eq!(back.condition, Condition::ResourceConstraint);
    abroad.world.add_account("romeo@montague.example").await;
    let mut romeo = abroad.world.connect("romeo@montague.example/orchard").await;
    romeo.send("<presence to='juliet@capulet.example' type='subscribe' id='1'/>").await;
    let error =
        "presence resource-constraint juliet@capulet.example > romeo@montague.example/orchard 1";
    assert_eq!(errors(&mut romeo), [error]);
    assert_eq!(item(&mut romeo).await, "");
}

/// RFC 6120 §10.5.1: presence to the domain itself means nothing, a request to it is refused.
#[tokio::test]
async fn nobody_is_subscribed_to_a_domain() {
    let abroad = Abroad::new().await;
    for kind in ["", "type='unavailable'", "type='probe'", "type='unsubscribe'", "type='error'"] {
        abroad.comes(&format!("<presence from='{ROMEO}' to='capulet.example' {kind}/>")).await;
        assert!(abroad.left().is_empty(), "{kind}");
    }
    let request = format!("<presence from='{ROMEO}' to='capulet.example' type='subscribe'/>");
    abroad.comes(&request).await;
    assert_eq!(abroad.left(), ["presence error capulet.example > romeo@far.example"]);
}

/// RFC 6121 §3.1.2: the error of a request is for whoever hears of subscriptions, also without a
/// presence session.
#[tokio::test]
async fn the_error_of_a_request_reaches_who_only_has_the_roster() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.world.connect("juliet@capulet.example/balcony").await;
    juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    juliet.send("<presence type='subscribe' to='romeo@far.example' id='1'/>").await;
    juliet.receive_all();
    let sent = abroad.links.0.lock().pop().unwrap();
    abroad.world.engine.bounce(&sent, &StanzaError::new(Condition::RemoteServerNotFound));
    assert_eq!(
        errors(&mut juliet),
        ["presence remote-server-not-found romeo@far.example > juliet@capulet.example 1"]
    );
}

/// RFC 6121 §3.1.2: what another server has not answered is asked again when the user comes; what
/// was answered is not, nor is it at every device.
#[tokio::test]
async fn requests_without_an_answer_are_sent_again_when_the_user_comes() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    juliet.send("<presence to='romeo@far.example' type='subscribe' id='1'/>").await;
    juliet.send("<presence to='tybalt@capulet.example' type='subscribe' id='2'/>").await;
    abroad.left();
    let asked = ["presence subscribe juliet@capulet.example > romeo@far.example"];
    juliet.send("<presence><show>away</show></presence>").await;
    let mut chamber = abroad.world.connect("juliet@capulet.example/chamber").await;
    chamber.send("<presence/>").await;
    assert!(abroad.left().is_empty());
    chamber.cut().await;
    juliet.send("<presence type='unavailable'/>").await;
    juliet.send("<presence/>").await;
    let again = abroad.links.0.lock()[0].head.id.clone().unwrap();
    assert!(again.starts_with("again-"), "{again}");
    // What becomes of that is not news: she has not said it.
    let repeated = abroad.links.0.lock()[0].clone();
    juliet.receive_all();
    abroad.world.engine.bounce(&repeated, &StanzaError::new(Condition::RemoteServerTimeout));
    assert!(juliet.receive_all().is_empty());
    assert_eq!(abroad.left(), asked);
    abroad
        .comes("<presence from='romeo@far.example' to='juliet@capulet.example' type='subscribed'/>")
        .await;
    juliet.send("<presence type='unavailable'/>").await;
    juliet.send("<presence/>").await;
    assert_eq!(abroad.left(), ["presence probe juliet@capulet.example > romeo@far.example"]);
}

/// RFC 6121 §8.5.3.2.2: all but a request is ignored at a full address that matches no resource.
#[tokio::test]
async fn answers_to_a_resource_that_is_not_there_are_ignored() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    let comes = async |kind: &str, to: &str| {
        let to = format!("juliet@capulet.example{to}");
        abroad.comes(&format!("<presence from='{ROMEO}' to='{to}' type='{kind}'/>")).await;
    };
    juliet.send("<presence to='romeo@far.example' type='subscribe'/>").await;
    comes("subscribe", "/elsewhere").await;
    juliet.send("<presence to='romeo@far.example' type='subscribed'/>").await;
    juliet.receive_all();
    assert_eq!(item(&mut juliet).await, "romeo@far.example from subscribe");
    for (kind, after) in [
        ("subscribed", "romeo@far.example both "),
        ("unsubscribe", "romeo@far.example to "),
        ("unsubscribed", "romeo@far.example none "),
    ] {
        let before = item(&mut juliet).await;
        comes(kind, "/elsewhere").await;
        assert!(juliet.receive_all().is_empty(), "{kind}");
        assert_eq!(item(&mut juliet).await, before, "{kind}");
        comes(kind, "/balcony").await;
        juliet.receive_all();
        assert_eq!(item(&mut juliet).await, after, "{kind}");
    }
}

/// RFC 6121 §4.6.1: who says that it is gone is not told of the end.
#[tokio::test]
async fn directed_presence_ends_where_the_other_leaves_first() {
    let abroad = Abroad::new().await;
    let mut juliet = abroad.juliet().await;
    for to in ["room@far.example/j", "room@far.example/k"] {
        juliet.send(&format!("<presence to='{to}'/>")).await;
    }
    abroad.left();
    for who in ["room@far.example/j", "room@far.example/someone"] {
        let to = "juliet@capulet.example/balcony";
        abroad.comes(&format!("<presence from='{who}' to='{to}' type='unavailable'/>")).await;
    }
    juliet.cut().await;
    let ended = "presence unavailable juliet@capulet.example/balcony > room@far.example/k";
    assert_eq!(abroad.left(), [ended]);
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

#[tokio::test]
async fn a_flood_of_another_domain_is_refused_message_by_message() {
    let options = "[floods]\ndomain_messages_per_minute = 2\nmessages_per_minute = 1\n";
    let abroad = Abroad::in_world(World::with(Settings::default(), options)).await;
    let mut juliet = abroad.juliet().await;
    // All users of a domain count together, and no other domain with them.
    for from in [ROMEO, "paris@far.example", ROMEO, "tybalt@other.example", "paris@far.example"] {
        let message =
            format!("<message from='{from}/o' to='juliet@capulet.example' type='chat' id='1'/>");
        abroad.comes(&message.replace("/>", "><body>O</body></message>")).await;
    }
    assert_eq!(kinds(&mut juliet).len(), 3);
    let refused = |to: &str| format!("message error juliet@capulet.example > {to}/o");
    assert_eq!(abroad.left(), [refused(ROMEO), refused("paris@far.example")]);
    // §8.3.1: an error is not answered by one.
    abroad
        .comes(&format!(
            "<message from='{ROMEO}/o' to='juliet@capulet.example/balcony' type='error'/>"
        ))
        .await;
    assert!(abroad.left().is_empty());
    abroad.world.advance(60);
    let message =
        format!("<message from='{ROMEO}/o' to='juliet@capulet.example'><body>O</body></message>");
    abroad.comes(&message).await;
    assert_eq!(abroad.world.engine.metrics.floods_refused.get(), 2);
}
