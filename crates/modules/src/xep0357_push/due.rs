//! What devices are still to be told, and how much their user has not seen. It is written with the
//! messages that it tells of: a server that is killed tells it when it starts again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stentor_engine::worth::is_encryption;
use stentor_engine::{Resident, Slot, slots};
use stentor_jid::BareJid;
use stentor_payload::xep0357_push::{Summary, Urgency, Weight};
use stentor_stanza::Stanza;
use stentor_store::{Stage, Write};
use stentor_xml::ns;

use super::choice::Told;
use super::config::Config;
use crate::limits::{PUSH_BODY_CHARS_MAX, PUSH_CALL_SECS, millis};

/// What is due of one account, by the keys of its registrations.
#[derive(Debug, Default)]
pub(super) struct Dues {
    by_key: BTreeMap<String, Due>,
    /// What will be due to them unless somebody acknowledges it in time: their rows say it already.
    foreseen: BTreeMap<String, Notice>,
    /// How often somebody has looked.
    looks: u64,
}

/// What is due to one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Due {
    /// Messages that nobody has seen.
    pub(super) unseen: u32,
    /// What it has not been told.
    pub(super) notice: Option<Notice>,
}

/// What a device is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    /// What for.
    pub(super) kind: Kind,
    /// When that happened, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// How many messages it stands for.
    count: u32,
    sender: Option<String>,
    body: Option<String>,
    /// What the log calls it.
    #[serde(default)]
    pub(super) mark: String,
    /// Whether it is told at any time: the user wants to hear of that chat always.
    #[serde(default)]
    pub(super) passes: bool,
    /// The keys of registrations that are not told: their clients are to tell less of that chat.
    #[serde(skip)]
    pub(super) deaf: Vec<String>,
}

/// What a device is told for. Of several the last one here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// What was told already looks different now.
    Quiet,
    /// A contact is there again.
    Online,
    /// Somebody asks for a subscription.
    Request,
    /// Something was said in a room.
    Room,
    /// A message came.
    Message,
    /// A message came that speaks of the user.
    Mention,
    /// Somebody calls.
    Call,
}

impl Kind {
    /// Whether it is sent however much has been sent.
    pub(super) const fn is_urgent(self) -> bool {
        matches!(self, Self::Mention | Self::Call)
    }

    /// How urgent it is: high where a person waits, low where nobody is to be woken.
    pub(super) const fn urgency(self) -> Urgency {
        match self {
            Self::Quiet | Self::Online => Urgency::Low,
            Self::Request | Self::Room => Urgency::Medium,
            Self::Message | Self::Mention | Self::Call => Urgency::High,
        }
    }

    /// Its word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Online => "online",
            Self::Request => "request",
            Self::Room => "room",
            Self::Message => "message",
            Self::Mention => "mention",
            Self::Call => "call",
        }
    }

    const fn is_message(self) -> bool {
        matches!(self, Self::Room | Self::Message | Self::Mention)
    }
}

impl Notice {
    pub(super) fn of(message: &Stanza, kind: Kind, now_ms: i64, config: &Config) -> Self {
        let sender = message.head.from.as_ref().map(ToString::to_string);
        let is_hidden =
            message.children().any(|c| is_encryption(c.ns()) || c.is(NS_SPOILER, "spoiler"));
        let body = message.child(ns::CLIENT, "body").filter(|_| config.with_body && !is_hidden);
        let body = body.map(|body| first_line(&body.text())).filter(|body| !body.is_empty());
        Self {
            sender: sender.filter(|_| config.with_sender && kind != Kind::Quiet),
            body: body.or_else(|| stand_in(config)).filter(|_| kind != Kind::Quiet),
            kind,
            at_ms: now_ms,
            count: u32::from(kind.is_message()),
            mark: String::new(),
            passes: false,
            deaf: Vec::new(),
        }
    }

    /// Somebody asks for a subscription.
    pub(super) fn request(now_ms: i64, config: &Config) -> Self {
        let (sender, body) = (None, stand_in(config));
        Self {
            kind: Kind::Request,
            at_ms: now_ms,
            count: 0,
            sender,
            body,
            mark: String::new(),
            passes: false,
            deaf: Vec::new(),
        }
    }

    /// A contact is there, whom the user calls so.
    pub(super) fn online(contact: &BareJid, name: Option<&str>, now_ms: i64) -> Self {
        Self {
            kind: Kind::Online,
            at_ms: now_ms,
            count: 0,
            sender: Some(contact.to_string()),
            body: Some(first_line(name.unwrap_or(contact.as_str()))),
            mark: String::new(),
            passes: false,
            deaf: Vec::new(),
        }
    }

    /// The same, as the log calls it.
    pub(super) fn marked(self, mark: String) -> Self {
        Self { mark, ..self }
    }

