//! XEP-0059: Result Set Management, version 1.0.
//!
//! Which page of a large result is wanted, and where the page returned stands in the whole.
//! Implements: §2.1 to §2.7 as elements; what they select from is the protocol's around them.
//! Left out: nothing.

use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::limits::RSM_UID_BYTES_MAX;
use crate::{Decode, Encode};

/// The page that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// How many items at most; 0 asks only for their number (§2.7).
    pub max: Option<u32>,
    /// The item behind which the page begins.
    pub after: Option<Uid>,
    /// Where the page ends; with it pages go backwards (§2.3).
    pub before: Option<Before>,
    /// The place of the page's first item in the whole (§2.6).
    pub index: Option<u64>,
}

/// Where a page ends that is asked for backwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// At the very end (§2.5).
    End,
    /// Before this item.
    Item(Uid),
}

/// The id of an item: the protocol around says of what form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uid(pub String);

/// The page that is returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Ids of the first and the last item; none for an empty page.
    pub ends: Option<(String, String)>,
    /// The place of the first item in the whole, if that is known.
    pub first_index: Option<u64>,
    /// How many items there are in the whole, if that is known.
    pub count: Option<u64>,
}

impl Ask {
    /// The request inside a wrapper element; everything from the beginning if there is none.
    ///
    /// # Errors
    /// As for [`Ask::decode`].
    pub fn find(wrapper: ElementRef<'_>) -> Result<Self, StanzaError> {
        wrapper.child(NS, Self::NAME).map_or_else(|| Ok(Self::default()), Self::decode)
    }
}

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "set";

    /// # Errors
    /// `bad-request`: a number that is none, an element twice, an index together with an id;
    /// `item-not-found`: an id longer than any of ours.
    fn decode(set: ElementRef<'_>) -> Result<Self, StanzaError> {
        let mut ask = Self::default();
        for child in set.children().filter(|c| c.ns() == NS) {
            let text = child.text();
            let is_first = match child.name() {
                "max" => ask.max.replace(number(&text)?.try_into().unwrap_or(u32::MAX)).is_none(),
                "index" => ask.index.replace(number(&text)?).is_none(),
                // Without an id it is behind nothing: the beginning (§2.2).
                "after" if text.is_empty() => true,
                "after" => ask.after.replace(uid(&text)?).is_none(),
                "before" if text.is_empty() => ask.before.replace(Before::End).is_none(),
                "before" => ask.before.replace(Before::Item(uid(&text)?)).is_none(),
                _ => true,
            };
            if !is_first {
                return Err(BAD_REQUEST);
            }
        }
        if ask.index.is_some() && (ask.after.is_some() || ask.before.is_some()) {
            return Err(BAD_REQUEST);
        }
        Ok(ask)
    }
}

/// A number that is no longer than any sensible one counts as the largest.
fn number(text: &str) -> Result<u64, StanzaError> {
    let text = text.trim_ascii();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { Ok(text.parse().unwrap_or(u64::MAX)) } else { Err(BAD_REQUEST) }
}

