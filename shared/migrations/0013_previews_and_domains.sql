-- What a preview shows beside the link's record. A link that has a password tells strangers nothing of itself but that.

CREATE VIEW link_previews AS
SELECT domain, code, CASE WHEN password_hash IS NULL THEN title END AS title, created_at
FROM links
WHERE preview AND deleted_at IS NULL;

GRANT SELECT ON link_previews TO tinyurl_redirect;
