//! What a room of another server says to a session without a stream (XEP-0198 §5, XEP-0045 §7.4), and
//! what of it a kill takes.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stentor_engine::{Handling, Inbound, Item};
use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_testkit::World;
use stentor_xml::Frame;

const JULIET: &str = "juliet@capulet.example";
const ROOM: &str = "coven@chat.far.example";

/// Takes in what the room sends, and waits until it is recorded.
async fn comes(inbound: &Arc<Inbound>, kind: &str, id: &str, inside: &str) {
    let xml = format!(
        "<message from='{ROOM}/firstwitch' to='{JULIET}/balcony' type='{kind}' id='{id}'>{inside}\
         </message>"
    );
    let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
    if let Handling::Later(rest) = inbound.handle(stanza) {
        rest.await;
    }
    inbound.settle_all().await;
}

/// The ids that she gets after the server was killed, if her session may be resumed or not.
async fn after_a_kill(is_resumable: bool) -> Vec<String> {
    let mut world = World::new();
    world.add_account(JULIET).await;
    let mut juliet = world.connect(&format!("{JULIET}/balcony")).await;
    juliet.send("<presence/>").await;
    juliet.receive_all();
    let resumption = juliet.session().enable_sm(is_resumable, None).await;
    if is_resumable {
        assert!(juliet.session().break_off(Vec::new()).is_none());
    }
    let inbound = Arc::new(Inbound::new(world.engine.clone()));
    comes(&inbound, "groupchat", "said", "<body>Thrice the brinded cat hath mew'd.</body>").await;
    comes(&inbound, "groupchat", "subject", "<subject>Fire burn</subject>").await;
    comes(&inbound, "headline", "news", "<body>x</body>").await;
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    comes(&inbound, "groupchat", "typing", typing).await;
    world.restart();
    world.engine.restore_sessions().await.unwrap();
    let mut again = Vec::new();
    if let Some((id, _)) = resumption {
        let account = BareJid::new(JULIET).unwrap();
        let resumed = world.engine.resume(&account, &id, 0).await.ok().unwrap();
        while let Some(item) = resumed.session.resource.outbox.pop() {
            if let Item::Stanza(stanza, ..) = item {
                again.push(stanza);
            }
        }
    } else {
        let mut juliet = world.connect(&format!("{JULIET}/balcony")).await;
        juliet.send("<presence/>").await;
        again = juliet.receive_all();
    }
    let messages = again.iter().filter(|stanza| stanza.message_type().is_some());
    messages.map(|message| message.head.id.as_ref().unwrap().to_string()).collect()
}

#[tokio::test]
async fn what_it_said_is_there_for_who_comes_back_to_the_session() {
    assert_eq!(after_a_kill(true).await, ["said", "subject", "news"], "who types does not matter");
}

/// RFC 6121 §8.5.2: neither a room's messages nor headlines are kept for who is away.
#[tokio::test]
async fn a_session_that_dies_with_the_server_takes_it_along() {
    assert_eq!(after_a_kill(false).await, [""; 0]);
}
