//! XEP-0388: Extensible SASL Profile, version 1.0.4.
//!
//! Signs clients in, and gives them what they ask for beside, in one element each way.
//! Implements: §2 whole, §4. Offered over TLS only, beside the profile of RFC 6120.
//! Left out: §2.4, white space during an exchange, which is not told from none; §3, a random order
//! of mechanisms, for the list does not depend on the account; TLS early data, which is not taken.
//! Status: complete

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::{Condition, Hash, Mechanism};
use stentor_xml::{ElementRef, Frame, Writer};

use crate::limits::{CLIENT_ID_BYTES_MAX, CLIENT_TEXT_BYTES_MAX};
use crate::sign_in::{BindRequest, UserAgent};
use crate::xep0484_fast::Fast;
use crate::{ns, xep0386_bind2, xep0480_upgrade, xep0484_fast, xep0509_pipelining};

/// `<authenticate/>`, as far as it is understood.
pub(crate) struct Authenticate {
    /// The name of the mechanism, offered or not.
    pub(crate) mechanism: Option<String>,
    pub(crate) initial: Option<Vec<u8>>,
    pub(crate) user_agent: UserAgent,
    pub(crate) resume: Option<Frame>,
    pub(crate) bind: Option<BindRequest>,
    pub(crate) fast: Option<Fast>,
    pub(crate) wants_token: Option<Mechanism>,
    pub(crate) upgrades: Vec<Hash>,
    /// The version of the features that it was written for (XEP-0509).
    pub(crate) config_version: Option<String>,
}

impl Authenticate {
    /// Reads the element.
    ///
    /// # Errors
    /// The condition to fail with.
    pub(crate) fn read(element: ElementRef<'_>) -> Result<Self, Condition> {
        let initial = element.child(NS, "initial-response").map(read_data).transpose()?;
        let user_agent = element.child(NS, "user-agent").map(read_user_agent).transpose()?;
        let resume = element.child(ns::SM, "resume");
        Ok(Self {
            mechanism: element.attr("mechanism").map(|name| name.into_owned()),
            initial,
            user_agent: user_agent.unwrap_or_default(),
            resume: resume.map(own),
            bind: element.children().find_map(xep0386_bind2::read_request),
            fast: xep0484_fast::read(element)?,
            wants_token: xep0484_fast::read_wish(element),
            upgrades: xep0480_upgrade::read_wishes(element),
            config_version: element.children().find_map(xep0509_pipelining::read),
        })
    }
}

/// Reads the data of an element: base 64, white space round it or in it aside (§2.2).
///
/// # Errors
/// The condition to fail with.
pub(crate) fn read_data(element: ElementRef<'_>) -> Result<Vec<u8>, Condition> {
    if element.first_child().is_some() {
        return Err(Condition::MalformedRequest);
    }
    let text: String = element.text().split_ascii_whitespace().collect();
    STANDARD.decode(text).map_err(|_| Condition::IncorrectEncoding)
}

/// Writes an element that carries data.
pub(crate) fn write_data(w: &mut Writer, name: &str, data: &[u8]) {
    w.text_element(name, NS, &STANDARD.encode(data));
}

/// Writes what a client says of itself (§2.3).
pub(crate) fn write_user_agent(w: &mut Writer, agent: &UserAgent) {
    w.open("user-agent", NS).attr_opt("id", agent.id.as_deref());
    for (name, text) in [("software", &agent.software), ("device", &agent.device)] {
        if let Some(text) = text {
            w.text_element(name, NS, text);
        }
    }
    w.close();
}

/// Writes `<failure/>` (§2.6.2).
pub(crate) fn write_failure(w: &mut Writer, condition: Condition, more: impl FnOnce(&mut Writer)) {
    w.open("failure", NS);
    w.leaf(condition.name(), ns::SASL);
    more(w);
    w.close();
}

/// Writes `<success/>` (§2.6.1); `inline` writes what came of the wishes in it.
pub(crate) fn write_success(
    w: &mut Writer,
    data: Option<&[u8]>,
    identity: &str,
    inline: impl FnOnce(&mut Writer),
) {
    w.open("success", NS);
    if let Some(data) = data {
        write_data(w, "additional-data", data);
    }
    w.text_element("authorization-identifier", NS, identity);
    inline(w);
    w.close();
}

