-- Who may sign in, and the hosts beside those of the configuration file.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    jid TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    is_suspended INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX accounts_by_host ON accounts (host, jid);

CREATE TABLE keys (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    hash TEXT NOT NULL,
    iterations INTEGER NOT NULL,
    salt BLOB NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
    name TEXT NOT NULL PRIMARY KEY,
    profile TEXT NOT NULL,
    is_enabled INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
