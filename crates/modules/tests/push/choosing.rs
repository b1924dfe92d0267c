//! What users choose: when their devices are told, how much, and which (XEP-0050).

use std::fmt::Write as _;

use stentor_payload::xep0004_forms::Form;
use stentor_payload::xep0050_commands::NS as COMMANDS;
use stentor_payload::xep0082_time;
use stentor_payload::xep0352_csi::ClientState;
use stentor_stanza::Stanza;

use super::telling::wish;
use super::*;

const NODE: &str = "https://stentor.im/protocol/push";
const EVERYTHING: &str = "[push]\nwith_sender = true\nwith_body = true";

/// Asks for a command; the answer.
async fn command(client: &mut Client, attrs: &str, inside: &str) -> Stanza {
    client
        .send(&format!(
            "<iq type='set' id='c'><command xmlns='{COMMANDS}' node='{NODE}' {attrs}>{inside}\
             </command></iq>"
        ))
        .await;
    client.find(|s| s.head.id.as_deref() == Some("c")).unwrap()
}

fn attr(answer: &Stanza, name: &str) -> String {
    answer.child(COMMANDS, "command").unwrap().attr(name).unwrap().into_owned()
}

/// The form of the command, and its session.
async fn form(client: &mut Client) -> (String, Form) {
    let answer = command(client, "", "").await;
    assert_eq!(attr(&answer, "status"), "executing");
    let element = answer.child(COMMANDS, "command").unwrap();
    (attr(&answer, "sessionid"), Form::find(element).unwrap().unwrap())
}

fn filled(fields: &[(&str, &str)]) -> String {
    let mut xml = format!(
        "<x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>{NODE}</value></field>"
    );
    for (var, value) in fields {
        write!(xml, "<field var='{var}'><value>{value}</value></field>").unwrap();
    }
    xml + "</x>"
}

async fn choose(client: &mut Client, fields: &[(&str, &str)]) {
    let (session, _) = form(client).await;
    let attrs = format!("sessionid='{session}' action='complete'");
    let answer = command(client, &attrs, &filled(fields)).await;
    assert_eq!(attr(&answer, "status"), "completed");
}

/// Juliet's phone has chosen this and is gone.
async fn chosen(options: &str, fields: &[(&str, &str)]) -> Street {
    let mut street = Street::new(options).await;
    let mut phone = street.phone().await;
    choose(&mut phone, fields).await;
    phone.cut().await;
    street
}

/// How the world's clock reads after so many seconds.
fn later(street: &Street, secs: i64) -> String {
    xep0082_time::write(street.world.engine.clock.unix_ms() + secs * 1_000)
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_to_be_disturbed_is_told_of_all_at_the_end() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    let until = later(&street, 600);
    choose(&mut phone, &[("quiet", "true"), ("quiet_until", &until)]).await;
    phone.cut().await;
    for _ in 0..3 {
        street.says("<body>x</body>").await;
    }
    assert_eq!(street.told().await, None);
    street.wait(590).await;
    assert_eq!(street.told().await, None);
    street.wait(20).await;
    assert_eq!(street.accepts().await.unwrap().count, "3");
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "4");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_end_ends_when_the_user_says_so_and_holds_over_a_restart() {
    let mut street = chosen("", &[("quiet", "true")]).await;
    street.says("<body>x</body>").await;
    street.restart().await;
    street.do_chores().await;
    assert_eq!(street.told().await, None);
    // A call is of no use later.
    street.says("<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>").await;
    street.wait(100).await;
    let mut tablet = street.world.connect("juliet@capulet.example/tablet").await;
    tablet.indicate(ClientState::Inactive);
    street.says("<body>y</body>").await;
    assert_eq!(street.told().await, None);
    choose(&mut tablet, &[("quiet", "false")]).await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.header("Keywords"), told.count.as_str()), ("message", "1"));
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_always_told_is_told_then_as_well() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    choose(&mut phone, &[("quiet", "true")]).await;
    ask(&mut phone, &wish("<always/>")).await;
    phone.cut().await;
    let mut nurse = street.world.connect("push@montague.example/nurse").await;
    nurse.send(&message("<body>x</body>")).await;
    assert_eq!(street.told().await, None);
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "2");
}

#[tokio::test(start_paused = true)]
async fn devices_are_told_at_the_hours_that_the_user_chose() {
    // The world begins at a whole second; hours that begin a quarter past are reached by steps.
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    let opens = later(&street, 3_600);
    let closes = later(&street, 7_200);
    let hours = format!("Mon-Sun {}-{} UTC", &opens[11..16], &closes[11..16]);
    choose(&mut phone, &[("hours", &hours)]).await;
    phone.cut().await;
    street.says("<body>x</body>").await;
    street.says("<body>y</body>").await;
    street.wait(3_500).await;
    assert_eq!(street.told().await, None);
    street.wait(120).await;
    assert_eq!(street.accepts().await.unwrap().count, "2", "in one");
    street.wait(3_600).await;
    street.says("<body>z</body>").await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_busy_counts_as_long_as_it_says_so() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    phone.send("<presence><show>dnd</show></presence>").await;
    phone.indicate(ClientState::Inactive);
    street.says("<body>x</body>").await;
    street.wait(180).await;
    assert_eq!(street.told().await, None);
    phone.send("<presence/>").await;
    street.wait(75).await;
    assert_eq!(street.accepts().await.unwrap().count, "1");
}

