//! The rules of one account: its privacy lists, indexed, and what they say about a stanza.
//!
//! Blocked addresses are rules of the default list (XEP-0191 §5): one set of rules serves both
//! protocols.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use stentor_engine::roster::{Item as Contact, Roster};
use stentor_jid::Jid;
use stentor_payload::xep0016_privacy::{Item, List, Stanzas, Subscribed, Whom};
use stentor_store::Write;
use stentor_xml::Frame;

/// The rules of one account. In memory whenever the account is.
#[derive(Default)]
pub(crate) struct Rules {
    lists: BTreeMap<String, Indexed>,
    default: Option<String>,
}

/// What a stanza is to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message to the owner.
    Message,
    /// An IQ to the owner.
    Iq,
    /// Presence, not a subscription, to the owner.
    PresenceIn,
    /// Presence, not a subscription, of the owner.
    PresenceOut,
    /// Everything else in both directions: only rules without kinds speak of it.
    Other,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It may pass.
    Allowed,
    /// The address is blocked (XEP-0191).
    Blocked,
    /// A rule of another kind denies it.
    Denied,
}

/// A row that differs from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// The list of this name.
    List(String),
    /// Which list is the default.
    Default,
}

/// A list that is searched by address.
struct Indexed {
    list: List,
    /// Places of the rules about an address, by its text.
    by_jid: HashMap<Box<str>, Vec<usize>>,
    /// Places of all other rules.
    others: Vec<usize>,
}

impl Rules {
    /// Reads the rows of the store. A row that cannot be read is left out.
    pub(super) fn read(rows: Vec<(String, Vec<u8>)>) -> Self {
        let mut rules = Self::default();
        for (key, value) in rows {
            if key == KEY_DEFAULT {
                rules.default = String::from_utf8(value).ok();
                continue;
            }
            let frame = Frame::parse_own(&value).ok();
            match frame.and_then(|frame| List::read(frame.root()).ok()) {
                Some(list) => {
                    rules.lists.insert(list.name.clone(), Indexed::new(list));
                }
                None => {
                    tracing::error!(event = "damaged", key, "A stored privacy list is damaged.")
                }
            }
        }
        rules.default = rules.default.filter(|name| rules.lists.contains_key(name));
        rules
    }

