//! §7: what makes a device be told, and what it is told.

use stentor_engine::Handling;
use stentor_payload::xep0352_csi::ClientState;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_to_somebody_who_is_away_is_told_once() {
    let mut street = Street::new("[push]\nwith_sender = true\nwith_body = true").await;
    street.phone_away().await;
    street.says("<body>Wherefore art thou?</body>").await;
    let told = street.accepts().await.unwrap();
    assert_eq!(
        told,
        Told {
            id: told.id.clone(),
            node: Some("n".into()),
            count: "1".into(),
            requests: None,
            sender: Some("romeo@montague.example/orchard".into()),
            body: Some("Wherefore art thou?".into()),
            secret: None,
            headers: told.headers.clone(),
        }
    );
    let headers = ["Urgency: high", "TTL: 2419200", "Keywords: message"];
    assert!(headers.iter().all(|line| told.headers.contains(&(*line).to_owned())), "{told:?}");
    street.wait(3_600).await;
    assert_eq!(street.told().await, None);
    // The next one counts what nobody has seen; whoever looks ends that.
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "2");
    street.world.connect("juliet@capulet.example/phone").await.cut().await;
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "1");
}

#[tokio::test(start_paused = true)]
async fn by_default_neither_sender_nor_text_is_told() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>Wherefore art thou?</body>").await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.sender, told.body.as_deref()), (None, Some("New message")));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_worth_it_is_not_told() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    for inside in [
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        // Nobody was told of what it changes.
        "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
    ] {
        street.says(inside).await;
        assert_eq!(street.told().await, None, "{inside}");
    }
    let mut laptop = street.world.connect("juliet@capulet.example/laptop").await;
    laptop.send(&message("<body>a note to herself</body>")).await;
    assert_eq!(street.told().await, None);
    laptop.cut().await;
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "1");
    street.says("<retract xmlns='urn:xmpp:message-retract:1' id='m'/>").await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.count.as_str(), told.body), ("1", None), "nobody is alerted");
}

/// What a session was when a message came, and whether it acknowledges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Nobody is there.
    None,
    /// Active, without stream management.
    Plain,
    /// Active; it acknowledges.
    Prompt,
    /// It looks active, and nothing is heard of it.
    Hanging,
    /// Its stream broke.
    Detached,
    /// Its stream broke, and it comes back in time.
    Resumed,
    /// It is in the background.
    Inactive,
    /// It is in the background; it acknowledges.
    InactivePrompt,
}

async fn begin(street: &mut Street, session: Session, name: &str) -> Option<Client> {
    if session == Session::None {
        return None;
    }
    let mut client = street.world.connect(&format!("juliet@capulet.example/{name}")).await;
    if session != Session::Plain {
        turn_sm_on(&client).await;
    }
    client.send("<presence/>").await;
    client.receive_all();
    if matches!(session, Session::Inactive | Session::InactivePrompt) {
        client.indicate(ClientState::Inactive);
    }
    if matches!(session, Session::Detached | Session::Resumed) {
        assert!(client.session().clone().break_off(Vec::new()).is_none());
    }
    Some(client)
}

async fn turn_sm_on(client: &Client) {
    client.session().enable_sm(true, None).await.unwrap();
}

/// The client handles all that it was sent.
fn acknowledge(client: &mut Client) {
    client.receive_all();
    let sent = client.session().resource.outbox.queued().unwrap();
    client.session().acknowledge(u32::try_from(sent).unwrap()).unwrap();
}

