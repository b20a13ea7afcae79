"""An archive of this shortener, as `GET /api/v1/exports/archive` gives it: links as they were, and all that belongs to them.

It is read as a stream, member by member, of which none is larger than is agreed. Nothing of it becomes a path, and whatever is
not exactly an archive ends the reading: a cut one, a member of another name or kind, a digest that is another one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from itertools import chain
from typing import NamedTuple

from pydantic import ValidationError

from services.links.sources.archive_lines import (
    END,
    FORMAT,
    KINDS,
    LARGEST_MEMBER,
    MANIFEST,
    DomainLine,
    End,
    Line,
    LinkLine,
    Manifest,
    match_member,
)
from services.links.sources.found import File, FoundLink, FoundRecord, Unusable, UnusableFile

NAME = "archive"
TITLE = "Archive of this shortener"

_BLOCK = 512
_NAME, _SIZE, _CHECKSUM, _TYPE, _MAGIC = (
    slice(0, 100),
    slice(124, 136),
    slice(148, 156),
    slice(156, 157),
    slice(257, 263),
)
_REGULAR = b"0"
_LARGEST_PADDING = 20 * _BLOCK
"""Other programs fill a tar file up to so many bytes."""

_LONGEST_TEXT = 200


class _Member(NamedTuple):
    """A member, read whole."""

    name: str
    content: bytes


def recognise(head: bytes, name: str) -> bool:
    """Tell whether a file begins as an archive of this shortener does."""
    return head[_MAGIC].startswith(b"ustar") and head[_NAME].rstrip(b"\0") == MANIFEST.encode()


def read_links(file: File) -> Iterator[FoundLink | FoundRecord | Unusable]:
    """Read the links that are there, and domains, which say what codes may be, before them, as the archive has them.

    A line is the number among all of its lines.
    """
    for number, line in read_lines(file):
        if isinstance(line, Unusable):
            yield line
        elif isinstance(line, DomainLine):
            yield FoundRecord(number, line)
        elif isinstance(line, LinkLine):
            yield FoundLink(
                line=number,
                code=line.code,
                url=line.url,
                domain=line.domain,
                short_url=f"https://{line.domain}/{line.code}",
                created_at=line.created_at,
                password_hash=line.password_hash,
                fields=line.fields,
                owner=line.owner,
            )


def read_visits(file: File) -> Iterator[FoundRecord | Unusable]:
    """Read everything that the engine hands on as it is, links once more: what a `FoundLink` has no room for."""
    for number, line in read_lines(file):
        # `read_links` has told of those.
        if not isinstance(line, Unusable | DomainLine):
            yield FoundRecord(number, line)


def read_manifest(file: File) -> Manifest:
    """Read what the archive says of itself.

    Raises:
        UnusableFile: It is none, or of a format that this release does not know.
    """
    return _check_manifest(next(_members(file), None))


def read_lines(file: File) -> Iterator[tuple[int, Line | Unusable]]:
    """Read all lines with their numbers. A line that is none is passed over; an archive that is none, or is cut, ends it.

    Raises:
        UnusableFile: The reason names the member.
    """
    members = _members(file)
    first = next(members, None)
    _check_manifest(first)
    assert first is not None, "it was checked"
    digest, counted, number = hashlib.sha256(), Counter[str](), 0
    for member in chain([first], members):
        if member.name == END:
            _check_end(member, digest.hexdigest(), counted)
            if next(members, None) is not None:
                raise UnusableFile(f"The archive goes on behind {END}.")
            return
        digest.update(member.name.encode() + b"\n" + member.content)
        if member is first:
            continue
        match = match_member(member.name)
        if match is None:
            raise UnusableFile(f"The archive has a member {member.name[:_LONGEST_TEXT]!r}, which it cannot have.")
        kind = match[1]
        for text in BytesIO(member.content):
            number += 1
            counted[kind] += 1
            yield number, _read_line(kind, text, number)
    raise UnusableFile(f"The archive is cut: it ends after its line {number}, without {END}.")


def _read_line(kind: str, text: bytes, number: int) -> Line | Unusable:
    try:
        return KINDS[kind].model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"is no line of {kind}: {place} {first['msg']}" if place else f"is no line of {kind}: {first['msg']}"
        return Unusable(number, text[:_LONGEST_TEXT].decode("utf-8", "replace"), reason)


def _check_manifest(member: _Member | None) -> Manifest:
    if member is None or member.name != MANIFEST:
        raise UnusableFile(f"The file is no archive of this shortener: it does not begin with {MANIFEST}.")
    try:
        # The format comes first: what else there is may be another one's.
        told = json.loads(member.content)
        if isinstance(told, dict) and isinstance(told.get("format"), int) and told["format"] > FORMAT:
            raise UnusableFile(f"The archive has the format {told['format']}; this release reads those up to {FORMAT}.")
        return Manifest.model_validate_json(member.content)
    except ValueError as error:
        raise UnusableFile(f"The archive's {MANIFEST} cannot be read.") from error


def _check_end(member: _Member, digest: str, counted: Counter[str]) -> None:
    try:
        end = End.model_validate_json(member.content)
    except ValidationError as error:
        raise UnusableFile(f"The archive's {END} cannot be read.") from error
    if end.sha256 != digest or Counter(end.lines) != counted:
        raise UnusableFile(f"The archive is damaged: what {END} tells of it is of another one.")


def _members(file: File) -> Iterator[_Member]:
    """Read the members of a tar file (POSIX.1-1988, ustar): regular files of short names alone, none of them large."""
    blocks = _Blocks(file.blocks())
    while (header := blocks.take(_BLOCK)).strip(b"\0"):
        try:
            size, checksum = (int(header[field].rstrip(b"\0 ") or b"x", 8) for field in (_SIZE, _CHECKSUM))
            name = header[_NAME].rstrip(b"\0").decode("ascii")
        except ValueError:
            size, checksum, name = 0, -1, ""
        blanked = header[: _CHECKSUM.start] + b" " * 8 + header[_CHECKSUM.stop :]
        if sum(blanked) != checksum or header[_TYPE] != _REGULAR or not header[_MAGIC].startswith(b"ustar"):
            raise UnusableFile("The archive has something in it that is no member of an archive of this shortener.")
        if not 0 <= size <= LARGEST_MEMBER:
            raise UnusableFile(
                f"The archive's {name!r} has {size} bytes, and no member has more than {LARGEST_MEMBER}."
            )
        yield _Member(name, blocks.take(size))
        blocks.take(-size % _BLOCK)
    if not blocks.end_in_zeros(_LARGEST_PADDING):
        raise UnusableFile("The archive goes on behind its end.")


class _Blocks:
    """Gives out a stream of blocks of any size in pieces of a wanted size."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def take(self, size: int) -> bytes:
        """Take exactly so many bytes.

        Raises:
            UnusableFile: There are fewer.
        """
        pieces, missing = [], size
        while missing > len(self._rest):
            pieces.append(self._rest)
            missing -= len(self._rest)
            self._rest = next(self._blocks, b"")
            if not self._rest:
                raise UnusableFile(f"The archive is cut: it ends before its last member, {END}.")
        pieces.append(self._rest[:missing])
        self._rest = self._rest[missing:]
        return b"".join(pieces)

    def end_in_zeros(self, most: int) -> bool:
        """Tell whether nothing follows but zeros, and not more of them."""
        rest = self._rest
        while len(rest) <= most and (block := next(self._blocks, b"")):
            rest += block
        return len(rest) <= most and not rest.strip(b"\0")