    /// The write that brings a row of the store in step.
    pub(super) fn write(&self, owner: &stentor_jid::BareJid, row: &Row) -> Write {
        let (key, value) = match row {
            Row::Default => (KEY_DEFAULT.to_owned(), self.default.clone().map(String::into_bytes)),
            Row::List(name) => {
                let write = |list: &List| Frame::build(|w| list.write(w)).bytes().to_vec();
                (format!("{KEY_LIST}{name}"), self.lists.get(name).map(|i| write(&i.list)))
            }
        };
        let owner = owner.clone();
        match value {
            Some(value) => Write::PutData { owner, kind: KIND.into(), key, value },
            None => Write::RemoveData { owner, kind: KIND.into(), key },
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// What the rules say about a stanza between the owner and `peer`. `active` is the list of the
    /// session concerned, if it chose one; the default list then has no say (XEP-0016 §2.2).
    pub(super) fn ruling(
        &self,
        kind: Kind,
        peer: &Jid,
        roster: &Roster,
        active: Option<&str>,
    ) -> Ruling {
        let name = match active.filter(|name| self.lists.contains_key(*name)) {
            Some(name) => Some(name),
            None => self.default.as_deref(),
        };
        let Some(list) = name.and_then(|name| self.lists.get(name)) else { return Ruling::Allowed };
        match list.find(kind, peer, roster) {
            Some(item) if item.is_denied => {
                let is_blocked = item.blocked().is_some() && name == self.default.as_deref();
                if is_blocked { Ruling::Blocked } else { Ruling::Denied }
            }
            // XEP-0016 §2.2: what no rule matches may pass.
            _ => Ruling::Allowed,
        }
    }

    /// The names of all lists, and that of the default one.
    pub(crate) fn names(&self) -> (Vec<String>, Option<String>) {
        (self.lists.keys().cloned().collect(), self.default.clone())
    }

    /// How many lists there are.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The name of the default list.
    pub(crate) fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// The list of this name.
    pub(crate) fn list(&self, name: &str) -> Option<&List> {
        self.lists.get(name).map(|indexed| &indexed.list)
    }

    /// The blocked addresses: rules of the default list (XEP-0191 §5).
    pub(crate) fn blocked(&self) -> Vec<Jid> {
        let list = self.default.as_deref().and_then(|name| self.list(name));
        list.map_or_else(Vec::new, |l| l.items.iter().filter_map(Item::blocked).cloned().collect())
    }

    /// The full addresses that rules name.
    pub(crate) fn full_addresses(&self) -> impl Iterator<Item = &Jid> {
        let items = self.lists.values().flat_map(|indexed| &indexed.list.items);
        items.filter_map(|item| match &item.whom {
            Whom::Jid(jid) if jid.is_full() => Some(jid),
            _ => None,
        })
    }

    /// Adds or replaces a list.
    pub(crate) fn put(&mut self, list: List) -> Row {
        let row = Row::List(list.name.clone());
        self.lists.insert(list.name.clone(), Indexed::new(list));
        row
    }

    /// Removes a list, also where it is the default.
    pub(crate) fn remove(&mut self, name: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        if self.lists.remove(name).is_some() {
            rows.push(Row::List(name.to_owned()));
        }
        if self.default.as_deref() == Some(name) {
            self.default = None;
            rows.push(Row::Default);
        }
        rows
    }

    /// Makes a list the default, or none.
    pub(crate) fn set_default(&mut self, name: Option<String>) -> Row {
        self.default = name;
        Row::Default
    }

    /// Blocks addresses. They come first in the default list, which is made if there is none.
    pub(super) fn block<'a>(&mut self, jids: impl IntoIterator<Item = &'a Jid>) -> Vec<Row> {
        let mut rows = Vec::new();
        let name = self.default.clone().unwrap_or_else(|| {
            rows.push(Row::Default);
            self.free_name()
        });
        self.default = Some(name.clone());
        let mut items = self.list(&name).map_or_else(Vec::new, |list| list.items.clone());
        let known: HashSet<Jid> = items.iter().filter_map(Item::blocked).cloned().collect();
        let mut blocked = items.iter().take_while(|i| i.blocked().is_some()).count();
        for jid in jids {
            if known.contains(jid) {
                continue;
            }
            let whom = Whom::Jid(jid.clone());
            let item = Item { order: 0, is_denied: true, whom, stanzas: Stanzas::default() };
            items.insert(blocked, item);
            blocked += 1;
        }
        renumber(&mut items, blocked);
        rows.push(self.put(List { name, items }));
        rows
    }

    /// Unblocks addresses, or all. A list that was only for them goes with the last.
    pub(super) fn unblock(&mut self, jids: Option<&[Jid]>) -> Vec<Row> {
        let Some(name) = self.default.clone() else { return Vec::new() };
        let Some(list) = self.list(&name) else { return Vec::new() };
        let jids: Option<HashSet<&Jid>> = jids.map(|jids| jids.iter().collect());
        let is_kept = |item: &&Item| match (item.blocked(), &jids) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(blocked), Some(jids)) => !jids.contains(blocked),
        };
        let items: Vec<Item> = list.items.iter().filter(is_kept).cloned().collect();
        match items.len() {
            kept if kept == list.items.len() => Vec::new(),
            0 => self.remove(&name),
            _ => vec![self.put(List { name, items })],
        }
    }

    fn free_name(&self) -> String {
        let names = std::iter::once(NAME_BLOCKED.to_owned())
            .chain((2_u32..).map(|n| format!("{NAME_BLOCKED} {n}")));
        let mut free = names.filter(|name| !self.lists.contains_key(name));
        free.next().unwrap_or_default()
    }
}

