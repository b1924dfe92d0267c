//! The maxima of the edge.

/// Bytes read from a socket at a time, into a buffer of the thread.
pub const READ_BYTES_MAX: usize = 16 * 1024;

/// Bytes of stanzas written out ahead of what the socket has taken.
pub const OUT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one long stanza that a connection has a copy of: one record of TLS. One of twice as many
/// is written whole.
pub const PART_BYTES_MAX: usize = 16 * 1024;

/// Connections of clients that write parts of long stanzas at a time.
pub const LONG_WRITERS_MAX: usize = 16;

/// How many acknowledgements of one client may wait for a commit before the client waits too.
pub const ACKS_DUE_MAX: usize = 64;

/// Rounds of a connection's loop before it lets others run.
pub const ROUNDS_MAX: usize = 8;

/// Stanzas that a connection deals with before what they bring is written.
pub const BATCH_STANZAS_MAX: usize = 32;

/// Milliseconds that a TLS handshake may take.
pub const HANDSHAKE_WAIT_MS: u64 = 10_000;

/// Milliseconds that a TLS handshake between servers may take: links of many seconds are links.
pub const S2S_HANDSHAKE_WAIT_MS: u64 = 30_000;

/// Milliseconds that the last bytes of an ended stream may take to leave.
pub const LINGER_WAIT_MS: u64 = 2_000;

/// How many domain pairs something is known of at once.
pub const S2S_PAIRS_MAX: usize = 65_536;

/// Stanzas waiting for one domain pair.
pub const S2S_QUEUE_ITEMS_MAX: usize = 10_000;

/// Bytes waiting for one domain pair.
pub const S2S_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes waiting for all other domains together.
pub const S2S_WAITING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes waiting for one domain pair before its senders are slowed.
pub const S2S_QUEUE_BYTES_SOFT: usize = 512 * 1024;

/// Stanzas of one domain pair that were sent and not acknowledged, before no more are sent.
pub const S2S_UNACKED_MAX: usize = 1_000;

/// Broken streams of other servers that may be resumed at once.
pub const S2S_RESUMABLE_MAX: usize = 65_536;

/// Domains for which something waits and that the metrics page names; the others are one.
pub const S2S_DOMAINS_SHOWN_MAX: usize = 64;

/// Seconds in which another server may resume a stream that broke.
pub const S2S_RESUME_SECS: u32 = 60;

/// Milliseconds that a stream has to let go of what another is to go on with.
pub const S2S_TAKE_OVER_WAIT_MS: u64 = 5_000;

/// Milliseconds in which a server that has opened a stream says whether it counts stanzas (XEP-0198):
/// so long no message that went back on it is taken for arrived.
pub const S2S_SETTLE_WAIT_MS: u64 = 10_000;

/// Milliseconds in which a server that has opened a stream says its first word behind the
/// negotiation: so long nothing goes back (XEP-0288) that might not be counted.
pub const S2S_FIRST_WORD_WAIT_MS: u64 = 1_000;

/// Milliseconds between streams to a server of which the former ended as soon.
pub const S2S_BRIEF_MS: u64 = 1_000;

/// Milliseconds from which on a message that waited is stamped with the time since when (XEP-0203).
pub const S2S_DELAY_STAMP_MS: u64 = 10_000;

/// Milliseconds for which presence waits for a server that cannot be reached, if messages do not wait
/// longer.
pub const S2S_PRESENCE_HOLD_MS: u64 = 3_600_000;

/// How many domains are looked for and connected to at once.
pub const S2S_CONNECTING_MAX: usize = 256;

/// How many domains that nobody has spoken to one account may speak to, a second on the average.
pub const S2S_NEW_DOMAINS_PER_SEC: u64 = 10;

/// How many such domains it may speak to at once: a roster has some.
pub const S2S_NEW_DOMAINS_BURST: u64 = 600;

/// How many servers of one domain are tried.
pub const S2S_SERVERS_MAX: usize = 8;

/// Addresses of one server that are tried.
pub const S2S_ADDRESSES_MAX: usize = 8;

/// Milliseconds between the attempts at the addresses of one server (RFC 8305 §5).
pub const S2S_STAGGER_MS: u64 = 250;

/// Milliseconds in which a domain that failed is not asked again, after many failures.
pub const S2S_BACK_OFF_MAX_MS: u64 = 300_000;

/// Milliseconds after which a server without a stream to us is asked for a contact of whom somebody
/// here sees that it is there.
pub const S2S_LOOK_MS: u64 = 900_000;

/// Milliseconds in which contacts of a server that is back show themselves, or are gone.
pub const S2S_PRESENCE_WAIT_MS: u64 = 30_000;

/// Milliseconds that one attempt to reach a lost server may take before it counts as failed.
pub const S2S_SEEK_WAIT_MS: u64 = 60_000;

/// How many dialback keys are verified at once.
pub const S2S_VERIFICATIONS_MAX: usize = 64;

/// How many of them one stream of another server causes at once: each is a connection that we open
/// on the word of somebody who has proven nothing.
pub const S2S_VERIFICATIONS_PER_STREAM_MAX: usize = 4;

/// Milliseconds that one verification may take in all.
pub const S2S_VERIFICATION_WAIT_MS: u64 = 30_000;

/// Milliseconds that streams to and from other servers have to end in when the server stops.
pub const S2S_DRAIN_WAIT_MS: u64 = 3_000;

/// Messages of one stream whose commit is awaited before more is read.
pub const S2S_UNSETTLED_MAX: usize = 1_024;

/// Stanzas that may wait for one stream of a component.
pub const COMPONENT_QUEUE_ITEMS_MAX: usize = 10_000;

/// Default for the bytes that may wait for one stream of a component.
pub const COMPONENT_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Milliseconds from the start of the server in which a component comes back to what was under way to
/// it in an earlier process.
pub const COMPONENT_RETURN_WAIT_MS: u64 = 300_000;

/// Shards in which the senders of a component's stanzas share its streams.
pub const COMPONENT_SHARDS: usize = 256;

/// Requests of one component whose answers are awaited, while it has several streams.
pub const COMPONENT_ASKED_MAX: usize = 65_536;

/// Presences of one component's entities that are remembered, in entries: by entity and by who saw
/// it.
pub const COMPONENT_SHOWN_MAX: usize = 65_536;

/// Milliseconds in which a component must take a byte of what waits for it.
pub const COMPONENT_STALL_MS: u64 = 30_000;

/// Source addresses without a connection whose attempts to connect are remembered, some 100 bytes
/// each; the longest quiet are forgotten first.
pub const QUIET_SOURCES_MAX: usize = 262_144;

/// Bytes of the name that somebody claimed when a sign-in failed, as the log shows it.
pub const LOGGED_NAME_BYTES_MAX: usize = 256;
