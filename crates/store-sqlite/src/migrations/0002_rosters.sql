-- Rosters, what was removed from them, and requests that wait for an answer (RFC 6121 §2, §3).
-- `floor`: older versions than this cannot be told what they lack.
CREATE TABLE rosters (
    account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    version INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;

CREATE TABLE roster_items (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    contact TEXT NOT NULL,
    version INTEGER NOT NULL,
    name TEXT,
    subscription TEXT NOT NULL,
    is_asking INTEGER NOT NULL,
    is_approved INTEGER NOT NULL,
    -- A JSON array of strings.
    groups TEXT NOT NULL,
    PRIMARY KEY (account, contact)
) STRICT, WITHOUT ROWID;

CREATE TABLE roster_removed (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    contact TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account, contact)
) STRICT, WITHOUT ROWID;

CREATE TABLE roster_requests (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    contact TEXT NOT NULL,
    stanza BLOB NOT NULL,
    UNIQUE (account, contact)
) STRICT;
