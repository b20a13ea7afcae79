-- Statistics: what makes their answers quick however many clicks there are.

-- Parts of days are asked of the raw clicks. Clicks come nearly in the order of time, so a summary of each range of blocks finds
-- the hours of all links of an owner, and costs the intake next to nothing.
CREATE INDEX clicks_by_time ON clicks USING brin (clicked_at) WITH (pages_per_range = 32, autosummarize = on);

-- The counts of a link are written over the day, between those of all others, each on a page of its own; they are read together.
-- Once a day is over and its late clicks are in, its counts are written anew in the order of the links, once.
CREATE TABLE click_sorted_days (
    day date PRIMARY KEY
);
GRANT SELECT ON click_sorted_days TO tinyurl_links;

CREATE INDEX click_dimensions_by_link_day ON click_dimensions_by_link USING brin (day)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX click_totals_by_link_slot ON click_totals_by_link USING brin (slot)
    WITH (pages_per_range = 32, autosummarize = on);

CREATE FUNCTION sort_click_counts(wanted date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    since timestamptz := wanted::timestamp AT TIME ZONE 'UTC';
    until timestamptz := (wanted + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('sort_click_counts')) THEN
        RETURN false;
    END IF;
    INSERT INTO public.click_sorted_days (day) VALUES (wanted) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Late clicks add to these rows: locked in the order in which clicks lock them, the two wait for each other in turn.
    PERFORM FROM (
        SELECT FROM public.click_totals_by_link WHERE slot >= since AND slot < until
        ORDER BY link_id, slot, is_bot FOR UPDATE) AS locked;
    PERFORM FROM (
        SELECT FROM public.click_dimensions_by_link WHERE day = wanted
        ORDER BY link_id, day, dimension, value, is_bot FOR UPDATE) AS locked;
    -- The sort takes all rows before the first is written again, and what this transaction has deleted is no duplicate.
    WITH moved AS (
        DELETE FROM public.click_totals_by_link WHERE slot >= since AND slot < until
        RETURNING link_id, slot, is_bot, clicks)
    INSERT INTO public.click_totals_by_link (link_id, slot, is_bot, clicks)
    SELECT link_id, slot, is_bot, clicks FROM moved ORDER BY link_id, slot, is_bot;
    WITH moved AS (
        DELETE FROM public.click_dimensions_by_link WHERE day = wanted
        RETURNING link_id, day, dimension, value, is_bot, clicks)
    INSERT INTO public.click_dimensions_by_link (link_id, day, dimension, value, is_bot, clicks)
    SELECT link_id, day, dimension, value, is_bot, clicks FROM moved ORDER BY link_id, dimension, value, is_bot;
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION sort_click_counts(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sort_click_counts(date) TO tinyurl_links;
