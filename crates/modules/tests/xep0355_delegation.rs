//! XEP-0355: what a component answers in the place of a domain and its accounts.

#![allow(clippy::unwrap_used)]

#[path = "support/component.rs"]
mod component;

use component::{NS_PUBSUB, PUBSUB, Stage, has, id_of, next};
use stentor_engine::Privileges;

const PUBLISH: &str = "<iq type='set' id='pep1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                       <publish node='mood'/></pubsub></iq>";

/// The component's answer to a delegated request.
fn answered(request: &str, inner: &str) -> String {
    let id = id_of(request);
    format!(
        "<iq from='{PUBSUB}' to='capulet.example' id='{id}' type='result'>\
         <delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>\
         {inner}</forwarded></delegation></iq>"
    )
}

#[tokio::test]
async fn delegations_are_told_with_their_attributes() {
    let stage = Stage::new(Privileges::default(), &["urn:xmpp:mam:2 node", NS_PUBSUB]).await;
    let told = stage.attach();
    has(
        &told[0],
        &[
            "from='capulet.example'",
            "<delegation xmlns='urn:xmpp:delegation:2'><delegated namespace='urn:xmpp:mam:2'>\
         <attribute name='node'/></delegated>\
         <delegated namespace='http://jabber.org/protocol/pubsub'/></delegation>",
        ],
    );
}

#[tokio::test]
async fn a_delegated_request_is_answered_by_the_managing_entity() {
    let stage = Stage::new(Privileges::default(), &[NS_PUBSUB]).await;
    let mut juliet = stage.client("juliet@capulet.example/balcony").await;
    juliet.send(PUBLISH).await;
    let request = stage.leaves().await;
    has(
        &request,
        &[
            "from='capulet.example'",
            "to='pubsub.capulet.example'",
            "type='set'",
            "<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'><iq ",
            "xmlns='jabber:client'",
            "from='juliet@capulet.example/balcony'",
            "id='pep1'",
            "<publish node='mood'/>",
        ],
    );
    // §9: nothing else waits for it.
    juliet.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    has(&next(&mut juliet).await, &["id='p'"]);
    let inner = "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='pep1' \
                 type='result'><pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq>";
    stage.comes(&answered(&request, inner)).await;
    let reply = next(&mut juliet).await;
    has(&reply, &["id='pep1'", "type='result'", "<pubsub "]);
    assert!(!reply.contains("delegation"), "it is transparent: {reply}");
}

#[tokio::test]
async fn requests_of_others_to_an_account_or_the_domain_are_delegated_too() {
    let stage = Stage::new(Privileges::default(), &[NS_PUBSUB]).await;
    for to in ["juliet@capulet.example", "capulet.example"] {
        let ask = PUBLISH.replace("<iq ", &format!("<iq from='romeo@far.example/x' to='{to}' "));
        stage.comes(&ask).await;
        let request = stage.leaves().await;
        has(&request, &["from='romeo@far.example/x'", &format!("to='{to}'")]);
        let inner = format!(
            "<iq xmlns='jabber:client' from='{to}' to='romeo@far.example/x' \
                             id='pep1' type='result'/>"
        );
        stage.comes(&answered(&request, &inner)).await;
        has(
            &stage.leaves().await,
            &[&format!("from='{to}'"), "to='romeo@far.example/x'", "type='result'"],
        );
    }
    // Of an account that is not there nobody learns, nor does anybody ask the component.
    let ask = PUBLISH.replace("<iq ", "<iq from='romeo@far.example/x' to='no@capulet.example' ");
    stage.comes(&ask).await;
    has(&stage.leaves().await, &["<service-unavailable ", "to='romeo@far.example/x'"]);
    // §4.3.1: what the managing entity asks itself is the server's to answer.
    let ask =
        PUBLISH.replace("<iq ", "<iq from='pubsub.capulet.example' to='juliet@capulet.example' ");
    stage.comes(&ask).await;
    let reply = stage.leaves().await;
    assert!(reply.contains("id='pep1'") && !reply.contains("<delegation "), "{reply}");
}

