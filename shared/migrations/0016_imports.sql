-- Imports: files of other shorteners, kept in parts until they are worked off; and where imported links came from.

CREATE TABLE imports (
    id          uuid PRIMARY KEY,
    -- For tables that have a row for each link.
    number      integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    owner       text COLLATE "C" NOT NULL,
    options     jsonb NOT NULL,
    -- Whether the key that it came with may decide about domains.
    is_admin    boolean NOT NULL,
    is_gzip     boolean NOT NULL,
    dry_run     boolean NOT NULL,
    state       text COLLATE "C" NOT NULL DEFAULT 'receiving',
    -- Of the source that reads it.
    format      text COLLATE "C",
    -- Received, as they were sent.
    bytes       bigint NOT NULL DEFAULT 0,
    -- What of the file comes now, and how many rows of that are done. A step moves both together with what it stores.
    stage       text COLLATE "C" NOT NULL DEFAULT 'reading',
    position    bigint NOT NULL DEFAULT 0,
    rows_read   bigint NOT NULL DEFAULT 0,
    made        bigint NOT NULL DEFAULT 0,
    found       bigint NOT NULL DEFAULT 0,
    replaced    bigint NOT NULL DEFAULT 0,
    refused     bigint NOT NULL DEFAULT 0,
    notices     bigint NOT NULL DEFAULT 0,
    visits      bigint NOT NULL DEFAULT 0,
    kept        bigint NOT NULL DEFAULT 0,
    rows_per_second double precision,
    seconds_left    double precision,
    error       text,
    -- Processes that died or failed at one place.
    failures    integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX imports_by_owner ON imports (owner, number);
CREATE INDEX imports_at_work ON imports (number) WHERE state IN ('waiting', 'reading', 'importing', 'undoing');

-- The file, as it was sent. A part begins at its first byte.
CREATE TABLE import_parts (
    import_id uuid NOT NULL REFERENCES imports ON DELETE CASCADE,
    start     bigint NOT NULL,
    data      bytea NOT NULL,
    PRIMARY KEY (import_id, start)
);
-- What is compressed already does not get smaller, and the rest would take longer than to store it.
ALTER TABLE import_parts ALTER COLUMN data SET STORAGE EXTERNAL;

-- Rows that were not imported as they are, or links that an undoing has kept; the first ones of an import.
CREATE TABLE import_refusals (
    import_id     uuid NOT NULL REFERENCES imports ON DELETE CASCADE,
    number        bigint GENERATED ALWAYS AS IDENTITY,
    line          bigint,
    input         text NOT NULL,
    reason        text NOT NULL,
    proposed_code text,
    PRIMARY KEY (import_id, number)
);

-- Where a link came from. The row stays when the import is undone: importing the same again revives the same link.
CREATE TABLE link_sources (
    owner     text COLLATE "C" NOT NULL,
    source    text COLLATE "C" NOT NULL,
    -- As it was there: host and code. Of a link that had none, its target.
    short_url text COLLATE "C" NOT NULL,
    link_id   bigint NOT NULL,
    -- The number of the import that made or replaced the link last, and the version that it then had.
    import    integer NOT NULL,
    version   integer NOT NULL,
    -- What was replaced.
    before    jsonb,
    PRIMARY KEY (owner, source, short_url)
);
CREATE INDEX link_sources_by_import ON link_sources (import, link_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON imports, import_parts, import_refusals, link_sources TO tinyurl_links;