    /// The same, told to all but these.
    pub(super) fn not_to(self, deaf: Vec<String>) -> Self {
        Self { deaf, ..self }
    }

    /// The same, told at any time or not.
    pub(super) fn passing(self, passes: bool) -> Self {
        Self { passes, ..self }
    }

    /// Both in one: the newer one's words, unless it has none or they matter less.
    pub(super) fn and(self, newer: Self) -> Self {
        let (kind, count) = (self.kind.max(newer.kind), self.count.saturating_add(newer.count));
        let passes = self.passes || newer.passes;
        match newer.kind {
            // Of two who came the newer one is told, of somebody else's words nothing is lost.
            Kind::Quiet | Kind::Online if self.kind > newer.kind => {
                Self { at_ms: newer.at_ms, mark: newer.mark, passes, ..self }
            }
            _ => Self { kind, count, passes, ..newer },
        }
    }

    /// What of it is still of use: nobody answers a call later, but messages that came with it are
    /// to be read.
    pub(super) fn in_time(self, now_ms: i64, config: &Config) -> Option<Self> {
        let age_ms = now_ms.saturating_sub(self.at_ms);
        if age_ms > millis(config.keep_secs) {
            return None;
        }
        if self.kind != Kind::Call || age_ms <= millis(PUSH_CALL_SECS) {
            return Some(self);
        }
        (self.count > 0).then_some(Self { kind: Kind::Message, ..self })
    }

    /// What is told now. What the operator does not want told any more is left out, and what the user
    /// does not want this device to be told.
    pub(super) fn summary(
        &self,
        unseen: u32,
        requests: u32,
        config: &Config,
        told: Told,
    ) -> Summary {
        let with_sender = config.with_sender && told >= Told::Sender;
        let with_body = config.with_body && told >= Told::All;
        Summary {
            count: unseen,
            requests,
            sender: self.sender.clone().filter(|_| with_sender),
            body: match &self.body {
                Some(name) if self.kind == Kind::Online && with_sender => {
                    Some(format!("{name} is online"))
                }
                Some(_) if self.kind == Kind::Online => Some("A contact is online".to_owned()),
                body if with_body => body.clone(),
                body => body.as_ref().and_then(|_| stand_in(config)),
            },
            weight: Weight {
                urgency: self.kind.urgency(),
                ttl_secs: if self.kind == Kind::Call { PUSH_CALL_SECS } else { config.keep_secs },
                at_ms: self.at_ms,
                topic: self.kind.name(),
            },
        }
    }
}

fn stand_in(config: &Config) -> Option<String> {
    Some(config.stand_in.clone()).filter(|text| !text.is_empty())
}

fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.chars().take(PUSH_BODY_CHARS_MAX).collect()
}

impl Dues {
    /// One more thing is due to a device. Whether it and something else are told as one.
    pub(super) fn add(
        &mut self,
        owner: &BareJid,
        key: &str,
        notice: Notice,
        stage: &mut Stage,
    ) -> bool {
        if self.is_pointless(key, &notice) {
            return false;
        }
        let due = self.by_key.entry(key.to_owned()).or_default();
        let is_folded = due.add(notice);
        self.put(owner, key, stage);
        is_folded
    }

    /// One more thing will be due to a device, unless somebody acknowledges it in time: a server that
    /// is killed before that tells it when it starts again.
    pub(super) fn foresee(
        &mut self,
        owner: &BareJid,
        key: &str,
        notice: &Notice,
        stage: &mut Stage,
    ) {
        let known = self.foreseen.get(key);
        // One of several is enough for the device to look.
        if self.is_pointless(key, notice) || known.is_some_and(|known| known.kind >= notice.kind) {
            return;
        }
        self.foreseen.insert(key.to_owned(), notice.clone());
        self.put(owner, key, stage);
    }

    /// Nothing is foreseen any more.
    pub(super) fn forgo(&mut self, owner: &BareJid, stage: &mut Stage) {
        for key in std::mem::take(&mut self.foreseen).into_keys() {
            self.put(owner, &key, stage);
        }
    }

    /// What nobody was told of cannot look different.
    fn is_pointless(&self, key: &str, notice: &Notice) -> bool {
        notice.kind == Kind::Quiet && self.by_key.get(key).is_none_or(|due| due.unseen == 0)
    }

    /// Writes what is due to a device, and what will be.
    fn put(&self, owner: &BareJid, key: &str, stage: &mut Stage) {
        let due = self.by_key.get(key).cloned();
        let due = match self.foreseen.get(key) {
            Some(notice) => {
                let mut due = due.unwrap_or_default();
                due.add(notice.clone());
                Some(due)
            }
            None => due,
        };
        let (owner, key) = (owner.clone(), key.to_owned());
        stage.push(match due {
            // Texts and numbers: nothing that JSON cannot say.
            Some(due) => {
                let value = serde_json::to_vec(&due).unwrap_or_default();
                Write::PutData { owner, kind: KIND.into(), key, value }
            }
            None => Write::RemoveData { owner, kind: KIND.into(), key },
        });
    }

