//! Too much to tell: what becomes one, what waits, and what goes on.

use stentor_payload::xep0352_csi::ClientState;

use super::telling::wish;
use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_answered_slowly_is_told_as_one() {
    let mut street = Street::new("").await;
    street.phone_away().await;
    street.says("<body>1</body>").await;
    let first = street.told().await.unwrap();
    for _ in 0..29 {
        street.says("<body>x</body>").await;
    }
    assert_eq!(street.told().await, None);
    street.answers(&first.id, "type='result'", "").await;
    assert_eq!(street.accepts().await.unwrap().count, "30");
    assert_eq!(street.told().await, None);
    assert_eq!(street.world.engine.metrics.pushes_folded.get(), 28);
}

#[tokio::test(start_paused = true)]
async fn a_flood_becomes_one_notification_with_the_right_count() {
    let mut street = Street::new("[push]\nper_minute = 20").await;
    street.phone_away().await;
    let mut told = 0;
    for n in 0..500 {
        street.says("<body>x</body>").await;
        told += usize::from(street.accepts().await.is_some());
        if n % 50 == 0 {
            street.wait(1).await;
        }
    }
    assert_eq!(told, 20);
    // Another account is told meanwhile.
    let nurse = "nurse@capulet.example";
    street.world.add_account(nurse).await;
    let mut phone = street.world.connect(&format!("{nurse}/phone")).await;
    enable(&mut phone, SERVICE, Some("nurse"), "").await;
    phone.cut().await;
    street.romeo.send(&message("<body>x</body>").replace(JULIET, nurse)).await;
    assert_eq!(street.accepts().await.unwrap().node.as_deref(), Some("nurse"));
    // So is a call.
    street.says("<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>").await;
    assert_eq!(street.accepts().await.unwrap().count, "500");
    street.says("<body>x</body>").await;
    assert_eq!(street.told().await, None);
    street.wait(61).await;
    assert_eq!(street.accepts().await.unwrap().count, "501");
    street.says("<body>x</body>").await;
    assert_eq!(street.accepts().await.unwrap().count, "502");
}

#[tokio::test(start_paused = true)]
async fn mentions_and_calls_pass_a_flood_and_are_not_without_end_either() {
    let mut street = Street::new("[push]\nper_minute = 3").await;
    let mut phone = street.phone().await;
    phone.indicate(ClientState::Inactive);
    ask(&mut phone, &wish("<on-mention/>")).await;
    // A flood of somebody else's.
    let mut nurse = street.world.connect("push@montague.example/nurse").await;
    let mut told = 0;
    for _ in 0..10 {
        nurse.send(&message("<body>x</body>")).await;
        told += usize::from(street.accepts().await.is_some());
    }
    assert_eq!(told, 3);
    let mut mentions = 0;
    for n in 0..10 {
        street.says("<body>Juliet!</body>").await;
        if let Some(told) = street.accepts().await {
            assert_eq!(told.header("Keywords"), "mention");
            assert_eq!(told.count, (11 + n).to_string());
            mentions += 1;
        }
    }
    assert_eq!(mentions, 3, "whoever knows her name cannot wake her at will");
    assert!(street.world.engine.metrics.pushes_held.get() >= 2);
    street.wait(61).await;
    assert_eq!(street.accepts().await.unwrap().count, "20");
}

#[tokio::test(start_paused = true)]
async fn under_load_what_may_wait_waits_and_nothing_is_lost() {
    let mut street = Street::new("[push]\nunder_way_max = 2").await;
    let mut phone = street.phone().await;
    for node in ["o", "p", "q"] {
        enable(&mut phone, SERVICE, Some(node), "").await;
    }
    phone.cut().await;
    // Another service, which is not concerned.
    let mut other = street.world.connect("push@montague.example/other").await;
    let mut phone = street.world.connect("juliet@capulet.example/phone").await;
    enable(&mut phone, "push@montague.example/other", None, "").await;
    phone.cut().await;
    let throttled = |street: &Street| street.world.engine.metrics.pushes_throttled.get();
    street.romeo.send(&format!("<presence type='subscribe' to='{JULIET}'/>")).await;
    let slow = [street.told().await.unwrap(), street.told().await.unwrap()];
    assert!(slow.iter().all(|told| told.header("Urgency") == "medium"));
    assert_eq!(street.told().await, None, "so much is on its way to the service");
    assert_eq!(throttled(&street), 2);
    assert!(other.receive().is_some());
    // Somebody writes: that has places of its own.
    street.says("<body>x</body>").await;
    let urgent = [street.told().await.unwrap(), street.told().await.unwrap()];
    assert!(urgent.iter().all(|told| told.header("Urgency") == "high"));
    assert_eq!((street.told().await, throttled(&street)), (None, 0));
    for told in slow.iter().chain(&urgent) {
        street.answers(&told.id, "type='result'", "").await;
    }
    // And those that were told of a request only are told of the message.
    let rest = [street.accepts().await.unwrap(), street.accepts().await.unwrap()];
    assert!(rest.iter().all(|told| told.count == "1"), "{rest:?}");
    assert_eq!(street.told().await, None);
    assert_eq!(street.world.engine.metrics.pushes_waiting.get(), 1, "the other service is silent");
}

