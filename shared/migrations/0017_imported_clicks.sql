-- Clicks that were counted elsewhere, which came with their links. Their days and chunks are rows of `click_days` and
-- `click_chunks` whose format is negative (services/links/packed/days.py): a release before leaves those alone.

-- Those without a date: of a link that has others as well (else it is all its imported ones), and with the link 0 of an owner.
CREATE TABLE imported_undated (
    link_id bigint NOT NULL,
    owner   text COLLATE "C" NOT NULL,
    humans  bigint NOT NULL,
    bots    bigint NOT NULL,
    -- The number of the import whose visits these others are; its undoing takes their dates away.
    import  integer NOT NULL DEFAULT 0,
    PRIMARY KEY (link_id, owner)
);
CREATE INDEX imported_undated_by_import ON imported_undated (import) WHERE import > 0;

-- What an import hashes visitors with. At its end the key goes, then the visitors, then the row.
CREATE TABLE imported_keys (
    number    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    import_id uuid NOT NULL UNIQUE,
    key       bytea
);

-- Who was seen on a day, by an import: at a link, and with the link 0 at any of an owner.
CREATE TABLE imported_visitors (
    import_number integer NOT NULL,
    day           date NOT NULL,
    link_id       bigint NOT NULL,
    visitor       bigint NOT NULL,
    owner         text COLLATE "C" NOT NULL,
    PRIMARY KEY (import_number, day, link_id, owner, visitor)
);

-- As `click_erased_spans`, of imported clicks: a release before would look for them in its own chunks.
CREATE TABLE imported_erased_spans (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    link_id     bigint NOT NULL,
    day         date NOT NULL,
    first_chunk bigint NOT NULL,
    last_chunk  bigint NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON imported_undated, imported_keys, imported_visitors, imported_erased_spans
    TO tinyurl_links;
