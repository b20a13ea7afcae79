"""Programs and people: the table of user agents, and RE2's answers beside those of the expressions as they are written."""

import random
import re
import time
from collections.abc import Iterator
from itertools import islice

import pytest
from crawlerdetect.providers.crawlers import data as crawlers
from crawlerdetect.providers.exclusions import data as exclusions

from shared.agents import AgentParser
from shared.bots import NAMES_OF_THINGS, PEOPLE, PROGRAMS, BotMatcher
from tests.agents import hostile_agents, read_agents

RANDOM_AGENTS = 100_000
LONG_AGENTS = 25
CPU_LIMIT_S = 4.0
"""For 2,000 user agents; they take 0.2 s. One expression of Python's `re` takes 20 s and more."""

AGENTS = read_agents()


@pytest.fixture(scope="module")
def parser() -> AgentParser:
    return AgentParser()


@pytest.fixture(scope="module")
def matcher() -> BotMatcher:
    return BotMatcher()


class Naive:
    """The same lists with Python's `re`, one alternative after the other: what RE2 has to agree with."""

    def __init__(self) -> None:
        self._crawlers = re.compile("|".join([*crawlers, *PROGRAMS]), re.IGNORECASE)
        self._exclusions = re.compile("|".join([*NAMES_OF_THINGS, *exclusions]), re.IGNORECASE)
        self._people = re.compile("|".join(PEOPLE), re.IGNORECASE)

    def is_bot(self, text: str) -> bool:
        if self._people.fullmatch(text):
            return False
        return self._crawlers.search(self._exclusions.sub("", text)) is not None


@pytest.mark.parametrize(("agent", "is_bot"), AGENTS, ids=[agent for agent, _ in AGENTS])
def test_programs_and_people(parser: AgentParser, agent: str, is_bot: bool) -> None:
    """Crawlers, previews, monitors and libraries are programs; who looks at a page with whatever browser is none."""
    assert parser.parse(agent.encode()).is_bot is is_bot


def test_answers_are_those_of_the_lists_as_written(matcher: BotMatcher) -> None:
    """RE2 and what was rewritten for it say of 100,000 texts what the lists themselves say; of long ones too."""
    naive = Naive()
    texts = [agent for agent, _ in AGENTS]
    texts += islice(_random_texts(seed=11), RANDOM_AGENTS)
    texts += [agent.decode() for agent in islice(hostile_agents(seed=11), LONG_AGENTS)]
    wrong = [text for text in texts if matcher.is_bot(text.encode()) is not naive.is_bot(text)]

    assert wrong == []


def test_time_does_not_depend_on_what_is_sent() -> None:
    """2,000 user agents made to be dear, each another one, are read by a new process in seconds of processor time."""
    parser = AgentParser()
    agents = list(islice(hostile_agents(seed=12), 2_000))
    started = time.process_time()
    for number, agent in enumerate(agents):
        parser.parse(agent)
        assert time.process_time() - started < CPU_LIMIT_S, f"after {number} user agents"


def _random_texts(seed: int) -> Iterator[str]:
    """Short texts, as long ones cost milliseconds: cut names, things that are taken out between, words of real user agents."""
    chance = random.Random(seed)
    names, things = [[_SYNTAX.sub("", each) for each in patterns] for patterns in (crawlers, exclusions)]
    words = [word for agent, _ in AGENTS for word in agent.split()]

    def name() -> str:
        text = chance.choice(names)
        start, end = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
        return chance.choice((text, text, text[:-1], text[1:], text[start:end], text[:end].upper(), "YandexSearch", ""))

    def thing() -> str:
        return chance.choice(things) + chance.choice(("", "", " ", "1", "9.9", "_9", "x"))

    while True:
        yield chance.choice(
            (
                name,
                lambda: thing() + name(),
                lambda: name()[:6] + thing() + name()[-6:],
                lambda: chance.choice(words)[:20] + chance.choice("/ ;1") + name()[:20],
                lambda: chance.choice(words)[:12],
            )
        )()


_SYNTAX = re.compile(r"\\d|\?!|[][\\^$*+?(){}|]")
