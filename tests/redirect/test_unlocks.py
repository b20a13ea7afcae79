"""The cookie of a right password: it opens its own link, for its time, and nothing else."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.unlocks import LIFETIME_S, LONGEST_COOKIE, cookie_header, is_unlocked, sign_unlock

NOW = 1_900_000_000.0
TOKENS = st.text(st.characters(codec="utf-8"), min_size=32, max_size=40)
LINKS = st.tuples(st.from_regex(r"[a-z.]{1,20}", fullmatch=True), st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True))
TAGS = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
SIGNED = st.tuples(TOKENS, LINKS, TAGS)
Signed = tuple[str, tuple[str, str], str]


@given(SIGNED, SIGNED, st.integers(0, 2))
def test_a_cookie_opens_its_own_link_alone(own: Signed, other: Signed, place: int) -> None:
    """A cookie of one token, link and password opens no other, however little differs."""
    value = sign_unlock(*own, NOW)
    token, link, tag = (theirs if n == place else mine for n, (mine, theirs) in enumerate(zip(own, other, strict=True)))
    assume((token, link, tag) != own)

    assert is_unlocked(value, *own, NOW)
    assert not is_unlocked(value, *other, NOW) or other == own
    assert not is_unlocked(value, str(token), (str(link[0]), str(link[1])), str(tag), NOW)


@given(SIGNED, st.text(max_size=80), st.integers(0, 60))
def test_an_altered_cookie_opens_nothing(own: Signed, text: str, place: int) -> None:
    """Nothing but the value itself opens: not another text, not a longer time, not a different letter."""
    value = sign_unlock(*own, NOW)
    until, _, signature = value.partition(".")
    for altered in (text, value[:place] + text + value[place:], f"{int(until) - 1}.{signature}", f"{until}.{text}"):
        assert altered == value or not is_unlocked(altered, *own, NOW)


@given(SIGNED, st.integers(0, 2 * LIFETIME_S))
def test_a_cookie_ends_after_an_hour(own: Signed, later: int) -> None:
    """It opens for an hour from when it was signed."""
    value = sign_unlock(*own, NOW)

    assert len(value) <= LONGEST_COOKIE
    assert is_unlocked(value, *own, NOW + later) == (later < LIFETIME_S)


def test_a_browser_sends_it_to_its_code_alone() -> None:
    """The cookie is no script's, goes to no other path and over HTTPS alone if the site has that."""
    header = cookie_header("1.x", ("sho.rt", "Code"), is_https=True)

    assert header == "tinyurl_unlock=1.x; Path=/Code; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
    assert re.sub("; Secure", "", header) == cookie_header("1.x", ("sho.rt", "Code"), is_https=False)
