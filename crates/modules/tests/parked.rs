//! What a client sees of its contacts that comes back to its session (XEP-0198 §5): how they are now,
//! and none of the steps to that (RFC 6121 §4.5.2).

#![allow(clippy::unwrap_used)]

use stentor_engine::{Item, Session};
use stentor_jid::BareJid;
use stentor_payload::xep0352_csi::ClientState;
use stentor_testkit::{Client, World};
use stentor_xml::ns;

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";

/// Juliet, who sees Romeo and has acknowledged so many stanzas, the id of her session, and Romeo.
struct Scene {
    world: World,
    juliet: Client,
    h: u32,
    id: String,
    romeo: Client,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new();
        let mut clients = Vec::new();
        for (account, resource) in [(JULIET, "balcony"), (ROMEO, "orchard")] {
            world.add_account(account).await;
            clients.push(world.connect(&format!("{account}/{resource}")).await);
        }
        let (mut romeo, mut juliet) = (clients.pop().unwrap(), clients.pop().unwrap());
        juliet.send("<presence/>").await;
        romeo.send("<presence/>").await;
        juliet.send(&format!("<presence type='subscribe' to='{ROMEO}'/>")).await;
        romeo.send(&format!("<presence type='subscribed' to='{JULIET}'/>")).await;
        juliet.receive_all();
        let (id, _) = juliet.session().enable_sm(true, None).await.unwrap();
        romeo.send(&chat(0)).await;
        let h = u32::try_from(juliet.receive_all().len()).unwrap();
        Self { world, juliet, h, id, romeo }
    }

    async fn shows(&mut self, show: &str) {
        self.romeo.send(&format!("<presence><show>{show}</show></presence>")).await;
    }

    fn cut(&self) {
        assert!(self.juliet.session().break_off(Vec::new()).is_none());
    }

    /// She comes back.
    async fn resume(&mut self) -> Vec<String> {
        let account = BareJid::new(JULIET).unwrap();
        let resumed = self.world.engine.resume(&account, &self.id, self.h).await.ok().unwrap();
        told(&resumed.session)
    }

    async fn restart(&mut self) {
        self.world.restart();
        assert_eq!(self.world.engine.restore_sessions().await, Ok(1));
    }
}

fn chat(n: u32) -> String {
    format!("<message type='chat' id='m{n}' to='{JULIET}'><body>x</body></message>")
}

/// Takes what waits: ids of messages, and what presence shows.
fn told(session: &Session) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(item) = session.resource.outbox.pop() {
        let Item::Stanza(stanza, ..) = item else { continue };
        let show = stanza.child(ns::CLIENT, "show").map(|show| show.text().into_owned());
        let kind = || if stanza.head.kind.is_error() { "error" } else { "presence" }.to_owned();
        told.push(show.or(stanza.head.id.as_deref().map(str::to_owned)).unwrap_or_else(kind));
    }
    told
}

#[tokio::test]
async fn who_comes_back_is_told_how_a_contact_is_and_not_how_he_was() {
    let mut scene = Scene::new().await;
    // Written into a connection that is dead already.
    scene.shows("away").await;
    scene.romeo.send(&chat(1)).await;
    scene.shows("xa").await;
    assert_eq!(told(scene.juliet.session()), ["away", "m1", "xa"]);
    scene.shows("chat").await;
    scene.cut();
    for n in 2..=3 {
        scene.romeo.send("<presence type='unavailable'/>").await;
        scene.shows("dnd").await;
        scene.romeo.send(&chat(n)).await;
    }
    assert_eq!(scene.resume().await, ["m1", "m2", "dnd", "m3"], "in the order in which they came");
}

#[tokio::test]
async fn what_is_left_out_has_no_number() {
    let mut scene = Scene::new().await;
    scene.shows("away").await;
    scene.romeo.send(&chat(1)).await;
    told(scene.juliet.session());
    scene.cut();
    scene.romeo.send(&chat(2)).await;
    scene.shows("xa").await;
    scene.romeo.send(&chat(3)).await;
    assert_eq!(scene.resume().await, ["m1", "m2", "xa", "m3"]);
    let session = scene.juliet.session();
    assert_eq!(session.acknowledge(scene.h + 5).unwrap_err().sent, scene.h + 4);
    session.acknowledge(scene.h + 2).unwrap();
    // What the store knows has the same numbers.
    scene.restart().await;
    scene.h += 2;
    assert_eq!(scene.resume().await, ["m3", "presence"], "Romeo has gone with the server");
}

#[tokio::test]
async fn who_comes_back_after_a_kill_is_told_how_a_contact_is() {
    let mut scene = Scene::new().await;
    scene.cut();
    scene.shows("xa").await;
    scene.romeo.send(&chat(1)).await;
    scene.shows("dnd").await;
    scene.restart().await;
    scene.romeo = scene.world.connect(&format!("{ROMEO}/orchard")).await;
    scene.shows("away").await;
    scene.romeo.send(&chat(2)).await;
    scene.shows("chat").await;
    let told = scene.resume().await;
    assert_eq!(told[..3], ["m1", "m2", "chat"]);
    assert!(told[3..].iter().all(|later| later == "chat"), "{told:?}");
}

#[tokio::test]
async fn what_waits_for_somebody_to_look_is_overtaken_as_well() {
    let mut scene = Scene::new().await;
    scene.shows("away").await;
    scene.juliet.indicate(ClientState::Inactive);
    scene.shows("xa").await;
    assert_eq!(told(scene.juliet.session()), ["away"]);
    scene.cut();
    scene.romeo.send(&chat(1)).await;
    scene.shows("dnd").await;
    assert_eq!(scene.resume().await, ["m1", "dnd"]);
}

#[tokio::test]
async fn a_contact_that_left_meanwhile_is_shown_as_gone() {
    let mut scene = Scene::new().await;
    scene.shows("away").await;
    told(scene.juliet.session());
    scene.cut();
    scene.shows("xa").await;
    scene.romeo.send("<presence type='unavailable'/>").await;
    assert_eq!(scene.resume().await, ["presence"]);
    assert!(!scene.romeo.session().resource.is_available());
}
