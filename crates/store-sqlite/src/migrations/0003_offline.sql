-- Messages for later (XEP-0160). Ids are never used again, so that dropping up to an id cannot take
-- a message that came after it.
CREATE TABLE offline (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    received_ms INTEGER NOT NULL,
    -- CRC-32 of the stanza.
    checksum INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

-- Ends in the id, as every index does: pages in order without sorting.
CREATE INDEX offline_by_account ON offline (account);

-- Rows that could not be read, for the administrator.
CREATE TABLE offline_damaged (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    received_ms INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

CREATE INDEX offline_damaged_by_account ON offline_damaged (account);
