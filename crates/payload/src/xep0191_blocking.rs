//! XEP-0191: Blocking Command, version 1.3.
//!
//! The list of addresses that an account has blocked, and the commands that change it.
//! Implements: §3.2 to §3.5 (the elements, also in pushes).
//! Left out: nothing.

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::xep0377_reports::Report;
use crate::{Decode, Encode};

/// Asks for the list.
#[derive(Clone, Copy, Debug)]
pub struct Ask;

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist(pub Vec<Jid>);

/// Blocks addresses, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block(pub Vec<Blocked>);

/// An address to block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The address.
    pub jid: Jid,
    /// Why, for the operator (XEP-0377).
    pub report: Option<Report>,
}

/// Unblocks addresses; without any, all of them (§3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unblock(pub Vec<Jid>);

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "blocklist";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

impl Decode for Block {
    const NS: &'static str = NS;
    const NAME: &'static str = "block";

    fn decode(block: ElementRef<'_>) -> Result<Self, StanzaError> {
        let read = |item| Ok(Blocked { jid: jid_of(item)?, report: Report::find(item)? });
        let blocked = items(block).map(read).collect::<Result<Vec<_>, StanzaError>>()?;
        // §3.3.
        if blocked.is_empty() { Err(BAD_REQUEST) } else { Ok(Self(blocked)) }
    }
}

impl Decode for Unblock {
    const NS: &'static str = NS;
    const NAME: &'static str = "unblock";

    fn decode(unblock: ElementRef<'_>) -> Result<Self, StanzaError> {
        items(unblock).map(jid_of).collect::<Result<_, _>>().map(Self)
    }
}

impl Encode for Blocklist {
    fn encode(&self, w: &mut Writer) {
        write(w, "blocklist", &self.0);
    }
}

/// Writes `<block/>` or `<unblock/>` with these addresses, as pushes carry it.
pub fn write<'a>(w: &mut Writer, name: &str, jids: impl IntoIterator<Item = &'a Jid>) {
    w.open(name, NS);
    for jid in jids {
        w.open("item", NS).attr("jid", jid.as_str()).close();
    }
    w.close();
}

fn items(list: ElementRef<'_>) -> impl Iterator<Item = ElementRef<'_>> {
    list.children().filter(|c| c.is(NS, "item"))
}

fn jid_of(item: ElementRef<'_>) -> Result<Jid, StanzaError> {
    let jid = item.attr("jid").ok_or(BAD_REQUEST)?;
    Jid::new(&jid).map_err(|_| StanzaError::new(Condition::JidMalformed))
}

/// The namespace of the commands.
pub const NS: &str = "urn:xmpp:blocking";
/// The namespace of the condition `blocked` (§3.3).
pub const NS_ERRORS: &str = "urn:xmpp:blocking:errors";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn block(inside: &str) -> Result<Block, StanzaError> {
        let xml = format!("<block xmlns='urn:xmpp:blocking'>{inside}</block>");
        Block::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn s3_3_a_block_names_addresses_of_any_form() {
        let read = block("<item jid='Romeo@Montague.example'/><item jid='tybalt.example/x'/>");
        let jids: Vec<_> = read.unwrap().0.into_iter().map(|b| b.jid.to_string()).collect();
        assert_eq!(jids, ["romeo@montague.example", "tybalt.example/x"]);
    }

    #[test]
    fn s3_3_a_block_without_addresses_is_refused() {
        assert_eq!(block(""), Err(BAD_REQUEST));
        assert_eq!(block("<item/>"), Err(BAD_REQUEST));
        assert_eq!(block("<item jid='@'/>"), Err(StanzaError::new(Condition::JidMalformed)));
    }

    #[test]
    fn s3_5_an_empty_unblock_is_for_all() {
        let frame = Frame::parse(b"<unblock xmlns='urn:xmpp:blocking'/>").unwrap();
        assert_eq!(Unblock::decode(frame.root()), Ok(Unblock(Vec::new())));
    }

    #[test]
    fn s3_2_an_empty_list_is_an_empty_element() {
        let frame = Frame::build(|w| Blocklist::default().encode(w));
        assert_eq!(frame.as_str(), "<blocklist xmlns='urn:xmpp:blocking'/>");
    }
}
