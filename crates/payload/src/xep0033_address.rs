//! XEP-0033: Extended Stanza Addressing, version 1.2.1.
//!
//! Whom one stanza is for, beside the one address in its head.
//! Implements: §4 (the element, its attributes and types; what is wrong with them: §9).
//! Left out: attributes of other namespaces are not passed on (§4.7 has extensions inside the element,
//! and those are).
//! Status: complete

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

/// The addresses of a stanza that goes through a multicast service, in their order.
#[derive(Debug)]
pub struct Addresses<'a>(Vec<Address<'a>>);

/// One of them.
#[derive(Debug)]
pub struct Address<'a> {
    element: ElementRef<'a>,
    role: Role,
    jid: Option<Jid>,
    is_delivered: bool,
}

/// What an address is for (§4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It gets the stanza: `to` or `cc`.
    Open,
    /// It gets the stanza, and nobody else learns that: `bcc`.
    Blind,
    /// It tells something about the stanza.
    Other,
}

impl<'a> Addresses<'a> {
    /// Reads what a multicast service was sent.
    ///
    /// # Errors
    /// `jid-malformed` for an address that is none, or a URI that is to get the stanza (§9);
    /// `bad-request` for what §4 does not permit.
    pub fn read(addresses: ElementRef<'a>) -> Result<Self, StanzaError> {
        let all = addresses.children().filter(|child| child.is(NS, "address"));
        let all: Vec<_> = all.map(Address::read).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        Ok(Self(all))
    }

    /// Who is still to get the stanza, each once.
    #[must_use]
    pub fn receivers(&self) -> Vec<&Jid> {
        let mut receivers: Vec<&Jid> = Vec::new();
        for jid in self.0.iter().filter_map(Address::receiver) {
            if !receivers.contains(&jid) {
                receivers.push(jid);
            }
        }
        receivers
    }

    /// Whether this receiver is named where others see it.
    #[must_use]
    pub fn is_open(&self, receiver: &Jid) -> bool {
        self.0.iter().any(|a| a.role == Role::Open && a.receiver() == Some(receiver))
    }

    /// How many get the stanza, or have got it already.
    #[must_use]
    pub fn receivers_count(&self) -> usize {
        self.0.iter().filter(|a| a.role != Role::Other).count()
    }

    /// Writes what those are shown who are named; with `blind` what this receiver is shown, whom nobody
    /// else sees (§4.6.3, §6 steps 6 to 8).
    pub fn write(&self, w: &mut Writer, blind: Option<&Jid>) {
        w.open("addresses", NS);
        for address in &self.0 {
            match address.role {
                Role::Blind if blind.is_none() || address.receiver() != blind => {}
                role => address.write(w, role == Role::Open),
            }
        }
        w.close();
    }
}

impl<'a> Address<'a> {
    fn read(element: ElementRef<'a>) -> Result<Self, StanzaError> {
        let bad = || StanzaError::new(Condition::BadRequest);
        let has = |name: &str| element.attr(name).is_some();
        let kind = element.attr("type").ok_or_else(bad)?;
        let role = match kind.trim() {
            "to" | "cc" => Role::Open,
            "bcc" => Role::Blind,
            "replyto" | "replyroom" | "noreply" | "ofrom" => Role::Other,
            _ => return Err(bad()),
        };
        // §4.2: a URI stands alone.
        if has("uri") && (has("jid") || has("node")) {
            return Err(bad());
        }
        // §4: through a multicast service, each has an address of either kind.
        if !has("uri") && !has("jid") && kind.trim() != "noreply" {
            return Err(bad());
        }
        let jid = element.attr("jid").map(|jid| Jid::new(&jid)).transpose();
        let jid = jid.map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        if role != Role::Other && jid.is_none() {
            return Err(StanzaError::new(Condition::JidMalformed));
        }
        let is_delivered =
            element.attr("delivered").is_some_and(|said| matches!(said.trim(), "true" | "1"));
        Ok(Self { element, role, jid, is_delivered })
    }

    /// §4.5: never who has got it already.
    fn receiver(&self) -> Option<&Jid> {
        self.jid.as_ref().filter(|_| self.role != Role::Other && !self.is_delivered)
    }

    fn write(&self, w: &mut Writer, is_delivered: bool) {
        w.open("address", NS);
        let named = self.element.attrs().filter(|a| a.prefix().is_none_or(|p| p == "xml"));
        for attribute in named.filter(|a| a.qname() != "delivered") {
            w.attr(attribute.qname(), &attribute.value());
        }
        if is_delivered || self.is_delivered {
            w.attr("delivered", "true");
        }
        for extension in self.element.children() {
            w.element(extension);
        }
        w.close();
    }
}

