//! Clients that send faster than they may, in virtual time (XEP-0205 §4.7).

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use stentor_edge::Rates;
use stentor_engine::{Settings, pace::Rate};
use stentor_jid::BareJid;
use stentor_testkit::{Wire, World};
use support::piped::Piped;
use tokio::time::{Instant, sleep};

const NO_LIMITS: Rates = Rates {
    stanzas: Rate::new(0, 0),
    bytes: Rate::new(0, 0),
    account_stanzas: Rate::new(0, 0),
    account_bytes: Rate::new(0, 0),
    administrator_stanzas: Rate::new(0, 0),
    administrator_bytes: Rate::new(0, 0),
};

fn ask(wire: &mut Wire, ids: std::ops::Range<u32>) {
    let pings: String = ids
        .map(|id| format!("<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>"))
        .collect();
    wire.write(&pings).unwrap();
}

/// When each answer comes, in milliseconds; all come, in order.
async fn answers(wire: &mut Wire, ids: std::ops::Range<u32>) -> Vec<u128> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for id in ids {
        let answer = wire.frame().await.unwrap();
        assert_eq!(answer.root().attr("id").as_deref(), Some(&*id.to_string()));
        times.push(begun.elapsed().as_millis());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn who_is_too_fast_is_slowed_smoothly_and_nobody_else_is() {
    let slow = Piped::with(Rates { stanzas: Rate::new(10, 1), ..NO_LIMITS }).await;
    let (mut juliet, mut romeo) = (slow.juliet().await, slow.romeo().await);
    ask(&mut juliet, 0..40);
    let of_romeo = async {
        sleep(Duration::from_millis(1_050)).await;
        ask(&mut romeo, 0..5);
        answers(&mut romeo, 0..5).await
    };
    let (times, of_romeo) = tokio::join!(answers(&mut juliet, 0..40), of_romeo);
    assert!(times[9] < 20, "a burst passes: {times:?}");
    assert!((2_850..3_150).contains(&times[39]), "then the rate: {times:?}");
    let steps = times[11..].windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.clone().all(|step| (80..=120).contains(&step)), "smoothly: {times:?}");
    assert!(of_romeo[4] < 20, "another waits for nothing: {of_romeo:?}");
    assert!(slow.paused() > 0);
    // Who has been quiet is as quick as ever, on the same stream.
    sleep(Duration::from_secs(5)).await;
    ask(&mut juliet, 40..50);
    assert!(answers(&mut juliet, 40..50).await[9] < 20);
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_one_account_share_its_rate() {
    let slow = Piped::with(Rates { account_stanzas: Rate::new(10, 1), ..NO_LIMITS }).await;
    let (mut phone, mut laptop) = (slow.juliet().await, slow.juliet().await);
    let mut romeo = slow.romeo().await;
    ask(&mut phone, 0..20);
    ask(&mut laptop, 0..20);
    ask(&mut romeo, 0..10);
    let (phone, laptop, romeo) = tokio::join!(
        answers(&mut phone, 0..20),
        answers(&mut laptop, 0..20),
        answers(&mut romeo, 0..10)
    );
    let last = phone[19].max(laptop[19]);
    assert!((2_700..3_300).contains(&last), "{phone:?} {laptop:?}");
    assert!(phone[19].min(laptop[19]) > 1_000, "neither goes first: {phone:?} {laptop:?}");
    assert!(romeo[9] < 20, "{romeo:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_whatever_they_are() {
    let slow = Piped::with(Rates { bytes: Rate::new(10_000, 1), ..NO_LIMITS }).await;
    let mut juliet = slow.juliet().await;
    // Space between stanzas is no stanza, and costs as much.
    juliet.write(&" ".repeat(60_000)).unwrap();
    ask(&mut juliet, 0..1);
    let at = answers(&mut juliet, 0..1).await[0];
    // The last that is read before the answer is waited for after it.
    assert!((3_000..5_500).contains(&at), "{at}");
    assert!(slow.paused() > 0);
}

#[tokio::test(start_paused = true)]
async fn without_limits_nobody_waits() {
    let slow = Piped::with(NO_LIMITS).await;
    let mut juliet = slow.juliet().await;
    ask(&mut juliet, 0..2_000);
    assert_eq!(answers(&mut juliet, 0..2_000).await[1_999], 0);
    assert_eq!(slow.paused(), 0);
}

/// Messages with these ids, to one who is not there.
fn write_many(wire: &mut Wire, to: &str, ids: std::ops::Range<u32>) {
    let messages: String = ids
        .map(|id| format!("<message to='{to}' type='chat' id='{id}'><body>{id}</body></message>"))
        .collect();
    wire.write(&messages).unwrap();
}

/// The messages up to the answer to a ping, by their ids and errors; and how long that took.
async fn messages_until_ping(wire: &mut Wire) -> (Vec<(u32, String)>, Duration) {
    let begun = Instant::now();
    wire.write("<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>").unwrap();
    let mut heard = Vec::new();
    loop {
        let frame = wire.frame().await.unwrap();
        let id = frame.root().attr("id").unwrap_or_default().into_owned();
        match frame.root().name() {
            "message" => {
                let error = frame.root().children().find(|child| child.name() == "error");
                let told = error.map(|error| {
                    let condition = error.children().next().unwrap().name().to_owned();
                    format!("{} {condition}", error.attr("type").unwrap())
                });
                heard.push((id.parse().unwrap(), told.unwrap_or_default()));
            }
            "iq" if id == "ping" => return (heard, begun.elapsed()),
            _ => {}
        }
    }
}

// covers: off-33
#[tokio::test(start_paused = true)]
async fn a_flood_is_slowed_then_refused_one_by_one_and_what_passed_is_stored_in_order() {
    let options = "[floods]\nmessages_per_minute = 1000\n\
                   administrator_messages_per_minute = 2500\n\
                   [contact]\nadmin = ['xmpp:nurse@capulet.example']\n";
    let rates = Rates {
        stanzas: Rate::new(100, 1),
        administrator_stanzas: Rate::new(1_000, 1),
        ..NO_LIMITS
    };
    let world = World::with(Settings::default(), options);
    for name in ["nurse@capulet.example", "paris@montague.example"] {
        let jid = BareJid::new(name).unwrap();
        world.engine.create_account(&jid, "secret".to_owned()).await.unwrap();
    }
    let piped = Piped::over(world, rates).await;
    let mut romeo = piped.romeo().await;
    let mut paris = piped.connect("paris", "montague.example").await;
    let mut nurse = piped.connect("nurse", "capulet.example").await;

    // A thousand at once, and fifty that are beyond the limit of a minute.
    write_many(&mut romeo, "juliet@capulet.example", 0..1_050);
    let of_paris = async {
        // Honest, at ten a second: nothing is slowed, refused or ended.
        let mut most = Duration::ZERO;
        for n in 0..600 {
            write_many(&mut paris, "romeo@montague.example", n..n + 1);
            let (errors, length) = messages_until_ping(&mut paris).await;
            assert!(errors.is_empty(), "{errors:?}");
            most = most.max(length);
            sleep(Duration::from_millis(100)).await;
        }
        most
    };
    let ((refused, length), most) = tokio::join!(messages_until_ping(&mut romeo), of_paris);
    let expected: Vec<_> = (1_000..1_050).map(|id| (id, "wait policy-violation".into())).collect();
    assert_eq!(refused, expected);
    assert!((9_000..11_000).contains(&length.as_millis()), "a hundred a second: {length:?}");
    assert!(most < Duration::from_millis(20), "{most:?}");

    // An administrator has a rate and a limit of her own.
    write_many(&mut nurse, "romeo@montague.example", 0..2_501);
    let (refused, length) = messages_until_ping(&mut nurse).await;
    assert_eq!(refused, [(2_500, "wait policy-violation".into())]);
    assert!((1_400..2_000).contains(&length.as_millis()), "a thousand a second: {length:?}");
    assert_eq!(piped.listener.shared.engine.metrics.floods_refused.get(), 51);

    let mut juliet = piped.juliet().await;
    juliet.write("<presence/>").unwrap();
    let (stored, _) = messages_until_ping(&mut juliet).await;
    assert_eq!(stored, (0..1_000).map(|id| (id, String::new())).collect::<Vec<_>>());
}