/// Gives the first `blocked` rules the lowest places, and moves the others only if they must.
fn renumber(items: &mut [Item], blocked: usize) {
    let has_room = |item: &Item| usize::try_from(item.order).is_ok_and(|order| order > blocked);
    let up_to = if items.get(blocked).is_none_or(has_room) { blocked } else { items.len() };
    for (order, item) in (1..).zip(&mut items[..up_to]) {
        item.order = order;
    }
}

impl Indexed {
    fn new(list: List) -> Self {
        let mut by_jid: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut others = Vec::new();
        for (place, item) in list.items.iter().enumerate() {
            match &item.whom {
                Whom::Jid(jid) => by_jid.entry(jid.as_str().into()).or_default().push(place),
                _ => others.push(place),
            }
        }
        Self { list, by_jid, others }
    }

    /// The first rule that matches.
    fn find(&self, kind: Kind, peer: &Jid, roster: &Roster) -> Option<&Item> {
        let contact = roster.item(&peer.to_bare());
        let item = |place: &usize| self.list.items.get(*place);
        let speaks = |place: &&usize| item(place).is_some_and(|i| kind.is_named_by(i.stanzas));
        let first_of = |places: &[usize]| places.iter().find(speaks).copied();
        let by_jid = forms(peer).filter_map(|form| first_of(self.by_jid.get(&*form)?));
        let fits =
            |place: &&usize| item(place).is_some_and(|i| fits(&i.whom, contact)) && speaks(place);
        let other = self.others.iter().find(fits).copied();
        by_jid.chain(other).min().and_then(|place| self.list.items.get(place))
    }
}

/// What a rule about an address can say that matches this one (XEP-0016 §2.1).
fn forms(peer: &Jid) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    let of_domain = peer.resource().map(|resource| format!("{}/{resource}", peer.domain()).into());
    let forms = [Some(peer.as_str().into()), Some(peer.bare_str().into()), of_domain];
    forms.into_iter().flatten().chain(std::iter::once(peer.domain().into()))
}

fn fits(whom: &Whom, contact: Option<&Contact>) -> bool {
    match whom {
        Whom::All => true,
        // Found by the index.
        Whom::Jid(_) => false,
        Whom::Group(group) => contact.is_some_and(|c| c.groups.iter().any(|g| **g == **group)),
        Whom::Subscription(subscribed) => {
            let (to, from) = contact.map_or((false, false), |c| (c.to, c.from));
            *subscribed
                == match (to, from) {
                    (true, true) => Subscribed::Both,
                    (true, false) => Subscribed::To,
                    (false, true) => Subscribed::From,
                    (false, false) => Subscribed::None,
                }
        }
    }
}

impl Kind {
    fn is_named_by(self, stanzas: Stanzas) -> bool {
        stanzas.is_all()
            || match self {
                Self::Message => stanzas.message,
                Self::Iq => stanzas.iq,
                Self::PresenceIn => stanzas.presence_in,
                Self::PresenceOut => stanzas.presence_out,
                Self::Other => false,
            }
    }
}

/// The kind of the rows.
pub(super) const KIND: &str = "privacy";
const KEY_DEFAULT: &str = "default";
const KEY_LIST: &str = "list:";
/// The name of the list that is made for blocked addresses.
const NAME_BLOCKED: &str = "blocked";

#[cfg(test)]
mod tests {
    use stentor_jid::BareJid;
    use stentor_payload::xep0016_privacy::NS;

    use super::*;

