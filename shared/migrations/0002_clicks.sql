-- Clicks: how far each journal segment was taken, the raw clicks by day, and the counts that answer most questions.

-- Outlives every backup and every retention: what lies below an offset is never counted again.
CREATE TABLE click_segments (
    segment    uuid PRIMARY KEY,
    reached    bigint NOT NULL DEFAULT 0,
    refused    bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clicks (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    clicked_at timestamptz NOT NULL,
    link_id    bigint NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    -- A keyed hash of address and user agent; the key of a day is deleted after two.
    visitor    bytea NOT NULL,
    is_bot     boolean NOT NULL,
    country    text COLLATE "C" NOT NULL,
    browser    text COLLATE "C" NOT NULL,
    os         text COLLATE "C" NOT NULL,
    device     text COLLATE "C" NOT NULL,
    referrer   text COLLATE "C" NOT NULL,
    language   text COLLATE "C" NOT NULL
) PARTITION BY RANGE (clicked_at);
CREATE INDEX clicks_by_link ON clicks (link_id, clicked_at, id);
CREATE TABLE clicks_default PARTITION OF clicks DEFAULT;

-- By quarter of an hour, so that the days of every time zone can be summed up.
CREATE TABLE click_totals_by_link (
    link_id bigint NOT NULL,
    slot    timestamptz NOT NULL,
    is_bot  boolean NOT NULL,
    clicks  bigint NOT NULL,
    PRIMARY KEY (link_id, slot, is_bot)
);
CREATE TABLE click_totals_by_owner (
    owner  text COLLATE "C" NOT NULL,
    slot   timestamptz NOT NULL,
    is_bot boolean NOT NULL,
    clicks bigint NOT NULL,
    PRIMARY KEY (owner, slot, is_bot)
);

-- By UTC day; the sum over the values of any dimension is the number of clicks.
CREATE TABLE click_dimensions_by_link (
    link_id   bigint NOT NULL,
    day       date NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    is_bot    boolean NOT NULL,
    clicks    bigint NOT NULL,
    PRIMARY KEY (link_id, day, dimension, value, is_bot)
);
CREATE TABLE click_dimensions_by_owner (
    owner     text COLLATE "C" NOT NULL,
    day       date NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    is_bot    boolean NOT NULL,
    clicks    bigint NOT NULL,
    PRIMARY KEY (owner, day, dimension, value, is_bot)
);

-- Who was seen on a day, and how many that were; the first is pruned with the day's key, the second stays.
CREATE TABLE click_visitors (
    day     date NOT NULL,
    link_id bigint NOT NULL,
    visitor bytea NOT NULL,
    PRIMARY KEY (day, link_id, visitor)
);
CREATE TABLE click_visitors_of_owners (
    day     date NOT NULL,
    owner   text COLLATE "C" NOT NULL,
    visitor bytea NOT NULL,
    PRIMARY KEY (day, owner, visitor)
);
CREATE TABLE click_uniques_by_link (
    link_id bigint NOT NULL,
    day     date NOT NULL,
    is_bot  boolean NOT NULL,
    visitors bigint NOT NULL,
    PRIMARY KEY (link_id, day, is_bot)
);
CREATE TABLE click_uniques_by_owner (
    owner   text COLLATE "C" NOT NULL,
    day     date NOT NULL,
    is_bot  boolean NOT NULL,
    visitors bigint NOT NULL,
    PRIMARY KEY (owner, day, is_bot)
);
CREATE TABLE click_keys (
    day date PRIMARY KEY,
    key bytea NOT NULL
);

-- Partitions belong to the owner of the database; these are all that the write service may do with them.
CREATE FUNCTION create_click_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.clicks FOR VALUES FROM (%L) TO (%L)',
                   'clicks_' || to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END $$;
CREATE FUNCTION drop_click_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS public.%I', 'clicks_' || to_char(day, 'YYYYMMDD'));
END $$;
REVOKE ALL ON FUNCTION create_click_partition(date), drop_click_partition(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_click_partition(date), drop_click_partition(date) TO tinyurl_links;

GRANT SELECT, INSERT, UPDATE ON click_segments TO tinyurl_links;
GRANT SELECT, INSERT, DELETE ON clicks, clicks_default TO tinyurl_links;
GRANT SELECT, INSERT, UPDATE ON click_totals_by_link, click_totals_by_owner, click_dimensions_by_link,
    click_dimensions_by_owner, click_uniques_by_link, click_uniques_by_owner TO tinyurl_links;
GRANT SELECT, INSERT, DELETE ON click_visitors, click_visitors_of_owners, click_keys TO tinyurl_links;
