//! What is known of each conversation, in memory with the account and in its small data.

use std::collections::{BTreeMap, VecDeque};

use sha1::{Digest, Sha1};
use stentor_engine::{AccountState, Resident, Slot, slots};
use stentor_jid::BareJid;
use stentor_store::{Stage, Write};

use crate::limits::{INBOX_CHATS_MAX, INBOX_UNREAD_KNOWN_MAX, INBOX_UNREAD_MAX};

/// The conversations of an account.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chats(BTreeMap<BareJid, Chat>);

/// One conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chat {
    /// The last entry of the archive.
    pub(super) last: u64,
    /// The last one that is an instant message.
    pub(super) message: u64,
    /// Unread messages, oldest first: the entry, and the mark of its sender's id.
    unread: VecDeque<(u64, u64)>,
    /// Unread ones before these, of which no more than their number is known.
    older: u64,
}

/// What stands for the id that a sender gave its message.
pub(super) fn mark(id: &str) -> u64 {
    let hash = Sha1::digest(id);
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Chat {
    pub(super) fn unread(&self) -> u64 {
        self.older + self.unread.len() as u64
    }

    fn add_unread(&mut self, id: u64, mark: u64) {
        self.unread.push_back((id, mark));
        if self.unread.len() > INBOX_UNREAD_KNOWN_MAX {
            self.unread.pop_front();
            self.older = (self.older + 1).min(INBOX_UNREAD_MAX);
        }
    }

    /// §4: what is before a message that is read is read; false if nothing changes.
    fn read(&mut self, is_read: impl Fn(&(u64, u64)) -> bool) -> bool {
        let Some(last) = self.unread.iter().rposition(is_read) else { return false };
        self.unread.drain(..=last);
        self.older = 0;
        true
    }

    fn clear(&mut self) {
        self.unread = VecDeque::new();
        self.older = 0;
    }

    fn to_bytes(&self) -> Vec<u8> {
        let head = [self.last, self.message, self.older];
        let pairs = self.unread.iter().flat_map(|(id, mark)| [*id, *mark]);
        head.into_iter().chain(pairs).flat_map(u64::to_be_bytes).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers = bytes.chunks_exact(8);
        if !numbers.remainder().is_empty() {
            return None;
        }
        let numbers: Vec<u64> =
            numbers.filter_map(|n| n.try_into().ok()).map(u64::from_be_bytes).collect();
        let (&[last, message, older], pairs) = numbers.split_first_chunk::<3>()?;
        let unread = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Some(Self { last, message, unread, older })
    }
}

impl Chats {
    /// Those of an account.
    pub(super) fn of(state: &mut AccountState) -> &mut Self {
        if state.slots.find::<Self>().is_none() {
            state.slots.put(Self::default());
        }
        state.slots.find_mut().expect("one was put there")
    }

    /// All of them, the latest first.
    pub(super) fn latest(&self) -> Vec<(&BareJid, &Chat)> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_unstable_by_key(|(_, chat)| std::cmp::Reverse(chat.last));
        all
    }

    /// An entry was archived; an instant message begins a conversation, and is unread with its mark
    /// or read with all before it.
    pub(super) fn kept(
        &mut self,
        owner: &BareJid,
        with: &BareJid,
        id: u64,
        is_instant: bool,
        unread: Option<u64>,
        stage: &mut Stage,
    ) {
        if !is_instant && !self.0.contains_key(with) {
            return;
        }
        let chat = self.0.entry(with.clone()).or_default();
        chat.last = id;
        if is_instant {
            chat.message = id;
            match unread {
                Some(mark) => chat.add_unread(id, mark),
                None => chat.clear(),
            }
        }
        stage.push(put(owner, with, chat));
        self.forget_surplus(owner, stage);
    }

    /// The account has displayed a message that its sender calls so.
    pub(super) fn read_marked(
        &mut self,
        owner: &BareJid,
        with: &BareJid,
        mark: u64,
        stage: &mut Stage,
    ) {
        self.read(owner, with, |(_, known)| *known == mark, stage);
    }

    /// The account has displayed the conversation up to an entry.
    pub(super) fn read_up_to(
        &mut self,
        owner: &BareJid,
        with: &BareJid,
        up_to: u64,
        stage: &mut Stage,
    ) {
        self.read(owner, with, |(id, _)| *id <= up_to, stage);
    }

    fn read(
        &mut self,
        owner: &BareJid,
        with: &BareJid,
        is_read: impl Fn(&(u64, u64)) -> bool,
        stage: &mut Stage,
    ) {
        if let Some(chat) = self.0.get_mut(with)
            && chat.read(is_read)
        {
            stage.push(put(owner, with, chat));
        }
    }

    /// Where there are too many, the one without activity for the longest time goes.
    fn forget_surplus(&mut self, owner: &BareJid, stage: &mut Stage) {
        if self.0.len() <= INBOX_CHATS_MAX {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, chat)| chat.last);
        let Some(oldest) = oldest.map(|(with, _)| with.clone()) else { return };
        self.0.remove(&oldest);
        let (owner, key) = (owner.clone(), oldest.to_string());
        stage.push(Write::RemoveData { owner, kind: KIND.into(), key });
    }
}

