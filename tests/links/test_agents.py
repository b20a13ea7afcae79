"""What browser a user agent names: with the dearest of ua-parser's expressions in another form, and as they come."""

from ua_parser import Domain
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from shared.agents import LONGEST_NAMES, load_matchers
from tests.agents import read_agents


def test_names_are_those_that_ua_parser_finds() -> None:
    """The expressions that were written in another way find the same names in the table of user agents."""
    ours, theirs = Resolver(load_matchers()), Resolver(load_lazy_builtins())
    agents = [agent[:LONGEST_NAMES] for agent, _ in read_agents()]
    found = {agent: ours(agent, Domain.USER_AGENT).user_agent for agent in agents}

    assert found == {agent: theirs(agent, Domain.USER_AGENT).user_agent for agent in agents}
    assert sum(name is not None for name in found.values()) > 300


def test_no_expression_counts_from_the_beginning() -> None:
    """An upgrade of ua-parser's list cannot bring a dear expression back unseen."""
    assert [matcher.regex for matcher in load_lazy_builtins()[0] if matcher.regex.startswith("^.{0,")]
    assert [matcher.regex for matcher in load_matchers()[0] if matcher.regex.startswith("^.{0,")] == []
