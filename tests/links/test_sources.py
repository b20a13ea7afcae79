"""The files of other shorteners: who recognises them, and what is found in them."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.links import sources
from services.links.links.forms import LinkIn
from services.links.sources.found import ROOT, FoundCounts, FoundLink, FoundVisit, Unusable, UnusableFile
from tests.links import source_samples as samples
from tests.links.source_samples import (
    BCRYPT,
    SAMPLES,
    HeldFile,
    Sample,
    counts_of,
    links_of,
    refused_of,
    source_of,
    sqlite_of,
    visits_of,
)

NAMES = [f"{sample.source}-{sample.name}-{number}" for number, sample in enumerate(SAMPLES)]


@pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
def test_one_source_recognises_a_file(sample: Sample) -> None:
    """A file is recognised by one source, and by the one for any CSV at most beside it."""
    found = [source.NAME for source in sources.SOURCES if source.recognise(sample.data, sample.name)]

    assert found[0] == sample.source
    assert found[1:] in ([], ["csv"])


@pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
def test_fields_are_those_of_the_api(sample: Sample) -> None:
    """What is found beside code and target is valid as a field of a new link."""
    file = HeldFile(sample.data, sample.name)
    links = [each for each in source_of(file).read_links(file) if isinstance(each, FoundLink)]
    for link in links:
        LinkIn.model_validate_json(json.dumps({"url": "https://example.com/", **link.fields}))

    assert links or visits_of(file)


@pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_do_not_matter(sample: Sample, block: int) -> None:
    """A file is read alike in blocks of any size."""
    whole, split = HeldFile(sample.data, sample.name), HeldFile(sample.data, sample.name, block=block)
    source = source_of(whole)

    assert list(source.read_links(split)) == list(source.read_links(whole))
    assert list(source.read_visits(split)) == list(source.read_visits(whole))


@pytest.mark.parametrize("sample", [each for each in SAMPLES if not each.name.endswith("sqlite")])
def test_utf_16_is_read_like_utf_8(sample: Sample) -> None:
    """A file of Excel in UTF-16, and one with the mark of UTF-8, are read like one without marks."""
    plain = HeldFile(sample.data, sample.name)
    wide = HeldFile(sample.data.decode().encode("utf-16"), sample.name)
    marked = HeldFile(b"\xef\xbb\xbf" + sample.data, sample.name)

    assert source_of(wide).NAME == source_of(marked).NAME == sample.source
    assert (
        [*source_of(wide).read_links(wide)]
        == [*source_of(marked).read_links(marked)]
        == [*source_of(plain).read_links(plain)]
    )


def test_shlink_codes_are_decoded_once() -> None:
    """A code that the browser encoded is decoded, and one that has a percent sign by itself stays."""
    pairs = [("%E5%85%B1", "共"), ("a%41", "a%41"), ("%F0%9F%9A%80%20x", "🚀 x")]
    rows = "".join(f'"{code}","https://s.example.org/{path}"\n' for code, path in pairs)
    head = "shortCode,shortUrl,longUrl,visits\n"
    links = links_of(HeldFile(head + rows.replace('"\n', '",https://example.com/,1\n')))

    assert [link.code for link in links] == ["共", "a%41", "🚀 x"]


def test_shlink_doubled_rows_count_once() -> None:
    """A link that the web client got on two pages is one link."""
    head, first, *_ = samples.SHLINK_LINKS.split("\n")

    assert len(links_of(HeldFile("\n".join([head, first, first])))) == 1


def test_shlink_answer_has_limits_and_bots() -> None:
    """A link of Shlink's API comes with its limit, dates, bots, and the visitor's query that wins."""
    (link,) = links_of(HeldFile(samples.SHLINK_ANSWER))

    assert (link.clicks, link.bots, link.domain) == (17, 5, "go.example.org")
    assert link.fields == {
        "tags": ["food"],
        "expires_at": "2030-01-01T00:00:00Z",
        "max_clicks": 50,
        "crawlable": True,
        "forward_query": True,
        "visitor_query_wins": True,
    }


def test_shlink_rules_become_rules() -> None:
    """Redirect rules come in their order; one that has no counterpart is named."""
    (link,) = links_of(HeldFile(samples.SHLINK_PULLED))

    assert link.fields["rules"] == [
        {"if": {"os": ["ios"], "query": [{"name": "a", "value": "b"}]}, "url": "https://example.com/first"},
        {"if": {"address": ["1.2.3.0/24"]}, "url": "https://example.com/second"},
    ]
    assert link.notices == ("Its redirect rule 3 is left out: there is no condition geolocation-city-name Paris here.",)


def test_shlink_visits_have_their_dimensions() -> None:
    """Visits of both kinds of CSV tell link, agent, page, country and whether they were a bot's."""
    web, bot = visits_of(HeldFile(samples.SHLINK_VISITS))
    (command,) = visits_of(HeldFile(samples.SHLINK_COMMAND_VISITS))

    assert (web.code, web.domain, web.referrer, web.country, web.is_bot) == (
        "menu",
        "go.example.org",
        "https://news.example.com/",
        "FR",
        False,
    )
    assert (bot.referrer, bot.country, bot.is_bot) == (None, None, True)
    assert (command.referrer, command.country, command.is_bot) == ("https://news.example.com/a", "DE", False)


