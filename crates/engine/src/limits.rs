//! The maxima of the engine. Those an operator may change are defaults of [`crate::Settings`].

/// Requests that components answer for us, or that we make for components, at once.
pub const DELEGATED_MAX: usize = 4_096;

/// Contacts whose presence is remembered for one component, in entries (XEP-0356 §8).
pub const COMPONENT_CONTACTS_MAX: usize = 65_536;

/// The same in bytes of their stanzas.
pub const COMPONENT_CONTACTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Domains of one server, by number of hosts.
pub const DOMAINS_MAX: usize = 100_000;

/// Stored messages of one account of which is remembered who has a copy (XEP-0280).
pub const COPIED_MAX: usize = 10_000;

/// Bytes of stanzas waiting for one session before its senders are slowed.
pub const OUTBOX_SOFT_BYTES: usize = 256 * 1024;

/// Bytes of stanzas waiting for one session before the session is ended; until it has ended there
/// may be twice as many.
pub const OUTBOX_HARD_BYTES: usize = 4 * 1024 * 1024;

/// Stanzas waiting for one session before the session is ended; the same.
pub const OUTBOX_HARD_ITEMS: usize = 20_000;

/// Stanzas held back while nobody looks at a client (XEP-0352); with one more all of them leave.
pub const HELD_ITEMS_MAX: usize = 1_000;

/// Bytes of those stanzas; with more all of them leave.
pub const HELD_BYTES_MAX: usize = 256 * 1024;

/// How often a sender looks again whether a slow receiver has caught up.
pub const SLOW_SENDER_PAUSES: u32 = 5;

/// Milliseconds of each of those pauses.
pub const SLOW_SENDER_PAUSE_MS: u64 = 4;

/// Requests of one session whose long answers wait for each other; beyond, `resource-constraint`.
pub const ASIDE_MAX: usize = 32;

/// Stanzas of one session whose commit is awaited before it must wait itself.
pub const UNSETTLED_MAX: usize = 1_024;

/// Entities that one resource may keep informed by directed presence.
pub const DIRECTED_MAX: usize = 4_096;

/// Subscription requests that wait for one account's answer.
pub const REQUESTS_MAX: usize = 1_000;

/// Bytes of one stored subscription request; a longer one is stored without its extensions.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Milliseconds for which is remembered how many stanzas a session had handled when it ended
/// (XEP-0198 §5): a day.
pub const ENDED_SESSIONS_MS: i64 = 86_400_000;

/// Seconds that a session has at least to be resumed after a restart, if it has so many at all: who
/// could not reach the server meanwhile comes back within that time.
pub const RESTORED_SECS_MIN: u32 = 120;

/// Requests of one session that are answered by an error if their answer is lost in a restart; of
/// more the oldest are forgotten.
pub const OPEN_IQS_MAX: usize = 64;

/// Sessions without a stream that wait to be resumed; for one more the oldest is given up.
pub const DETACHED_SESSIONS_MAX: usize = 65_536;

/// The same of one account.
pub const DETACHED_PER_ACCOUNT_MAX: usize = 10;

/// Milliseconds between two looks whether a session without a stream has one again.
pub const PARKED_PAUSE_MS: u64 = 500;

/// Milliseconds that a stream which looks alive has to let go of a session to be resumed.
pub const TAKE_OVER_WAIT_MS: u64 = 5_000;

/// Identities of one entity that are remembered (XEP-0115).
pub const CAPS_IDENTITIES_MAX: usize = 4;

/// Bytes of the category, and of the type, of one; longer ones are not registered and are left out.
pub const CAPS_IDENTITY_BYTES_MAX: usize = 64;

/// How many marks of capabilities are remembered with their meaning; for one more the oldest is
/// forgotten. There are about as many as versions of clients.
pub const CAPS_KNOWN_MAX: usize = 4_096;

/// How many marks of capabilities are being asked about at once.
pub const CAPS_ASKED_MAX: usize = 4_096;

/// Sessions and contacts that wait for one answer; the oldest then waits no longer.
pub const CAPS_WAITING_MAX: usize = 1_024;

/// Milliseconds after which the next who shows the mark is asked as well.
pub const CAPS_ANSWER_WAIT_MS: i64 = 15_000;

/// Bytes of the names of all nodes that one mark shows interest in; what is beyond is not told of.
pub const CAPS_INTEREST_BYTES_MAX: usize = 8 * 1024;

/// Resources of contacts at other servers, each with an account of ours that was shown it, that are
/// remembered; of others nobody is told when their server is lost.
pub const SHOWN_ABROAD_MAX: usize = 262_144;

/// Accounts without a session whose view stays in memory.
pub const IDLE_ACCOUNTS_MAX: usize = 8_192;

/// Pauses of [`SLOW_SENDER_PAUSE_MS`] without a byte taken after which a session that is handed
/// stored messages is ended: 30 seconds.
pub const BACKLOG_STALL_PAUSES: u32 = 7_500;

/// The same after which the client's next stanzas wait for them no longer: a second.
pub const BACKLOG_ASIDE_PAUSES: u32 = 250;

/// How often stored messages are read again after the store failed to read them.
pub const BACKLOG_TRIES_MAX: u32 = 5;

/// Milliseconds before the first of these attempts; twice as long before each next one.
pub const BACKLOG_RETRY_MS: u64 = 500;

/// Offline messages read from the store at a time.
pub const OFFLINE_PAGE: u32 = 64;

/// Clients of one account that are remembered; those seen longest ago are forgotten for new ones.
pub const CLIENTS_MAX: usize = 64;

/// Bytes of the messages kept with one report (XEP-0377); further ones are left out.
pub const REPORT_MESSAGES_BYTES_MAX: usize = 32 * 1024;

/// Keys of one table of counts, such as failed sign-ins by source.
pub const TALLY_ENTRIES_MAX: usize = 65_536;

/// Requests of the server itself that wait for an answer at once.
pub const OWN_REQUESTS_MAX: usize = 16_384;

/// Seconds that the server waits for an answer to a request of its own.
pub const OWN_REQUEST_WAIT_SECS: u64 = 30;

/// Pairs of a contact and an account that waits for its coming.
pub const AWAITED_MAX: usize = 65_536;

/// Resources of one such contact elsewhere of which it is known that they are there.
pub const AWAITED_RESOURCES_MAX: usize = 16;

/// Milliseconds after which somebody who comes was away: who comes earlier has just lost a connection.
pub const AWAY_MS: i64 = 5 * 60_000;