#[tokio::test]
async fn a_bad_answer_or_none_is_service_unavailable() {
    let stage = Stage::new(Privileges::default(), &[NS_PUBSUB]).await;
    let mut juliet = stage.client("juliet@capulet.example/balcony").await;
    let good = "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='pep1' \
                type='result'/>";
    for inner in [
        good.replace("balcony", "tomb"),
        good.replace("pep1", "pep2"),
        good.replace("'result'", "'set'"),
        good.replace("to='", "from='nurse@capulet.example' to='"),
        good.replace("jabber:client", "urn:example:client"),
        String::new(),
    ] {
        juliet.send(PUBLISH).await;
        let request = stage.leaves().await;
        stage.comes(&answered(&request, &inner)).await;
        has(&next(&mut juliet).await, &["id='pep1'", "type='error'", "<service-unavailable "]);
    }
    juliet.send(PUBLISH).await;
    let id = id_of(&stage.leaves().await).to_owned();
    stage
        .comes(&format!(
            "<iq from='{PUBSUB}' to='capulet.example' id='{id}' type='error'><error type='wait'>\
             <internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        ))
        .await;
    has(&next(&mut juliet).await, &["<service-unavailable "]);
    *stage.wire.is_away.lock() = true;
    juliet.send(PUBLISH).await;
    has(&next(&mut juliet).await, &["<service-unavailable "]);
}

#[tokio::test]
async fn without_the_filtering_attribute_the_server_answers_itself() {
    let stage = Stage::new(Privileges::default(), &["jabber:iq:private node"]).await;
    let mut juliet = stage.client("juliet@capulet.example/balcony").await;
    let ask = |attr: &str| {
        format!(
            "<iq type='get' id='q'><query xmlns='jabber:iq:private' {attr}>\
                 <x xmlns='urn:example:x'/></query></iq>"
        )
    };
    juliet.send(&ask("")).await;
    has(&next(&mut juliet).await, &["type='result'"]);
    assert_eq!(stage.take(), None);
    juliet.send(&ask("node='n'")).await;
    has(&stage.leaves().await, &["<delegation "]);
}

#[tokio::test]
async fn features_of_the_managing_entity_stand_in_the_place_of_ours() {
    let stage = Stage::new(Privileges::default(), &["urn:xmpp:mam:2"]).await;
    stage.attach();
    for _ in 0..2 {
        let ask = stage.leaves().await;
        let is_bare = ask.contains("node='urn:xmpp:delegation:2:bare:urn:xmpp:mam:2'");
        assert!(is_bare || ask.contains("node='urn:xmpp:delegation:2::urn:xmpp:mam:2'"), "{ask}");
        let which = if is_bare { "bare" } else { "host" };
        stage
            .comes(&format!(
                "<iq from='{PUBSUB}' to='capulet.example' id='{}' type='result'>\
                 <query xmlns='http://jabber.org/protocol/disco#info'>\
                 <identity category='archive' type='{which}'/>\
                 <feature var='urn:xmpp:mam:2#{which}'/></query></iq>",
                id_of(&ask)
            ))
            .await;
    }
    tokio::task::yield_now().await;
    let mut juliet = stage.client("juliet@capulet.example/balcony").await;
    for (to, shown, hidden) in
        [("capulet.example", "host", "bare"), ("juliet@capulet.example", "bare", "host")]
    {
        let ask = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        juliet.send(&format!("<iq type='get' id='d' to='{to}'>{ask}</iq>")).await;
        let info = next(&mut juliet).await;
        has(
            &info,
            &[
                &format!("<identity category='archive' type='{shown}'/>"),
                &format!("var='urn:xmpp:mam:2#{shown}'"),
            ],
        );
        assert!(!info.contains(hidden), "{info}");
        assert!(!info.contains("var='urn:xmpp:mam:2'"), "ours is hidden: {info}");
        let is_host = to == "capulet.example";
        assert_eq!(info.contains("var='urn:xmpp:delegation:2'"), is_host, "{info}");
    }
    stage.world.engine.component_left(PUBSUB);
    let ask = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    juliet.send(&format!("<iq type='get' id='d' to='capulet.example'>{ask}</iq>")).await;
    assert!(!next(&mut juliet).await.contains("mam:2"), "nobody offers it now");
}

#[tokio::test]
async fn nodes_and_items_of_bare_addresses_may_be_delegated() {
    let special =
        ["urn:xmpp:delegation:2:bare:disco#info:*", "urn:xmpp:delegation:2:bare:disco#items:*"];
    let stage = Stage::new(Privileges::default(), &special).await;
    let mut juliet = stage.client("juliet@capulet.example/balcony").await;
    for (what, node, is_delegated) in [
        ("info", "node='urn:xmpp:microblog:0'", true),
        ("info", "", false),
        ("items", "", true),
        ("items", "node='urn:xmpp:microblog:0'", true),
    ] {
        juliet
            .send(&format!(
                "<iq type='get' id='d' to='juliet@capulet.example'>\
                 <query xmlns='http://jabber.org/protocol/disco#{what}' {node}/></iq>"
            ))
            .await;
        if is_delegated {
            has(&stage.leaves().await, &["<delegation ", &format!("disco#{what}"), node]);
        } else {
            has(&next(&mut juliet).await, &["type='result'"]);
            assert_eq!(stage.take(), None);
        }
    }
    // Those of the domain are the server's.
    juliet
        .send(
            "<iq type='get' id='i' to='capulet.example'>\
               <query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
        )
        .await;
    has(&next(&mut juliet).await, &["id='i'", "type='result'"]);
}
