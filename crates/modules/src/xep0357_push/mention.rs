//! Whether a message speaks of the user: by a reference, by an answer, or by name.

use stentor_engine::AccountState;
use stentor_engine::worth::{NS_MENTIONS, NS_REPLY};
use stentor_jid::{BareJid, Jid};
use stentor_payload::{xep0297_forward, xep0372_references};
use stentor_stanza::{MessageType, Stanza};
use stentor_xml::{ElementRef, ns};

/// The name under which the account is in a room.
pub(super) fn nick(state: &AccountState, room: &BareJid) -> Option<String> {
    state.resources().iter().find_map(|session| session.nick_in(room))
}

/// Whether a message speaks of the account: `chat` is where it was said, `nick` the name that the
/// account has there.
pub(super) fn is_of(
    stanza: &Stanza,
    account: &BareJid,
    chat: &BareJid,
    nick: Option<&str>,
) -> bool {
    let is_me = |jid: &Jid| {
        jid.bare_str() == account.as_str()
            || (jid.bare_str() == chat.as_str() && nick.is_some() && jid.resource() == nick)
    };
    let is_about_me = |c: ElementRef<'_>| addressed(c).is_some_and(|jid| is_me(&jid));
    if stanza.children().any(is_about_me) {
        return true;
    }
    let Some(name) = nick.or(account.local()) else { return false };
    stanza.child(ns::CLIENT, "body").is_some_and(|body| has_word(&body.text(), name))
}

/// What was said in a room that the account is not in, as the room forwards it (XEP-0452 §3.2). None
/// if it is of another room (§4).
pub(super) fn forwarded(stanza: &Stanza) -> Option<Stanza> {
    let mentions = stanza.child(NS_MENTIONS, "mentions")?;
    let inner = xep0297_forward::inner(mentions.child(xep0297_forward::NS, "forwarded")?)?;
    let inner = Stanza::parse(inner.raw()).ok()?;
    let room = stanza.head.from.as_ref()?.bare_str();
    let is_of_room = inner.head.from.as_ref().is_some_and(|from| from.bare_str() == room);
    (is_of_room && inner.message_type() == Some(MessageType::Groupchat)).then_some(inner)
}

/// Whether a message claims to be such a one.
pub(super) fn is_forwarded(stanza: &Stanza) -> bool {
    stanza.has_child(NS_MENTIONS, "mentions")
}

/// Whom an element speaks of: a mention, or the author of what is answered (XEP-0461 §3.1).
fn addressed(element: ElementRef<'_>) -> Option<Jid> {
    if element.is(NS_REPLY, "reply") {
        return Jid::new(&element.attr("to")?).ok();
    }
    xep0372_references::mentioned(element)
}

/// Whether a text has a name as a word of its own, in capitals or not.
fn has_word(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    if name.is_empty() {
        return false;
    }
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(&name).any(|(at, found)| {
        !is_letter(text[..at].chars().next_back())
            && !is_letter(text[at + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_mentioned(inside: &str, nick: Option<&str>) -> bool {
        let stanza = Stanza::parse(format!("<message>{inside}</message>").as_bytes()).unwrap();
        let jid = |text: &str| BareJid::new(text).unwrap();
        is_of(&stanza, &jid("juliet@capulet.example"), &jid("room@muc.example"), nick)
    }

    fn mention(uri: &str) -> String {
        format!("<reference xmlns='urn:xmpp:reference:0' type='mention' uri='{uri}'/>")
    }

    #[test]
    fn a_reference_speaks_of_the_account_or_of_its_name_in_the_room() {
        assert!(is_mentioned(&mention("xmpp:juliet@capulet.example"), None));
        assert!(is_mentioned(&mention("xmpp:juliet@capulet.example?message"), None));
        assert!(is_mentioned(&mention("xmpp:room@muc.example/The%20Sun"), Some("The Sun")));
        assert!(!is_mentioned(&mention("xmpp:room@muc.example/The%20Sun"), Some("Nurse")));
        assert!(!is_mentioned(&mention("xmpp:room@muc.example"), None));
        assert!(!is_mentioned(&mention("xmpp:nurse@capulet.example"), None));
    }

    #[test]
    fn an_answer_speaks_of_whom_it_answers() {
        let reply = |to: &str| format!("<reply xmlns='urn:xmpp:reply:0' id='1' to='{to}'/>");
        assert!(is_mentioned(&reply("juliet@capulet.example/balcony"), None));
        assert!(is_mentioned(&reply("room@muc.example/Sun"), Some("Sun")));
        assert!(!is_mentioned(&reply("romeo@montague.example"), None));
    }

    #[test]
    fn a_name_is_a_whole_word() {
        let body = |text: &str| format!("<body>{text}</body>");
        for text in ["Juliet!", "is juliet there", "JULIET", "(juliet)", "xjuliet juliet"] {
            assert!(is_mentioned(&body(text), None), "{text}");
        }
        for text in ["juliette", "xjuliet", "julie t", "juliet2", ""] {
            assert!(!is_mentioned(&body(text), None), "{text}");
        }
        assert!(is_mentioned(&body("Ach, ßonne:"), Some("ßonne")));
        assert!(!is_mentioned(&body("juliet"), Some("Sun")), "there she has another name");
    }

    #[test]
    fn xep_0452_a_room_forwards_what_was_said_in_it_and_nothing_else() {
        let said = |room: &str, kind: &str| {
            let xml = format!(
                "<message to='hag66@shakespeare.example' from='coven@chat.shakespeare.example'>\
                 <mentions xmlns='urn:xmpp:mmn:0'><forwarded xmlns='urn:xmpp:forward:0'>\
                 <message xmlns='jabber:client' type='{kind}' to='{room}' from='{room}/firstwitch'>\
                 <body>secondwitch: Thrice the brinded cat hath mew'd.</body></message>\
                 </forwarded></mentions></message>"
            );
            forwarded(&Stanza::parse(xml.as_bytes()).unwrap())
        };
        let inner = said("coven@chat.shakespeare.example", "groupchat").unwrap();
        assert_eq!(inner.head.from.unwrap().as_str(), "coven@chat.shakespeare.example/firstwitch");
        assert!(said("other@chat.shakespeare.example", "groupchat").is_none());
        assert!(said("coven@chat.shakespeare.example", "chat").is_none());
    }
}
