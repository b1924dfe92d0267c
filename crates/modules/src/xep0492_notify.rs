//! XEP-0492: Chat notification settings, version 0.2.0.
//!
//! What an account wishes to be told of each chat while it is away, out of its bookmarks
//! (XEP-0402).
//! Implements: §2.1, §2.2 (a device is told what its client is to tell, by what that says it is), §3 (the
//! most specific counts), §2.3 (one advanced setting: to be told when a contact comes).
//! Left out: nothing.
//! Status: complete

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stentor_engine::limits::CAPS_IDENTITY_BYTES_MAX;
use stentor_engine::{
    AccountState, BoxFuture, Chore, Engine, Heed, Host, Registrar, Resident, Slot, Wish, slots,
};
use stentor_jid::BareJid;
use stentor_store::{Stage, Write};
use stentor_xml::{ElementRef, Frame, Limits};

use crate::limits::NOTIFY_IDENTITIES_MAX;

/// What the account wishes of each chat; nothing for a chat that it has not said anything of.
#[derive(Debug, Default)]
struct Settings(BTreeMap<BareJid, Setting>);

/// What it wishes of one chat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Setting {
    /// How much of it.
    wish: Option<Wish>,
    /// How much of it applications are to tell that are this.
    by_identity: Vec<(Identity, Wish)>,
    /// Whether to be told when the contact comes.
    is_awaited: bool,
}

/// §2.2: what an application is; of any type where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    category: String,
    kind: Option<String>,
}

/// Keeps the settings in memory with the account: messages are judged while nobody is there.
#[derive(Default)]
struct Rows {
    /// Whether it has been found in the store whose coming is waited for.
    has_looked: AtomicBool,
}

/// Takes part where accounts publish.
pub(crate) fn register(r: &mut Registrar) {
    let rows = Arc::new(Rows::default());
    r.resident(rows.clone());
    r.heed(rows.clone());
    r.chore(rows);
}

impl Resident for Rows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        if rows.is_empty() {
            return slots::nothing();
        }
        let mut settings = Settings::default();
        for (chat, value) in rows {
            match (BareJid::new(&chat), Setting::read(&value)) {
                (Ok(chat), Some(setting)) => drop(settings.0.insert(chat, setting)),
                _ => {
                    tracing::error!(event = "damaged", %chat, "A stored notification setting is damaged.")
                }
            }
        }
        if settings.0.is_empty() { slots::nothing() } else { Box::new(settings) }
    }
}

impl Heed for Rows {
    fn wish(&self, chat: &BareJid, state: &AccountState) -> Option<Wish> {
        state.slots.find::<Settings>()?.0.get(chat)?.wish
    }

    fn wish_of(
        &self,
        chat: &BareJid,
        application: (&str, &str),
        state: &AccountState,
    ) -> Option<Wish> {
        state.slots.find::<Settings>()?.0.get(chat)?.wish_of(application)
    }

    fn awaits(&self, contact: &BareJid, state: &AccountState) -> bool {
        let settings = state.slots.find::<Settings>();
        settings.and_then(|s| s.0.get(contact)).is_some_and(|setting| setting.is_awaited)
    }
}

/// Whose coming is waited for stands in the store with those who wait.
impl Chore for Rows {
    fn run<'a>(&'a self, engine: &'a Arc<Engine>, _: &'a Arc<Host>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if !self.has_looked.swap(true, Ordering::AcqRel) {
                find_awaited(engine).await;
            }
        })
    }
}

async fn find_awaited(engine: &Arc<Engine>) {
    let mut after = None;
    loop {
        let page = match engine.stores.data.everyones(KIND, after.take()).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(event = "store_failed", %error, "Whose coming is waited for could not be read.");
                return;
            }
        };
        let Some((owner, row)) = page.last() else { return };
        after = Some((owner.clone(), row.key.clone()));
        for (owner, row) in page {
            let is_awaited = Setting::read(&row.value).is_some_and(|setting| setting.is_awaited);
            let contact = BareJid::new(&row.key).ok().filter(|_| is_awaited);
            let account = if contact.is_some() { engine.account(&owner).await } else { Ok(None) };
            if let (Some(contact), Ok(Some(account))) = (contact, account) {
                wait(engine, &owner, &account.lock(), &contact);
            }
        }
    }
}

/// Waits for a contact from now on. The caller holds the account's lock.
fn wait(engine: &Arc<Engine>, owner: &BareJid, state: &AccountState, contact: &BareJid) {
    let is_new = engine.awaited.add(contact, owner, engine.clock.unix_ms());
    if is_new && state.roster.item(contact).is_some_and(|item| item.to) {
        engine.probe_contact(owner, contact);
    }
}

