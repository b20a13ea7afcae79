-- What a preview shows beside the link's record. A link that has a password tells strangers nothing of itself but that.

CREATE VIEW link_previews AS
SELECT domain, code, CASE WHEN password_hash IS NULL THEN title END AS title, created_at
FROM links
WHERE preview AND deleted_at IS NULL;

GRANT SELECT ON link_previews TO tinyurl_redirect;

-- What the operators decide about a domain. The domains themselves are a setting; one without a row is as by default.
CREATE TABLE domains (
    domain        text COLLATE "C" PRIMARY KEY,
    root_url      text COLLATE "C",
    not_found_url text COLLATE "C",
    expired_url   text COLLATE "C",
    page_title    text,
    page_colour   text COLLATE "C" CHECK (page_colour ~ '^#[0-9a-f]{6}$'),
    robots        text,
    version       bigint NOT NULL DEFAULT 0,
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- Files under /.well-known/.
CREATE TABLE domain_files (
    domain     text COLLATE "C" NOT NULL REFERENCES domains,
    name       text COLLATE "C" NOT NULL,
    content    text NOT NULL CHECK (octet_length(content) <= 65536),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (domain, name)
);

GRANT SELECT, INSERT, UPDATE ON domains TO tinyurl_links;
GRANT SELECT, INSERT, UPDATE, DELETE ON domain_files TO tinyurl_links;

CREATE VIEW domain_records AS
SELECT domain, root_url, not_found_url, expired_url, page_title, page_colour, robots,
       (SELECT json_object_agg(name, content)::text FROM domain_files WHERE domain = domains.domain) AS files
FROM domains;

-- What robots.txt lists.
CREATE VIEW crawlable_links AS
SELECT domain, id, code, forward_path FROM links WHERE crawlable AND deleted_at IS NULL AND enabled AND password_hash IS NULL;

GRANT SELECT ON domain_records, crawlable_links TO tinyurl_redirect;

-- concurrently
-- By the negative id, which no other index has: the planner would else look for the newest of a domain among all links.
CREATE INDEX CONCURRENTLY links_crawlable ON links (domain, (-id)) WHERE crawlable AND deleted_at IS NULL;
