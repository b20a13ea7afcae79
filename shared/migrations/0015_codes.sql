-- Which kinds of codes a domain has, so that nothing is looked up that cannot be there; and what finds codes of two owners that could
-- be taken for each other.

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

-- The codes that are more than their stem (`stem_of` in shared/codes.py), and those that fold case. Most sites have none.
CREATE TABLE code_stems (
    domain     text COLLATE "C" NOT NULL,
    stem       text COLLATE "C" NOT NULL,
    code       text COLLATE "C" NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    folds_case boolean NOT NULL,
    PRIMARY KEY (domain, stem, code)
);

GRANT SELECT, INSERT ON code_stems TO tinyurl_links;

-- concurrently
-- The codes with capital letters, by their stem without regard to case: as a number, which takes a third of the room.
CREATE INDEX CONCURRENTLY links_by_folded_stem
    ON links (hashtextextended(normalize(casefold(rtrim(split_part(code, '/', 1), '.~+') COLLATE pg_unicode_fast)), 0))
    WHERE code <> casefold(code COLLATE pg_unicode_fast);