/// Writes where replies to a stanza of our own are to go (§4.6.4).
pub fn write_reply_to(w: &mut Writer, jid: &Jid) {
    w.open("addresses", NS);
    w.open("address", NS).attr("type", "replyto").attr("jid", jid.as_str()).close();
    w.close();
}

/// The namespace of addresses.
pub const NS: &str = "http://jabber.org/protocol/address";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn frame(inside: &str) -> Frame {
        Frame::parse_own(format!("<addresses xmlns='{NS}'>{inside}</addresses>").as_bytes())
            .unwrap()
    }

    fn refusal(inside: &str) -> Condition {
        Addresses::read(frame(inside).root()).unwrap_err().condition
    }

    fn written(inside: &str, blind: Option<&str>) -> String {
        let (frame, blind) = (frame(inside), blind.map(|jid| Jid::new(jid).unwrap()));
        let addresses = Addresses::read(frame.root()).unwrap();
        let written = Frame::build(|w| addresses.write(w, blind.as_ref()));
        String::from_utf8(written.bytes().to_vec()).unwrap()
    }

    #[test]
    fn s4_6_3_nobody_else_sees_who_gets_a_blind_copy() {
        let all = "<address type='to' jid='to@header1.example' desc='Joe &amp; Co' xml:lang='en'/>\
                   <address type='bcc' jid='bcc@header1.example'/>\
                   <address type='bcc' jid='other@header1.example'/>\
                   <address type='replyto' jid='a@header1.example'/><address type='noreply'/>";
        let around = |blind: &str| {
            format!(
                "<addresses xmlns='{NS}'><address type='to' jid='to@header1.example' \
                 desc='Joe &amp;amp; Co' xml:lang='en' delivered='true'/>{blind}\
                 <address type='replyto' jid='a@header1.example'/><address type='noreply'/>\
                 </addresses>"
            )
            .replace("&amp;amp;", "&amp;")
        };
        assert_eq!(written(all, None), around(""));
        let own = "<address type='bcc' jid='bcc@header1.example'/>";
        assert_eq!(written(all, Some("bcc@header1.example")), around(own));
    }

    #[test]
    fn s4_5_whoever_got_it_gets_it_no_more_and_nobody_twice() {
        let frame = frame(
            "<address type='to' jid='a@x.example' delivered='true'/>\
             <address type='to' jid='b@x.example'/><address type='cc' jid='B@x.example'/>\
             <address type='bcc' jid='c@x.example'/><address type='ofrom' jid='d@x.example'/>",
        );
        let addresses = Addresses::read(frame.root()).unwrap();
        let receivers: Vec<_> = addresses.receivers().iter().map(|jid| jid.as_str()).collect();
        assert_eq!(receivers, ["b@x.example", "c@x.example"]);
        assert_eq!(addresses.receivers_count(), 4);
        let is_open = |jid| addresses.is_open(&Jid::new(jid).unwrap());
        assert!(is_open("b@x.example") && !is_open("c@x.example"));
    }

    #[test]
    fn s4_7_extensions_are_passed_on() {
        let group = "<group xmlns='urn:example:g'>foo</group>";
        let address = format!("<address type='to' jid='a@x.example'>{group}</address>");
        assert!(written(&address, None).contains(group));
    }

    #[test]
    fn s9_what_is_wrong_with_an_address() {
        for malformed in [
            "<address type='to' jid='@'/>",
            "<address type='to' uri='sip:joe@example.com'/>",
            "<address type='replyto' jid='a@'/>",
        ] {
            assert_eq!(refusal(malformed), Condition::JidMalformed, "{malformed}");
        }
        for bad in [
            "",
            "<address jid='a@x.example'/>",
            "<address type='from' jid='a@x.example'/>",
            "<address type='to' desc='Foo'/>",
            "<address type='replyroom' node='n'/>",
            "<address type='to' jid='a@x.example' uri='sip:a@x.example'/>",
            "<address type='replyto' uri='sip:a@x.example' node='n'/>",
        ] {
            assert_eq!(refusal(bad), Condition::BadRequest, "{bad}");
        }
    }

    #[test]
    fn s4_6_4_replies_go_to_an_address() {
        let jid = Jid::new("juliet@capulet.example/balcony").unwrap();
        assert_eq!(
            Frame::build(|w| write_reply_to(w, &jid)).as_str(),
            format!(
                "<addresses xmlns='{NS}'><address type='replyto' \
                 jid='juliet@capulet.example/balcony'/></addresses>"
            )
        );
    }
}