    fn rules(items: &str) -> Rules {
        let xml = format!("<list xmlns='{NS}' name='public'>{items}</list>");
        let list = List::read(Frame::parse(xml.as_bytes()).unwrap().root()).unwrap();
        let mut rules = Rules::default();
        rules.put(list);
        rules.set_default(Some("public".into()));
        rules
    }

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn roster() -> Roster {
        let mut roster = Roster::default();
        for (name, to, from, group) in [
            ("both", true, true, "Friends"),
            ("to", true, false, "Enemies"),
            ("from", false, true, ""),
            ("none", false, false, ""),
        ] {
            let groups = [group].into_iter().filter(|g| !g.is_empty()).map(Box::from).collect();
            let jid = BareJid::new(&format!("{name}@capulet.example")).unwrap();
            roster.put(&jid, Contact { to, from, groups, ..Contact::new() });
        }
        roster
    }

    fn is_allowed(rules: &Rules, kind: Kind, peer: &str) -> bool {
        rules.ruling(kind, &jid(peer), &roster(), None) == Ruling::Allowed
    }

    const KINDS: [Kind; 5] =
        [Kind::Message, Kind::Iq, Kind::PresenceIn, Kind::PresenceOut, Kind::Other];

    #[test]
    fn s6_addresses_match_all_that_is_below_them() {
        // Rule, and who it is about among these.
        let peers = ["a@b.example/c", "a@b.example", "b.example/c", "b.example", "d@b.example/e"];
        for (rule, expected) in [
            ("a@b.example/c", [true, false, false, false, false]),
            ("a@b.example", [true, true, false, false, false]),
            ("b.example/c", [true, false, true, false, false]),
            ("b.example", [true, true, true, true, true]),
            ("c.b.example", [false; 5]),
        ] {
            let rules =
                rules(&format!("<item type='jid' value='{rule}' action='deny' order='1'/>"));
            let denied = peers.map(|peer| !is_allowed(&rules, Kind::Message, peer));
            assert_eq!(denied, expected, "{rule}");
        }
    }

    #[test]
    fn s2_9_to_s2_13_rules_speak_of_the_kinds_that_they_name() {
        for (inside, named) in [
            ("<message/>", vec![Kind::Message]),
            ("<iq/>", vec![Kind::Iq]),
            ("<presence-in/>", vec![Kind::PresenceIn]),
            ("<presence-out/>", vec![Kind::PresenceOut]),
            ("<message/><iq/>", vec![Kind::Message, Kind::Iq]),
            ("", KINDS.to_vec()),
        ] {
            let rules = rules(&format!("<item action='deny' order='1'>{inside}</item>"));
            for kind in KINDS {
                assert_eq!(is_allowed(&rules, kind, "a@b.example"), !named.contains(&kind));
            }
        }
    }

    #[test]
    fn s2_1_subscriptions_match_exactly_and_strangers_have_none() {
        for (value, expected) in [
            ("both", [true, false, false, false, false]),
            ("to", [false, true, false, false, false]),
            ("from", [false, false, true, false, false]),
            ("none", [false, false, false, true, true]),
        ] {
            let rules = rules(&format!(
                "<item type='subscription' value='{value}' action='deny' order='1'/>"
            ));
            let denied = ["both", "to", "from", "none", "stranger"]
                .map(|name| !is_allowed(&rules, Kind::Iq, &format!("{name}@capulet.example/r")));
            assert_eq!(denied, expected, "{value}");
        }
    }

    #[test]
    fn s2_1_groups_are_those_of_the_roster() {
        let rules = rules("<item type='group' value='Enemies' action='deny' order='1'/>");
        assert!(!is_allowed(&rules, Kind::Message, "to@capulet.example/r"));
        assert!(is_allowed(&rules, Kind::Message, "both@capulet.example/r"));
        assert!(is_allowed(&rules, Kind::Message, "stranger@capulet.example/r"));
    }

    #[test]
    fn s2_2_the_first_rule_in_order_decides_and_without_one_all_may_pass() {
        let rules = rules(
            "<item action='deny' order='9'/>\
             <item type='jid' value='a@b.example' action='allow' order='5'/>\
             <item type='jid' value='b.example' action='deny' order='3'><iq/></item>",
        );
        assert!(is_allowed(&rules, Kind::Message, "a@b.example/c"));
        assert!(!is_allowed(&rules, Kind::Iq, "a@b.example/c"));
        assert!(!is_allowed(&rules, Kind::Message, "c@b.example"));
        assert!(is_allowed(&Rules::default(), Kind::Message, "c@b.example"));
    }