/// Notes what a bookmark says. Another one of the same chat is replaced.
pub(crate) fn published(
    engine: &Arc<Engine>,
    owner: &BareJid,
    state: &mut AccountState,
    id: &str,
    payload: &[u8],
    stage: &mut Stage,
) {
    let Ok(chat) = BareJid::new(id) else { return };
    let conference = Frame::parse_with(payload, &Limits::OWN).ok();
    let setting = conference.map(|frame| of_bookmark(frame.root())).unwrap_or_default();
    let is_awaited = setting.is_awaited;
    note(owner, state, &chat, setting, stage);
    if is_awaited {
        wait(engine, owner, state, &chat);
    }
}

/// Notes that bookmarks are gone.
pub(crate) fn removed(
    owner: &BareJid,
    state: &mut AccountState,
    ids: &[String],
    stage: &mut Stage,
) {
    for chat in ids.iter().filter_map(|id| BareJid::new(id).ok()) {
        note(owner, state, &chat, Setting::default(), stage);
    }
}

/// Notes that all bookmarks are gone.
pub(crate) fn cleared(owner: &BareJid, state: &mut AccountState, stage: &mut Stage) {
    state.slots.put(Settings::default());
    stage.push(Write::ClearData { owner: owner.clone(), kind: KIND.into() });
}

fn note(
    owner: &BareJid,
    state: &mut AccountState,
    chat: &BareJid,
    setting: Setting,
    stage: &mut Stage,
) {
    let Settings(settings) = state.slots.entry::<Settings>();
    if settings.get(chat).unwrap_or(&Setting::default()) == &setting {
        return;
    }
    let (owner, kind, key) = (owner.clone(), KIND.into(), chat.to_string());
    stage.push(if setting == Setting::default() {
        settings.remove(chat);
        Write::RemoveData { owner, kind, key }
    } else {
        let value = setting.write();
        settings.insert(chat.clone(), setting);
        Write::PutData { owner, kind, key, value }
    });
}

impl Setting {
    /// As it is stored: its words, with a space between.
    fn write(&self) -> Vec<u8> {
        let online = self.is_awaited.then_some(ONLINE);
        let words = self.wish.map(name).into_iter().chain(online).map(str::to_owned);
        let by_identity = self.by_identity.iter();
        let by_identity = by_identity.map(|(who, wish)| format!("{}@{}", name(*wish), who.write()));
        words.chain(by_identity).collect::<Vec<_>>().join(" ").into_bytes()
    }

    fn read(value: &[u8]) -> Option<Self> {
        let mut setting = Self::default();
        for word in std::str::from_utf8(value).ok()?.split(' ') {
            match (word.split_once('@'), read(word)) {
                (Some((wish, who)), _) => {
                    setting.by_identity.push((Identity::read(who), read(wish)?))
                }
                (_, Some(wish)) => setting.wish = Some(wish),
                (_, None) if word == ONLINE => setting.is_awaited = true,
                (_, None) => return None,
            }
        }
        Some(setting)
    }

    /// §3: the most specific counts.
    fn wish_of(&self, (category, kind): (&str, &str)) -> Option<Wish> {
        let of = |wanted: Option<&str>| {
            let mut all = self.by_identity.iter();
            all.find(|(who, _)| who.category == category && who.kind.as_deref() == wanted)
        };
        of(Some(kind)).or_else(|| of(None)).map(|(_, wish)| *wish).or(self.wish)
    }
}

impl Identity {
    /// Of an element that has one, if that can be a registered one.
    fn of(setting: ElementRef<'_>) -> Option<Self> {
        let category = setting.attr("identity-category")?.into_owned();
        let kind = setting.attr("identity-type").map(|kind| kind.into_owned());
        let is_good = is_registrable(&category) && kind.as_deref().is_none_or(is_registrable);
        is_good.then_some(Self { category, kind })
    }

    fn write(&self) -> String {
        match &self.kind {
            Some(kind) => format!("{}/{kind}", self.category),
            None => self.category.clone(),
        }
    }

    fn read(text: &str) -> Self {
        match text.split_once('/') {
            Some((category, kind)) => {
                Self { category: category.to_owned(), kind: Some(kind.to_owned()) }
            }
            None => Self { category: text.to_owned(), kind: None },
        }
    }
}

fn is_registrable(word: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    !word.is_empty() && word.len() <= CAPS_IDENTITY_BYTES_MAX && word.bytes().all(is_good)
}

