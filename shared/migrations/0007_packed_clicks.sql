-- Clicks in few rows: the counts of a link's or an owner's day are one value, the raw clicks of a batch are one chunk.
--
-- Releases that know these tables read them beside the older ones, and write them where the setting PACKED_CLICKS says so.

-- The counts of a UTC day: a link's, or with the link 0 an owner's. `counts` is of the format that the row names
-- (services/links/packed/days.py). Who does not know a format leaves its rows alone, and counts in a row of another one.
CREATE TABLE click_days (
    link_id bigint NOT NULL,
    humans  bigint NOT NULL,
    bots    bigint NOT NULL,
    day     date NOT NULL,
    format  smallint NOT NULL,
    owner   text COLLATE "C" NOT NULL,
    counts  bytea NOT NULL,
    PRIMARY KEY (link_id, owner, day, format)
) WITH (fillfactor = 70);

-- Raw clicks of one UTC day, in the order of their links (services/links/packed/chunks.py): first and last moment
-- (microseconds since 1970), whose they are, and their columns.
CREATE TABLE click_chunks (
    id       bigint GENERATED ALWAYS AS IDENTITY,
    since_us bigint NOT NULL,
    until_us bigint NOT NULL,
    day      date NOT NULL,
    format   smallint NOT NULL,
    links    bytea NOT NULL,
    clicks   bytea NOT NULL,
    PRIMARY KEY (day, id)
);
-- It is compressed already.
ALTER TABLE click_chunks ALTER COLUMN links SET STORAGE EXTERNAL, ALTER COLUMN clicks SET STORAGE EXTERNAL;

-- A click updates a row of links; in a page with room it stays where it is, and no index is written. For pages to come.
ALTER TABLE links SET (fillfactor = 80);

GRANT SELECT, INSERT, UPDATE, DELETE ON click_days, click_chunks TO tinyurl_links;
-- Counts move out of these when PACKED_CLICKS is on.
GRANT DELETE ON click_totals_by_link, click_totals_by_owner, click_dimensions_by_link, click_dimensions_by_owner,
    click_uniques_by_link, click_uniques_by_owner TO tinyurl_links;
