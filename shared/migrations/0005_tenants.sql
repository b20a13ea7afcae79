-- The clicks of people beside all clicks, and orders of an owner's links that are read from an index, however many they are.
--
-- Nothing here reads or writes the rows of `links`; the indexes are made after the commit, while links are created.

ALTER TABLE links
    ADD COLUMN humans      bigint NOT NULL DEFAULT 0,
    ADD COLUMN bots        bigint NOT NULL DEFAULT 0,
    -- An index on a counter would be written with every click. These change seldom, and sort like the counters.
    ADD COLUMN clicks_rank smallint NOT NULL DEFAULT 0,
    ADD COLUMN humans_rank smallint NOT NULL DEFAULT 0;

-- Below 64 the number itself, above it sixteen steps for each doubling.
CREATE FUNCTION count_rank(n bigint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN n < 64 THEN greatest(n, 0) ELSE 64 + floor(16 * (log(n::float8) / log(2::float8) - 6)) END::smallint
$$;

-- Links whose clicks were counted by someone who knows no humans: the release before this one, during a deployment.
CREATE TABLE links_to_recount (
    link_id bigint PRIMARY KEY
);
GRANT SELECT, INSERT, DELETE ON links_to_recount TO tinyurl_links;

-- How far the links that were there before got their humans.
CREATE TABLE links_recounted (
    reached bigint NOT NULL,
    last    bigint NOT NULL
);
INSERT INTO links_recounted (reached, last) SELECT 0, coalesce(max(id), 0) FROM links;
GRANT SELECT, UPDATE ON links_recounted TO tinyurl_links;

CREATE FUNCTION rank_link() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.clicks < 64 THEN
        NEW.clicks_rank := NEW.clicks;
    ELSE
        NEW.clicks_rank := public.count_rank(NEW.clicks);
    END IF;
    IF NEW.humans < 64 THEN
        NEW.humans_rank := NEW.humans;
    ELSE
        NEW.humans_rank := public.count_rank(NEW.humans);
    END IF;
    IF NEW.clicks <> NEW.humans + NEW.bots THEN
        INSERT INTO public.links_to_recount (link_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rank_new_link BEFORE INSERT ON links FOR EACH ROW WHEN (NEW.clicks <> 0) EXECUTE FUNCTION rank_link();
CREATE TRIGGER rank_link BEFORE UPDATE OF clicks, humans ON links FOR EACH ROW EXECUTE FUNCTION rank_link();

-- concurrently
CREATE INDEX CONCURRENTLY links_by_code ON links (owner, code, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY links_by_update ON links (owner, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY links_by_clicks ON links (owner, clicks_rank, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY links_by_humans ON links (owner, humans_rank, id) WHERE deleted_at IS NULL;
