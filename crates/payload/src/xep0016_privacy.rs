//! XEP-0016: Privacy Lists, version 1.7.
//!
//! Lists of rules about who may send what to an account, and how a client reads and changes them.
//! Implements: §2.1 (syntax), §2.3 to §2.8 (requests and answers).
//! Left out: nothing.

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::limits::PRIVACY_NAME_BYTES_MAX;
use crate::{Decode, Encode};

/// A list: its items in the order in which they are processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its name.
    pub name: String,
    /// Its items; a list without items is removed.
    pub items: Vec<Item>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place; no two of a list share one.
    pub order: u32,
    /// Whether what matches is denied, else it is allowed.
    pub is_denied: bool,
    /// Whom it is about.
    pub whom: Whom,
    /// Which stanzas it is about; none means all, in both directions.
    pub stanzas: Stanzas,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Everybody.
    All,
    /// An address, or all below it (§2.1).
    Jid(Jid),
    /// The contacts of a group.
    Group(String),
    /// Those with exactly this subscription.
    Subscription(Subscribed),
}

/// A subscription as rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// In both directions.
    Both,
    /// The owner sees the contact.
    To,
    /// The contact sees the owner.
    From,
    /// None, also of those who are no contacts.
    None,
}

/// The kinds of stanzas that a rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stanzas {
    /// Messages to the owner.
    pub message: bool,
    /// Requests to the owner.
    pub iq: bool,
    /// Presence for the owner.
    pub presence_in: bool,
    /// The owner's presence.
    pub presence_out: bool,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The names of all lists.
    Names,
    /// One list.
    List(String),
}

/// What a client changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The list of this session; none to decline.
    Active(Option<String>),
    /// The list of the account; none to decline.
    Default(Option<String>),
    /// A list is added, replaced, or, without items, removed.
    List(List),
}

/// The answer to [`Ask::Names`] (§2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The list of this session.
    pub active: Option<String>,
    /// The list of the account.
    pub default: Option<String>,
    /// All lists.
    pub lists: Vec<String>,
}

impl Item {
    /// Whether it blocks all that comes from and goes to one address: what XEP-0191 calls blocked.
    #[must_use]
    pub fn blocked(&self) -> Option<&Jid> {
        match &self.whom {
            Whom::Jid(jid) if self.is_denied && self.stanzas.is_all() => Some(jid),
            _ => None,
        }
    }
}

impl Stanzas {
    /// Whether no kind is named, which means all.
    #[must_use]
    pub fn is_all(self) -> bool {
        self == Self::default()
    }
}

impl Subscribed {
    const ALL: [Self; 4] = [Self::Both, Self::To, Self::From, Self::None];

    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::To => "to",
            Self::From => "from",
            Self::None => "none",
        }
    }
}

impl List {
    /// Reads a list of which order and addresses are checked.
    ///
    /// # Errors
    /// `bad-request`: no name, a rule that is none, or two in one place. `jid-malformed`.
    pub fn read(list: ElementRef<'_>) -> Result<Self, StanzaError> {
        let name = name_of(list)?.filter(|n| !n.is_empty()).ok_or(BAD_REQUEST)?;
        let rules = list.children().filter(|c| c.is(NS, "item"));
        let mut items = rules.map(read_item).collect::<Result<Vec<_>, _>>()?;
        items.sort_by_key(|i| i.order);
        if items.windows(2).any(|pair| pair[0].order == pair[1].order) {
            return Err(BAD_REQUEST);
        }
        Ok(Self { name, items })
    }

    /// Writes the list with its items.
    pub fn write(&self, w: &mut Writer) {
        w.open("list", NS).attr("name", &self.name);
        for item in &self.items {
            write_item(item, w);
        }
        w.close();
    }
}

fn name_of(element: ElementRef<'_>) -> Result<Option<String>, StanzaError> {
    let name = element.attr("name");
    if name.as_ref().is_some_and(|n| n.len() > PRIVACY_NAME_BYTES_MAX) {
        return Err(BAD_REQUEST);
    }
    Ok(name.map(std::borrow::Cow::into_owned))
}

