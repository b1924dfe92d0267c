//! XEP-0356: what a component may do for the accounts of a domain.

#![allow(clippy::unwrap_used)]

#[path = "support/component.rs"]
mod component;

use component::{NS_PUBSUB, PUBSUB, Stage, has, next};
use stentor_engine::{Access, PresenceAccess, Privileges};

fn all() -> Privileges {
    Privileges {
        roster: Access::Both,
        roster_push: true,
        messages: true,
        iq: vec![(NS_PUBSUB.into(), Access::Set)],
        presence: PresenceAccess::Roster,
    }
}

#[tokio::test]
async fn a_privileged_entity_is_told_of_its_permissions() {
    let stage = Stage::new(all(), &[]).await;
    let told = stage.attach();
    let expected = "<privilege xmlns='urn:xmpp:privilege:2'>\
                    <perm access='roster' type='both' push='true'/>\
                    <perm access='message' type='outgoing'/>\
                    <perm access='iq'><namespace ns='http://jabber.org/protocol/pubsub' \
                    type='set'/></perm><perm access='presence' type='roster'/></privilege>";
    has(&told[0], &["from='capulet.example'", "to='pubsub.capulet.example'", expected]);
    assert_eq!(told.len(), 1, "montague.example is not its domain");
    assert!(Stage::new(Privileges::default(), &[]).await.attach().is_empty());
}

#[tokio::test]
async fn rosters_are_read_and_changed_as_far_as_granted() {
    let get = |id: &str| {
        format!(
            "<iq from='{PUBSUB}' to='juliet@capulet.example' type='get' id='{id}'>\
                 <query xmlns='jabber:iq:roster'/></iq>"
        )
    };
    let set = |id: &str| {
        format!(
            "<iq from='{PUBSUB}' to='juliet@capulet.example' type='set' id='{id}'>\
                 <query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example' name='Nurse'>\
                 <group>Servants</group></item></query></iq>"
        )
    };
    for (access, may_get, may_set) in [
        (Access::None, false, false),
        (Access::Get, true, false),
        (Access::Set, false, true),
        (Access::Both, true, true),
    ] {
        let stage = Stage::new(Privileges { roster: access, ..Privileges::default() }, &[]).await;
        let mut juliet = stage.client("juliet@capulet.example/balcony").await;
        for (xml, may) in [(set("s"), may_set), (get("g"), may_get)] {
            stage.comes(&xml).await;
            let reply = stage.leaves().await;
            let is_refused = reply.contains("<forbidden ");
            assert_eq!(is_refused, !may, "{access:?}: {reply}");
            assert_eq!(reply.contains("type='result'"), may, "{access:?}: {reply}");
            if may_set && may_get && xml.contains("id='g'") {
                has(&reply, &["from='juliet@capulet.example'", "name='Nurse'", "Servants"]);
            }
        }
        assert_eq!(juliet.receive().is_some(), may_set, "she gets the push");
    }
    // Others of the component's domain, and the accounts of other domains, are out of its reach.
    let stage = Stage::new(all(), &[]).await;
    stage.comes(&get("1").replace(PUBSUB, "user@pubsub.capulet.example")).await;
    has(&stage.leaves().await, &["<forbidden "]);
    stage.comes(&get("2").replace("juliet@capulet", "romeo@montague")).await;
    has(&stage.leaves().await, &["<forbidden "]);
}

#[tokio::test]
async fn roster_pushes_come_from_the_managed_entity_if_they_are_wanted() {
    for (wants, access, expected) in
        [(true, Access::Get, true), (false, Access::Get, false), (true, Access::Set, false)]
    {
        let privileges = Privileges { roster: access, roster_push: wants, ..Privileges::default() };
        let stage = Stage::new(privileges, &[]).await;
        let mut juliet = stage.client("juliet@capulet.example/balcony").await;
        juliet
            .send(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
                   <item jid='nurse@capulet.example'/></query></iq>",
            )
            .await;
        let push = stage.take();
        assert_eq!(push.is_some(), expected, "{access:?} {push:?}");
        if let Some(push) = push {
            has(
                &push,
                &[
                    "from='juliet@capulet.example'",
                    "to='pubsub.capulet.example'",
                    "type='set'",
                    "jabber:iq:roster",
                    "nurse@capulet.example",
                ],
            );
        }
    }
}

