//! Push notifications (XEP-0357), with services that are clients of ours: what makes a device be
//! told, what it is told, and what becomes of services that misbehave.

#![allow(clippy::unwrap_used)]

mod answers;
mod choosing;
mod coming;
mod load;
mod registering;
mod telling;
#[path = "../support/wire.rs"]
mod wire;

use std::time::Duration;

use stentor_engine::Settings;
use stentor_payload::xep0004_forms::Form;
use stentor_stanza::{IqType, Stanza};
use stentor_testkit::{Client, World};
use stentor_xml::ElementRef;

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";
/// A push service that accepts, or does what a test says.
const SERVICE: &str = "push@montague.example/service";

/// A world with Juliet, Romeo and a push service.
struct Street {
    world: World,
    romeo: Client,
    service: Client,
}

/// What a service was told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    id: String,
    node: Option<String>,
    count: String,
    requests: Option<String>,
    sender: Option<String>,
    body: Option<String>,
    /// A field of the publish options.
    secret: Option<String>,
    /// What the headers say: how urgent it is, for how long it is of use, when it happened, and what
    /// it is about.
    headers: Vec<String>,
}

impl Street {
    async fn new(options: &str) -> Self {
        Self::over(World::with(Settings::default(), options)).await
    }

    async fn over(world: World) -> Self {
        for jid in [JULIET, ROMEO, "push@montague.example"] {
            world.add_account(jid).await;
        }
        let romeo = world.connect("romeo@montague.example/orchard").await;
        let service = world.connect(SERVICE).await;
        Self { world, romeo, service }
    }

    /// Juliet's phone, which has enabled the service.
    async fn phone(&mut self) -> Client {
        let mut phone = self.world.connect("juliet@capulet.example/phone").await;
        enable(&mut phone, SERVICE, Some("n"), "").await;
        phone.send("<presence/>").await;
        phone.receive_all();
        phone
    }

    /// The same, and then the phone is gone.
    async fn phone_away(&mut self) {
        self.phone().await.cut().await;
    }

    async fn says(&mut self, inside: &str) {
        self.romeo.send(&message(inside)).await;
        settle().await;
    }

    /// The next notification.
    async fn told(&mut self) -> Option<Told> {
        settle().await;
        Some(told(&self.service.receive()?))
    }

    /// The same, as soon as it comes.
    async fn told_later(&mut self) -> Told {
        for _ in 0..120 {
            if let Some(told) = self.told().await {
                return told;
            }
            self.wait(1).await;
        }
        panic!("nothing was told");
    }

    /// The same; the service accepts it.
    async fn accepts(&mut self) -> Option<Told> {
        let told = self.told().await?;
        self.answers(&told.id, "type='result'", "").await;
        Some(told)
    }

    async fn answers(&mut self, id: &str, attrs: &str, inside: &str) {
        let to = "capulet.example";
        self.service.send(&format!("<iq {attrs} id='{id}' to='{to}'>{inside}</iq>")).await;
        settle().await;
    }

    async fn refuses(&mut self, id: &str, kind: &str, condition: &str) {
        let error = format!(
            "<error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        );
        self.answers(id, "type='error'", &error).await;
    }

    /// The server is killed and starts again. Romeo and the service are back.
    async fn restart(&mut self) {
        self.world.restart();
        self.romeo = awake(self.world.connect("romeo@montague.example/orchard")).await;
        self.service = awake(self.world.connect(SERVICE)).await;
    }

    async fn do_chores(&self) {
        awake(self.world.engine.do_chores()).await;
        settle().await;
    }

    /// A second passes where a quarter of one should have.
    async fn lag(&self) {
        self.world.advance(1);
        tokio::time::sleep(Duration::from_millis(250)).await;
        settle().await;
    }

    /// Time passes on all clocks.
    async fn wait(&self, secs: u64) {
        self.world.advance(i64::try_from(secs).unwrap());
        tokio::time::sleep(Duration::from_secs(secs)).await;
        settle().await;
    }
}

fn message(inside: &str) -> String {
    format!("<message type='chat' id='m' to='{JULIET}'>{inside}</message>")
}

/// Waits for a thread of the store: a clock that is paused would run ahead meanwhile.
async fn awake<T>(work: impl Future<Output = T>) -> T {
    tokio::time::resume();
    let done = work.await;
    tokio::time::pause();
    done
}

/// Lets all tasks do what they can without time.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Enables a service; returns the condition of the error, or nothing.
async fn enable(client: &mut Client, service: &str, node: Option<&str>, form: &str) -> String {
    let node = node.map_or(String::new(), |node| format!(" node='{node}'"));
    ask(client, &format!("<enable xmlns='urn:xmpp:push:0' jid='{service}'{node}>{form}</enable>"))
        .await
}

async fn disable(client: &mut Client, service: &str, node: Option<&str>) -> String {
    let node = node.map_or(String::new(), |node| format!(" node='{node}'"));
    ask(client, &format!("<disable xmlns='urn:xmpp:push:0' jid='{service}'{node}/>")).await
}

async fn ask(client: &mut Client, payload: &str) -> String {
    client.send(&format!("<iq type='set' id='ask'>{payload}</iq>")).await;
    let answer = client.find(|s| s.head.id.as_deref() == Some("ask")).unwrap();
    answer
        .error()
        .map_or(String::new(), |error| format!("{} {:?}", error.condition.name(), error.kind))
}

fn told(publish: &Stanza) -> Told {
    const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
    assert_eq!(publish.iq_type(), Some(IqType::Set), "{publish:?}");
    assert_eq!(publish.head.from.as_ref().unwrap().as_str(), "capulet.example");
    let pubsub = publish.child(PUBSUB, "pubsub").unwrap();
    let node = pubsub.child(PUBSUB, "publish").unwrap();
    let notification =
        node.child(PUBSUB, "item").unwrap().child("urn:xmpp:push:0", "notification").unwrap();
    let summary = Form::find(notification).unwrap().unwrap();
    assert_eq!(summary.form_type(), Some("urn:xmpp:push:summary"));
    let field = |form: &Form, var| form.field(var).and_then(|f| f.first()).map(str::to_owned);
    let options = pubsub.child(PUBSUB, "publish-options").map(|o| Form::find(o).unwrap().unwrap());
    Told {
        id: publish.head.id.as_ref().unwrap().to_string(),
        node: node.attr("node").map(std::borrow::Cow::into_owned),
        count: field(&summary, "message-count").unwrap(),
        requests: field(&summary, "pending-subscription-count"),
        sender: field(&summary, "last-message-sender"),
        body: field(&summary, "last-message-body"),
        secret: options.and_then(|form| field(&form, "secret")),
        headers: headers(notification),
    }
}

fn headers(notification: ElementRef<'_>) -> Vec<String> {
    const SHIM: &str = "http://jabber.org/protocol/shim";
    let headers = notification.child(SHIM, "headers").unwrap();
    let named =
        |header: ElementRef<'_>| format!("{}: {}", header.attr("name").unwrap(), header.text());
    headers.children().map(named).collect()
}

impl Told {
    /// What a header says.
    fn header(&self, name: &str) -> &str {
        let lines = self.headers.iter().map(|line| line.split_once(": ").unwrap());
        lines.into_iter().find(|(known, _)| *known == name).unwrap().1
    }
}
