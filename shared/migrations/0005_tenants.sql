-- The clicks of people beside all clicks, and orders of an owner's links that are read from an index, however many they are.
--
-- Nothing here reads or writes the rows of `links`; the indexes are made after the commit, while links are created.

ALTER TABLE links
    ADD COLUMN humans        bigint NOT NULL DEFAULT 0,
    ADD COLUMN bots          bigint NOT NULL DEFAULT 0,
    -- The counters as they were some seconds ago. An index on a counter itself would be written with every click.
    ADD COLUMN clicks_sorted bigint NOT NULL DEFAULT 0,
    ADD COLUMN humans_sorted bigint NOT NULL DEFAULT 0;

-- The links that each batch of clicks was of, until their order is brought up to date.
CREATE TABLE clicked_links (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    link_ids bigint[] NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON clicked_links TO tinyurl_links;

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

CREATE FUNCTION note_uncounted_link() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.clicks_sorted := NEW.clicks;
    INSERT INTO public.links_to_recount (link_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NEW;
END $$;
CREATE TRIGGER note_new_link BEFORE INSERT ON links
    FOR EACH ROW WHEN (NEW.clicks <> NEW.humans + NEW.bots) EXECUTE FUNCTION note_uncounted_link();
CREATE TRIGGER note_clicked_link BEFORE UPDATE OF clicks ON links
    FOR EACH ROW WHEN (NEW.clicks <> NEW.humans + NEW.bots) EXECUTE FUNCTION note_uncounted_link();

-- concurrently
CREATE INDEX CONCURRENTLY links_by_code ON links (owner, code, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY links_by_update ON links (owner, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY links_by_clicks ON links (owner, clicks_sorted, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY links_by_humans ON links (owner, humans_sorted, id) WHERE deleted_at IS NULL;
