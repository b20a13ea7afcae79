"""Whatever is wrong with a file of another shortener, it is told: nothing else is raised, and no row is silently half."""

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.links import sources
from services.links.sources.found import FoundCounts, FoundLink, FoundVisit, Unusable, UnusableFile
from tests.links.source_samples import SAMPLES, HeldFile, Sample, source_of

PIECES = (
    b"'", b'"', b"\\", b"\0", b"\xff", b"\r", b"\n", b",", b";", b"(", b")", b"[", b"{", b"}", b"-- ", b"/*", b"*/",
    b"$$", b"<", b"NULL", b"9" * 400, b"0x", b"e'", b"\xed\xa0\x80", b"\xe2\x80\xae", b"://", b"%FF", b"1e999", b"\x1a",
    b"{{", b"[dot]",
)  # fmt: skip


def read_all(data: bytes, name: str) -> None:
    """Read links and visits of a file, by each source that might be asked."""
    file = HeldFile(data, name, block=512)
    for source in sources.SOURCES:
        if source.recognise(data, name):
            with suppress(UnusableFile):
                for link in source.read_links(file):
                    assert isinstance(link, FoundLink | Unusable)
            with suppress(UnusableFile):
                for visit in source.read_visits(file):
                    assert isinstance(visit, FoundVisit | FoundCounts | Unusable)


@settings(max_examples=400)
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(PIECES), st.booleans()), min_size=1, max_size=3),
)
def test_a_broken_file_is_only_unusable(sample: Sample, changes: list[tuple[float, bytes, bool]]) -> None:
    """A file with foreign bytes in it, or in place of its own, is read as far as it goes, and only its faults are raised."""
    data = bytearray(sample.data)
    for where, piece, replaces in changes:
        at = int(where * len(data))
        data[at : at + len(piece) if replaces else at] = piece
    read_all(bytes(data), sample.name)


@settings(max_examples=200)
@given(sample=st.sampled_from(SAMPLES), where=st.floats(0, 1), foreign=st.sampled_from(SAMPLES))
def test_a_file_may_go_on_as_another(sample: Sample, where: float, foreign: Sample) -> None:
    """A file that is cut, and goes on as one of another shortener, raises nothing but its faults."""
    read_all(sample.data[: int(where * len(sample.data))] + foreign.data, sample.name)


@pytest.mark.parametrize("sample", SAMPLES, ids=[f"{each.source}-{each.name}-{at}" for at, each in enumerate(SAMPLES)])
def test_a_cut_file_has_whole_links_alone(sample: Sample) -> None:
    """The links of a file that is cut anywhere are those of the whole file, up to its last line."""
    whole = HeldFile(sample.data, sample.name)
    source = source_of(whole)
    links = [each for each in source.read_links(whole) if isinstance(each, FoundLink)]
    places = random.Random(1).sample(range(len(sample.data)), min(60, len(sample.data)))
    for place in sorted(places):
        found: list[FoundLink] = []
        with suppress(UnusableFile):
            cut = source.read_links(HeldFile(sample.data[:place], sample.name))
            found.extend(each for each in cut if isinstance(each, FoundLink))
        # The last cell of CSV has no end of its own.
        whole_links = found[:-1] if sample.name.endswith("csv") else found

        assert [(each.code, each.url) for each in whole_links] == [
            (each.code, each.url) for each in links[: len(whole_links)]
        ]