fn put(owner: &BareJid, with: &BareJid, chat: &Chat) -> Write {
    let (kind, key, value) = (KIND.into(), with.to_string(), chat.to_bytes());
    Write::PutData { owner: owner.clone(), kind, key, value }
}

/// Keeps conversations in memory with the account.
pub(super) struct Rows;

impl Resident for Rows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        if rows.is_empty() {
            return slots::nothing();
        }
        let mut chats = Chats::default();
        for (with, value) in rows {
            match (BareJid::new(&with), Chat::from_bytes(&value)) {
                (Ok(with), Some(chat)) => drop(chats.0.insert(with, chat)),
                _ => tracing::error!(event = "damaged", %with, "A stored conversation is damaged."),
            }
        }
        Box::new(chats)
    }
}

/// The kind of the rows.
const KIND: &str = "inbox";

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn s4_messages_are_read_with_all_before_them() {
        let (owner, romeo) = (jid("juliet@capulet.example"), jid("romeo@montague.example"));
        let mut chats = Chats::default();
        let mut stage = Stage::new();
        for id in 1..=4 {
            chats.kept(&owner, &romeo, id, true, Some(mark(&id.to_string())), &mut stage);
        }
        let unread = |chats: &Chats| chats.0[&romeo].unread();
        assert_eq!(unread(&chats), 4);
        chats.read_marked(&owner, &romeo, mark("2"), &mut stage);
        assert_eq!(unread(&chats), 2);
        // What is older than what was read, or unknown, takes nothing back.
        let writes = stage.len();
        chats.read_marked(&owner, &romeo, mark("1"), &mut stage);
        chats.read_marked(&owner, &jid("nurse@capulet.example"), mark("1"), &mut stage);
        chats.read_up_to(&owner, &romeo, 2, &mut stage);
        assert_eq!((unread(&chats), stage.len()), (2, writes));
        chats.read_up_to(&owner, &romeo, 3, &mut stage);
        assert_eq!(unread(&chats), 1);
        // A message of one's own follows: what is before it is read.
        chats.kept(&owner, &romeo, 5, true, None, &mut stage);
        assert_eq!((unread(&chats), chats.0[&romeo].message), (0, 5));
        // A receipt is no message.
        chats.kept(&owner, &romeo, 6, false, None, &mut stage);
        let chat = &chats.0[&romeo];
        assert_eq!((chat.last, chat.message, chat.unread()), (6, 5, 0));
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let (owner, romeo) = (jid("juliet@capulet.example"), jid("romeo@montague.example"));
        let mut chats = Chats::default();
        let mut stage = Stage::new();
        for id in 0..INBOX_UNREAD_KNOWN_MAX as u64 + 3 {
            chats.kept(&owner, &romeo, id, true, Some(id), &mut stage);
        }
        assert_eq!(chats.0[&romeo].unread(), INBOX_UNREAD_KNOWN_MAX as u64 + 3);
        let rows = stage.writes().iter().map(|write| match write {
            Write::PutData { key, value, .. } => (key.clone(), value.clone()),
            other => panic!("{other:?}"),
        });
        let again = Rows.build(rows.collect()).downcast::<Chats>().unwrap();
        assert_eq!(*again, chats);
        for bytes in [&[][..], &[0; 23], &[0; 25]] {
            assert_eq!(Chat::from_bytes(bytes), None);
        }
    }

    #[test]
    fn the_number_of_conversations_is_bounded() {
        let owner = jid("juliet@capulet.example");
        let mut chats = Chats::default();
        let mut stage = Stage::new();
        for id in 0..=INBOX_CHATS_MAX as u64 {
            let with = jid(&format!("user{id}@montague.example"));
            chats.kept(&owner, &with, id, true, None, &mut stage);
        }
        assert_eq!(chats.0.len(), INBOX_CHATS_MAX);
        assert!(!chats.0.contains_key(&jid("user0@montague.example")));
        assert!(matches!(stage.writes().last(), Some(Write::RemoveData { .. })));
    }
}
