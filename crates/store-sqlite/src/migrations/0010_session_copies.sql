-- Which rows of several sessions are one message: what one of them loses, the others know of.
ALTER TABLE sessions_out ADD COLUMN shared INTEGER;

CREATE INDEX sessions_out_by_shared ON sessions_out (shared) WHERE shared IS NOT NULL;

-- Of those that are there nobody knows it: each is repeated rather than lost.
UPDATE sessions_out SET copies = 1 WHERE copies > 1;
