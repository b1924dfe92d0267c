//! §7.1: services that do not answer, that refuse, and that talk nonsense.

use std::sync::Arc;

use stentor_engine::{Handling, Inbound};
use stentor_stanza::MessageType;

use super::wire::Wire;
use super::*;

#[tokio::test(start_paused = true)]
async fn silence_is_tried_again_at_growing_times_and_then_left_alone() {
    let mut street = Street::new("[push]\ntries_max = 4\npause_secs = 3600").await;
    street.phone_away().await;
    street.says("<body>x</body>").await;
    assert!(street.told().await.is_some());
    // Thirty seconds for the answer, and then 5, 10, 20 seconds, half as much more or less.
    for usual in [5, 10, 20] {
        let mut secs = 0;
        while street.told().await.is_none() {
            street.wait(1).await;
            secs += 1;
        }
        assert!((30 + usual / 2..=31 + usual * 3 / 2).contains(&secs), "{secs} for {usual}");
    }
    for _ in 0..4 {
        street.wait(30).await;
    }
    assert_eq!(street.told().await, None);
    assert_eq!(street.world.engine.metrics.pushes_paused.get(), 1);
    street.says("<body>y</body>").await;
    street.do_chores().await;
    assert_eq!(street.told().await, None, "it is left alone");
    street.wait(3_450).await;
    assert_eq!(street.told().await, None, "and for as long as that");
    let told = street.told_later().await;
    assert_eq!(told.count, "2");
    street.answers(&told.id, "type='result'", "").await;
    street.wait(3_600).await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_until_it_is_taken() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>x</body>").await;
    for condition in ["internal-server-error", "resource-constraint", "remote-server-timeout"] {
        let told = street.told_later().await;
        street.refuses(&told.id, "wait", condition).await;
        assert_eq!(street.told().await, None, "not at once");
    }
    let told = street.told_later().await;
    assert_eq!(told.count, "1");
    street.answers(&told.id, "type='result'", "").await;
    street.wait(600).await;
    assert_eq!(street.told().await, None, "once");
    assert_eq!(street.world.engine.metrics.pushes_retried.get(), 3);
    assert_eq!(street.world.engine.metrics.pushes_sent.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_removes_the_registration_and_no_other() {
    for (kind, condition) in
        [("cancel", "item-not-found"), ("auth", "forbidden"), ("auth", "not-authorized")]
    {
        let mut street = Street::new("").await;
        let mut phone = street.phone().await;
        enable(&mut phone, SERVICE, Some("good"), "").await;
        phone.cut().await;
        street.says("<body>x</body>").await;
        let both = [street.told().await.unwrap(), street.told().await.unwrap()];
        for told in both {
            if told.node.as_deref() == Some("good") {
                street.answers(&told.id, "type='result'", "").await;
            } else {
                street.refuses(&told.id, kind, condition).await;
            }
        }
        street.says("<body>y</body>").await;
        let told = street.accepts().await.unwrap();
        assert_eq!((told.node.as_deref(), told.count.as_str()), (Some("good"), "2"));
        assert_eq!(street.told().await, None, "{condition}");
        assert_eq!(street.world.engine.metrics.pushes_removed.get(), 1);
        // It stays so.
        street.restart().await;
        street.says("<body>z</body>").await;
        assert_eq!(street.accepts().await.unwrap().node.as_deref(), Some("good"));
        assert_eq!(street.told().await, None, "{condition}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_there_learns_that_a_device_is_told_nothing_any_more() {
    for (tell_removed, is_told) in [(true, true), (false, false)] {
        let mut street = Street::new(&format!("[push]\ntell_removed = {tell_removed}")).await;
        street.phone_away().await;
        street.says("<body>x</body>").await;
        let told = street.told().await.unwrap();
        let mut laptop = street.world.connect("juliet@capulet.example/laptop").await;
        laptop.send("<presence/>").await;
        laptop.receive_all();
        street.refuses(&told.id, "cancel", "item-not-found").await;
        let notices: Vec<_> = laptop.receive_all();
        assert_eq!(notices.len(), usize::from(is_told));
        for notice in notices {
            assert_eq!(notice.message_type(), Some(MessageType::Headline));
            assert_eq!(notice.head.from.as_ref().unwrap().as_str(), "capulet.example");
            let text = String::from_utf8(notice.to_bytes()).unwrap();
            assert!(text.contains("`phone`") && text.contains("item-not-found"), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_left_alone_for_everybody() {
    let mut street = Street::new("[push]\ntries_max = 2\npause_secs = 600").await;
    street.phone_away().await;
    let nurse = "nurse@capulet.example";
    street.world.add_account(nurse).await;
    let mut other = street.world.connect(&format!("{nurse}/phone")).await;
    enable(&mut other, SERVICE, Some("nurse"), "").await;
    other.cut().await;
    street.says("<body>x</body>").await;
    for _ in 0..2 {
        assert_eq!(street.told_later().await.node.as_deref(), Some("n"));
    }
    street.wait(31).await;
    assert_eq!(street.world.engine.metrics.pushes_services_silent.get(), 1);
    street.romeo.send(&message("<body>y</body>").replace(JULIET, nurse)).await;
    assert_eq!(street.told().await, None, "her device did not have to find out");
    street.wait(500).await;
    assert_eq!(street.told().await, None);
    let mut nodes = vec![street.told_later().await, street.told().await.unwrap()];
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    assert_eq!(
        nodes.iter().map(|t| t.node.as_deref().unwrap()).collect::<Vec<_>>(),
        ["n", "nurse"]
    );
    for told in nodes {
        street.answers(&told.id, "type='result'", "").await;
    }
    assert_eq!(street.world.engine.metrics.pushes_waiting.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_alone_is_paused_alone() {
    let mut street = Street::new("[push]\ntries_max = 2").await;
    let mut phone = street.phone().await;
    enable(&mut phone, SERVICE, Some("good"), "").await;
    phone.cut().await;
    for _ in 0..4 {
        street.says("<body>x</body>").await;
        street.wait(20).await;
        while let Some(told) = street.told().await {
            if told.node.as_deref() == Some("good") {
                street.answers(&told.id, "type='result'", "").await;
            } else {
                street.refuses(&told.id, "wait", "internal-server-error").await;
            }
        }
    }
    assert_eq!(street.world.engine.metrics.pushes_paused.get(), 1);
    assert_eq!(street.world.engine.metrics.pushes_services_silent.get(), 0);
    assert_eq!(street.world.engine.metrics.pushes_sent.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_no_answer() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>x</body>").await;
    let told = street.told().await.unwrap();
    // An answer to nothing, one from somebody else, one to somebody else, a request of the same id.
    street.answers("unknown", "type='result'", "").await;
    let id = &told.id;
    street.romeo.send(&format!("<iq type='error' id='{id}' to='capulet.example'/>")).await;
    street.service.send(&format!("<iq type='error' id='{id}' to='montague.example'/>")).await;
    street.service.send(&format!("<message id='{id}' to='capulet.example'/>")).await;
    street
        .service
        .send(&format!("<iq type='get' id='{id}' to='capulet.example'><x xmlns='urn:x'/></iq>"))
        .await;
    settle().await;
    street.service.receive_all();
    assert_eq!(street.world.engine.metrics.pushes_sent.get(), 0);
    let again = street.told_later().await;
    assert_ne!(again.id, told.id);
    // An answer that is too late, and a result with something odd in it.
    street.answers(&told.id, "type='result'", "").await;
    assert_eq!(street.world.engine.metrics.pushes_sent.get(), 0);
    street.answers(&again.id, "type='result'", "<odd xmlns='urn:example:odd'/>").await;
    assert_eq!(street.world.engine.metrics.pushes_sent.get(), 1);
    street.says("<body>y</body>").await;
    // An error that says nothing is one that may pass.
    let told = street.told().await.unwrap();
    street.answers(&told.id, "type='error'", "").await;
    let again = street.told_later().await;
    street.answers(&again.id, "type='result'", "").await;
    assert_eq!(street.world.engine.metrics.pushes_sent.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_device_does_not_delay_another() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    for node in ["slow", "other"] {
        enable(&mut phone, SERVICE, Some(node), "").await;
    }
    phone.cut().await;
    for count in 1..=3 {
        street.says("<body>x</body>").await;
        let mut counts = Vec::new();
        while let Some(told) = street.told().await {
            if told.node.as_deref() != Some("slow") {
                street.answers(&told.id, "type='result'", "").await;
                counts.push(told.count);
            }
        }
        assert_eq!(counts, [count.to_string(), count.to_string()]);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_meanwhile_is_told_nothing_more() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>x</body>").await;
    let told = street.told().await.unwrap();
    let _phone = street.world.connect("juliet@capulet.example/phone").await;
    street.refuses(&told.id, "wait", "internal-server-error").await;
    street.wait(60).await;
    assert_eq!(street.told().await, None);
    assert_eq!(street.world.engine.metrics.pushes_waiting.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_server_had_not_told_is_told_once_when_it_starts() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>x</body>").await;
    // It is killed with the notification on its way.
    assert!(street.told().await.is_some());
    street.restart().await;
    street.do_chores().await;
    assert_eq!(street.accepts().await.unwrap().count, "1");
    assert_eq!(street.told().await, None);
    street.restart().await;
    street.do_chores().await;
    assert_eq!(street.told().await, None);
    street.says("<body>y</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "2", "and nothing is forgotten");
    // Four weeks later nobody wants to hear of it.
    street.says("<body>z</body>").await;
    street.restart().await;
    street.world.advance(29 * 86_400);
    street.do_chores().await;
    assert_eq!(street.told().await, None);
    assert_eq!(street.world.engine.metrics.pushes_expired.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_had_time_to_acknowledge_is_told_if_the_server_is_killed_meanwhile() {
    let mut street = Street::new("").await;
    let phone = street.phone().await;
    phone.session().enable_sm(true, None).await.unwrap();
    street.says("<body>x</body>").await;
    street.says("<body>y</body>").await;
    assert_eq!(street.told().await, None, "the phone may have it");
    street.restart().await;
    street.do_chores().await;
    assert!(street.accepts().await.is_some());
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_in_time_leaves_nothing_to_tell() {
    let mut street = Street::new("").await;
    let mut phone = street.phone().await;
    phone.session().enable_sm(true, None).await.unwrap();
    street.says("<body>x</body>").await;
    phone.receive_all();
    let sent = phone.session().resource.outbox.queued().unwrap();
    phone.session().acknowledge(u32::try_from(sent).unwrap()).unwrap();
    street.wait(6).await;
    street.restart().await;
    street.do_chores().await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_another_domain_is_told_over_the_link_and_answers_over_its_own() {
    let mut street = Street::new("").await;
    let links = Arc::new(Wire::default());
    street.world.engine.connect_links(links.clone());
    let inbound = Arc::new(Inbound::new(street.world.engine.clone()));
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    assert_eq!(enable(&mut phone, "push.far.example", Some("n"), "").await, "");
    phone.cut().await;
    for (count, answer) in [("1", "result"), ("2", "error")] {
        street.says("<body>x</body>").await;
        let publish = links.0.lock().pop().unwrap();
        let told = told(&publish);
        assert_eq!((told.count.as_str(), told.node.as_deref()), (count, Some("n")));
        let inside = "<error type='cancel'>\
                      <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        let inside = if answer == "error" { inside } else { "" };
        let xml = format!(
            "<iq type='{answer}' id='{}' from='push.far.example' to='capulet.example'>{inside}</iq>",
            told.id
        );
        assert!(matches!(inbound.handle(Stanza::parse(xml.as_bytes()).unwrap()), Handling::Done));
        settle().await;
    }
    street.says("<body>x</body>").await;
    assert_eq!(links.0.lock().len(), 0);
    assert_eq!(street.world.engine.metrics.pushes_removed.get(), 1);
}
