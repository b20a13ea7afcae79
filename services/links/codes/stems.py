"""The codes that could be taken for each other: `a.` for `a`, `a/b` for a path behind `a`, `A` for a link that folds case.

All of them on a domain belong to one owner. The table `code_stems` has those that are more than their stem, which few are.
`creation.py` refuses the others, and looks again under the lock of the change feed: of two at once the second sees the first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shared.codes import TAIL_MARKS, stem_of
from shared.postgres import Connection
from shared.records import LinkKey

_STEM = f"rtrim(split_part(<code>, '/', 1), '{TAIL_MARKS}')"
_CASEFOLD = "casefold(<text> COLLATE pg_unicode_fast)"
_FOLDED = f"normalize({_CASEFOLD})"


def _stem(code: str) -> str:
    return _STEM.replace("<code>", code)


def _folded(text: str) -> str:
    return _FOLDED.replace("<text>", text)


# Where the table is empty, a row costs nothing. Elsewhere OFFSET and the collation of the index keep it a look-up in that.
SHADOWS = f"""((SELECT EXISTS (SELECT FROM code_stems)) AND EXISTS (
    SELECT FROM code_stems AS other
    WHERE other.domain = wanted.domain AND other.owner <> wanted.owner
      AND other.stem = ANY (ARRAY[{_stem("wanted.code")}, {_folded(_stem("wanted.code"))} COLLATE "C"])
      AND (other.folds_case OR other.stem = {_stem("wanted.code")})
    OFFSET 0))"""  # noqa: S608  # no value
"""Whether a row `wanted` of any code could be taken for one in the table of another owner."""

# Counted, so that the planner goes by the index: it looks for all of them, not for the first in the table.
_SELECT_SHADOWED = f"""
    SELECT domain, code
    FROM (SELECT $1::text AS owner, *
          FROM unnest($2::text[], $3::text[], $4::boolean[]) AS w (domain, code, folds_case)) AS wanted
    WHERE {SHADOWS}
       OR EXISTS (
           SELECT FROM links AS other
           WHERE other.domain = wanted.domain AND other.code = {_stem("wanted.code")} AND other.code <> wanted.code
             AND other.owner <> wanted.owner)
       OR wanted.folds_case AND 0 < (
           SELECT count(*) FROM links AS other
           WHERE hashtextextended({_folded(_stem("other.code"))}, 0) = hashtextextended({_stem("wanted.code")}, 0)
             AND other.code <> {_CASEFOLD.replace("<text>", "other.code")} AND other.domain = wanted.domain
             AND {_folded(_stem("other.code"))} = {_stem("wanted.code")} AND other.owner <> wanted.owner)
"""  # noqa: S608  # no value

# The feed is locked: whoever had the lock before has committed.
_INSERT_CHANGES = f"""
    WITH wanted AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS w (owner, domain, code)),
         shadowed AS MATERIALIZED (SELECT FROM wanted WHERE {SHADOWS} LIMIT 1),
         announced AS (
             INSERT INTO link_changes (domain, code)
             SELECT * FROM unnest($4::text[], $5::text[]) WHERE NOT EXISTS (SELECT FROM shadowed))
    SELECT NOT EXISTS (SELECT FROM shadowed)
"""  # noqa: S608  # no value


@dataclass(frozen=True, slots=True)
class Stemmed:
    """A code of a new link that could be taken for another one, or another one for it."""

    domain: str
    code: str
    folds_case: bool

    @property
    def key(self) -> LinkKey:
        return self.domain, self.code


def is_stemmed(code: str, *, folds_case: bool) -> bool:
    """Tell whether a code is more than its stem, or visitors may write it in any case."""
    return folds_case or code != stem_of(code)


async def select_shadowed(conn: Connection, owner: str, codes: Sequence[Stemmed]) -> set[LinkKey]:
    """Find the codes that could be taken for one of another owner, or one of another owner for them; also deleted ones."""
    rows = await conn.fetch(
        _SELECT_SHADOWED,
        owner,
        [each.domain for each in codes],
        [each.code for each in codes],
        [each.folds_case for each in codes],
    )
    return {(row["domain"], row["code"]) for row in rows}


async def insert_stems(conn: Connection, owner: str, codes: Sequence[Stemmed]) -> None:
    """Store the stems of new links."""
    await conn.execute(
        """
        INSERT INTO code_stems (domain, stem, code, owner, folds_case)
        SELECT domain, stem, code, $1, folds_case
        FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[]) AS new (domain, stem, code, folds_case)
        """,
        owner,
        [each.domain for each in codes],
        [stem_of(each.code) for each in codes],
        [each.code for each in codes],
        [each.folds_case for each in codes],
    )


async def select_segmented(conn: Connection, domains: Collection[str]) -> set[str]:
    """Find the domains whose codes may have slashes in them."""
    rows = await conn.fetch("SELECT domain FROM domains WHERE domain = ANY ($1::text[]) AND multi_segment", [*domains])
    return {row["domain"] for row in rows}


async def mark_domains(conn: Connection, codes: Sequence[Stemmed]) -> list[LinkKey]:
    """Note at the domains which kinds of codes they have now.

    Returns:
        What to announce: redirectors look for codes of a kind only where there are some.
    """
    rows = await conn.fetch(
        """
        INSERT INTO domains (domain, has_tail_codes, has_folding_codes)
        SELECT domain, bool_or(has_tail), bool_or(folds_case)
        FROM unnest($1::text[], $2::boolean[], $3::boolean[]) AS new (domain, has_tail, folds_case)
        GROUP BY domain ORDER BY domain
        ON CONFLICT (domain) DO UPDATE
        SET has_tail_codes = domains.has_tail_codes OR EXCLUDED.has_tail_codes,
            has_folding_codes = domains.has_folding_codes OR EXCLUDED.has_folding_codes
        WHERE EXCLUDED.has_tail_codes AND NOT domains.has_tail_codes
           OR EXCLUDED.has_folding_codes AND NOT domains.has_folding_codes
        RETURNING domain
        """,
        [each.domain for each in codes],
        [each.code[-1] in TAIL_MARKS for each in codes],
        [each.folds_case for each in codes],
    )
    return [(row["domain"], "") for row in rows]


async def insert_own_changes(
    conn: Connection, owners: Sequence[str], keys: Sequence[LinkKey], *, announced: Sequence[LinkKey]
) -> bool:
    """Announce new links, as `insert_changes` does, unless one could be taken for a code that another owner has got meanwhile.

    Args:
        conn: The feed is locked, so nobody else gets such a code before the transaction ends.
        owners: Of the links, each in its place.
        keys: All new links with chosen codes.
        announced: Of these, what to announce.

    Returns:
        Whether none could be taken for another owner's.
    """
    columns = ([key[place] for key in part] for part in (keys, announced) for place in (0, 1))
    return bool(await conn.fetchval(_INSERT_CHANGES, owners, *columns))
