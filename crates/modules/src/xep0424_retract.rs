//! XEP-0424: Message Retraction, version 0.4.2.
//!
//! Puts a tombstone in the place of a message that its sender takes back, in the archives of both
//! sides. The retraction itself is archived like any message (`engine/src/worth`).
//! Implements: §2 and §4 (features, tombstones), §5 (what is stored, who may retract).
//! Left out: §5 for rooms, whose archives come with them.
//! Status: complete

use std::sync::Arc;

use stentor_engine::worth::NS_RETRACTION as NS;
use stentor_engine::{
    AccountState, Cx, Direction, Look, Lookup, Passing, Record, Recorded, Registrar, Scope, Slot,
};
use stentor_jid::Jid;
use stentor_payload::limits::STANZA_ID_BYTES_MAX;
use stentor_payload::xep0082_time;
use stentor_stanza::{MessageType, Stanza};
use stentor_store::{ArchiveReference, ArchiveRow, ReferenceId, Stage, Write};

use crate::xep0313_mam::FLAG_OF_ROOM;

/// Takes part where archives are.
pub(crate) fn register(r: &mut Registrar) {
    for scope in [Scope::Host, Scope::Account] {
        r.disco_stored(scope, &[NS, TOMBSTONE]);
    }
    let retractions = Arc::new(Retractions);
    r.lookup(retractions.clone());
    r.record(retractions);
}

struct Retractions;

/// The archived message that is taken back.
struct Original(ArchiveRow);

impl Lookup for Retractions {
    fn look_up(&self, passing: &Passing<'_>) -> Option<Look> {
        let id = retracted_id(passing.stanza)?;
        let peer = match passing.direction {
            Direction::Sent => passing.stanza.head.to.as_ref(),
            Direction::Received => passing.stanza.head.from.as_ref(),
        };
        let peer = peer.map_or_else(|| passing.account.clone(), Jid::to_bare);
        // Only what the same side sent is found.
        let is_sent = passing.direction == Direction::Sent;
        let reference = ArchiveReference { peer, is_sent, id: ReferenceId::Origin(id) };
        let (archive, account) = (passing.engine.stores.archive.clone(), passing.account.clone());
        Some(Box::pin(async move {
            let row = archive.find(&account, reference).await?;
            Ok(row.map(|row| Box::new(Original(row)) as Slot))
        }))
    }
}

/// §3; in conversations of two. What a moderator takes back (XEP-0425) only rooms do.
fn retracted_id(stanza: &Stanza) -> Option<String> {
    if !matches!(stanza.message_type(), Some(MessageType::Chat | MessageType::Normal)) {
        return None;
    }
    let retract = stanza.child(NS, "retract")?;
    let id = retract.attr("id")?;
    let is_possible = (1..=STANZA_ID_BYTES_MAX).contains(&id.len());
    (is_possible && retract.first_child().is_none()).then(|| id.into_owned())
}

impl Record for Retractions {
    fn record(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        _: &AccountState,
        stage: &mut Stage,
    ) -> Recorded {
        if let Some(Original(row)) = cx.found.find()
            && !row.is_retracted
            && is_of_author(row, cx.direction, stanza)
            && let Some(tombstone) = tombstone(row, stanza, cx.now_ms)
        {
            let (owner, id) = (cx.account.jid.clone(), row.id);
            cx.engine.metrics.archive_retracted.inc();
            stage.push(Write::RetractArchive { owner, id, tombstone });
        }
        Recorded::No
    }
}

/// §5: the same bare address, which the lookup saw to; of an occupant of a room the full one.
fn is_of_author(row: &ArchiveRow, direction: Direction, stanza: &Stanza) -> bool {
    let is_of_room = row.flags & FLAG_OF_ROOM != 0;
    direction == Direction::Sent || !is_of_room || stanza.head.from.as_ref() == Some(&row.peer)
}

/// §4: nothing of the original stays but its start tag.
fn tombstone(row: &ArchiveRow, retraction: &Stanza, now_ms: i64) -> Option<Vec<u8>> {
    let original = Stanza::parse(&row.body).ok()?;
    let tombstone = Stanza::build(original.head, |w| {
        w.open("retracted", NS)
            .attr("id", retraction.head.id.as_deref().unwrap_or_default())
            .attr("stamp", &xep0082_time::write(now_ms));
        w.close();
    });
    Some(tombstone.to_bytes())
}

/// Archives hold tombstones (§4).
const TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes()).unwrap()
    }

    fn row(body: &str, flags: u32) -> ArchiveRow {
        ArchiveRow {
            id: 1,
            at_ms: 0,
            peer: Jid::new("room@muc.example/romeo").unwrap(),
            is_sent: false,
            is_retracted: false,
            flags,
            body: body.into(),
        }
    }

    #[test]
    fn only_retractions_between_two_are_looked_up() {
        let id = |kind: &str, inside: &str| {
            retracted_id(&read(&format!("<message type='{kind}'>{inside}</message>")))
        };
        let retract = "<retract xmlns='urn:xmpp:message-retract:1' id='m'/>";
        assert_eq!(id("chat", retract).as_deref(), Some("m"));
        assert_eq!(id("normal", retract).as_deref(), Some("m"));
        for (kind, inside) in [
            ("groupchat", retract.to_owned()),
            ("headline", retract.to_owned()),
            ("error", retract.to_owned()),
            ("chat", "<retract xmlns='urn:xmpp:message-retract:1'/>".into()),
            ("chat", "<retract xmlns='urn:xmpp:message-retract:1' id=''/>".into()),
            ("chat", "<retract xmlns='urn:xmpp:message-retract:0' id='m'/>".into()),
            (
                "chat",
                format!("<retract xmlns='urn:xmpp:message-retract:1' id='{}'/>", "x".repeat(2_000)),
            ),
            (
                "chat",
                "<retract xmlns='urn:xmpp:message-retract:1' id='m'>\
                 <moderated xmlns='urn:xmpp:message-moderate:1'/></retract>"
                    .into(),
            ),
        ] {
            assert_eq!(id(kind, &inside), None, "{kind} {inside:.80}");
        }
    }

    #[test]
    fn s4_nothing_of_the_original_stays_but_its_start_tag() {
        let row = row(
            "<message type='chat' id='wrong-recipient-1' to='lord@capulet.example' \
             from='romeo@montague.example/orchard' xml:lang='en'><body>Have not saints lips?</body>\
             <x xmlns='jabber:x:oob'><url>https://a.example/</url></x></message>",
            0,
        );
        let retraction = read("<message id='retract-message-1'/>");
        assert_eq!(
            String::from_utf8(tombstone(&row, &retraction, 0).unwrap()).unwrap(),
            "<message type='chat' id='wrong-recipient-1' to='lord@capulet.example' \
             from='romeo@montague.example/orchard' xml:lang='en'>\
             <retracted xmlns='urn:xmpp:message-retract:1' id='retract-message-1' \
             stamp='1970-01-01T00:00:00Z'/></message>"
        );
    }

    #[test]
    fn s5_occupants_of_a_room_are_told_apart_by_their_full_address() {
        let by = |from: &str, flags| {
            let row = row("<message/>", flags);
            is_of_author(&row, Direction::Received, &read(&format!("<message from='{from}'/>")))
        };
        assert!(by("room@muc.example/romeo", FLAG_OF_ROOM));
        assert!(!by("room@muc.example/tybalt", FLAG_OF_ROOM));
        assert!(by("room@muc.example/another-session", 0));
    }
}
