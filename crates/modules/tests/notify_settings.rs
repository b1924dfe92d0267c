//! XEP-0492 over XEP-0402: what bookmarks say holds for the server, also after a restart.

#![allow(clippy::unwrap_used)]

use stentor_engine::Wish;
use stentor_jid::BareJid;
use stentor_testkit::World;

async fn wish(world: &World) -> Option<Wish> {
    let owner = BareJid::new("juliet@capulet.example").unwrap();
    let account = world.engine.account(&owner).await.unwrap().unwrap();
    let host = world.engine.host("capulet.example").unwrap();
    let chat = BareJid::new("room@muc.example").unwrap();
    host.wish(&chat, &account.lock())
}

fn bookmark(setting: &str) -> String {
    format!(
        "<iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='urn:xmpp:bookmarks:1'><item id='room@muc.example'>\
         <conference xmlns='urn:xmpp:bookmarks:1'><extensions>\
         <notify xmlns='urn:xmpp:notification-settings:1'>{setting}</notify></extensions>\
         </conference></item></publish></pubsub></iq>"
    )
}

const RETRACT: &str = "<iq type='set' id='r'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
    <retract node='urn:xmpp:bookmarks:1' notify='1'><item id='room@muc.example'/></retract>\
    </pubsub></iq>";

#[tokio::test]
async fn what_bookmarks_say_holds_at_once_and_after_a_restart() {
    let mut world = World::new();
    world.add_account("juliet@capulet.example").await;
    let mut juliet = world.connect("juliet@capulet.example/balcony").await;
    assert_eq!(wish(&world).await, None);
    juliet.send(&bookmark("<never/>")).await;
    assert_eq!(wish(&world).await, Some(Wish::Never));
    juliet.send(&bookmark("<on-mention/>")).await;
    assert_eq!(wish(&world).await, Some(Wish::OnMention));
    world.restart();
    assert_eq!(wish(&world).await, Some(Wish::OnMention));
    let mut juliet = world.connect("juliet@capulet.example/balcony").await;
    juliet.send(RETRACT).await;
    assert_eq!(wish(&world).await, None);
    for removal in ["purge", "delete"] {
        juliet.send(&bookmark("<always/>")).await;
        assert_eq!(wish(&world).await, Some(Wish::Always));
        juliet
            .send(&format!(
                "<iq type='set' id='d'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>\
                 <{removal} node='urn:xmpp:bookmarks:1'/></pubsub></iq>"
            ))
            .await;
        assert_eq!(wish(&world).await, None, "{removal}");
    }
    world.restart();
    assert_eq!(wish(&world).await, None);
}
