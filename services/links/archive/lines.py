"""Makes lines of an archive of what `rows.py` reads."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import asyncpg

from services.links.domains.rows import DECIDED as DECIDED_OF_DOMAINS
from services.links.links.forms import LinkIn
from services.links.links.rows import DECIDED
from services.links.packed.days import DayCounts
from services.links.sources.archive_lines import DayLine, DomainLine, LinkLine, TombstoneLine
from shared.api import Dimensions

# As clients send them: the target is beside them, and a password is a hash.
_FIELDS = tuple(name for name in DECIDED if name in LinkIn.model_fields and name != "url")
_DEFAULTS = {name: LinkIn.model_fields[name].get_default() for name in _FIELDS}
_BURIED = tuple(name for name in TombstoneLine.model_fields)


def link_line(row: asyncpg.Record, *, passwords: bool) -> LinkLine:
    """A link. Without its password it comes back switched off, so that nobody follows it without one."""
    fields = {name: _spell(name, row[name]) for name in _FIELDS}
    password_hash = row["password_hash"]
    if password_hash is not None and not passwords:
        password_hash, fields["enabled"] = None, False
    return LinkLine(
        domain=row["domain"],
        code=row["code"],
        owner=row["owner"],
        url=row["given_url"] or row["url"],
        fields={name: value for name, value in fields.items() if value != _DEFAULTS[name]},
        password_hash=password_hash,
        folds_case=row["folds_case"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        split_salt=row["split_salt"],
        clicks_used=row["clicks_used"],
        clicks=row["clicks"],
        humans=row["humans"],
        imported_clicks=row["imported_clicks"],
        imported_humans=row["imported_humans"],
    )


def tombstone_line(row: asyncpg.Record) -> TombstoneLine:
    return TombstoneLine(**{name: row[name] for name in _BURIED})


def day_line(key: tuple[str, str], day: date, counts: DayCounts, *, imported: bool) -> DayLine:
    domain, code = key
    slots = _pairs(counts.slots(False), counts.slots(True))
    values = {name: _pairs(counts.values(name, False), counts.values(name, True)) for name in Dimensions._fields}
    return DayLine(
        domain=domain,
        code=code,
        day=day,
        imported=imported,
        slots=slots,
        visitors=(counts.visitors(False), counts.visitors(True)),
        values={name: pairs for name, pairs in values.items() if pairs},  # type: ignore[misc]  # the fields are the dimensions
    )


def domain_line(row: asyncpg.Record, files: Mapping[str, str]) -> DomainLine:
    # What is noted there of its codes is noted anew where they are stored.
    decided = {name: row[name] for name in DECIDED_OF_DOMAINS if row[name]}
    return DomainLine(domain=row["domain"], decided=decided, version=row["version"], files=dict(files))


def _pairs(people: Mapping[Any, int], bots: Mapping[Any, int]) -> list[tuple[Any, int, int]]:
    return [(key, people.get(key, 0), bots.get(key, 0)) for key in _sorted({*people, *bots})]


def _sorted(keys: Iterable[Any]) -> list[Any]:
    return sorted(keys, key=lambda key: (key is None, key))


def _spell(name: str, value: Any) -> Any:
    return json.loads(value) if name in ("rules", "split") and value is not None else value