def test_old_shlink_visits_are_of_the_link_of_their_name() -> None:
    """Where the rows do not tell the link, the name does that the web client gave the file."""
    text = "date,potentialBot,userAgent,browser,os,referer,country\n2022-03-05T09:12:44+08:00,false,Mozilla,,,Direct,Türkiye\n"
    (visit,) = visits_of(HeldFile(text, "short-url_go.example.org_a_b_visits (1).csv"))

    assert (visit.domain, visit.code, visit.country) == ("go.example.org", "a_b", "TR")
    with pytest.raises(UnusableFile, match="no heading is a visitedurl"):
        visits_of(HeldFile(text, "visits.csv"))


def test_a_bad_visit_costs_no_other() -> None:
    """A visit of a page that cannot be read is named, and the others of the page are there."""
    file = HeldFile(
        samples.SHLINK_PULLED.replace('"date": "2024-03-05T09:12:44+08:00", "userAgent"', '"date": "x", "userAgent"')
    )
    bad, good = source_of(file).read_visits(file)

    assert isinstance(bad, Unusable)
    assert bad.reason == "x is no time that is known here"
    assert isinstance(good, FoundVisit)


def test_shlink_dump_joins_its_tables() -> None:
    """Of a dump, links have their domains, tags, rules and the sum of the slots of their counts; visits have their country."""
    file = HeldFile(samples.SHLINK_DUMP)
    first, second = links_of(file)
    (visit,) = visits_of(file)

    assert (first.domain, first.clicks, first.bots, first.fields["tags"]) == (None, 9, 2, ["food", "news"])
    assert first.fields["rules"] == [{"if": {"language": ["de"]}, "url": "https://example.com/de"}]
    assert (second.code, second.domain, second.clicks) == ("menu", "s.example.org", 0)
    assert (visit.code, visit.domain, visit.country) == ("menu", "s.example.org", "FR")


def test_yourls_dump_has_links_and_log() -> None:
    """Escapes, hexadecimals, foreign tables and a broken encoding are read as they were meant."""
    file = HeldFile(samples.YOURLS_DUMP)
    promo, dashed, hexed, twice = links_of(file)
    direct, other = visits_of(file)

    assert (promo.line, promo.code, promo.clicks, promo.fields["title"]) == (18, "promo", 41, "It's on")
    assert dashed.url == "https://example.com/;),('x'"
    assert (hexed.url, hexed.created_at, hexed.fields) == ("https://example.com/", None, {})
    assert twice.fields["title"] == "Café"
    assert (direct.referrer, direct.country, direct.address) == (None, "FR", "203.0.113.10")
    assert (other.referrer, other.country) == ("https://news.example.com/", None)


def test_yourls_zone_is_that_of_the_hint() -> None:
    """A time without a zone is of the zone that the client names."""
    (link,) = links_of(HeldFile(samples.YOURLS_BARE, zone=ZoneInfo("Europe/Berlin")))

    assert link.created_at == datetime(2019, 5, 1, 8, 22, 3, tzinfo=UTC)


def test_yourls_under_a_path_has_its_codes() -> None:
    """The codes of an instance in a folder begin behind it, where the instance is known."""
    (link,) = links_of(HeldFile(samples.YOURLS_PULLED))

    assert (link.code, link.short_url) == ("promo", "https://example.org/s/promo")


