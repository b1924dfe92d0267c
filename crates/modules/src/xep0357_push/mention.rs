//! Whether a message speaks of the user: by a reference, by an answer, or by name.

use stentor_engine::AccountState;
use stentor_engine::worth::NS_REPLY;
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0372_references;
use stentor_stanza::Stanza;
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
}