/// Writes `<continue/>` with one task (§2.6.3).
pub(crate) fn write_continue(w: &mut Writer, data: Option<&[u8]>, task: &str) {
    w.open("continue", NS);
    if let Some(data) = data {
        write_data(w, "additional-data", data);
    }
    w.open("tasks", NS);
    w.text_element("task", NS, task);
    w.close();
    w.close();
}

/// The element as a frame of its own.
pub(crate) fn own(element: ElementRef<'_>) -> Frame {
    Frame::build(|w| {
        w.element(element);
    })
}

fn read_user_agent(element: ElementRef<'_>) -> Result<UserAgent, Condition> {
    let id = element.attr("id").map(|id| id.into_owned());
    // An id that is no UUID does no harm: it is shown to nobody. One without end would.
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX) {
        return Err(Condition::MalformedRequest);
    }
    let text = |name| {
        let text = element.child(NS, name)?.text().trim().to_owned();
        Some(shortened(text)).filter(|text| !text.is_empty())
    };
    Ok(UserAgent { id, software: text("software"), device: text("device") })
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(CLIENT_TEXT_BYTES_MAX));
    text
}

/// The namespace of the profile.
pub(crate) const NS: &str = "urn:xmpp:sasl:2";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str) -> Result<Authenticate, Condition> {
        let xml = format!("<authenticate xmlns='{NS}' mechanism='PLAIN'>{inner}</authenticate>");
        Authenticate::read(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn tells_no_response_from_an_empty_one() {
        assert_eq!(read("").unwrap().initial, None);
        assert_eq!(read("<initial-response/>").unwrap().initial, Some(Vec::new()));
        let response = read("<initial-response>\n  AAEC\n</initial-response>").unwrap();
        assert_eq!(response.initial, Some(vec![0, 1, 2]));
        for (text, condition) in [
            ("=", Condition::IncorrectEncoding),
            ("AAE", Condition::IncorrectEncoding),
            ("AB==", Condition::IncorrectEncoding),
            ("A-A=", Condition::IncorrectEncoding),
            ("<a/>", Condition::MalformedRequest),
        ] {
            let inner = format!("<initial-response>{text}</initial-response>");
            assert_eq!(read(&inner).err(), Some(condition), "{text}");
        }
    }

    #[test]
    fn keeps_what_a_client_says_of_itself_within_bounds() {
        let long = "ü".repeat(CLIENT_TEXT_BYTES_MAX);
        let inner = format!(
            "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software> Awesome </software>\
             <device>{long}</device></user-agent>"
        );
        let agent = read(&inner).unwrap().user_agent;
        assert_eq!(agent.id.as_deref(), Some("d4565fa7-4d72-4749-b3d3-740edbf87770"));
        assert_eq!(agent.software.as_deref(), Some("Awesome"));
        assert_eq!(agent.device.map(|d| d.len()), Some(CLIENT_TEXT_BYTES_MAX));
        assert_eq!(read("").unwrap().user_agent, UserAgent::default());
        assert_eq!(read("<user-agent><device/></user-agent>").unwrap().user_agent.device, None);
        for id in [String::new(), "x".repeat(CLIENT_ID_BYTES_MAX + 1)] {
            let refused = read(&format!("<user-agent id='{id}'/>")).err();
            assert_eq!(refused, Some(Condition::MalformedRequest));
        }
    }

    #[test]
    fn takes_what_it_knows_and_no_more() {
        let all = read(
            "<bind xmlns='urn:xmpp:bind:0'><tag>Awesome</tag><enable xmlns='urn:xmpp:carbons:2'/></bind>\
             <resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>\
             <fast xmlns='urn:xmpp:fast:0' count='7' invalidate='true'/>\
             <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
             <config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='v'/>\
             <megabind xmlns='urn:example:megabind'/>",
        )
        .unwrap();
        let bind = all.bind.unwrap();
        assert_eq!((bind.tag.as_deref(), bind.wishes.len()), (Some("Awesome"), 1));
        assert!(all.resume.is_some_and(|frame| frame.root().is(ns::SM, "resume")));
        assert_eq!(all.fast, Some(Fast { count: Some(7), invalidates: true }));
        assert_eq!(all.wants_token, Some(Mechanism::HtSha256None));
        assert_eq!(all.upgrades, [Hash::Sha256]);
        assert_eq!(all.config_version.as_deref(), Some("v"));
    }
}