fn read_item(item: ElementRef<'_>) -> Result<Item, StanzaError> {
    let is_denied = match item.attr("action").as_deref() {
        Some("allow") => false,
        Some("deny") => true,
        _ => return Err(BAD_REQUEST),
    };
    let order = item.attr("order").and_then(|o| o.parse().ok()).ok_or(BAD_REQUEST)?;
    let value = item.attr("value");
    let value = || value.as_deref().filter(|v| !v.is_empty()).ok_or(BAD_REQUEST);
    let whom = match item.attr("type").as_deref() {
        None => Whom::All,
        Some("jid") => {
            let jid = Jid::new(value()?);
            Whom::Jid(jid.map_err(|_| StanzaError::new(Condition::JidMalformed))?)
        }
        Some("group") => Whom::Group(value()?.to_owned()),
        Some("subscription") => {
            let value = value()?;
            let known = Subscribed::ALL.into_iter().find(|s| s.name() == value);
            Whom::Subscription(known.ok_or(BAD_REQUEST)?)
        }
        Some(_) => return Err(BAD_REQUEST),
    };
    let has = |name| item.child(NS, name).is_some();
    let stanzas = Stanzas {
        message: has("message"),
        iq: has("iq"),
        presence_in: has("presence-in"),
        presence_out: has("presence-out"),
    };
    Ok(Item { order, is_denied, whom, stanzas })
}

fn write_item(item: &Item, w: &mut Writer) {
    w.open("item", NS);
    match &item.whom {
        Whom::All => {}
        Whom::Jid(jid) => {
            w.attr("type", "jid").attr("value", jid.as_str());
        }
        Whom::Group(group) => {
            w.attr("type", "group").attr("value", group);
        }
        Whom::Subscription(subscribed) => {
            w.attr("type", "subscription").attr("value", subscribed.name());
        }
    }
    w.attr("action", if item.is_denied { "deny" } else { "allow" });
    w.attr("order", &item.order.to_string());
    let Stanzas { message, iq, presence_in, presence_out } = item.stanzas;
    for (name, is_named) in [
        ("message", message),
        ("presence-in", presence_in),
        ("presence-out", presence_out),
        ("iq", iq),
    ] {
        if is_named {
            w.leaf(name, NS);
        }
    }
    w.close();
}

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        let mut children = query.children();
        match (children.next(), children.next()) {
            (None, _) => Ok(Self::Names),
            (Some(list), None) if list.is(NS, "list") => {
                Ok(Self::List(name_of(list)?.ok_or(BAD_REQUEST)?))
            }
            // §2.3: one list at a time.
            _ => Err(BAD_REQUEST),
        }
    }
}

impl Decode for Change {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        let mut children = query.children();
        // §2.1: no more than one.
        let (Some(child), None) = (children.next(), children.next()) else {
            return Err(BAD_REQUEST);
        };
        match child.name() {
            _ if child.ns() != NS => Err(BAD_REQUEST),
            "active" => Ok(Self::Active(name_of(child)?)),
            "default" => Ok(Self::Default(name_of(child)?)),
            "list" => Ok(Self::List(List::read(child)?)),
            _ => Err(BAD_REQUEST),
        }
    }
}

impl Encode for Change {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS);
        match self {
            Self::Active(name) => w.open("active", NS).attr_opt("name", name.as_deref()).close(),
            Self::Default(name) => w.open("default", NS).attr_opt("name", name.as_deref()).close(),
            Self::List(list) => {
                list.write(w);
                w
            }
        }
        .close();
    }
}

impl Encode for Names {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS);
        for (element, name) in [("active", &self.active), ("default", &self.default)] {
            if let Some(name) = name {
                w.open(element, NS).attr("name", name).close();
            }
        }
        for name in &self.lists {
            w.open("list", NS).attr("name", name).close();
        }
        w.close();
    }
}

/// Writes the push that says that a list changed (§2.6).
pub fn write_push(w: &mut Writer, name: &str) {
    w.open("query", NS).open("list", NS).attr("name", name).close().close();
}

/// The answer to [`Ask::List`].
impl Encode for List {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS);
        self.write(w);
        w.close();
    }
}

