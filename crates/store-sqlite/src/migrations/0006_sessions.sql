-- Sessions that can be resumed (XEP-0198 §5). A number is never used again.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    resource TEXT NOT NULL,
    token BLOB NOT NULL,
    max_secs INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    -- 0: attached; 1: detached, 2: ended, both until `until_ms`.
    state INTEGER NOT NULL,
    until_ms INTEGER,
    presence BLOB
) STRICT;

CREATE INDEX sessions_by_account ON sessions (account);

-- What each has sent and we have dealt with. Apart from the session, for it is written with every
-- message that comes in.
CREATE TABLE sessions_in (
    session INTEGER PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    h INTEGER NOT NULL,
    -- Requests without an answer: a JSON array of pairs, id and address or null.
    open_iqs TEXT
) STRICT;

-- What each was sent and has not acknowledged: an entry of the owner's archive, or the stanza.
CREATE TABLE sessions_out (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    archive INTEGER,
    -- 0: as it is; 1: as a copy of what was sent, 2: of what was received.
    how INTEGER NOT NULL,
    copies INTEGER NOT NULL,
    stanza BLOB,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions_directed (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    jid TEXT NOT NULL,
    PRIMARY KEY (session, jid)
) STRICT, WITHOUT ROWID;
