"""Writes an archive as a stream: a tar file of members that are small enough to be in memory, compressed with gzip.

`routes.py` gives it the lines of a page and sends on what comes out. `services/links/sources/archive_lines.py` says what is in
it.
"""

import hashlib
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

from services.links.sources.archive_lines import END, KINDS, MANIFEST, MEMBER_BYTES, End, Line, Manifest, member_name

_GZIP = zlib.MAX_WBITS | 16
_LEVEL = 6
_BLOCK = 512
_KIND_OF = {line: kind for kind, line in KINDS.items()}


class ArchiveWriter:
    """Writes one archive: `begin`, then `add` again and again, and `end`. Each returns bytes to send, perhaps none.

    It takes a processor for some milliseconds; call it in a thread.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._zip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._digest = hashlib.sha256()
        self._lines: Counter[str] = Counter()
        self._members = 0

    def begin(self) -> bytes:
        return self._member(MANIFEST, self._manifest.model_dump_json().encode() + b"\n")

    def add(self, lines: Iterable[Line]) -> bytes:
        """Write lines in their order. Those of one kind that follow each other are in as few members as there is room."""
        return b"".join(
            self._member(member_name(kind, self._members), content) for kind, content in self._gather(lines)
        )

    def end(self) -> bytes:
        end = End(lines={kind: self._lines[kind] for kind in KINDS}, sha256=self._digest.hexdigest())
        last = self._member(END, end.model_dump_json().encode() + b"\n")
        return last + self._zip.compress(bytes(2 * _BLOCK)) + self._zip.flush()

    def _gather(self, lines: Iterable[Line]) -> Iterator[tuple[str, bytes]]:
        kind, gathered, size = "", list[bytes](), 0
        for line in lines:
            spelled = line.model_dump_json(exclude_defaults=True).encode() + b"\n"
            if gathered and (kind != _KIND_OF[type(line)] or size + len(spelled) > MEMBER_BYTES):
                yield kind, b"".join(gathered)
                gathered, size = [], 0
            kind = _KIND_OF[type(line)]
            self._lines[kind] += 1
            gathered.append(spelled)
            size += len(spelled)
        if gathered:
            yield kind, b"".join(gathered)

    def _member(self, name: str, content: bytes) -> bytes:
        if name != END:
            self._digest.update(name.encode() + b"\n" + content)
        self._members += 1
        header = tarfile.TarInfo(name)
        header.size, header.mtime = len(content), int(self._manifest.created_at.timestamp())
        padded = header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % _BLOCK)
        # What is compressed leaves at once: a client that reads sees that something comes.
        return self._zip.compress(padded) + self._zip.flush(zlib.Z_SYNC_FLUSH)
