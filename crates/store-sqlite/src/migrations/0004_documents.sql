-- Small documents of accounts: private XML (XEP-0049), vCards (XEP-0054), the last logout
-- (XEP-0012).
CREATE TABLE private (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    ns TEXT NOT NULL,
    name TEXT NOT NULL,
    xml BLOB NOT NULL,
    UNIQUE (account, ns, name)
) STRICT;

CREATE TABLE vcards (
    account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    xml BLOB NOT NULL
) STRICT;

CREATE TABLE last_logouts (
    account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    status TEXT
) STRICT;
