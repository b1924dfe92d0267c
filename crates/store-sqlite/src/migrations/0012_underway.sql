-- Stanzas under way to other servers, until these have them.
CREATE TABLE underway (
    number INTEGER PRIMARY KEY,
    since_ms INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;
