-- Messages on their way to sessions that die with the process, where nothing else keeps them. What a
-- process leaves here is kept for later by the next.
CREATE TABLE given (
    number INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    received_ms INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

CREATE INDEX given_by_account ON given (account);
