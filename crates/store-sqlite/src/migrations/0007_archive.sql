-- Archived messages (XEP-0313).
--
-- A commit appends to `archive_messages` and touches nothing else: one row for both accounts of a
-- message. Tens of thousands of rows later they are *folded*, account by account: sorted in where
-- readers look for them. Until then they are found in memory.

-- Ids are never used again: what a deleted account left must not become its namesake's.
CREATE TABLE archives (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- None once the account is deleted; its messages are then removed step by step.
    account INTEGER UNIQUE REFERENCES accounts ON DELETE SET NULL,
    -- The last message that is folded into this archive.
    folded INTEGER NOT NULL DEFAULT 0,
    -- Of what is folded: entries, bytes of their messages, the time of the first by id, the latest
    -- time, and how far a later id may lie back in time behind an earlier one.
    entries INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    oldest_ms INTEGER NOT NULL,
    newest_ms INTEGER NOT NULL,
    back_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX archives_by_age ON archives (oldest_ms);

-- In the order of commits. The second entry is that of the recipient, if it has an archive here.
CREATE TABLE archive_messages (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    archive1 INTEGER,
    id1 INTEGER,
    peer1 TEXT,
    flags1 INTEGER,
    archive2 INTEGER,
    id2 INTEGER,
    peer2 TEXT,
    flags2 INTEGER,
    origin_id TEXT,
    stanza_id TEXT,
    -- CRC-32 of the body.
    checksum INTEGER NOT NULL,
    text TEXT,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE archive_entries (
    archive INTEGER NOT NULL,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (archive, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive_by_peer (
    archive INTEGER NOT NULL,
    -- The bare address; the resource, if there is one, is beside it.
    peer TEXT NOT NULL,
    id INTEGER NOT NULL,
    resource TEXT,
    at_ms INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    -- CRC-32 of the ids by which senders and rooms call the message.
    origin INTEGER,
    stanza INTEGER,
    message INTEGER NOT NULL,
    PRIMARY KEY (archive, peer, id)
) STRICT, WITHOUT ROWID;

-- Rows that could not be read, for the administrator.
CREATE TABLE archive_damaged (
    archive INTEGER NOT NULL REFERENCES archives ON DELETE CASCADE,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (archive, id)
) STRICT, WITHOUT ROWID;

-- The words of messages, prepared by `archive/words.rs`, and who has them.
CREATE VIRTUAL TABLE archive_words USING fts5 (
    words, content = '', columnsize = 0, detail = none, tokenize = 'ascii'
);

CREATE TABLE archive_state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Messages up to this one are folded into every archive.
    folded INTEGER NOT NULL,
    -- The words of messages up to this one are in the index.
    worded INTEGER NOT NULL,
    -- No id of what is folded is larger.
    last_id INTEGER NOT NULL
) STRICT;

INSERT INTO archive_state VALUES (1, 0, 0, 0);

-- What was taken out must not stay readable in the index.
INSERT INTO archive_words (archive_words, rank) VALUES ('secure-delete', 1);

-- Messages for later may be in the archive, and are then not kept twice.
CREATE TABLE offline_with_archive (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    received_ms INTEGER NOT NULL,
    -- Of the stanza, wherever it is.
    bytes INTEGER NOT NULL,
    -- The id in the account's archive; checksum and stanza are then missing here.
    archived INTEGER,
    -- CRC-32 of the stanza.
    checksum INTEGER,
    stanza BLOB
) STRICT;

INSERT INTO offline_with_archive (id, account, received_ms, bytes, checksum, stanza)
    SELECT id, account, received_ms, length(stanza), checksum, stanza FROM offline;

-- Ids are never used again.
DELETE FROM sqlite_sequence WHERE name = 'offline_with_archive';
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'offline_with_archive', seq FROM sqlite_sequence WHERE name = 'offline';

DROP TABLE offline;
ALTER TABLE offline_with_archive RENAME TO offline;
CREATE INDEX offline_by_account ON offline (account);
