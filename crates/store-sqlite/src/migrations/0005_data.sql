-- Small data of accounts by the feature that keeps it.
CREATE TABLE data (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (account, kind, key)
) STRICT;

CREATE INDEX data_of_kind ON data (kind, account, key);