def test_bitly_second_codes_are_links() -> None:
    """A second code is another link of the target, and the clicks count once."""
    for text in (samples.BITLY_NEW, samples.BITLY_ANSWER):
        first, second = links_of(HeldFile(text))

        assert (first.code, second.code) == ("3AbCdEf", "spring")
        assert first.url == second.url
        assert second.clicks == 0
    assert links_of(HeldFile(samples.BITLY_NEW))[0].clicks == 128


def test_kutt_dump_has_passwords_and_hours() -> None:
    """A dump of Kutt has the hashes of passwords, and hourly counts with their values by our names."""
    file = HeldFile(samples.KUTT_DUMP)
    locked, banned = links_of(file)
    (counts,) = counts_of(file)

    assert (locked.domain, locked.password_hash, locked.fields["notes"]) == ("s.example.org", BCRYPT, "A note")
    assert (banned.domain, banned.fields) == (None, {"enabled": False})
    assert counts == FoundCounts(
        12,
        "promo",
        datetime(2023, 1, 3, 5, tzinfo=UTC),
        3,
        "s.example.org",
        is_hour=True,
        values={
            "browser": {"Chrome": 2},
            "os": {"Linux": 1, "Mac OS X": 2},
            "country": {"FR": 2},
            "referrer": {"example.co.uk": 2},
        },
    )


def test_kutt_sqlite_is_of_utc() -> None:
    """Kutt writes UTC into SQLite, whatever zone the client names; a time may be milliseconds."""
    file = HeldFile(sqlite_of(samples.KUTT_SQLITE), zone=timezone(timedelta(hours=8)))
    (link,) = links_of(file)
    (counts,) = counts_of(file)

    assert (link.created_at, link.fields["expires_at"]) == (
        datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC),
        "2030-01-01T00:00:00Z",
    )
    assert counts.since == datetime(2023, 1, 3, 5, tzinfo=UTC)


def test_kutt_password_without_a_hash_switches_off() -> None:
    """A link whose password is not told does not come open."""
    (link,) = links_of(HeldFile(samples.KUTT_ANSWER.replace('"password":false', '"password":true')))

    assert link.fields == {"enabled": False}
    assert "password" in link.notices[0]


def test_polr_secret_is_part_of_the_code() -> None:
    """A secret link of Polr has its secret behind the code, and so have its visits; a disabled one is switched off."""
    file = HeldFile(samples.POLR_DUMP)
    open_, secret = links_of(file)
    (visit,) = visits_of(file)

    assert (open_.code, open_.clicks, open_.fields) == ("promo", 5, {})
    assert (secret.code, secret.fields) == ("hid/s3cr", {"enabled": False})
    assert isinstance(visit, FoundVisit)
    assert visit.code == "hid/s3cr"


def test_chhoto_file_has_expiry_and_notes() -> None:
    """A SQLite file of chhoto-url is read, also where it was left in the mode of a write-ahead log."""
    data = sqlite_of(samples.CHHOTO_SQLITE)
    logged = data[:18] + b"\2\2" + data[20:]
    first, second = links_of(HeldFile(data))

    assert first.fields == {"notes": "why", "expires_at": "2030-01-01T00:00:00Z"}
    assert (second.url, second.fields) == ("magnet:?xt=1", {})
    assert links_of(HeldFile(logged)) == [first, second]


def test_old_chhoto_file_lacks_columns() -> None:
    """A SQLite file of simply-shorten has no expiry and no notes."""
    script = "CREATE TABLE urls (id INTEGER PRIMARY KEY, long_url TEXT, short_url TEXT, hits INTEGER);"
    (link,) = links_of(HeldFile(sqlite_of(script + "INSERT INTO urls VALUES (1, 'https://example.com', 'a', 2)")))

    assert (link.code, link.clicks, link.fields) == ("a", 2, {})


def test_dub_root_and_rules() -> None:
    """Dub's root link is that of the bare domain; its targets for systems and countries become rules."""
    first, root = links_of(HeldFile(samples.DUB))
    (told,) = links_of(HeldFile(samples.DUB_ANSWER))

    assert (first.code, root.code, root.fields["tags"]) == ("docs/start", ROOT, ["=x"])
    assert told.fields["rules"] == [
        {"if": {"os": ["ios"]}, "url": "https://example.com/i"},
        {"if": {"country": ["DE"]}, "url": "https://example.com/de"},
    ]
    assert told.fields["expired_url"] == "https://example.com/over"


def test_placeholders_are_refused() -> None:
    """Go links with placeholders are named, and never taken literally."""
    for text in (samples.TROTTO, samples.GOLINK):
        (refused,) = refused_of(HeldFile(text))

        assert refused.reason == "has a placeholder, which has no meaning here"


