"""What files of other shorteners have besides their usual layout: foreign words, foreign tables, and other releases."""

import json

import pytest

from services.links.imports.stages import find_source
from services.links.sources.found import FoundLink, Unusable, UnusableFile
from tests.links.source_samples import BCRYPT, HeldFile, links_of, refused_of, source_of, sqlite_of, visits_of

YOURLS_TABLE = (
    "CREATE TABLE `yourls_url` (`keyword` varchar(200) NOT NULL, `url` text NOT NULL COMMENT 'a, (b)', `title` text,\n"
    "`timestamp` timestamp NOT NULL, `ip` varchar(41), `clicks` int, PRIMARY KEY (`keyword`)) ENGINE=InnoDB;\n"
)
CHHOTO_TABLE = (
    "CREATE TABLE urls (id INTEGER PRIMARY KEY, long_url TEXT NOT NULL, short_url TEXT NOT NULL, "
    "hits INTEGER NOT NULL, expiry_time INTEGER NOT NULL DEFAULT 0, notes TEXT);\n"
)
WORDS = ("homepage", "visit_count", "short_urls", "secret_key is_disabled", "referer_host", "yourls_url", "br_chrome")
"""Names of other shorteners' tables and columns, which are words of titles and targets, too."""


@pytest.mark.parametrize("word", WORDS)
def test_words_of_rows_are_no_sign_of_a_source(word: str) -> None:
    """A dump is recognised by its tables, whatever its rows and comments say."""
    yourls = (
        f"-- it's {word}\n{YOURLS_TABLE}INSERT INTO `yourls_url` VALUES "
        f"('a','https://example.com/{word}','It\\'s {word}','2019-05-01 10:22:03','',5);\n"
    )
    chhoto = f"{CHHOTO_TABLE}INSERT INTO urls VALUES (1,'https://example.com/{word}','a',3,0,'{word}');\n"
    kutt = (
        "-- PostgreSQL database dump\nCREATE TABLE public.links (id integer, address text, target text, visit_count int);\n"
        "COPY public.links (id, address, target, visit_count) FROM stdin;\n"
        f"1\ta\thttps://example.com/{word}\t3\n\\.\n"
    )

    for data, source in ((yourls, "yourls"), (kutt, "kutt"), (f"BEGIN TRANSACTION;\n{chhoto}COMMIT;\n", "chhoto")):
        assert source == source_of(HeldFile(data)).NAME
        assert links_of(HeldFile(data))[0].url.endswith(word)
    assert source_of(HeldFile(sqlite_of(chhoto))).NAME == "chhoto"


def test_yourls_may_stand_behind_another_program() -> None:
    """A dump that begins with WordPress' links and options is still searched for YOURLS' tables."""
    data = (
        "-- phpMyAdmin SQL Dump\nCREATE TABLE `wp_links` (`link_id` bigint, `link_url` varchar(255)) ENGINE=InnoDB;\n"
        "INSERT INTO `wp_links` VALUES (1,'http://codex.wordpress.org/','Documentation');\n"
        f"INSERT INTO `wp_options` VALUES (2,'homepage','{'x' * 70_000}');\n{YOURLS_TABLE}"
        "INSERT INTO `yourls_url` VALUES ('a','https://example.com/','T','2019-05-01 10:22:03','',5);\n"
    )

    assert [(link.code, link.clicks) for link in links_of(HeldFile(data))] == [("a", 5)]


def test_chhoto_with_search_and_triggers_is_read() -> None:
    """The tables of chhoto's full-text search, and what fills them, are passed over in its file and in its dump."""
    script = (
        f"{CHHOTO_TABLE}CREATE VIRTUAL TABLE urls_fts USING fts5(short_url, long_url, notes, content='urls');\n"
        "CREATE TRIGGER urls_ai AFTER INSERT ON urls BEGIN INSERT INTO urls_fts(rowid, short_url, long_url, notes) "
        "VALUES (new.id, new.short_url, new.long_url, new.notes); END;\n"
        "INSERT INTO urls VALUES (1,'https://example.com/homepage','home',3,0,'visit_count');\n"
    )

    assert [(link.code, link.clicks) for link in links_of(HeldFile(sqlite_of(script)))] == [("home", 3)]


