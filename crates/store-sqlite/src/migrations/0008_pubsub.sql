-- Nodes that accounts publish on.
CREATE TABLE pubsub_nodes (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    node TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    config BLOB NOT NULL,
    UNIQUE (account, node)
) STRICT;

-- Who may do what there, and who is told of it.
CREATE TABLE pubsub_parties (
    node INTEGER NOT NULL REFERENCES pubsub_nodes ON DELETE CASCADE,
    jid TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (node, jid, kind)
) STRICT, WITHOUT ROWID;

-- What was published; seq is the order of publication.
CREATE TABLE pubsub_items (
    row INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES pubsub_nodes ON DELETE CASCADE,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    publisher TEXT,
    payload BLOB NOT NULL,
    UNIQUE (node, id)
) STRICT;