fn uid(text: &str) -> Result<Uid, StanzaError> {
    if text.len() > RSM_UID_BYTES_MAX {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    Ok(Uid(text.to_owned()))
}

impl Encode for Ask {
    fn encode(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        if let Some(max) = self.max {
            w.text_element("max", NS, &max.to_string());
        }
        if let Some(index) = self.index {
            w.text_element("index", NS, &index.to_string());
        }
        if let Some(Uid(uid)) = &self.after {
            w.text_element("after", NS, uid);
        }
        match &self.before {
            None => {}
            Some(Before::End) => drop(w.leaf("before", NS)),
            Some(Before::Item(Uid(uid))) => drop(w.text_element("before", NS, uid)),
        }
        w.close();
    }
}

impl Encode for Page {
    fn encode(&self, w: &mut Writer) {
        w.open(Ask::NAME, NS);
        if let Some((first, last)) = &self.ends {
            let index = self.first_index.map(|index| index.to_string());
            w.open("first", NS).attr_opt("index", index.as_deref()).text(first).close();
            w.text_element("last", NS, last);
        }
        if let Some(count) = self.count {
            w.text_element("count", NS, &count.to_string());
        }
        w.close();
    }
}

impl Decode for Page {
    const NS: &'static str = NS;
    const NAME: &'static str = "set";

    fn decode(set: ElementRef<'_>) -> Result<Self, StanzaError> {
        let text = |name| set.child(NS, name).map(ElementRef::text);
        let first = set.child(NS, "first");
        let index = first.and_then(|f| f.attr("index"));
        let ends = match (first, text("last")) {
            (Some(first), Some(last)) => Some((first.text().into_owned(), last.into_owned())),
            (None, None) => None,
            _ => return Err(BAD_REQUEST),
        };
        Ok(Self {
            ends,
            first_index: index.map(|i| number(&i)).transpose()?,
            count: text("count").map(|c| number(&c)).transpose()?,
        })
    }
}

/// The namespace of pages.
pub const NS: &str = "http://jabber.org/protocol/rsm";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn ask(inside: &str) -> Result<Ask, StanzaError> {
        let xml = format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>");
        Ask::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    fn uid(id: &str) -> Uid {
        Uid(id.into())
    }

    #[test]
    fn reads_what_the_examples_ask() {
        let ten = Ask { max: Some(10), ..Ask::default() };
        let a = "peterpan@neverland.example";
        for (xml, expected) in [
            ("", Ask::default()),
            ("<max>10</max>", ten.clone()),
            (
                "<max>10</max><after>peterpan@neverland.example</after>",
                Ask { after: Some(uid(a)), ..ten.clone() },
            ),
            (
                "<max>10</max><before>peterpan@neverland.example</before>",
                Ask { before: Some(Before::Item(uid(a))), ..ten.clone() },
            ),
            ("<max>10</max><before/>", Ask { before: Some(Before::End), ..ten.clone() }),
            ("<max>10</max><index>371</index>", Ask { index: Some(371), ..ten.clone() }),
            ("<max>0</max>", Ask { max: Some(0), ..Ask::default() }),
            ("<max>10</max><after/>", ten),
            ("<max> 99999999999999999999999 </max>", Ask { max: Some(u32::MAX), ..Ask::default() }),
        ] {
            assert_eq!(ask(xml).as_ref(), Ok(&expected), "{xml}");
            let written = Frame::build(|w| expected.encode(w));
            assert_eq!(Ask::decode(written.root()), Ok(expected));
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for xml in [
            "<max/>",
            "<max>-1</max>",
            "<max>ten</max>",
            "<max>1</max><max>2</max>",
            "<index>x</index>",
            "<index>1</index><before/>",
            "<index>1</index><after>a</after>",
            "<before/><before>a</before>",
        ] {
            assert_eq!(ask(xml), Err(BAD_REQUEST), "{xml}");
        }
        let long = format!("<after>{}</after>", "x".repeat(RSM_UID_BYTES_MAX + 1));
        assert_eq!(ask(&long), Err(StanzaError::new(Condition::ItemNotFound)));
    }

    #[test]
    fn writes_pages_as_the_examples_do() {
        let page = |ends: Option<(&str, &str)>, first_index, count| {
            let ends = ends.map(|(f, l)| (f.to_owned(), l.to_owned()));
            let page = Page { ends, first_index, count };
            let frame = Frame::build(|w| page.encode(w));
            assert_eq!(Page::decode(frame.root()), Ok(page));
            frame.as_str().to_owned()
        };
        assert_eq!(
            page(Some(("a", "b")), Some(10), Some(800)),
            "<set xmlns='http://jabber.org/protocol/rsm'><first index='10'>a</first>\
             <last>b</last><count>800</count></set>"
        );
        assert_eq!(
            page(None, None, Some(790)),
            "<set xmlns='http://jabber.org/protocol/rsm'><count>790</count></set>"
        );
        assert_eq!(page(None, None, None), "<set xmlns='http://jabber.org/protocol/rsm'/>");
    }
}
