-- Wrong passwords of the last day. What a row counts, a network at a link, a network, or a link, is in its key as a keyed hash:
-- no address is stored. Upkeep deletes rows that are over.

CREATE TABLE password_tries (
    key   bytea PRIMARY KEY,
    tries integer NOT NULL,
    until timestamptz NOT NULL
);

CREATE INDEX password_tries_by_end ON password_tries (until);

GRANT SELECT, INSERT, UPDATE, DELETE ON password_tries TO tinyurl_links;
