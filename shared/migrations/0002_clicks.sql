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
-- A partition is attached, which, other than CREATE … PARTITION OF, lets clicks be stored meanwhile; those of its day that are
-- in the default partition move with it.
CREATE FUNCTION create_click_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    name text := 'clicks_' || to_char(day, 'YYYYMMDD');
    since timestamptz := day::timestamp AT TIME ZONE 'UTC';
    until timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Two at once take turns; and nothing may come into the default partition between the move and the end.
    LOCK TABLE public.clicks IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    LOCK TABLE public.clicks_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.clicks INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('WITH moved AS (DELETE FROM public.clicks_default WHERE clicked_at >= %L AND clicked_at < %L RETURNING *)
                    INSERT INTO public.%I SELECT * FROM moved', since, until, name);
    EXECUTE format('ALTER TABLE public.clicks ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', name, since, until);
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
