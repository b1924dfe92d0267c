//! XEP-0441: Message Archive Management Preferences, version 0.2.0.
//!
//! Whose messages an account wants in its archive.
//! Implements: §2.1 (reading and changing them), §2.3 (how addresses are compared).
//! Left out: §2.2, an ad-hoc command for more than that.
//! Status: complete

use stentor_engine::roster::Roster;
use stentor_engine::{IqCx, OnGet, OnSet, Resident, Slot, refuse, slots};
use stentor_jid::Jid;
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, StanzaError};
use stentor_store::Write;
use stentor_xml::{ElementRef, Frame, Writer};

use crate::limits::ARCHIVE_PREFS_JIDS_MAX;
use crate::xep0313_mam::{Archive, NS};

/// The preferences of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefs {
    /// What holds for whoever is in neither list; none where the account left it to the server.
    default: Option<Policy>,
    always: Vec<Jid>,
    never: Vec<Jid>,
}

/// What is archived of those who are in neither list (§2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// All.
    Always,
    /// Nothing.
    Never,
    /// What contacts write and are written.
    Roster,
}

impl Prefs {
    /// Whether messages to or from `peer` are archived. Somebody in both lists is in the more private
    /// one.
    pub(crate) fn wants(&self, peer: &Jid, roster: &Roster, usual: Policy) -> bool {
        if contains(&self.never, peer) {
            return false;
        }
        if contains(&self.always, peer) {
            return true;
        }
        match self.default.unwrap_or(usual) {
            Policy::Always => true,
            Policy::Never => false,
            // §2.3.1: the bare address in any case.
            Policy::Roster => roster.item(&peer.to_bare()).is_some(),
        }
    }
}

/// §2.3.1: a listed address with a resource is compared as it is, one without stands for all.
fn contains(list: &[Jid], peer: &Jid) -> bool {
    list.iter().any(|listed| {
        if listed.resource().is_some() {
            listed == peer
        } else {
            listed.as_str() == peer.bare_str()
        }
    })
}

impl Policy {
    const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::Roster => "roster",
        }
    }

    fn read(name: &str) -> Option<Self> {
        [Self::Always, Self::Never, Self::Roster].into_iter().find(|p| p.name() == name)
    }
}

/// The question for preferences.
pub(crate) struct Ask;

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "prefs";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

impl Decode for Prefs {
    const NS: &'static str = NS;
    const NAME: &'static str = "prefs";

    fn decode(prefs: ElementRef<'_>) -> Result<Self, StanzaError> {
        let default = prefs.attr("default").and_then(|name| Policy::read(&name));
        let mut left = ARCHIVE_PREFS_JIDS_MAX;
        Ok(Self {
            default: Some(default.ok_or(StanzaError::new(Condition::BadRequest))?),
            always: read_list(prefs, "always", &mut left)?,
            never: read_list(prefs, "never", &mut left)?,
        })
    }
}

fn read_list(prefs: ElementRef<'_>, name: &str, left: &mut usize) -> Result<Vec<Jid>, StanzaError> {
    // §2.1.2, §2.1.3: without the element the list is empty.
    let Some(list) = prefs.child(NS, name) else { return Ok(Vec::new()) };
    let mut jids = Vec::new();
    for item in list.children().filter(|c| c.is(NS, "jid")) {
        let jid = Jid::new(item.text().trim());
        let jid = jid.map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        *left = left.checked_sub(1).ok_or_else(|| {
            StanzaError::new(Condition::ResourceConstraint)
                .with_text(format!("The lists hold at most {ARCHIVE_PREFS_JIDS_MAX} addresses."))
        })?;
        if !jids.contains(&jid) {
            jids.push(jid);
        }
    }
    Ok(jids)
}

impl Encode for Prefs {
    fn encode(&self, w: &mut Writer) {
        w.open(<Self as Decode>::NAME, NS).attr_opt("default", self.default.map(Policy::name));
        for (name, jids) in [("always", &self.always), ("never", &self.never)] {
            w.open(name, NS);
            for jid in jids {
                w.text_element("jid", NS, jid.as_str());
            }
            w.close();
        }
        w.close();
    }
}

/// Keeps the preferences in memory with the account.
pub(crate) struct Rows;

impl Resident for Rows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        let stored = rows.into_iter().find(|(key, _)| key == KEY);
        let prefs = stored.and_then(|(_, value)| {
            let prefs = Prefs::decode(Frame::parse_own(&value).ok()?.root()).ok();
            if prefs.is_none() {
                tracing::error!(
                    event = "damaged",
                    "Stored archive preferences are damaged; the server's are used."
                );
            }
            prefs
        });
        prefs.map_or_else(slots::nothing, |prefs| Box::new(prefs))
    }
}

impl OnGet<Ask> for Archive {
    type Reply = Prefs;

