//! Contacts who come while their user is away (XEP-0492 §2.3).

use std::sync::Arc;

use stentor_engine::{Handling, Inbound};
use stentor_payload::xep0352_csi::ClientState;

use super::telling::{wish, wish_of};
use super::wire::Wire;
use super::*;

const AWAITS: &str = "<always><advanced>\
    <online xmlns='https://stentor.im/protocol/notify'/></advanced></always>";

/// Juliet sees Romeo's presence, and has gone; Romeo has never been there.
async fn parted(options: &str, setting: &str) -> Street {
    let mut street = Street::new(options).await;
    let mut phone = street.phone().await;
    befriend(&mut street, &mut phone).await;
    assert_eq!(ask(&mut phone, &wish(setting)).await, "");
    phone.cut().await;
    street
}

async fn befriend(street: &mut Street, phone: &mut Client) {
    phone.send(&format!("<presence type='subscribe' to='{ROMEO}'/>")).await;
    street.romeo.send(&format!("<presence type='subscribed' to='{JULIET}'/>")).await;
    settle().await;
    phone.receive_all();
}

async fn comes(street: &Street) -> Client {
    comes_with(street, "<presence/>").await
}

async fn comes_with(street: &Street, presence: &str) -> Client {
    let mut romeo = street.world.connect("romeo@montague.example/garden").await;
    romeo.send(presence).await;
    settle().await;
    romeo
}

// covers: push-06
#[tokio::test(start_paused = true)]
async fn a_contact_who_comes_is_told_once_where_that_is_wished() {
    let mut street = parted("[push]\nwith_sender = true", AWAITS).await;
    let romeo = comes(&street).await;
    let told = street.accepts().await.unwrap();
    assert_eq!(told.body.as_deref(), Some("romeo@montague.example is online"));
    assert_eq!(told.sender.as_deref(), Some(ROMEO));
    assert_eq!((told.header("Keywords"), told.header("Urgency")), ("online", "low"));
    assert_eq!(told.count, "0");
    // Neither changes nor a second resource, nor who comes back soon.
    let mut romeo = romeo;
    for change in ["<show>away</show>", "<show>dnd</show>", ""] {
        romeo.send(&format!("<presence>{change}</presence>")).await;
    }
    let mut other = street.world.connect("romeo@montague.example/other").await;
    other.send("<presence/>").await;
    assert_eq!(street.told().await, None);
    romeo.cut().await;
    let romeo = comes(&street).await;
    assert_eq!(street.told().await, None, "the other was there");
    romeo.cut().await;
    other.send("<presence type='unavailable'/>").await;
    street.wait(299).await;
    let romeo = comes(&street).await;
    assert_eq!(street.told().await, None, "five minutes are not over");
    romeo.cut().await;
    street.wait(300).await;
    let _romeo = comes(&street).await;
    assert!(street.accepts().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn it_is_off_unless_it_was_switched_on() {
    for setting in ["<always/>", "", "<never/>"] {
        let mut street = parted("", setting).await;
        comes(&street).await;
        assert_eq!(street.told().await, None, "{setting}");
    }
    // And when it was switched off again.
    let mut street = parted("", AWAITS).await;
    let mut phone = street.phone().await;
    ask(&mut phone, &wish("<always/>")).await;
    phone.cut().await;
    comes(&street).await;
    assert_eq!(street.told().await, None);
}

#[tokio::test(start_paused = true)]
async fn by_default_it_is_not_told_who_comes() {
    let mut street = parted("", AWAITS).await;
    comes(&street).await;
    let told = street.accepts().await.unwrap();
    assert_eq!((told.sender, told.body.as_deref()), (None, Some("A contact is online")));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_whose_client_is_active() {
    let mut street = parted("", AWAITS).await;
    let phone = street.phone().await;
    comes(&street).await.cut().await;
    assert_eq!(street.told().await, None);
    phone.indicate(ClientState::Inactive);
    street.wait(300).await;
    comes(&street).await;
    assert!(street.accepts().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_presence_is_told_nothing() {
    // No subscription, one that was taken back, and a contact who is blocked.
    for parting in ["none", "unsubscribed", "block"] {
        let mut street = Street::new("").await;
        let mut phone = street.phone().await;
        ask(&mut phone, &wish(AWAITS)).await;
        if parting != "none" {
            befriend(&mut street, &mut phone).await;
        }
        match parting {
            "unsubscribed" => {
                street.romeo.send(&format!("<presence type='unsubscribed' to='{JULIET}'/>")).await;
            }
            "block" => {
                let block = "<block xmlns='urn:xmpp:blocking'><item jid='ROMEO'/></block>";
                assert_eq!(ask(&mut phone, &block.replace("ROMEO", ROMEO)).await, "");
            }
            _ => {}
        }
        phone.cut().await;
        comes(&street).await;
        assert_eq!(street.told().await, None, "{parting}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_holds_after_a_restart_and_who_comes_back_then_is_not_told() {
    let mut street = parted("", AWAITS).await;
    comes(&street).await.cut().await;
    assert!(street.accepts().await.is_some());
    street.wait(3_600).await;
    street.restart().await;
    street.do_chores().await;
    street.wait(60).await;
    comes(&street).await.cut().await;
    assert_eq!(street.told().await, None, "he may have been there until it was killed");
    street.wait(300).await;
    comes(&street).await;
    assert!(street.accepts().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn contacts_of_other_servers_are_told_alike() {
    let mut street = Street::new("").await;
    let links = Arc::new(Wire::default());
    street.world.engine.connect_links(links.clone());
    let inbound = Arc::new(Inbound::new(street.world.engine.clone()));
    let from_far = async |attrs: &str| {
        let xml = format!("<presence to='{JULIET}' {attrs}/>");
        if let Handling::Later(rest) = inbound.handle(Stanza::parse(xml.as_bytes()).unwrap()) {
            rest.await;
        }
        settle().await;
    };
    let mut phone = street.phone().await;
    phone.send("<presence type='subscribe' to='tybalt@far.example'/>").await;
    from_far("type='subscribed' from='tybalt@far.example'").await;
    links.0.lock().clear();
    ask(&mut phone, &wish_of("tybalt@far.example", AWAITS)).await;
    let probe = links.0.lock().pop().unwrap();
    let head = String::from_utf8(probe.to_bytes()).unwrap();
    assert!(head.contains("type='probe'") && head.contains("to='tybalt@far.example'"), "{head}");
    phone.cut().await;
    // He is there, and answers.
    from_far("from='tybalt@far.example/a'").await;
    street.wait(600).await;
    from_far("from='tybalt@far.example/a'").await;
    from_far("from='tybalt@far.example/b'").await;
    from_far("from='stranger@far.example/b'").await;
    assert_eq!(street.told().await, None);
    from_far("type='unavailable' from='tybalt@far.example/a'").await;
    from_far("type='unavailable' from='tybalt@far.example/b'").await;
    street.wait(299).await;
    from_far("from='tybalt@far.example/a'").await;
    assert_eq!(street.told().await, None);
    from_far("type='unavailable' from='tybalt@far.example/a'").await;
    street.wait(300).await;
    from_far("from='tybalt@far.example/a'").await;
    assert_eq!(street.accepts().await.unwrap().header("Keywords"), "online");
    assert_eq!(street.told().await, None);
}