    /// What is due to a device, and how much has not been seen; it is thought to be told from here on.
    pub(super) fn take(&mut self, key: &str) -> Option<(u32, Notice)> {
        let due = self.by_key.get_mut(key)?;
        Some((due.unseen, due.notice.take()?))
    }

    /// What is due to a device.
    pub(super) fn find(&self, key: &str) -> Option<&Notice> {
        self.by_key.get(key)?.notice.as_ref()
    }

    /// The devices that have not been told something, and for what.
    pub(super) fn untold(&self) -> Vec<(String, Kind)> {
        let untold = |(key, due): (&String, &Due)| Some((key.clone(), due.notice.as_ref()?.kind));
        self.by_key.iter().filter_map(untold).collect()
    }

    /// Leaves out what is of no use any more. What the log calls it, if that was all of it.
    pub(super) fn expire(&mut self, key: &str, now_ms: i64, config: &Config) -> Option<String> {
        let due = self.by_key.get_mut(key)?;
        let notice = due.notice.take()?;
        let mark = notice.mark.clone();
        due.notice = notice.in_time(now_ms, config);
        due.notice.is_none().then_some(mark)
    }

    /// It was told.
    pub(super) fn told(&mut self, owner: &BareJid, key: &str, stage: &mut Stage) {
        let Some(due) = self.by_key.get(key) else { return };
        if due.unseen == 0 && due.notice.is_none() {
            self.by_key.remove(key);
        }
        self.put(owner, key, stage);
    }

    /// It was not told after all. False if it need not be any more: somebody has looked since.
    pub(super) fn give_back(&mut self, key: &str, notice: Notice, looks: u64) -> bool {
        if self.looks != looks {
            return false;
        }
        let due = self.by_key.entry(key.to_owned()).or_default();
        due.notice = Some(match due.notice.take() {
            Some(newer) => notice.and(newer),
            None => notice,
        });
        true
    }

    /// Nothing is due to a device any more.
    pub(super) fn remove(&mut self, owner: &BareJid, key: &str, stage: &mut Stage) {
        let was_due = self.by_key.remove(key).is_some();
        let was_foreseen = self.foreseen.remove(key).is_some();
        if was_due || was_foreseen {
            self.put(owner, key, stage);
        }
    }

    /// Somebody looks.
    pub(super) fn clear(&mut self, owner: &BareJid, stage: &mut Stage) {
        self.looks += 1;
        if !self.by_key.is_empty() || !self.foreseen.is_empty() {
            self.by_key.clear();
            self.foreseen.clear();
            stage.push(Write::ClearData { owner: owner.clone(), kind: KIND.into() });
        }
    }

    /// How often somebody has looked.
    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }
}

impl Due {
    /// One more thing; whether it and something else are told as one.
    fn add(&mut self, notice: Notice) -> bool {
        self.unseen = self.unseen.saturating_add(notice.count);
        let earlier = self.notice.take();
        let is_folded = earlier.is_some();
        self.notice = Some(match earlier {
            Some(earlier) => earlier.and(notice),
            None => notice,
        });
        is_folded
    }
}

/// Keeps what is due in memory with the account.
pub(super) struct DueRows;

impl Resident for DueRows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        if rows.is_empty() {
            return slots::nothing();
        }
        let read = |(key, value): (String, Vec<u8>)| match serde_json::from_slice(&value) {
            Ok(due) => Some((key, due)),
            Err(error) => {
                tracing::error!(event = "damaged", %error, "What is due to a device cannot be read.");
                None
            }
        };
        let by_key = rows.into_iter().filter_map(read).collect();
        Box::new(Dues { by_key, ..Dues::default() })
    }
}

/// Whether a row says that something has not been told.
pub(super) fn is_untold(row: &[u8]) -> bool {
    serde_json::from_slice::<Due>(row).is_ok_and(|due| due.notice.is_some())
}