    async fn get(&self, cx: &IqCx<'_>, _: Ask) -> Result<Prefs, StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        self.check_prefs()?;
        let prefs = account.lock().slots.find::<Prefs>().cloned().unwrap_or_default();
        Ok(Prefs { default: prefs.default.or(Some(self.config.default)), ..prefs })
    }
}

impl OnSet<Prefs> for Archive {
    type Reply = Prefs;

    async fn set(&self, cx: &IqCx<'_>, prefs: Prefs) -> Result<Prefs, StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        self.check_prefs()?;
        let value = Frame::build(|w| prefs.encode(w)).bytes().to_vec();
        let (kind, key) = (KIND.into(), KEY.to_owned());
        let write = Write::PutData { owner: account.jid.clone(), kind, key, value };
        let ticket = {
            let mut state = account.lock();
            state.slots.put(prefs.clone());
            cx.engine.stores.writer.submit(write)
        };
        cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))?;
        Ok(prefs)
    }
}

/// The kind of the rows.
const KIND: &str = "mam-prefs";
/// There is one row.
const KEY: &str = "";

#[cfg(test)]
mod tests {
    use stentor_engine::roster::Item;
    use stentor_jid::BareJid;

    use super::*;

    fn read(xml: &str) -> Result<Prefs, StanzaError> {
        Prefs::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn prefs(default: Policy, always: &[&str], never: &[&str]) -> Prefs {
        let list = |jids: &[&str]| jids.iter().map(|j| jid(j)).collect();
        Prefs { default: Some(default), always: list(always), never: list(never) }
    }

    #[test]
    fn s2_1_the_example_is_read_and_written() {
        let xml = "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always>\
                   <jid>romeo@montague.example</jid></always><never>\
                   <jid>montague@montague.example</jid></never></prefs>";
        let expected =
            prefs(Policy::Roster, &["romeo@montague.example"], &["montague@montague.example"]);
        assert_eq!(read(xml).as_ref(), Ok(&expected));
        assert_eq!(Frame::build(|w| expected.encode(w)).as_str(), xml);
    }

    #[test]
    fn s2_1_2_lists_that_are_missing_are_empty() {
        assert_eq!(
            read("<prefs xmlns='urn:xmpp:mam:2' default='never'/>"),
            Ok(prefs(Policy::Never, &[], &[]))
        );
    }

    #[test]
    fn s2_1_1_the_default_is_one_of_three() {
        for xml in
            ["<prefs xmlns='urn:xmpp:mam:2'/>", "<prefs xmlns='urn:xmpp:mam:2' default='x'/>"]
        {
            assert_eq!(read(xml), Err(StanzaError::new(Condition::BadRequest)), "{xml}");
        }
    }

    #[test]
    fn addresses_are_checked_and_counted() {
        let with = |jids: &str| {
            read(&format!(
                "<prefs xmlns='urn:xmpp:mam:2' default='never'><always>{jids}</always></prefs>"
            ))
        };
        assert_eq!(with("<jid>a@b@c</jid>"), Err(StanzaError::new(Condition::JidMalformed)));
        assert_eq!(with("<jid> a.example </jid><jid>A.example</jid>").unwrap().always.len(), 1);
        let many: String =
            (0..=ARCHIVE_PREFS_JIDS_MAX).map(|n| format!("<jid>{n}.example</jid>")).collect();
        assert_eq!(with(&many).unwrap_err().condition, Condition::ResourceConstraint);
    }

    #[test]
    fn s2_3_1_resources_count_only_where_they_are_listed() {
        let roster = Roster::default();
        let never = prefs(Policy::Always, &[], &["a@x.example", "b@x.example/r"]);
        let wants = |peer: &str| never.wants(&jid(peer), &roster, Policy::Never);
        assert!(!wants("a@x.example"));
        assert!(!wants("a@x.example/any"));
        assert!(!wants("b@x.example/r"));
        assert!(wants("b@x.example"));
        assert!(wants("b@x.example/other"));
    }

    #[test]
    fn the_default_decides_about_the_others() {
        let mut roster = Roster::default();
        roster.put(&BareJid::new("friend@x.example").unwrap(), Item::default());
        for (default, friend, stranger) in [
            (Policy::Always, true, true),
            (Policy::Never, false, false),
            (Policy::Roster, true, false),
        ] {
            let prefs =
                prefs(default, &["always@x.example", "both@x.example"], &["both@x.example"]);
            let wants = |peer: &str| prefs.wants(&jid(peer), &roster, Policy::Never);
            assert_eq!(wants("friend@x.example/r"), friend);
            assert_eq!(wants("stranger@x.example/r"), stranger);
            assert!(wants("always@x.example/r"));
            assert!(!wants("both@x.example/r"));
            let unset = Prefs::default();
            assert_eq!(unset.wants(&jid("stranger@x.example"), &roster, default), stranger);
        }
    }
}
