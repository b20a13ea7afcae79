-- What a link decides by: limits, passwords, rules, splits; paths that are passed on, search engines, previews, and notes.

ALTER TABLE links
    ADD COLUMN forward_path boolean NOT NULL DEFAULT false,
    ADD COLUMN crawlable    boolean NOT NULL DEFAULT false,
    ADD COLUMN preview      boolean NOT NULL DEFAULT true,
    ADD COLUMN notes        text,
    ADD COLUMN rules        jsonb,
    ADD COLUMN split        jsonb,
    ADD COLUMN split_salt   uuid,
    ADD COLUMN max_clicks   bigint CHECK (max_clicks > 0),
    ADD COLUMN password_hash text COLLATE "C";

-- The visitors that a limited link has let through. Not in the link's row, which every click changes. Half of a page is kept
-- free, so that the new version of a row finds room beside the old one and needs no new entry in the index.
CREATE TABLE link_claims (
    link_id bigint PRIMARY KEY,
    used    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE ON link_claims TO tinyurl_links;

-- Which rule or target of a split a click took; clicks of other links have none.
ALTER TABLE clicks ADD COLUMN variant text COLLATE "C";

-- What only some links have comes last, and raises `min_reader`: an older redirector must not follow such a link. A password is
-- told by a part of a digest of its hash, which changes with it and tells nobody how to guess it.
CREATE OR REPLACE VIEW link_records AS
SELECT domain, code, id, url, status_code, cache_control, valid_from, expires_at, expired_url,
       enabled, forward_query, deleted_at IS NOT NULL AS deleted,
       greatest(min_reader, CASE
           WHEN password_hash IS NOT NULL THEN 5
           WHEN max_clicks IS NOT NULL THEN 4
           WHEN rules IS NOT NULL OR split IS NOT NULL THEN 3
           WHEN forward_path OR crawlable OR NOT preview THEN 2
           ELSE 1
       END)::smallint AS min_reader,
       forward_path, crawlable, preview, rules::text AS rules, split::text AS split,
       max_clicks IS NOT NULL AS limited,
       CASE WHEN max_clicks IS NULL THEN false
            ELSE coalesce((SELECT used >= max_clicks FROM link_claims WHERE link_id = links.id), false)
       END AS used_up,
       CASE WHEN password_hash IS NOT NULL
            THEN left(encode(sha256(convert_to(password_hash, 'UTF8')), 'hex'), 16)
       END AS password,
       split_salt::text AS salt
FROM links;
