//! A client that types bytes at a server's machine, taken to any phase of negotiation.

#![allow(dead_code, reason = "every test file uses its own part of this")]

pub(crate) mod sasl2;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_stream::c2s::TlsInfo;
use stentor_stream::pair::{Accounts, Served, both_bindings};

/// Where a test begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The connection has just come in.
    Start,
    /// Features with STARTTLS are out.
    Tls,
    /// Features with mechanisms are out.
    Auth,
    /// The client has signed in; its next header is due.
    Restart,
    /// Features with `bind` are out.
    Bind,
    /// The session is there.
    Session,
}

/// A machine at this point, in front of the capulets' accounts.
pub(crate) fn served(at: At) -> Served {
    served_by(Accounts::capulet(), at)
}

/// A machine at this point, in front of these accounts.
pub(crate) fn served_by(accounts: Accounts, at: At) -> Served {
    if matches!(at, At::Start | At::Tls) {
        let mut served = Served::plain(accounts);
        if at == At::Tls {
            served.say(HEADER);
        }
        return served;
    }
    let tls = TlsInfo { bindings: both_bindings(), ..TlsInfo::default() };
    let mut served = Served::direct_tls(accounts, tls);
    advance(&mut served, at);
    served
}

/// Takes a machine whose client may authenticate to a later point.
pub(crate) fn advance(served: &mut Served, at: At) {
    served.say(HEADER);
    if at == At::Auth {
        return;
    }
    let success = served.say(&auth("PLAIN", "\0juliet\0r0m30myr0m30"));
    assert_eq!(success, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    if at == At::Restart {
        return;
    }
    served.say(HEADER);
    if at == At::Bind {
        return;
    }
    let bound = served.say(BIND);
    assert!(bound.contains("<jid>juliet@capulet.example/balcony</jid>"), "{bound}");
    assert!(served.machine.is_established());
    served.events.clear();
}

/// An `<auth/>` with this initial response.
pub(crate) fn auth(mechanism: &str, data: &str) -> String {
    format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{}</auth>",
        STANDARD.encode(data)
    )
}

/// The first element of the stream error in `out`, and its application-specific condition.
pub(crate) fn stream_error(out: &str) -> Option<String> {
    let (_, error) = out.split_once("<stream:error>")?;
    let (error, rest) = error.split_once("</stream:error>")?;
    assert_eq!(rest, "</stream:stream>", "nothing but the end follows an error: {out}");
    let mut conditions: Vec<&str> = error
        .split('<')
        .filter_map(|tag| tag.split_once(" xmlns='").map(|(name, _)| name))
        .filter(|name| *name != "text")
        .collect();
    let namespace = "xmlns='urn:ietf:params:xml:ns:xmpp-streams'";
    assert!(error.starts_with(&format!("<{} {namespace}", conditions[0])), "{error}");
    if conditions.len() > 1 {
        assert!(error.ends_with(&format!("<{} xmlns='urn:xmpp:errors'/>", conditions[1])));
    }
    conditions.truncate(2);
    Some(conditions.join("+"))
}

pub(crate) const HEADER: &str = "<?xml version='1.0'?><stream:stream to='capulet.example' version='1.0' \
                          xml:lang='en' xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";

pub(crate) const BIND: &str = "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                        <resource>balcony</resource></bind></iq>";