def test_postgres_strings_may_have_escapes() -> None:
    """`E'…'` has backslashes that escape, and other strings of PostgreSQL have none, in rows that are read or passed over."""
    rows = r"""(1, 'C:\', E'https://example.com/?it\'s;=1', 3), (2, 'b', 'https://example.com/', 4)"""
    for head in ('INSERT INTO "public"."links"', "-- PostgreSQL database dump\nINSERT INTO links"):
        data = f'{head} ("id", "address", "target", "visit_count") VALUES {rows};\n'
        links = links_of(HeldFile(data))

        assert [(link.code, link.url) for link in links] == [
            ("C:\\", "https://example.com/?it's;=1"),
            ("b", "https://example.com/"),
        ]


def test_answers_may_stand_in_a_list() -> None:
    """The pages of an API, put into one list, are read like their links alone."""
    links = [{"address": code, "target": "https://example.com/"} for code in "abc"]
    data = json.dumps([{"total": 3, "data": links[:2]}, {"total": 3, "data": links[2:]}])

    assert [link.code for link in links_of(HeldFile(data))] == ["a", "b", "c"]


def test_numbers_may_be_those_of_data_frames() -> None:
    """Clicks of `12.0` are 12: a column with gaps is written so."""
    data = "keyword,url,clicks\na,https://example.com/,12.0\nb,https://example.com/,\n"

    assert [link.clicks for link in links_of(HeldFile(data))] == [12, 0]


def test_shortio_password_switches_off() -> None:
    """A link that Short.io says to have a password does not come open."""
    link = {"originalURL": "https://example.com/", "path": "a", "passwordContact": False, "hasPassword": True}
    (found,) = links_of(HeldFile(json.dumps({"links": [link]})))

    assert found.fields["enabled"] is False


def test_old_shlink_visits_tell_nothing_of_bots() -> None:
    """Visits of a command line that had no such column are judged by their agents."""
    data = "Date,User agent,Referer,Country,City\n2021-03-05T09:12:44+00:00,Googlebot,,Spain,Madrid\n"
    (visit,) = visits_of(HeldFile(data, "short-url_s.test_menu_visits.csv"))

    assert (visit.domain, visit.code, visit.country, visit.is_bot) == ("s.test", "menu", "ES", None)


def test_kutt_table_as_csv_has_passwords() -> None:
    """A table of Kutt in CSV has hashes that are kept, and what is no hash is neither shown nor open."""
    rows = "".join(
        f"{code},https://example.com/,{password},\n"
        for code, password in zip("abc", (BCRYPT, "hunter2", ""), strict=True)
    )
    links = links_of(HeldFile(f"address,target,password,domain_id\n{rows}"))

    assert [link.password_hash for link in links] == [BCRYPT, None, None]
    assert [link.fields.get("enabled", True) for link in links] == [True, False, True]
    assert not [notice for link in links for notice in link.notices if "hunter2" in notice]


def test_an_unknown_domain_is_never_the_default_one() -> None:
    """A link or visit of a domain whose name the file does not have is refused: its code may be another link's."""
    kutt = HeldFile("address,target,domain_id\na,https://example.com/,3\n")
    shlink = HeldFile(
        "CREATE TABLE public.short_urls (id int, original_url text, short_code text, domain_id int);\n"
        "INSERT INTO public.short_urls VALUES (1, 'https://example.com/', 'a', 3);\n"
        "INSERT INTO public.visits (id, short_url_id, date, user_agent) VALUES (1, 1, '2022-01-01 00:00:00', 'x');\n"
    )

    for found in (refused_of(kutt), refused_of(shlink), list(source_of(shlink).read_visits(shlink))):
        assert [each.reason for each in found if isinstance(each, Unusable)] == [
            "has the domain number 3, which is not in this file"
        ]


def test_domains_of_shlink_may_have_no_columns() -> None:
    """Rows of Shlink's domains alone, without the names of their columns, are read in the order of its table."""
    data = (
        "INSERT INTO public.domains VALUES (3, 's.test', NULL, NULL, NULL);\n"
        "INSERT INTO public.short_urls (id, original_url, short_code, domain_id) VALUES (1, 'https://e.com/', 'a', 3);\n"
    )

    assert [(link.domain, link.code) for link in links_of(HeldFile(data))] == [("s.test", "a")]