#[tokio::test(start_paused = true)]
async fn each_device_is_told_as_much_as_the_user_wants() {
    for (fields, expected) in [
        (&[][..], (true, "Soft!")),
        (&[("content", "sender")], (true, "New message")),
        (&[("content", "bare")], (false, "New message")),
    ] {
        let mut street = chosen(EVERYTHING, fields).await;
        street.says("<body>Soft!</body>").await;
        let told = street.accepts().await.unwrap();
        assert_eq!((told.sender.is_some(), told.body.as_deref().unwrap()), expected, "{fields:?}");
    }
    let mut street = chosen(EVERYTHING, &[("content", "nothing")]).await;
    street.says("<body>Soft!</body>").await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn only_the_chosen_device_is_told() {
    let mut street = Street::new(EVERYTHING).await;
    let mut phone = street.phone().await;
    for node in ["tablet", "watch"] {
        enable(&mut phone, SERVICE, Some(node), "").await;
    }
    let (_, shown) = form(&mut phone).await;
    let devices: Vec<_> = shown
        .fields
        .iter()
        .filter_map(|f| f.var.clone())
        .filter(|v| v.starts_with("device-"))
        .collect();
    assert_eq!(devices.len(), 3);
    choose(&mut phone, &[(&devices[0], "nothing"), (&devices[1], "bare")]).await;
    phone.cut().await;
    street.says("<body>Soft!</body>").await;
    let mut bodies =
        vec![street.accepts().await.unwrap().body, street.accepts().await.unwrap().body];
    bodies.sort();
    assert_eq!(bodies, [Some("New message".to_owned()), Some("Soft!".to_owned())]);
    assert_eq!(street.told().await, None);
    // It takes effect on the next message.
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    choose(&mut phone, &[(&devices[0], "all"), (&devices[1], "nothing")]).await;
    phone.cut().await;
    street.says("<body>Soft!</body>").await;
    for _ in 0..2 {
        assert_eq!(street.accepts().await.unwrap().body.as_deref(), Some("Soft!"));
    }
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn xep_0050_commands_are_found_by_who_may_execute_them() {
    let mut street = Street::new("").await;
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    let query = |what: &str, node: &str| {
        format!(
            "<iq type='get' id='d' to='{JULIET}'>\
             <query xmlns='http://jabber.org/protocol/disco#{what}'{node}/></iq>"
        )
    };
    let list = format!(" node='{COMMANDS}'");
    let one = format!(" node='{NODE}'");
    let shows = async |client: &mut Client, what: &str, node: &str| {
        client.send(&query(what, node)).await;
        String::from_utf8(client.receive().unwrap().to_bytes()).unwrap()
    };
    assert!(shows(&mut phone, "info", "").await.contains(COMMANDS));
    assert!(shows(&mut phone, "info", &list).await.contains("type='command-list'"));
    let items = shows(&mut phone, "items", &list).await;
    assert!(
        items.contains(&format!("jid='{JULIET}' node='{NODE}' name='Notifications'")),
        "{items}"
    );
    let info = shows(&mut phone, "info", &one).await;
    for part in ["category='automation' type='command-node'", COMMANDS, "'jabber:x:data'"] {
        assert!(info.contains(part), "{info}");
    }
    assert!(shows(&mut street.romeo, "items", &list).await.contains("service-unavailable"));
    assert!(!shows(&mut street.romeo, "info", &one).await.contains("automation"));
}

#[tokio::test(start_paused = true)]
async fn xep_0050_what_is_wrong_with_a_command_is_told() {
    let mut street = Street::new("").await;
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    let error = |answer: &Stanza| {
        let text = String::from_utf8(answer.to_bytes()).unwrap();
        let error = answer.error().unwrap_or_else(|| panic!("{text}"));
        (error.condition.name(), text)
    };
    let (session, _) = form(&mut phone).await;
    let with = |id: &str, action: &str| format!("sessionid='{id}' action='{action}'");
    for (attrs, inside, app) in [
        (with(&session, "next"), "", "bad-action"),
        (with(&session, "prev"), "", "bad-action"),
        (with(&session, "dance"), "", "malformed-action"),
        (with("unknown", "complete"), "", "bad-sessionid"),
        (with(&session, "complete"), "", "bad-payload"),
        (with(&session, "complete"), &*filled(&[("hours", "always")]), "bad-payload"),
        ("action='complete'".to_owned(), "", "bad-action"),
    ] {
        let (condition, text) = error(&command(&mut phone, &attrs, inside).await);
        assert_eq!(condition, "bad-request");
        assert!(text.contains(&format!("<{app} xmlns='{COMMANDS}'/>")), "{text}");
    }
    // §2.4.3, §4.4: whoever gives it up cannot go on.
    let answer = command(&mut phone, &with(&session, "cancel"), "").await;
    assert_eq!(attr(&answer, "status"), "canceled");
    let (condition, text) = error(&command(&mut phone, &with(&session, "complete"), "").await);
    assert!(condition == "not-allowed" && text.contains("session-expired"), "{text}");
    phone.send(&format!("<iq type='set' id='c'><command xmlns='{COMMANDS}' node='x'/></iq>")).await;
    assert_eq!(error(&phone.receive().unwrap()).0, "item-not-found");
    street
        .romeo
        .send(&format!(
            "<iq type='set' id='c' to='{JULIET}'><command xmlns='{COMMANDS}' node='{NODE}'/></iq>"
        ))
        .await;
    assert_eq!(error(&street.romeo.receive().unwrap()).0, "forbidden");
}
