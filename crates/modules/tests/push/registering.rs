//! §4 to §6: finding out, enabling and disabling.

use super::*;

const OPTIONS: &str = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
    <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='secret'><value>SECRET</value></field></x>";

#[tokio::test(start_paused = true)]
async fn s4_1_the_account_says_that_it_can() {
    let street = Street::new("").await;
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    phone
        .send(&format!(
            "<iq type='get' id='d' to='{JULIET}'>\
             <query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        ))
        .await;
    let info = String::from_utf8(phone.receive().unwrap().to_bytes()).unwrap();
    assert!(info.contains("<feature var='urn:xmpp:push:0'/>"), "{info}");
}

#[tokio::test(start_paused = true)]
async fn s5_services_are_enabled_by_service_and_node_and_the_last_request_counts() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    for (node, secret) in [("n", "old"), ("n", "new"), ("other", "third")] {
        let options = OPTIONS.replace("SECRET", secret);
        assert_eq!(enable(&mut phone, SERVICE, Some(node), &options).await, "");
    }
    assert_eq!(enable(&mut phone, SERVICE, None, "").await, "");
    phone.cut().await;
    street.says("<body>x</body>").await;
    let mut told = Vec::new();
    while let Some(one) = street.accepts().await {
        told.push((one.node, one.secret));
    }
    told.sort();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told, [(None, None), (some("n"), some("new")), (some("other"), some("third"))]);
}

#[tokio::test(start_paused = true)]
async fn s5_bad_requests_are_refused() {
    let options = "[push]\nregistrations_max = 1\nservices = ['montague.example']";
    let mut street = Street::new(options).await;
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    assert_eq!(ask(&mut phone, "<enable xmlns='urn:xmpp:push:0'/>").await, "bad-request Modify");
    assert_eq!(enable(&mut phone, "a@b@c", None, "").await, "jid-malformed Modify");
    assert_eq!(enable(&mut phone, "push.example", None, "").await, "not-allowed Cancel");
    let other = OPTIONS.replace("publish-options", "other");
    assert_eq!(enable(&mut phone, SERVICE, None, &other).await, "bad-request Modify");
    assert_eq!(enable(&mut phone, SERVICE, Some("a"), "").await, "");
    assert_eq!(enable(&mut phone, SERVICE, Some("a"), "").await, "", "that is no further one");
    assert_eq!(enable(&mut phone, SERVICE, Some("b"), "").await, "resource-constraint Wait");
    street
        .romeo
        .send(&format!(
            "<iq type='set' id='ask' to='{JULIET}'>\
             <enable xmlns='urn:xmpp:push:0' jid='{SERVICE}'/></iq>"
        ))
        .await;
    let error = street.romeo.receive().unwrap().error().unwrap();
    assert_eq!(error.condition.name(), "forbidden");
}

#[tokio::test(start_paused = true)]
async fn s6_services_are_disabled_one_by_one_or_all_at_once() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    for node in [Some("a"), Some("b"), None] {
        enable(&mut phone, SERVICE, node, "").await;
    }
    assert_eq!(disable(&mut phone, SERVICE, Some("a")).await, "");
    assert_eq!(disable(&mut phone, SERVICE, Some("unknown")).await, "");
    assert_eq!(disable(&mut phone, "unknown.example", None).await, "");
    phone.cut().await;
    street.says("<body>x</body>").await;
    let mut nodes = Vec::new();
    while let Some(told) = street.accepts().await {
        nodes.push(told.node.unwrap_or_default());
    }
    nodes.sort();
    assert_eq!(nodes, ["", "b", "n"]);
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    assert_eq!(disable(&mut phone, SERVICE, None).await, "");
    phone.cut().await;
    for _ in 0..10 {
        street.says("<body>x</body>").await;
    }
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn s8_a_service_closes_a_node() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    let close = |node: &str, whose: &str| {
        format!(
            "<message to='{JULIET}'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='{node}'>\
             <affiliation jid='{whose}' affiliation='none'/></pubsub></message>"
        )
    };
    // Not its node, not her account, not that service.
    street.service.send(&close("other", JULIET)).await;
    street.service.send(&close("n", ROMEO)).await;
    street.romeo.send(&close("n", JULIET)).await;
    street.service.receive_all();
    street.says("<body>x</body>").await;
    assert!(street.accepts().await.is_some());
    street.service.send(&close("n", JULIET)).await;
    street.service.receive_all();
    street.says("<body>x</body>").await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn registrations_outlive_the_server() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    enable(&mut phone, SERVICE, Some("n"), &OPTIONS.replace("SECRET", "s")).await;
    phone.cut().await;
    street.restart().await;
    street.says("<body>x</body>").await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.node.as_deref(), told.secret.as_deref()), (Some("n"), Some("s")));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_access_is_taken_back_is_told_nothing_any_more() {
    let mut street = Street::new("").await;
    let mut phone = street.world.sign_in(JULIET, "d4565fa7-4d72-4749-b3d3-740edbf87770", &[]).await;
    assert_eq!(enable(&mut phone, SERVICE, Some("phone"), "").await, "");
    let key = phone.session().resource.client.clone().unwrap();
    let mut laptop = street.world.connect("juliet@capulet.example/laptop").await;
    assert_eq!(enable(&mut laptop, SERVICE, Some("laptop"), "").await, "");
    laptop.cut().await;
    let owner = stentor_jid::BareJid::new(JULIET).unwrap();
    street.world.engine.revoke_client(&owner, &key, |_| ()).await.unwrap().unwrap();
    phone.cut().await;
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().node.as_deref(), Some("laptop"));
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn devices_are_counted_as_they_come_and_go_and_after_a_restart() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    let registered = |street: &Street| street.world.engine.metrics.pushes_registered.get();
    enable(&mut phone, SERVICE, Some("n"), "").await;
    enable(&mut phone, SERVICE, Some("o"), "").await;
    assert_eq!(registered(&street), 2, "one of them for the second time");
    disable(&mut phone, SERVICE, Some("n")).await;
    assert_eq!(registered(&street), 1);
    street.restart().await;
    street.do_chores().await;
    assert_eq!(registered(&street), 1);
}
