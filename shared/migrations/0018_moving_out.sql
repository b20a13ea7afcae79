-- How a target was written belongs to that target. A release that does not know it gives a link another one, or deletes the link.

CREATE FUNCTION forget_given_url() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.given_url := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER forget_given_url BEFORE UPDATE OF url ON links
    FOR EACH ROW WHEN (NEW.url <> OLD.url AND NEW.given_url = OLD.given_url) EXECUTE FUNCTION forget_given_url();

-- Clicks that an archive brought along as they were counted, and which no undoing may take for later ones.
ALTER TABLE link_sources ADD COLUMN own_clicks bigint NOT NULL DEFAULT 0;

-- concurrently
-- For archives, which have the codes that stay taken.
CREATE INDEX CONCURRENTLY links_deleted ON links (owner, id) WHERE deleted_at IS NOT NULL;
-- And which say where links came from.
CREATE INDEX CONCURRENTLY link_sources_by_link ON link_sources (link_id);