fn privileged_message(from: &str, to: &str) -> String {
    format!(
        "<message from='{PUBSUB}' to='capulet.example' id='n1'>\
         <privilege xmlns='urn:xmpp:privilege:2'><forwarded xmlns='urn:xmpp:forward:0'>\
         <message xmlns='jabber:client' {from} to='{to}' id='foo'><body>tune</body></message>\
         </forwarded></privilege></message>"
    )
}

#[tokio::test]
async fn messages_are_sent_in_the_name_of_accounts_and_of_the_server() {
    let stage = Stage::new(all(), &[]).await;
    let mut romeo = stage.client("romeo@montague.example/orchard").await;
    for from in ["juliet@capulet.example", "capulet.example"] {
        let from_attr = format!("from='{from}'");
        stage.comes(&privileged_message(&from_attr, "romeo@montague.example/orchard")).await;
        has(&next(&mut romeo).await, &[&from_attr, "id='foo'", "<body>tune</body>"]);
    }
    stage.comes(&privileged_message("from='juliet@capulet.example'", "x@far.example")).await;
    has(&stage.leaves().await, &["from='juliet@capulet.example'", "to='x@far.example'"]);
    for from in [
        "from='juliet@capulet.example/balcony'",
        "from='romeo@montague.example'",
        "from='montague.example'",
        "from='nobody@capulet.example'",
        "",
    ] {
        stage.comes(&privileged_message(from, "romeo@montague.example/orchard")).await;
        has(&stage.leaves().await, &["type='error'", "id='n1'", "<forbidden "]);
        assert!(romeo.receive().is_none(), "{from}");
    }
    let stage = Stage::new(Privileges { messages: false, ..all() }, &[]).await;
    stage.comes(&privileged_message("from='juliet@capulet.example'", "x@far.example")).await;
    has(&stage.leaves().await, &["to='pubsub.capulet.example'", "<forbidden "]);
}

fn privileged_iq(outer: &str, inner: &str) -> String {
    format!(
        "<iq from='{PUBSUB}' {outer} id='priv_iq_1'><privileged_iq xmlns='urn:xmpp:privilege:2'>\
         {inner}</privileged_iq></iq>"
    )
}

const SUBSCRIBE: &str = "<iq xmlns='jabber:client' type='set' to='romeo@far.example' id='sub_1'>\
                         <pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                         <subscribe node='n' jid='juliet@capulet.example'/></pubsub></iq>";

#[tokio::test]
async fn iqs_are_sent_for_an_account_and_their_answers_come_back_inside() {
    let stage = Stage::new(all(), &[]).await;
    stage.comes(&privileged_iq("to='juliet@capulet.example' type='set'", SUBSCRIBE)).await;
    let sent = stage.leaves().await;
    has(
        &sent,
        &["from='juliet@capulet.example'", "to='romeo@far.example'", "id='sub_1'", "<subscribe "],
    );
    stage
        .comes(
            "<iq type='result' from='romeo@far.example' to='juliet@capulet.example' id='sub_1'>\
                <pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq>",
        )
        .await;
    let reply = stage.leaves().await;
    has(
        &reply,
        &[
            "from='juliet@capulet.example'",
            "to='pubsub.capulet.example'",
            "id='priv_iq_1'",
            "type='result'",
            "<privilege xmlns='urn:xmpp:privilege:2'><forwarded xmlns='urn:xmpp:forward:0'>",
            "from='romeo@far.example'",
            "id='sub_1'",
        ],
    );
    // An error is an answer as well.
    stage.comes(&privileged_iq("to='juliet@capulet.example' type='set'", SUBSCRIBE)).await;
    stage.leaves().await;
    stage
        .comes(
            "<iq type='error' from='romeo@far.example' to='juliet@capulet.example' id='sub_1'>\
                <error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                </error></iq>",
        )
        .await;
    has(&stage.leaves().await, &["<iq type='result' id='priv_iq_1'", "<item-not-found "]);
}

#[tokio::test]
async fn an_iq_for_an_account_reaches_what_its_owner_would_reach() {
    let privileges = Privileges {
        iq: vec![("jabber:iq:private".into(), Access::Both)],
        ..Privileges::default()
    };
    let stage = Stage::new(privileges, &[]).await;
    let private = |kind: &str, content: &str| {
        let inner = format!(
            "<iq xmlns='jabber:client' type='{kind}' id='1'>\
                             <query xmlns='jabber:iq:private'>{content}</query></iq>"
        );
        privileged_iq(&format!("to='juliet@capulet.example' type='{kind}'"), &inner)
    };
    stage.comes(&private("get", "<x xmlns='urn:example:x'/>")).await;
    let reply = stage.leaves().await;
    has(&reply, &["<iq type='result' id='priv_iq_1'", "<iq xmlns='jabber:client' type='result'"]);
}