    #[test]
    fn s2_2_the_list_of_a_session_stands_in_for_the_default_list() {
        let mut rules = rules("<item action='deny' order='1'/>");
        rules.put(List { name: "open".into(), items: Vec::new() });
        let ruling = |active| rules.ruling(Kind::Message, &jid("a@b.example"), &roster(), active);
        assert_eq!(ruling(None), Ruling::Denied);
        assert_eq!(ruling(Some("open")), Ruling::Allowed);
        // One that was removed meanwhile.
        assert_eq!(ruling(Some("gone")), Ruling::Denied);
    }

    #[test]
    fn s5_blocked_addresses_are_the_first_rules_of_the_default_list() {
        let mut rules = rules(
            "<item type='jid' value='a@b.example' action='allow' order='1'/>\
             <item action='deny' order='7'><iq/></item>",
        );
        assert_eq!(
            rules.block(&[jid("a@b.example"), jid("b.example")]),
            [Row::List("public".into())]
        );
        let orders = |rules: &Rules| -> Vec<u32> {
            rules.list("public").unwrap().items.iter().map(|i| i.order).collect()
        };
        assert_eq!(orders(&rules), [1, 2, 3, 4]);
        assert_eq!(rules.blocked(), [jid("a@b.example"), jid("b.example")]);
        assert_eq!(
            rules.ruling(Kind::Message, &jid("a@b.example/c"), &roster(), None),
            Ruling::Blocked
        );
        // What is blocked already stays where it is.
        rules.block(&[jid("a@b.example")]);
        assert_eq!(rules.blocked().len(), 2);
        rules.unblock(Some(&[jid("a@b.example"), jid("unknown.example")]));
        assert_eq!(rules.blocked(), [jid("b.example")]);
        assert_eq!(rules.unblock(None), [Row::List("public".into())]);
        assert_eq!(rules.list("public").unwrap().items.len(), 2);
        assert_eq!(rules.unblock(None), []);
    }

    #[test]
    fn s5_the_list_of_blocked_addresses_comes_and_goes_with_them() {
        let mut rules = Rules::default();
        rules.put(List { name: "blocked".into(), items: Vec::new() });
        let rows = rules.block(&[jid("b.example")]);
        assert_eq!(rows, [Row::Default, Row::List("blocked 2".into())]);
        assert_eq!(rules.default_name(), Some("blocked 2"));
        let rows = rules.unblock(Some(&[jid("b.example")]));
        assert_eq!(rows, [Row::List("blocked 2".into()), Row::Default]);
        assert_eq!(rules.default_name(), None);
    }

    #[test]
    fn other_rules_keep_their_places_while_there_is_room() {
        let mut rules = rules("<item action='allow' order='2'/>");
        rules.block(&[jid("b.example")]);
        let items = &rules.list("public").unwrap().items;
        assert_eq!(items.iter().map(|i| i.order).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn rows_are_read_as_they_were_written_and_damaged_ones_left_out() {
        let owner = BareJid::new("juliet@capulet.example").unwrap();
        let mut rules = Rules::default();
        rules.block(&[jid("b.example"), jid("a@c.example/'<d>'")]);
        let row = |row| match rules.write(&owner, &row) {
            Write::PutData { key, value, .. } => (key, value),
            other => panic!("{other:?}"),
        };
        let rows = vec![
            row(Row::Default),
            row(Row::List("blocked".into())),
            ("list:odd".into(), b"<list".to_vec()),
        ];
        let again = Rules::read(rows);
        assert_eq!(again.blocked(), rules.blocked());
        assert_eq!(again.len(), 1);
    }
}
