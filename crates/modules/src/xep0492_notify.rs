//! XEP-0492: Chat notification settings, version 0.2.0.
//!
//! What an account wishes to be told of each chat while it is away, out of its bookmarks
//! (XEP-0402).
//! Implements: §2.1, §3 (the setting without an identity counts for the server, which is none of the
//! user's applications).
//! Left out: §2.2 (settings by identity), which applications read for themselves; §2.3.
//! Status: complete

use std::collections::BTreeMap;
use std::sync::Arc;

use stentor_engine::{AccountState, Heed, Registrar, Resident, Slot, Wish, slots};
use stentor_jid::BareJid;
use stentor_store::{Stage, Write};
use stentor_xml::{ElementRef, Frame, Limits};

/// What the account wishes of each chat; nothing for a chat that it has not said anything of.
#[derive(Debug, Default)]
struct Wishes(BTreeMap<BareJid, Wish>);

/// Keeps the wishes in memory with the account: messages are judged while nobody is there.
struct Rows;

/// Takes part where accounts publish.
pub(crate) fn register(r: &mut Registrar) {
    r.resident(Arc::new(Rows));
    r.heed(Arc::new(Rows));
}

impl Resident for Rows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        if rows.is_empty() {
            return slots::nothing();
        }
        let mut wishes = Wishes::default();
        for (chat, value) in rows {
            let wish = std::str::from_utf8(&value).ok().and_then(read);
            match (BareJid::new(&chat), wish) {
                (Ok(chat), Some(wish)) => drop(wishes.0.insert(chat, wish)),
                _ => tracing::error!(%chat, "A stored notification setting is damaged."),
            }
        }
        if wishes.0.is_empty() { slots::nothing() } else { Box::new(wishes) }
    }
}

impl Heed for Rows {
    fn wish(&self, chat: &BareJid, state: &AccountState) -> Option<Wish> {
        state.slots.find::<Wishes>()?.0.get(chat).copied()
    }
}

/// Notes what a bookmark says. Another one of the same chat is replaced.
pub(crate) fn published(
    owner: &BareJid,
    state: &mut AccountState,
    id: &str,
    payload: &[u8],
    stage: &mut Stage,
) {
    let Ok(chat) = BareJid::new(id) else { return };
    let conference = Frame::parse_with(payload, &Limits::OWN).ok();
    let wish = conference.and_then(|frame| of_bookmark(frame.root()));
    note(owner, state, &chat, wish, stage);
}

/// Notes that bookmarks are gone.
pub(crate) fn removed(
    owner: &BareJid,
    state: &mut AccountState,
    ids: &[String],
    stage: &mut Stage,
) {
    for chat in ids.iter().filter_map(|id| BareJid::new(id).ok()) {
        note(owner, state, &chat, None, stage);
    }
}

/// Notes that all bookmarks are gone.
pub(crate) fn cleared(owner: &BareJid, state: &mut AccountState, stage: &mut Stage) {
    state.slots.put(Wishes::default());
    stage.push(Write::ClearData { owner: owner.clone(), kind: KIND.into() });
}

fn note(
    owner: &BareJid,
    state: &mut AccountState,
    chat: &BareJid,
    wish: Option<Wish>,
    stage: &mut Stage,
) {
    if state.slots.find::<Wishes>().is_none() {
        state.slots.put(Wishes::default());
    }
    let Some(Wishes(wishes)) = state.slots.find_mut::<Wishes>() else { return };
    if wishes.get(chat).copied() == wish {
        return;
    }
    let (owner, kind, key) = (owner.clone(), KIND.into(), chat.to_string());
    stage.push(if let Some(wish) = wish {
        wishes.insert(chat.clone(), wish);
        Write::PutData { owner, kind, key, value: name(wish).into() }
    } else {
        wishes.remove(chat);
        Write::RemoveData { owner, kind, key }
    });
}

/// The setting for all applications in a bookmark's extensions.
fn of_bookmark(conference: ElementRef<'_>) -> Option<Wish> {
    let extensions = conference.child(BOOKMARKS, "extensions")?;
    let notify = extensions.child(NS, "notify")?;
    let settings = notify.children().filter(|c| c.ns() == NS);
    let mut usual = settings.filter(|c| c.attr("identity-category").is_none());
    usual.find_map(|setting| read(setting.name()))
}

fn read(name: &str) -> Option<Wish> {
    match name {
        "always" => Some(Wish::Always),
        "on-mention" => Some(Wish::OnMention),
        "never" => Some(Wish::Never),
        _ => None,
    }
}

const fn name(wish: Wish) -> &'static str {
    match wish {
        Wish::Always => "always",
        Wish::OnMention => "on-mention",
        Wish::Never => "never",
    }
}

/// The node of bookmarks, and the namespace of its items (XEP-0402).
pub(crate) const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
const NS: &str = "urn:xmpp:notification-settings:1";
/// The kind of the rows.
const KIND: &str = "notify";

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(notify: &str) -> Option<Wish> {
        let xml = format!(
            "<conference xmlns='{BOOKMARKS}' autojoin='true'><extensions>\
             <notify xmlns='{NS}'>{notify}</notify></extensions></conference>"
        );
        of_bookmark(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn s2_1_each_setting_is_read() {
        assert_eq!(wish("<never/>"), Some(Wish::Never));
        assert_eq!(wish("<on-mention/>"), Some(Wish::OnMention));
        assert_eq!(wish("<always/>"), Some(Wish::Always));
        assert_eq!(wish("<sometimes/>"), None);
        assert_eq!(wish(""), None);
    }

    #[test]
    fn s3_only_the_setting_for_everybody_counts() {
        let by_identity = "<never identity-category='client' identity-type='pc'/>\
            <on-mention identity-category='client' identity-type='phone'/>";
        assert_eq!(wish(&format!("{by_identity}<always/>")), Some(Wish::Always));
        assert_eq!(wish(by_identity), None);
    }

    #[test]
    fn what_is_stored_is_kept_with_the_account() {
        let mut state = AccountState::default();
        let mut stage = Stage::new();
        let owner = BareJid::new("juliet@capulet.example").unwrap();
        let room = BareJid::new("room@muc.example").unwrap();
        let bookmark = format!(
            "<conference xmlns='{BOOKMARKS}'><extensions><notify xmlns='{NS}'><never/></notify>\
             </extensions></conference>"
        );
        published(&owner, &mut state, room.as_str(), bookmark.as_bytes(), &mut stage);
        published(&owner, &mut state, room.as_str(), bookmark.as_bytes(), &mut stage);
        assert_eq!(Rows.wish(&room, &state), Some(Wish::Never));
        let rows = stage.writes().iter().map(|write| match write {
            Write::PutData { key, value, .. } => (key.clone(), value.clone()),
            other => panic!("{other:?}"),
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), 1, "what is so already is not written again");
        let mut again = AccountState::default();
        again.slots.put(*Rows.build(rows).downcast::<Wishes>().unwrap());
        assert_eq!(Rows.wish(&room, &again), Some(Wish::Never));
        removed(&owner, &mut state, &[room.to_string()], &mut stage);
        assert_eq!(Rows.wish(&room, &state), None);
    }
}