def test_blank_lines_may_stand_before_the_headings() -> None:
    """Lines of nothing before the headings are passed over, and counted."""
    (link,) = links_of(HeldFile("\n\nkeyword,url,title\na,https://example.com/,\\N\n"))

    assert (link.line, link.code, link.fields) == (4, "a", {})


def test_a_long_field_of_many_lines_is_one_unusable_row() -> None:
    """A quoted field that is too long costs its own row, however many lines it has; a quote that nothing closes, the file."""
    field = "a line\n" * 100_000
    whole = HeldFile(f'keyword,url,title\na,https://example.com/,"{field}"\nb,https://example.com/,T\n')
    first, second = source_of(whole).read_links(whole)

    assert isinstance(first, Unusable)
    assert (first.line, first.reason) == (2, "has a field of more than 131,072 characters")
    assert isinstance(second, FoundLink)
    assert (second.line, second.code) == (100_003, "b")
    with pytest.raises(UnusableFile, match=r"^Line 2: a quote that opens"):
        links_of(HeldFile(f'keyword,url,title\na,https://example.com/,"{field}'))


def test_nested_expressions_end_the_dump() -> None:
    """Calls in one another without an end are told with their line."""
    nested = "replace(" * 10_000 + "'a'" + ",'b','c')" * 10_000

    with pytest.raises(UnusableFile, match=r"^Line 2: .* too deep"):
        links_of(HeldFile(f"{CHHOTO_TABLE}INSERT INTO urls VALUES (1,{nested},'a',3,0,'');\n"))


@pytest.mark.parametrize(
    ("head", "advice"), [(b"PGDMP\1\16\0", "pg_restore"), (b"PK\3\4\24\0", "CSV"), (b"\x1f\x8b\x08\0", "gzip")]
)
def test_what_has_to_be_unpacked_is_told(head: bytes, advice: str) -> None:
    """An archive of pg_dump, a workbook and a compressed file are refused with what to do."""
    file = HeldFile(head + bytes(100))

    with pytest.raises(UnusableFile, match=advice):
        list(source_of(file).read_links(file))


@pytest.mark.parametrize(("source", "link"), [("shlink", "short_urls"), ("kutt", "links")])
def test_a_sqlite_schema_may_stand_behind_its_tables(source: str, link: str) -> None:
    """A database of many tables is recognised, though its schema is on none of its first pages."""
    of_links = {
        "short_urls": "CREATE TABLE short_urls (id INTEGER, original_url TEXT, short_code TEXT)",
        "links": "CREATE TABLE links (id INTEGER, target TEXT, address TEXT, visit_count INTEGER DEFAULT 0)",
    }[link]
    others = ";".join(
        f"CREATE TABLE t{number} (id INTEGER, {', '.join(f'a_column_of_many_letters_{each}' for each in range(20))}); "
        f"CREATE INDEX i{number} ON t{number} (id)"
        for number in range(12)
    )
    data = sqlite_of(
        f"{others};{of_links};INSERT INTO {link} VALUES (1,'https://example.com/','a'{', 3' * (link == 'links')});"
    )
    file = HeldFile(data)

    assert link.encode() not in data[:65536]
    assert source == find_source(file, None).NAME
    assert [each.code for each in find_source(file, None).read_links(file) if isinstance(each, FoundLink)] == ["a"]


def test_an_insert_with_set_is_told() -> None:
    """`INSERT … SET` into a table to read is named, and into another one passed over."""
    data = HeldFile(
        f"{YOURLS_TABLE}INSERT INTO `other` SET `keyword`='a';\n"
        "REPLACE INTO `yourls_url` SET `keyword`='a', `url`='https://example.com/';\n"
        "INSERT INTO yourls_url (keyword, url) VALUES ('b', 'https://example.com/');\n"
    )

    assert [each.line for each in source_of(data).read_links(data)] == [4, 5]
    assert {each.reason for each in refused_of(data)} == {"is an INSERT with SET, which is not read"}