/// The kind of the rows.
pub(super) const KIND: &str = "push-due";
/// Spoilers (XEP-0382).
const NS_SPOILER: &str = "urn:xmpp:spoiler:0";

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(inside: &str, kind: Kind, config: &Config) -> Summary {
        let xml = format!("<message from='romeo@montague.example/o'>{inside}</message>");
        let stanza = Stanza::parse(xml.as_bytes()).unwrap();
        Notice::of(&stanza, kind, 0, config).summary(1, 0, config, Told::All)
    }

    #[test]
    fn s9_what_is_told_is_what_the_operator_lets_be_told() {
        let body = "<body>Soft!\nWhat light</body>";
        let told = |with_sender, with_body, stand_in: &str, kind| {
            let stand_in = stand_in.to_owned();
            let config = Config { with_sender, with_body, stand_in, ..Config::default() };
            let Summary { sender, body, .. } = notice(body, kind, &config);
            (sender.is_some(), body)
        };
        assert_eq!(told(false, false, "", Kind::Message), (false, None));
        assert_eq!(told(false, false, "New", Kind::Message), (false, Some("New".into())));
        assert_eq!(told(true, true, "New", Kind::Message), (true, Some("Soft!".into())));
        assert_eq!(told(true, true, "New", Kind::Quiet), (false, None));
    }

    #[test]
    fn what_is_hidden_from_others_is_hidden_here_and_long_texts_are_cut() {
        let config = Config { with_body: true, ..Config::default() };
        let told = |inside: &str| notice(inside, Kind::Message, &config).body.unwrap();
        let body = "<body>Soft!</body>";
        for hides in [
            "<spoiler xmlns='urn:xmpp:spoiler:0'/>",
            "<encrypted xmlns='urn:xmpp:omemo:2'><payload>x</payload></encrypted>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example:x'/>",
        ] {
            assert_eq!(told(&format!("{body}{hides}")), "New message", "{hides}");
        }
        assert_eq!(told("<body> </body>"), "New message");
        let long = "ü".repeat(PUSH_BODY_CHARS_MAX + 1);
        assert_eq!(told(&format!("<body>{long}</body>")).chars().count(), PUSH_BODY_CHARS_MAX);
    }

    #[test]
    fn what_the_operator_forbids_later_is_not_told_either() {
        let config = Config { with_body: true, with_sender: true, ..Config::default() };
        let stanza =
            Stanza::parse(b"<message from='a.example'><body>Soft!</body></message>").unwrap();
        let notice = Notice::of(&stanza, Kind::Message, 0, &config);
        let summary = notice.summary(1, 0, &Config::default(), Told::All);
        assert_eq!((summary.sender, summary.body.as_deref()), (None, Some("New message")));
        // Nor what the user does not want told.
        for (told, has_sender, body) in [
            (Told::All, true, "Soft!"),
            (Told::Sender, true, "New message"),
            (Told::Bare, false, "New message"),
        ] {
            let summary = notice.summary(1, 0, &config, told);
            assert_eq!(
                (summary.sender.is_some(), summary.body.as_deref()),
                (has_sender, Some(body))
            );
        }
    }

    #[test]
    fn of_several_the_weightiest_kind_and_the_newest_words_count() {
        let config = Config { with_body: true, ..Config::default() };
        let of = |kind, text: &str| {
            let xml = format!("<message from='a.example'><body>{text}</body></message>");
            Notice::of(&Stanza::parse(xml.as_bytes()).unwrap(), kind, 0, &config)
        };
        let both = of(Kind::Mention, "a").and(of(Kind::Message, "b"));
        assert_eq!((both.kind, both.count, both.body.as_deref()), (Kind::Mention, 2, Some("b")));
        let both = of(Kind::Message, "a").and(of(Kind::Quiet, "b"));
        assert_eq!((both.kind, both.count, both.body.as_deref()), (Kind::Message, 1, Some("a")));
    }

    #[test]
    fn calls_are_soon_late_and_messages_are_not() {
        let config = Config::default();
        let stanza = Stanza::parse(b"<message from='a.example'/>").unwrap();
        let of = |kind| Notice::of(&stanza, kind, 0, &config);
        let later = |notice: Notice, secs: i64| notice.in_time(secs * 1_000, &config);
        assert!(later(of(Kind::Call), 30).is_some() && later(of(Kind::Call), 31).is_none());
        assert!(later(of(Kind::Message), 28 * 86_400).is_some());
        assert!(later(of(Kind::Message), 29 * 86_400).is_none());
        // The message that came with the call is told all the same.
        let both = later(of(Kind::Message).and(of(Kind::Call)), 31).unwrap();
        assert_eq!((both.kind, both.count), (Kind::Message, 1));
    }

    #[test]
    fn urgent_is_what_a_person_waits_for() {
        let stanza = Stanza::parse(b"<message from='a.example'/>").unwrap();
        let config = Config::default();
        let weight =
            |kind| Notice::of(&stanza, kind, 7, &config).summary(1, 0, &config, Told::All).weight;
        for (kind, urgency) in [
            (Kind::Call, "high"),
            (Kind::Mention, "high"),
            (Kind::Message, "high"),
            (Kind::Room, "medium"),
            (Kind::Request, "medium"),
            (Kind::Online, "low"),
            (Kind::Quiet, "low"),
        ] {
            assert_eq!(weight(kind).urgency.name(), urgency);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!((weight(Kind::Call).ttl_secs, weight(Kind::Message).ttl_secs), (30, 2_419_200));
        assert_eq!(weight(Kind::Call).at_ms, 7);
    }
}