/// The settings in a bookmark's extensions.
fn of_bookmark(conference: ElementRef<'_>) -> Setting {
    let notify = conference.child(BOOKMARKS, "extensions").and_then(|e| e.child(NS, "notify"));
    let settings = notify.iter().flat_map(|notify| notify.children().filter(|c| c.ns() == NS));
    let mut read_setting = Setting::default();
    for (element, wish) in settings.filter_map(|c| Some((c, read(c.name())?))) {
        let has = |name: &str| element.attr(name).is_some();
        // §2.2: a type without a category says nothing.
        if has("identity-category") || has("identity-type") {
            let is_full = read_setting.by_identity.len() >= NOTIFY_IDENTITIES_MAX;
            let identity = Identity::of(element).filter(|_| !is_full);
            read_setting.by_identity.extend(identity.map(|who| (who, wish)));
        } else if read_setting.wish.is_none() {
            let advanced = element.child(NS, "advanced");
            read_setting.is_awaited =
                advanced.is_some_and(|a| a.child(NS_ADVANCED, ONLINE).is_some());
            read_setting.wish = Some(wish);
        }
    }
    read_setting
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
/// What this server knows of advanced settings (§2.3).
const NS_ADVANCED: &str = "https://stentor.im/protocol/notify";
/// To be told when the contact comes.
const ONLINE: &str = "online";
/// The kind of the rows.
const KIND: &str = "notify";

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(notify: &str) -> Setting {
        let xml = format!(
            "<conference xmlns='{BOOKMARKS}' autojoin='true'><extensions>\
             <notify xmlns='{NS}'>{notify}</notify></extensions></conference>"
        );
        of_bookmark(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn s2_1_each_setting_is_read() {
        assert_eq!(setting("<never/>").wish, Some(Wish::Never));
        assert_eq!(setting("<on-mention/>").wish, Some(Wish::OnMention));
        assert_eq!(setting("<always/>").wish, Some(Wish::Always));
        assert_eq!(setting("<sometimes/>"), Setting::default());
        assert_eq!(setting(""), Setting::default());
    }

    #[test]
    fn s2_3_of_advanced_settings_one_is_known() {
        let advanced =
            |inside: &str| setting(&format!("<always><advanced>{inside}</advanced></always>"));
        let online = "<online xmlns='https://stentor.im/protocol/notify'/>";
        assert!(advanced(online).is_awaited);
        assert!(advanced(&format!("<x xmlns='urn:example:x'/>{online}")).is_awaited);
        assert!(!advanced("<online xmlns='urn:example:x'/>").is_awaited);
        assert!(!setting("<always/>").is_awaited);
    }

    #[test]
    fn s3_the_most_specific_setting_counts() {
        let by_identity = "<never identity-category='client' identity-type='pc'/>\
            <on-mention identity-category='client' identity-type='phone'/>\
            <on-mention identity-category='gateway'/><never identity-type='web'/>\
            <never identity-category='a b'/>";
        let all = setting(&format!("{by_identity}<always/>"));
        assert_eq!((all.wish, all.by_identity.len()), (Some(Wish::Always), 3));
        for ((category, kind), wish) in [
            (("client", "pc"), Wish::Never),
            (("client", "phone"), Wish::OnMention),
            (("client", "web"), Wish::Always),
            (("gateway", "irc"), Wish::OnMention),
            (("a b", "pc"), Wish::Always),
        ] {
            assert_eq!(all.wish_of((category, kind)), Some(wish), "{category}/{kind}");
        }
        assert_eq!(setting(by_identity).wish_of(("client", "web")), None);
        assert_eq!(Setting::read(&all.write()).as_ref(), Some(&all));
        let many = "<never identity-category='client'/>".repeat(NOTIFY_IDENTITIES_MAX + 1);
        assert_eq!(setting(&many).by_identity.len(), NOTIFY_IDENTITIES_MAX);
    }

    #[test]
    fn what_is_stored_is_kept_with_the_account() {
        let mut state = AccountState::default();
        let mut stage = Stage::new();
        let owner = BareJid::new("juliet@capulet.example").unwrap();
        let room = BareJid::new("room@muc.example").unwrap();
        let setting = Setting { wish: Some(Wish::Never), is_awaited: true, ..Setting::default() };
        note(&owner, &mut state, &room, setting.clone(), &mut stage);
        note(&owner, &mut state, &room, setting, &mut stage);
        let heed = Rows::default();
        assert_eq!(heed.wish(&room, &state), Some(Wish::Never));
        let rows = stage.writes().iter().map(|write| match write {
            Write::PutData { key, value, .. } => (key.clone(), value.clone()),
            other => panic!("{other:?}"),
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), 1, "what is so already is not written again");
        let mut again = AccountState::default();
        again.slots.put(*heed.build(rows).downcast::<Settings>().unwrap());
        assert_eq!(heed.wish(&room, &again), Some(Wish::Never));
        assert!(heed.awaits(&room, &again));
        removed(&owner, &mut state, &[room.to_string()], &mut stage);
        assert_eq!(heed.wish(&room, &state), None);
    }

    #[test]
    fn what_is_stored_is_read_as_it_was_written() {
        for wish in [Wish::Always, Wish::OnMention, Wish::Never] {
            for is_awaited in [false, true] {
                let setting = Setting { wish: Some(wish), is_awaited, ..Setting::default() };
                assert_eq!(Setting::read(&setting.write()), Some(setting));
            }
        }
        assert_eq!(Setting::read(b"never").unwrap().wish, Some(Wish::Never), "as it was once");
        assert_eq!(Setting::read(b"sometimes"), None);
    }
}
