-- Which kinds of codes a domain has, so that nothing is looked up that cannot be there; and what finds codes that could be taken
-- for each other: by their stem (`stem_of` in shared/codes.py), and without regard to case.

ALTER TABLE domains
    -- One of its codes ends, or ended, with a mark that may also follow a code.
    ADD COLUMN has_tail_codes    boolean NOT NULL DEFAULT false,
    -- Visitors may write one of its codes in any case.
    ADD COLUMN has_folding_codes boolean NOT NULL DEFAULT false;

CREATE OR REPLACE VIEW domain_records AS
SELECT domain, root_url, not_found_url, expired_url, page_title, page_colour, robots,
       (SELECT json_object_agg(name, content)::text FROM domain_files WHERE domain = domains.domain) AS files,
       multi_segment, has_tail_codes, has_folding_codes
FROM domains;

-- concurrently
-- Codes that are more than their stem: few.
CREATE INDEX CONCURRENTLY links_by_stem ON links (domain, rtrim(split_part(code, '/', 1), '.~+'))
    WHERE code <> rtrim(split_part(code, '/', 1), '.~+');

-- concurrently
CREATE INDEX CONCURRENTLY links_folding ON links (domain, rtrim(split_part(code, '/', 1), '.~+')) WHERE folds_case;

-- concurrently
-- As a number, which has a third of a code's size: most codes that are drawn have a capital letter.
CREATE INDEX CONCURRENTLY links_by_folded_stem
    ON links (hashtextextended(casefold(rtrim(split_part(code, '/', 1), '.~+') COLLATE pg_unicode_fast), 0))
    WHERE code <> casefold(code COLLATE pg_unicode_fast);