#[tokio::test(start_paused = true)]
async fn while_the_server_has_too_much_to_do_what_may_wait_waits() {
    let mut street = Street::new("[push]\nlate_ms_max = 100").await;
    street.phone_away().await;
    for who in ["nurse", "tybalt"] {
        street.world.add_account(&format!("{who}@capulet.example")).await;
    }
    let request = format!("<presence type='subscribe' to='{JULIET}'/>");
    let states = |street: &Street| {
        let metrics = &street.world.engine.metrics;
        [metrics.pushes_pressed.get(), metrics.pushes_throttled.get()]
    };
    street.romeo.send(&request).await;
    let first = street.told().await.unwrap();
    // Its own timers wake a second late, again and again.
    street.lag().await;
    assert_eq!(states(&street), [0, 0], "once is chance");
    street.lag().await;
    assert_eq!(states(&street), [1, 0]);
    street.answers(&first.id, "type='result'", "").await;
    let mut nurse = street.world.connect("nurse@capulet.example/hall").await;
    nurse.send(&request).await;
    assert_eq!(street.told().await, None);
    street.lag().await;
    assert_eq!((street.told().await, states(&street)), (None, [1, 1]));
    assert!(street.world.engine.metrics.pushes_oldest_secs.get() >= 1);
    // What waited is told as soon as it has less to do.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waited = street.told().await.unwrap();
    assert_eq!((waited.header("Urgency"), states(&street)), ("medium", [0, 0]));
    // Somebody writes: for that it is never too busy.
    street.lag().await;
    street.lag().await;
    street.answers(&waited.id, "type='result'", "").await;
    let mut tybalt = street.world.connect("tybalt@capulet.example/hall").await;
    tybalt.send(&request).await;
    assert_eq!((street.told().await, states(&street)), (None, [1, 1]));
    street.says("<body>x</body>").await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.header("Urgency"), told.requests.as_deref()), ("high", Some("3")));
    assert_eq!(states(&street)[1], 0);
    street.wait(1).await;
    assert_eq!(street.world.engine.metrics.pushes_oldest_secs.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_changes_holds_for_what_waits() {
    let mut street = Street::new("[push]\nwith_body = true\nper_minute = 1").await;
    street.phone_away().await;
    street.says("<body>1</body>").await;
    assert_eq!(street.accepts().await.unwrap().body.as_deref(), Some("1"));
    street.says("<body>2</body>").await;
    assert_eq!(street.told().await, None);
    street.world.reload("[push]\nstand_in = 'x'");
    street.do_chores().await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.body.as_deref(), told.count.as_str()), (Some("x"), "2"));
    // A service that is not allowed any more is told nothing, and her other clients learn of it.
    let mut laptop = street.world.connect("juliet@capulet.example/laptop").await;
    laptop.send("<presence/>").await;
    laptop.indicate(ClientState::Inactive);
    laptop.receive_all();
    street.world.reload("[push]\nservices = ['push.example']");
    street.says("<body>3</body>").await;
    assert_eq!(street.told().await, None);
    let notice = laptop.find(|s| s.message_type() == Some(stentor_stanza::MessageType::Headline));
    assert!(String::from_utf8(notice.unwrap().to_bytes()).unwrap().contains("not-allowed"));
    assert_eq!(enable(&mut laptop, SERVICE, None, "").await, "not-allowed Cancel");
    assert_eq!(street.world.engine.metrics.pushes_removed.get(), 1);
}
