-- The visitors that limited links have just let through, by nginx's request id: who is tried again uses up no other click.
-- Upkeep deletes them after a minute.

CREATE TABLE link_claim_requests (
    link_id    bigint NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (link_id, request_id)
);
CREATE INDEX link_claim_requests_by_age ON link_claim_requests (claimed_at);

GRANT SELECT, INSERT, DELETE ON link_claim_requests TO tinyurl_links;
