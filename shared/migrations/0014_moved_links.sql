-- What links bring along from where they were: longer codes in any script, their target as it was written, their clicks.

ALTER TABLE links
    -- The target as the client wrote it, where the parsed one differs.
    ADD COLUMN given_url          text COLLATE "C",
    -- A visitor's query parameter replaces the target's of the same name.
    ADD COLUMN visitor_query_wins boolean NOT NULL DEFAULT false,
    -- The code is in lower case, and visitors may write it in any.
    ADD COLUMN folds_case         boolean NOT NULL DEFAULT false,
    -- Of `clicks` and `humans`, those that were counted elsewhere.
    ADD COLUMN imported_clicks    bigint NOT NULL DEFAULT 0,
    ADD COLUMN imported_humans    bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT links_code_check,
    -- Longest: 255 characters. Which ones may be in a code is in shared/codes.py.
    ADD CONSTRAINT links_code_length CHECK (char_length(code) BETWEEN 1 AND 255) NOT VALID;

-- What only some links have comes last, and raises `min_reader`: an older redirector must not follow such a link.
CREATE OR REPLACE VIEW link_records AS
SELECT domain, code, id, url, status_code, cache_control, valid_from, expires_at, expired_url,
       enabled, forward_query, deleted_at IS NOT NULL AS deleted,
       greatest(min_reader, CASE
           WHEN folds_case THEN 7
           WHEN visitor_query_wins THEN 6
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
       split_salt::text AS salt,
       visitor_query_wins, folds_case
FROM links;

-- Codes of the domain may have slashes in them.
ALTER TABLE domains ADD COLUMN multi_segment boolean NOT NULL DEFAULT false;

CREATE OR REPLACE VIEW domain_records AS
SELECT domain, root_url, not_found_url, expired_url, page_title, page_colour, robots,
       (SELECT json_object_agg(name, content)::text FROM domain_files WHERE domain = domains.domain) AS files,
       multi_segment
FROM domains;