/// The namespace of privacy lists.
pub const NS: &str = "jabber:iq:privacy";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn change(inside: &str) -> Result<Change, StanzaError> {
        let xml = format!("<query xmlns='jabber:iq:privacy'>{inside}</query>");
        Change::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    fn ask(inside: &str) -> Result<Ask, StanzaError> {
        let xml = format!("<query xmlns='jabber:iq:privacy'>{inside}</query>");
        Ask::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn s2_6_a_list_is_read_in_its_order_and_written_again() {
        let read = change(
            "<list name='public'><item action='allow' order='68'/>\
             <item type='jid' value='Tybalt@Example.com' action='deny' order='3'/>\
             <item type='group' value='Enemies' action='deny' order='5'><message/><iq/></item>\
             <item type='subscription' value='none' action='deny' order='4'>\
             <presence-in/><presence-out/></item></list>",
        )
        .unwrap();
        let Change::List(list) = &read else { panic!("{read:?}") };
        assert_eq!(list.items.iter().map(|i| i.order).collect::<Vec<_>>(), [3, 4, 5, 68]);
        assert_eq!(list.items[0].blocked().unwrap().as_str(), "tybalt@example.com");
        assert_eq!(list.items[2].blocked(), None);
        let frame = Frame::build(|w| read.encode(w));
        assert_eq!(Change::decode(frame.root()), Ok(read));
    }

    #[test]
    fn s2_4_s2_5_names_may_be_left_out_to_decline() {
        assert_eq!(change("<active name='special'/>"), Ok(Change::Active(Some("special".into()))));
        assert_eq!(change("<active/>"), Ok(Change::Active(None)));
        assert_eq!(change("<default/>"), Ok(Change::Default(None)));
    }

    #[test]
    fn s2_3_one_list_at_a_time() {
        assert_eq!(ask(""), Ok(Ask::Names));
        assert_eq!(ask("<list name='public'/>"), Ok(Ask::List("public".into())));
        assert_eq!(ask("<list name='a'/><list name='b'/>"), Err(BAD_REQUEST));
        assert_eq!(ask("<list/>"), Err(BAD_REQUEST));
        assert_eq!(ask("<active/>"), Err(BAD_REQUEST));
    }

    #[test]
    fn what_is_no_change_is_refused() {
        let item = |attributes: &str| format!("<list name='a'><item {attributes}/></list>");
        for inside in [
            String::new(),
            "<active/><default/>".to_owned(),
            "<list name='a'/><list name='b'/>".to_owned(),
            "<list/>".to_owned(),
            "<list name=''/>".to_owned(),
            format!("<list name='{}'/>", "x".repeat(PRIVACY_NAME_BYTES_MAX + 1)),
            "<list xmlns='urn:example:x' name='a'/>".to_owned(),
            "<odd/>".to_owned(),
            item("order='1'"),
            item("action='block' order='1'"),
            item("action='deny'"),
            item("action='deny' order='-1'"),
            item("action='deny' order='4294967296'"),
            item("action='deny' order='1' type='jid'"),
            item("action='deny' order='1' type='group' value=''"),
            item("action='deny' order='1' type='subscription' value='all'"),
            item("action='deny' order='1' type='odd' value='a'"),
            "<list name='a'><item action='deny' order='1'/><item action='allow' order='1'/></list>"
                .to_owned(),
        ] {
            assert_eq!(change(&inside), Err(BAD_REQUEST), "{inside}");
        }
        let malformed = change(&item("action='deny' order='1' type='jid' value='@'"));
        assert_eq!(malformed, Err(StanzaError::new(Condition::JidMalformed)));
    }

    #[test]
    fn s2_3_names_of_lists_are_written_with_those_in_use_first() {
        let names = Names {
            active: Some("private".into()),
            default: None,
            lists: vec!["private".into(), "public".into()],
        };
        assert_eq!(
            Frame::build(|w| names.encode(w)).as_str(),
            "<query xmlns='jabber:iq:privacy'><active name='private'/><list name='private'/>\
             <list name='public'/></query>"
        );
    }
}
