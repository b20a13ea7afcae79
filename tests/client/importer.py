"""A service that takes imports as the API says, and does with them what a test says."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.client.server import Answer, Asked, Server, answering

REFUSED = b"row,input,reason,proposed_code\r\n7,docs,is a reserved word,docs-2\r\n"


@dataclass
class Importer:
    """What it knows.

    Attributes:
        files: What has arrived of each import, as it was sent.
        whole: Those that arrived whole.
        results: What becomes of an import when it has arrived.
        refuses: The problem that answers whatever would begin an import.
        away_after: The number of requests after which it is away.
    """

    results: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    states: dict[str, str] = field(default_factory=dict)
    server: Server = field(default_factory=lambda: Server(""))
    refuses: bytes | None = None
    away_after: int = sys.maxsize

    def answer(self, asked: Asked) -> Answer | None:
        if len(self.server.asked) > self.away_after:
            return None
        _, _, rest = asked.path.partition("/imports")
        _, name, action = f"{rest}//".split("/")[:3]
        if asked.method == "POST" and self.refuses is not None:
            return Answer(422, self.refuses)
        if asked.method == "POST" and not name:
            return self._receive(asked.query["id"][0], 0, asked)
        if asked.path.endswith("/domains"):
            return Answer(200, b'{"items": ["sho.rt"]}')
        if not name:
            items = b", ".join(self._tell(each).body for each in self.files)
            return Answer(200, b'{"items": [%s]}' % items)
        if name not in self.files:
            return Answer(404, b"{}")
        if asked.method == "PATCH":
            return self._receive(name, int(asked.query["offset"][0]), asked)
        if action == "refused":
            return Answer(200, REFUSED)
        if asked.method == "DELETE" and self.results.get("dry_run"):
            del self.files[name]
            return Answer(204)
        if asked.method == "DELETE":
            self.states[name] = "undone"
        if action == "start":
            self.results["dry_run"] = False
        return self._tell(name)

    def _receive(self, name: str, offset: int, asked: Asked) -> Answer:
        if offset != len(self.files.get(name, b"")):
            return Answer(409, b"{}")
        self.files[name] = self.files.get(name, b"") + asked.body
        if asked.is_whole:
            self.whole.add(name)
        return self._tell(name, 202)

    def _tell(self, name: str, status: int = 200) -> Answer:
        told = {"id": name, "state": "receiving", "bytes": len(self.files[name])}
        if name in self.whole:
            told |= {"state": "done"} | self.results
        told |= {"state": self.states[name]} if name in self.states else {}
        return Answer(status, json.dumps(told).encode())


@contextmanager
def importing(**results: Any) -> Iterator[Importer]:
    """Run such a service."""
    importer = Importer(results)
    with answering(importer.answer) as server:
        importer.server = server
        yield importer
