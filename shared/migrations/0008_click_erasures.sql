-- Clicks of a link that somebody asked to erase; with the link 0 an owner's unique visitors. Upkeep does it in small steps, counts
-- first.

CREATE TABLE click_erasures (
    link_id  bigint NOT NULL,
    owner    text COLLATE "C" NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- Of an owner: the last id of links that was looked at, and the last day that is done.
    last_link bigint NOT NULL DEFAULT 0,
    last_day  date NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (link_id, owner)
);

-- Raw clicks that are counted no more and still there: in chunks from the first to the last, and in rows up to an id.
CREATE TABLE click_erased_spans (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    link_id     bigint NOT NULL,
    day         date NOT NULL,
    first_chunk bigint NOT NULL DEFAULT 0,
    last_chunk  bigint NOT NULL DEFAULT -1,
    last_click  bigint NOT NULL DEFAULT 0
);

GRANT SELECT, INSERT, UPDATE, DELETE ON click_erasures, click_erased_spans TO tinyurl_links;
