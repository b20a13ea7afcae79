-- Links, the feed of their changes, API keys and remembered requests; the roles that may touch them.

DO $$
BEGIN
    -- A deployment gives these roles a password and LOGIN; roles belong to the cluster, so they may be here already.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tinyurl_links') THEN
        CREATE ROLE tinyurl_links NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tinyurl_redirect') THEN
        CREATE ROLE tinyurl_redirect NOLOGIN;
    END IF;
END $$;

CREATE TABLE links (
    id            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    domain        text COLLATE "C" NOT NULL,
    code          text COLLATE "C" NOT NULL CHECK (code ~ '^[0-9A-Za-z_-]{1,64}$'),
    owner         text COLLATE "C" NOT NULL,
    url           text COLLATE "C" NOT NULL,
    title         text,
    tags          text[] NOT NULL DEFAULT '{}',
    status_code   smallint NOT NULL DEFAULT 302 CHECK (status_code IN (301, 302, 307, 308)),
    cache_control integer CHECK (cache_control >= 0),
    valid_from    timestamptz,
    expires_at    timestamptz,
    expired_url   text COLLATE "C",
    enabled       boolean NOT NULL DEFAULT true,
    forward_query boolean NOT NULL DEFAULT false,
    clicks        bigint NOT NULL DEFAULT 0,
    min_reader    smallint NOT NULL DEFAULT 1,
    version       integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    -- A deleted link stays as a tombstone: its code is never given to another link.
    deleted_at    timestamptz,
    PRIMARY KEY (domain, code)
);
CREATE INDEX links_by_owner ON links (owner, id) WHERE deleted_at IS NULL;
CREATE INDEX links_by_target ON links (owner, hashtextextended(url, 0)) WHERE deleted_at IS NULL;

-- What a redirector reads, and all that it may read of a link.
CREATE VIEW link_records AS
SELECT domain, code, id, url, status_code, cache_control, valid_from, expires_at, expired_url,
       enabled, forward_query, deleted_at IS NOT NULL AS deleted, min_reader
FROM links;

CREATE TABLE link_changes (
    version    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain     text COLLATE "C" NOT NULL,
    code       text COLLATE "C" NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE api_keys (
    id         text COLLATE "C" PRIMARY KEY,
    hash       bytea NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    name       text,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE remembered_requests (
    owner        text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint,
    response     text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX remembered_requests_by_age ON remembered_requests (created_at);

GRANT SELECT, INSERT, UPDATE ON links TO tinyurl_links;
GRANT SELECT, INSERT, UPDATE ON api_keys TO tinyurl_links;
GRANT SELECT, INSERT, DELETE ON link_changes TO tinyurl_links;
GRANT SELECT, INSERT, UPDATE, DELETE ON remembered_requests TO tinyurl_links;
GRANT SELECT ON link_records, link_changes TO tinyurl_redirect;
