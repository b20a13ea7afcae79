-- Titles, tags and names of keys in Unicode's form NFC, as new ones are stored: what reads alike is found and compared alike.
-- An empty title or name is none. A row that is so already is not written.

-- In the order in which clicks lock them, so that the two wait for each other in turn.
SELECT FROM links
WHERE title IS NOT NFC NORMALIZED OR title = '' OR array_to_string(tags, ' ') IS NOT NFC NORMALIZED
ORDER BY id FOR NO KEY UPDATE;

UPDATE links SET title = nullif(normalize(title, NFC), '') WHERE title IS NOT NFC NORMALIZED OR title = '';

-- Tags that become the same are one, where the first of them was.
UPDATE links
SET tags = ARRAY(
    SELECT spelled
    FROM (SELECT normalize(tag, NFC) AS spelled, min(place) AS first
          FROM unnest(tags) WITH ORDINALITY AS each (tag, place)
          GROUP BY 1) AS spelled_once
    ORDER BY first)
WHERE array_to_string(tags, ' ') IS NOT NFC NORMALIZED;

UPDATE api_keys SET name = nullif(normalize(name, NFC), '') WHERE name IS NOT NFC NORMALIZED OR name = '';