def test_bookmarks_have_tags_and_notes() -> None:
    """Bookmarks come without codes, with tags and the text below them; scripts are refused."""
    file = HeldFile(samples.BOOKMARKS)
    found = list(source_of(file).read_links(file))
    first, bad, other = found

    assert isinstance(first, FoundLink)
    assert (first.code, first.url) == ("", "https://example.com/?a=1&b=2")
    assert first.fields == {"title": "T & U", "tags": ["a", "b"], "notes": "A note"}
    assert [bad] == refused_of(file)
    assert isinstance(other, FoundLink)
    assert other.created_at == first.created_at


def test_firebase_campaign_joins_the_target() -> None:
    """Parameters of a campaign that the target lacks are added before its fragment."""
    (link,) = links_of(HeldFile(samples.FIREBASE))

    assert link.url == "https://example.com/?utm_source=a&utm_medium=mail#f"


def test_a_list_may_have_any_usual_heading() -> None:
    """Lists that people kept are read by usual headings, and bulk importers' ones without any."""
    (googl,) = links_of(HeldFile(samples.GOO_GL))
    named, unnamed = links_of(HeldFile(samples.BARE_LIST))

    assert (googl.code, googl.domain, googl.clicks) == ("AbC", "goo.gl", 7)
    assert (named.code, named.fields, unnamed.code) == ("promo", {"title": "A title"}, "")


def test_texts_are_made_to_fit() -> None:
    """A title that is too long, invisible characters and too many tags are changed, and each change is told."""
    tags = "|".join(f"t{number}" for number in range(25))
    text = f'longUrl,shortCode,title,tags,visits\nhttps://example.com/,a,"{"x" * 600}",{tags},1\nhttps://example.com/,b,"A\u202eB\nC",,1\n'
    long, hidden = links_of(HeldFile(text))

    assert long.fields == {"title": "x" * 512, "tags": [f"t{number}" for number in range(20)]}
    assert long.notices == ("Its title is cut to 512 characters.", "It has 25 tags; the first 20 are kept.")
    assert hidden.fields == {"title": "AB C"}
    assert hidden.notices == ("Its title loses the invisible character U+202E.",)


def test_impossible_rows_are_named() -> None:
    """A row that cannot be used is told with its line, and the next one follows."""
    text = "source,target,hits\n/a/,,1\n//,https://example.com/,1\n/b/,https://example.com/,many\n/c/,https://example.com/,2\n"
    file = HeldFile(text)

    assert [(each.line, each.reason) for each in refused_of(file)] == [
        (2, "has no target"),
        (3, "has no keyword"),
        (4, "has a number of clicks that is none: many"),
    ]
    assert [each.code for each in source_of(file).read_links(file) if isinstance(each, FoundLink)] == ["c"]


def test_ports_and_capitals_are_no_part_of_a_domain() -> None:
    """A host is spelled as DNS does, without its port."""
    text = samples.BITLY.replace("bit.ly/", "https://GO.bücher.example:8443/")
    (link,) = links_of(HeldFile(text))

    assert link.domain == "go.xn--bcher-kva.example"
    assert replace(link, domain=None).code == "3AbCdEf"


def test_sqlite_is_read_from_any_thread() -> None:
    """The rows of a SQLite file can be taken by one thread after another, as an import's worker takes them."""
    rows = source_of(HeldFile(sqlite_of(samples.CHHOTO_SQLITE))).read_links(HeldFile(sqlite_of(samples.CHHOTO_SQLITE)))
    found = []
    for _ in range(2):
        with ThreadPoolExecutor(1) as thread:
            found.append(thread.submit(next, rows).result())

    assert [link.code for link in found if isinstance(link, FoundLink)] == ["a-b", "m"]


def test_the_documentation_names_every_format() -> None:
    """What people are told to bring is what is understood."""
    text = (Path(__file__).parents[2] / "docs/moving-in.md").read_text()
    named = re.findall(r"^\| `([a-z.]+)` \|", text, re.MULTILINE)

    # Our own files are told of where exports are.
    assert set(named) == {source.NAME for source in sources.SOURCES} - {"tinyurl", "archive"}


def test_each_source_has_a_name_of_its_own() -> None:
    """An import that goes on finds the reader of its file by the name that it noted."""
    names = [source.NAME for source in sources.SOURCES]

    assert len(names) == len(set(names))