#[tokio::test]
async fn an_iq_that_breaks_a_rule_is_forbidden() {
    let stage = Stage::new(all(), &[]).await;
    let juliet = "to='juliet@capulet.example' type='set'";
    for (outer, inner) in [
        // §6.3, condition by condition.
        ("to='juliet@capulet.example/balcony' type='set'", SUBSCRIBE.to_owned()),
        ("to='nobody@capulet.example' type='set'", SUBSCRIBE.to_owned()),
        ("to='romeo@montague.example' type='set'", SUBSCRIBE.to_owned()),
        (juliet, SUBSCRIBE.replace("http://jabber.org/protocol/pubsub'>", "urn:example:other'>")),
        ("to='juliet@capulet.example' type='get'", SUBSCRIBE.replace("type='set'", "type='get'")),
        (juliet, SUBSCRIBE.replace("jabber:client", "urn:example:client")),
        (juliet, SUBSCRIBE.replace("to='", "from='nurse@capulet.example' to='")),
        ("to='juliet@capulet.example' type='get'", SUBSCRIBE.to_owned()),
        (juliet, String::new()),
    ] {
        stage.comes(&privileged_iq(outer, &inner)).await;
        let reply = stage.leaves().await;
        assert!(
            reply.contains("<forbidden ") || outer.contains("/balcony"),
            "{outer} {inner}: {reply}"
        );
        assert!(reply.contains("type='error'") && stage.take().is_none(), "{reply}");
    }
}

#[tokio::test]
async fn presence_of_managed_entities_is_shown_as_it_begins_and_ends() {
    let presence = PresenceAccess::ManagedEntity;
    let stage = Stage::new(Privileges { presence, ..Privileges::default() }, &[]).await;
    let mut juliet = stage.client("juliet@capulet.example/balcony").await;
    let shown = stage.leaves().await;
    has(&shown, &["from='juliet@capulet.example/balcony'", "to='pubsub.capulet.example'"]);
    juliet.send("<presence><show>away</show></presence>").await;
    assert_eq!(stage.take(), None, "§7.1: only initial presence");
    // §8, rule 1: one that comes late learns of it, as it is now.
    let told = stage.attach();
    has(&told[1], &["from='juliet@capulet.example/balcony'", "<show>away</show>"]);
    juliet.send("<presence type='unavailable'/>").await;
    has(&stage.leaves().await, &["type='unavailable'", "from='juliet@capulet.example/balcony'"]);
    stage.client("romeo@montague.example/x").await;
    assert_eq!(stage.take(), None, "not one of its accounts");
}

#[tokio::test]
async fn presence_of_contacts_is_shown_once_whoever_it_is_for() {
    let stage = Stage::new(Privileges { roster_push: false, ..all() }, &[]).await;
    for name in ["juliet", "nurse"] {
        let mut client = stage.client(&format!("{name}@capulet.example/x")).await;
        client.send("<presence to='romeo@far.example' type='subscribe'/>").await;
        stage
            .comes(&format!(
                "<presence from='romeo@far.example' to='{name}@capulet.example' type='subscribed'/>"
            ))
            .await;
        // The nurse is not there when he comes.
        if name == "nurse" {
            client.cut().await;
        }
    }
    while stage.take().is_some() {}
    let comes = |to: &str, kind: &str| {
        format!("<presence from='romeo@far.example/orchard' to='{to}@capulet.example' {kind}/>")
    };
    stage.comes(&comes("nurse", "")).await;
    has(
        &stage.leaves().await,
        &["from='romeo@far.example/orchard'", "to='pubsub.capulet.example'"],
    );
    stage.comes(&comes("juliet", "")).await;
    assert_eq!(stage.take(), None, "§8, rule 2");
    assert!(stage.attach().iter().any(|told| told.contains("romeo@far.example/orchard")));
    stage.comes(&comes("juliet", "type='unavailable'")).await;
    has(&stage.leaves().await, &["type='unavailable'"]);
    stage.comes(&comes("juliet", "").replace("romeo@", "stranger@")).await;
    assert_eq!(stage.take(), None, "nobody asked for it");
}
