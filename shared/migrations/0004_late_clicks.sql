-- Clicks that come after the key of their day was deleted: they count, but nobody can tell who of them came before.

ALTER TABLE clicks ALTER COLUMN visitor DROP NOT NULL;

-- Keys of the days before this one were deleted, and no new ones are drawn: they would make every visitor a new one.
CREATE TABLE click_keys_deleted (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    before      date NOT NULL
);
INSERT INTO click_keys_deleted (before)
SELECT (now() AT TIME ZONE 'UTC')::date - 1 WHERE EXISTS (SELECT FROM click_segments);
GRANT SELECT, INSERT, UPDATE ON click_keys_deleted TO tinyurl_links;

-- A day whose counts take too long to sort is noted as if they were, so that it is not tried for ever.
GRANT INSERT ON click_sorted_days TO tinyurl_links;