/// How many notifications two devices get at once, and after the time to acknowledge. No device gets
/// two.
async fn table(sessions: &[Session]) -> (usize, usize) {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    enable(&mut phone, SERVICE, Some("tablet"), "").await;
    phone.cut().await;
    let mut clients = Vec::new();
    for (n, session) in sessions.iter().enumerate() {
        clients.push((*session, begin(&mut street, *session, &format!("s{n}")).await));
    }
    street.says("<body>x</body>").await;
    let mut nodes = Vec::new();
    while let Some(told) = street.accepts().await {
        nodes.push(told.node);
    }
    let at_once = nodes.len();
    street.wait(4).await;
    for (session, client) in &mut clients {
        if let (Session::Prompt | Session::InactivePrompt | Session::Resumed, Some(client)) =
            (*session, client)
        {
            acknowledge(client);
        }
    }
    assert_eq!(street.told().await, None, "{sessions:?} before the time is over");
    street.wait(2).await;
    while let Some(told) = street.accepts().await {
        nodes.push(told.node);
    }
    let later = nodes.len() - at_once;
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), at_once + later, "{sessions:?} {nodes:?}");
    (at_once, later)
}

// covers: push-04
#[tokio::test(start_paused = true)]
async fn devices_are_told_when_no_active_client_has_the_message() {
    use Session::*;
    for (sessions, expected) in [
        (&[None][..], (2, 0)),
        (&[Plain], (0, 0)),
        (&[Prompt], (0, 0)),
        (&[Hanging], (0, 2)),
        (&[Detached], (0, 2)),
        (&[Resumed], (0, 0)),
        (&[Inactive], (2, 0)),
        (&[InactivePrompt], (2, 0)),
        (&[Inactive, Inactive], (2, 0)),
        (&[Inactive, Plain], (0, 0)),
        (&[Inactive, Prompt], (0, 0)),
        (&[Inactive, Hanging], (0, 2)),
        (&[Inactive, Detached], (0, 2)),
        (&[Detached, Hanging], (0, 2)),
        (&[Detached, Prompt], (0, 0)),
        (&[Hanging, Prompt], (0, 0)),
        (&[Hanging, Hanging], (0, 2)),
    ] {
        assert_eq!(table(sessions).await, expected, "{sessions:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn devices_may_be_told_beside_an_active_one() {
    let mut street = Street::new("[push]\nbeside_active = true").await;
    let _phone = street.phone().await;
    let mut tablet = street.world.connect("juliet@capulet.example/tablet").await;
    enable(&mut tablet, SERVICE, Some("tablet"), "").await;
    tablet.cut().await;
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().node.as_deref(), Some("tablet"));
    assert_eq!(street.told().await, None, "the phone has it");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_inactive_for_a_time_before_it_counts() {
    let mut street = Street::new("[push]\ninactive_secs = 60").await;
    let phone = street.phone().await;
    phone.indicate(ClientState::Inactive);
    street.wait(59).await;
    street.says("<body>x</body>").await;
    assert_eq!(street.told().await, None);
    street.wait(1).await;
    street.says("<body>x</body>").await;
    assert!(street.accepts().await.is_some());
    phone.indicate(ClientState::Active);
    street.says("<body>x</body>").await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn calls_are_told_at_once_and_not_when_it_is_too_late() {
    let mut street = Street::new("").await;
    let phone = street.phone().await;
    turn_sm_on(&phone).await;
    assert!(phone.session().clone().break_off(Vec::new()).is_none());
    let propose = "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    street.says(propose).await;
    let told = street.told().await.unwrap();
    // The service says that it cannot now, and then for too long.
    street.refuses(&told.id, "wait", "internal-server-error").await;
    street.world.advance(31);
    street.wait(30).await;
    assert_eq!(street.told().await, None);
    assert_eq!(street.world.engine.metrics.pushes_expired.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_for_subscriptions_are_told() {
    let mut street = Street::new("").await;
    let phone = street.phone().await;
    let subscribe = format!("<presence type='subscribe' to='{JULIET}'/>");
    street.service.send(&subscribe).await;
    street.service.receive_all();
    assert_eq!(street.told().await, None, "she is there");
    phone.indicate(ClientState::Inactive);
    street.romeo.send(&subscribe).await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.count.as_str(), told.requests.as_deref()), ("0", Some("2")));
    street.romeo.send(&subscribe).await;
    assert_eq!(street.told().await, None, "it is the same request");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_being_handed_what_was_stored_has_what_comes_behind_it() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>stored</body>").await;
    assert!(street.accepts().await.is_some());
    let phone = street.world.connect("juliet@capulet.example/phone").await;
    let handing = phone.session().handle(Stanza::parse(b"<presence/>").unwrap());
    assert!(matches!(handing, Handling::Later(_)) && phone.session().is_busy());
    street.says("<body>x</body>").await;
    assert_eq!(street.told().await, None);
    street.wait(10).await;
    assert_eq!(street.told().await, None);
}

/// What she wishes to be told of Romeo (XEP-0492).
pub(super) fn wish(setting: &str) -> String {
    wish_of(ROMEO, setting)
}

/// What she wishes to be told of a contact.
pub(super) fn wish_of(contact: &str, setting: &str) -> String {
    format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>\
         <item id='{contact}'><conference xmlns='urn:xmpp:bookmarks:1'><extensions>\
         <notify xmlns='urn:xmpp:notification-settings:1'>{setting}</notify></extensions>\
         </conference></item></publish></pubsub>"
    )
}

// covers: push-08
#[tokio::test(start_paused = true)]
async fn of_a_contact_only_what_speaks_of_the_user_is_told_if_she_wishes_so() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    phone.indicate(ClientState::Inactive);
    // In a chat of two every message counts.
    street.says("<body>It is the east</body>").await;
    assert_eq!(street.accepts().await.unwrap().header("Keywords"), "message");
    assert_eq!(ask(&mut phone, &wish("<on-mention/>")).await, "");
    for (inside, is_told) in [
        ("<body>It is the east</body>", false),
        ("<body>and Juliet is the sun</body>", true),
        ("<body>JULIET!</body>", true),
        ("<body>Juliette is not</body>", false),
        ("<body>nor is mejuliet</body>", false),
        (
            "<body>so</body><reply xmlns='urn:xmpp:reply:0' id='1' to='juliet@capulet.example/x'/>",
            true,
        ),
        (
            "<body>so</body><reply xmlns='urn:xmpp:reply:0' id='1' to='nurse@capulet.example'/>",
            false,
        ),
        (
            "<body>you</body><reference xmlns='urn:xmpp:reference:0' type='mention' \
             uri='xmpp:juliet@capulet.example'/>",
            true,
        ),
        (
            "<body>her</body><reference xmlns='urn:xmpp:reference:0' type='mention' \
             uri='xmpp:nurse@capulet.example'/>",
            false,
        ),
        ("<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>", true),
    ] {
        street.says(inside).await;
        let told = street.accepts().await;
        assert_eq!(told.is_some(), is_told, "{inside}");
        if let Some(told) = told {
            let topic = if inside.starts_with("<propose") { "call" } else { "mention" };
            assert_eq!((told.header("Keywords"), told.header("Urgency")), (topic, "high"));
        }
    }
    assert_eq!(ask(&mut phone, &wish("<never/>")).await, "");
    street.says("<body>Juliet!</body>").await;
    assert_eq!(street.told().await, None);
    assert_eq!(ask(&mut phone, &wish("<always/>")).await, "");
    street.says("<body>It is the east</body>").await;
    assert!(street.accepts().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn of_rooms_only_mentions_are_told_unless_the_operator_says_otherwise() {
    let said =
        "<message type='groupchat' to='juliet@capulet.example/phone'><body>BODY</body></message>";
    for (rooms, plain, mention) in
        [("on-mention", false, true), ("always", true, true), ("never", false, false)]
    {
        let mut street = Street::new(&format!("[push]\nrooms = '{rooms}'")).await;
        let mut phone = street.phone().await;
        // Romeo's account plays the room: she is in it under the name Sun, and so is he.
        phone.send("<presence to='romeo@montague.example/Sun'/>").await;
        phone.indicate(ClientState::Inactive);
        street.romeo.send(&said.replace("BODY", "It is the east")).await;
        assert_eq!(street.accepts().await.is_some(), plain, "{rooms}");
        street.romeo.send(&said.replace("BODY", "Arise, fair sun")).await;
        assert_eq!(street.accepts().await.is_some(), mention, "{rooms}");
        let mut herself = street.world.connect("romeo@montague.example/Sun").await;
        herself.send(&said.replace("BODY", "I, the sun")).await;
        assert_eq!(street.told().await, None, "{rooms}: her own words");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_room_forwards_to_somebody_who_is_not_in_it_is_a_mention() {
    // Romeo's account plays the room.
    let forward = |room: &str| {
        format!(
            "<message to='{JULIET}'><mentions xmlns='urn:xmpp:mmn:0'>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' \
             type='groupchat' from='{room}/Nurse' to='{room}'><body>Hear all</body></message>\
             </forwarded></mentions></message>"
        )
    };
    for (rooms, is_told) in [("on-mention", true), ("always", true), ("never", false)] {
        let options = format!("[push]\nrooms = '{rooms}'\nwith_sender = true\nwith_body = true");
        let mut street = Street::new(&options).await;
        street.phone_away().await;
        street.romeo.send(&forward("other@montague.example")).await;
        assert_eq!(street.told().await, None, "not that room's");
        street.romeo.send(&forward(ROMEO)).await;
        let told = street.accepts().await;
        assert_eq!(told.is_some(), is_told, "{rooms}");
        if let Some(told) = told {
            assert_eq!(told.header("Keywords"), "mention");
            assert_eq!(told.sender.as_deref(), Some("romeo@montague.example/Nurse"));
            assert_eq!(told.body.as_deref(), Some("Hear all"));
        }
    }
}

/// What a client says that it is (XEP-0115), before it goes.
async fn says_it_is(street: &mut Street, resource: &str, kind: &str) {
    let mut client = street.world.connect(&format!("{JULIET}/{resource}")).await;
    enable(&mut client, SERVICE, Some(resource), "").await;
    client
        .send(&format!(
            "<presence><c xmlns='http://jabber.org/protocol/caps' node='urn:example:{kind}' \
             ver='1'/></presence>"
        ))
        .await;
    settle().await;
    let is_question = |s: &Stanza| s.has_child("http://jabber.org/protocol/disco#info", "query");
    let question = client.find(is_question).expect("it is asked what it is");
    let id = question.head.id.as_ref().unwrap();
    client
        .send(&format!(
            "<iq type='result' id='{id}' to='{JULIET}'>\
             <query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='client' type='{kind}'/></query></iq>"
        ))
        .await;
    settle().await;
    client.cut().await;
}

#[tokio::test(start_paused = true)]
async fn s2_2_of_xep_0492_each_device_is_told_what_its_client_is_to_tell() {
    let mut street = Street::new("[push]\nper_minute = 100").await;
    for (resource, kind) in [("phone", "phone"), ("desk", "pc"), ("page", "web")] {
        says_it_is(&mut street, resource, kind).await;
    }
    let mut phone = street.world.connect("juliet@capulet.example/other").await;
    let setting = "<never identity-category='client' identity-type='pc'/>\
        <on-mention identity-category='client' identity-type='phone'/><always/>";
    ask(&mut phone, &wish(setting)).await;
    phone.cut().await;
    for is_restarted in [false, true] {
        if is_restarted {
            street.restart().await;
        }
        for (text, expected) in [("x", &["page"][..]), ("Juliet!", &["page", "phone"])] {
            street.says(&format!("<body>{text}</body>")).await;
            let mut nodes = Vec::new();
            while let Some(told) = street.accepts().await {
                nodes.push(told.node.unwrap());
            }
            nodes.sort();
            assert_eq!(nodes, expected, "{text}, {is_restarted}");
        }
    }
}
