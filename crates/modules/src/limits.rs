//! The maxima of the modules.

/// The longest time that an option of a module may say, in seconds: a hundred years.
pub(crate) const SECS_MAX: u64 = 3_155_760_000;

/// Seconds of an option as milliseconds.
pub(crate) fn millis(secs: u64) -> i64 {
    i64::try_from(secs.min(SECS_MAX).saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// The most receivers of one stanza that an operator may permit (XEP-0033 §9 advises less than 100).
pub const RECEIVERS_MAX: usize = 1_000;

/// Messages of one session, the latest, of which it is known that errors answering them are copied
/// to the others (XEP-0280 §6.1).
pub const CARBON_ANSWERS_MAX: usize = 64;

/// Addresses in both lists of archive preferences of one account together (XEP-0441).
pub const ARCHIVE_PREFS_JIDS_MAX: usize = 1_000;

/// Results of one archive query, if the query does not ask for fewer (XEP-0313 §4.3.1).
pub const ARCHIVE_PAGE_DEFAULT: u32 = 50;

/// Results of one archive query, whatever it asks for; operators may set fewer.
pub const ARCHIVE_PAGE_MAX: u32 = 250;

/// Ids in one archive query by ids.
pub const ARCHIVE_IDS_MAX: usize = 250;

/// Bytes of the text of one message that is searched; what is behind is not found.
pub const ARCHIVE_TEXT_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the name that an archive query gives its results.
pub const ARCHIVE_QUERY_ID_BYTES_MAX: usize = 1_024;

/// Conversations in the inbox of one account; for one more the one without activity for the longest
/// time is forgotten. They are in memory with the account.
pub const INBOX_CHATS_MAX: usize = 1_000;

/// Unread messages of one conversation that are told apart; of those before them only the number is
/// known.
pub const INBOX_UNREAD_KNOWN_MAX: usize = 64;

/// Unread messages of one conversation that are counted and not told apart.
pub const INBOX_UNREAD_MAX: u64 = 1_000;

/// Conversations in one answer of an inbox, whatever is asked for; as many as an archive returns
/// messages by their ids.
pub const INBOX_PAGE_MAX: u32 = 100;

/// Items of a node in one answer, whatever is asked for (XEP-0060 §6.5.4).
pub const PUBSUB_PAGE_ITEMS_MAX: u32 = 1_000;

/// Bytes of the items of a node in one answer, but for the first of them.
pub const PUBSUB_PAGE_BYTES_MAX: u64 = 1024 * 1024;

/// How many affiliations one node has at most, and how many subscriptions.
pub const PUBSUB_PARTIES_MAX: usize = 1_000;

/// Sessions of contacts elsewhere of which one account knows what they wish to be notified of.
pub const PUBSUB_ABROAD_MAX: usize = 1_000;

/// Nodes of one account, whatever is configured.
pub const PUBSUB_NODES_CEILING: usize = 10_000;

/// Items of one node, whatever is configured: their ids are in memory with the account.
pub const PUBSUB_ITEMS_CEILING: u32 = 100_000;

/// Bytes of one item, whatever is configured: less than a stanza may have.
pub const PUBSUB_ITEM_BYTES_CEILING: u32 = 250_000;

/// Offline messages that one request may name (XEP-0013).
pub const OFFLINE_ITEMS_MAX: usize = 100;

/// Characters of a message's body that a push service is told (XEP-0357).
pub const PUSH_BODY_CHARS_MAX: usize = 100;

/// Seconds for which it is of use to tell a device that somebody calls.
pub const PUSH_CALL_SECS: u64 = 30;

/// Requests to one push service that wait for an answer at once, whatever is configured.
pub const PUSH_UNDER_WAY_MAX: usize = 4_096;

/// Push services of which it is known how much is on its way to them, and whether they answer.
pub const PUSH_SERVICES_MAX: usize = 4_096;

/// Resources at push services that are told something at once; twice as many if that is urgent. Others
/// wait in the store.
pub const PUSH_LANES_MAX: usize = 16_384;

/// Milliseconds between two looks at how busy the server is, while something is due to devices.
pub const PUSH_LOOK_MS: u64 = 250;

/// Push services whose names stand with what is measured; those that come later are one.
pub const PUSH_SERVICES_NAMED_MAX: usize = 32;

/// Entries by identity in the settings of one chat that are heeded (XEP-0492 §2.2).
pub const NOTIFY_IDENTITIES_MAX: usize = 16;

/// Messages of one account that wait for somebody's acknowledgement; of more the last become one.
pub const PUSH_WATCHED_MAX: usize = 256;

/// Sessions of commands (XEP-0050) that one client has begun of late and that are known.
pub const COMMAND_SESSIONS_MAX: usize = 16;

/// Lines of the hours in which an account's devices are told.
pub const PUSH_HOURS_MAX: usize = 14;
