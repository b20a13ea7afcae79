"""Drafts of imported links are those that the API would make of the same fields."""

import dataclasses

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from services.links.imports.drafts import DraftMaker, FoundDraft, Refused, _plain_draft
from services.links.imports.forms import ImportQuery, read_options
from services.links.links.checks import new_draft
from services.links.links.forms import LinkIn
from services.links.links.rows import LinkDraft, LinkFields
from services.links.site import Site
from services.links.sources.found import FoundLink
from services.links.web.errors import InvalidInput
from shared.settings import LinksSettings

SITE = Site(
    LinksSettings(
        links_database_url=SecretStr("postgresql://nobody@localhost/none"),
        fastapi_secret_key=SecretStr("a secret of the tests, long enough"),
        public_base_url="https://sho.rt",
        domains=("go.example.org",),
    )
)
URL = "https://www.example.com/"

plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
odd = st.text(max_size=4) | st.sampled_from(["a" * 65, "a" * 600, " a", "a ", "\u200b", "e\u0301", "", "\0"])
urls = st.sampled_from(
    [URL, f"{URL}a b", f"{URL}%41", f"{URL}é", "HTTPS://www.example.com/", "https://www.example.com", "https://sho.rt/x"]
    + ["javascript:1", "http://localhost/", " " + URL, "", URL + "x" * 8200, f"{URL}a?b=1#c", "ftp://a.example.com/"]
) | plain.map(URL.__add__)  # fmt: skip
codes = st.none() | plain | st.sampled_from(["docs", "API", "ok", "a-b_c", "a.b", "x" * 65])
fields = st.fixed_dictionaries(
    {}, optional={"title": plain | odd | st.none(), "tags": st.lists(plain | odd | st.just("twice"), max_size=22)}
)


def by_the_api(url: str, code: str | None, given: dict[str, object]) -> LinkDraft | None:
    """What the API makes of a link; None of one that it refuses."""
    try:
        body = LinkIn.model_validate({**given, "url": url, "code": code or None, "domain": "sho.rt"})
        return new_draft(body, "alice", SITE)
    except (ValidationError, InvalidInput):
        return None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(url=urls, code=codes, given=fields)
@example(url=URL, code="ok", given={"title": "A title", "tags": ["a", "b"]})
def test_short_way_makes_the_drafts_of_the_api(url: str, code: str | None, given: dict[str, object]) -> None:
    """Where the short way makes a draft at all, it is the one that the form and the checks of the API make."""
    bare = LinkDraft("sho.rt", "alice", LinkFields(url), code or "")
    draft = _plain_draft(bare, given, SITE)

    assert draft is None or draft == by_the_api(url, code, given)


def test_short_way_is_taken() -> None:
    """Ordinary links take the short way."""
    bare = LinkDraft("sho.rt", "alice", LinkFields(f"{URL}a?b=1"), "code")

    assert _plain_draft(bare, {"title": "A title, long enough", "tags": ["news", "2024"]}, SITE) is not None
    assert _plain_draft(bare, {}, SITE) is not None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(url=urls, code=codes, given=fields)
def test_drafts_are_those_of_the_api(url: str, code: str | None, given: dict[str, object]) -> None:
    """What the API takes is made the same, and what it refuses is made only where it was cut and that is said."""
    maker = DraftMaker("alice", read_options(ImportQuery.model_validate({}), SITE), SITE)
    made = maker.make(FoundLink(1, code or "", url, "sho.rt", fields=given))
    wanted = by_the_api(url, code, given)

    if isinstance(made, FoundDraft):
        assert made.draft == wanted if wanted is not None else made.notices
    else:
        assert isinstance(made, Refused)
        assert wanted is None or "placeholder" in made.reason or code == "/"


@pytest.mark.parametrize(
    ("options", "found", "wanted"),
    [
        ({"domain": ["bit.ly=go.example.org"]}, FoundLink(1, "a", URL, "bit.ly"), ("go.example.org", "a", URL)),
        ({"domain": ["go.example.org"]}, FoundLink(1, "a", URL), ("go.example.org", "a", URL)),
        ({}, FoundLink(1, "a", URL, "www.go.example.org"), ("go.example.org", "a", URL)),
        ({"slashes": "-"}, FoundLink(1, "a/b", URL), ("sho.rt", "a-b", URL)),
        (
            {"scheme": "https"},
            FoundLink(1, "a", "www.example.com:8443/x"),
            ("sho.rt", "a", "https://www.example.com:8443/x"),
        ),
        ({"scheme": "https"}, FoundLink(1, "a", "mailto:a@b.example"), None),
        ({"fold_case": True}, FoundLink(1, "ABC", URL), ("sho.rt", "abc", URL)),
    ],
)
def test_options(options: dict[str, object], found: FoundLink, wanted: tuple[str, str, str] | None) -> None:
    """Hosts are mapped, slashes and schemes are filled in, and codes are folded, where the client says so."""
    made = DraftMaker("alice", read_options(ImportQuery.model_validate(options), SITE), SITE).make(found)

    if wanted is None:
        assert isinstance(made, Refused)
    else:
        assert isinstance(made, FoundDraft)
        assert (*made.key, made.draft.fields.url) == wanted
        assert made.folds_case is ("fold_case" in options)
        assert bool(made.notices) is ("slashes" in options)


@pytest.mark.parametrize("code", ["\u0390" + "\u0323" * 30, "\u0416" * 2000])
def test_code_that_cannot_be_folded_is_refused(code: str) -> None:
    """A code that folding would make none is a refused row, and does not end the import."""
    made = DraftMaker("alice", read_options(ImportQuery.model_validate({"fold_case": True}), SITE), SITE).make(
        FoundLink(1, code, URL)
    )

    assert isinstance(made, Refused)
    assert made.reason.startswith("code must")


def test_limit_that_is_partly_used() -> None:
    """Of a limit the visits of the source are used, and no more than all of it."""
    maker = DraftMaker("alice", read_options(ImportQuery.model_validate({}), SITE), SITE)
    found = FoundLink(1, "a", URL, clicks=70, fields={"max_clicks": 50})
    made = [maker.make(each) for each in (found, dataclasses.replace(found, clicks=20))]

    assert [each.used for each in made if isinstance(each, FoundDraft)] == [50, 20]
