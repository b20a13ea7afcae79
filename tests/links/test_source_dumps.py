"""How dumps, SQLite files and JSON of other shorteners are read, whatever is in them."""

import json
import re
import sqlite3

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.backup.programs import find_program, run_program
from services.links.sources.found import FoundLink, Unusable, UnusableFile
from services.links.sources.reading.dumps import read_tables
from services.links.sources.reading.json_rows import JsonRow, read_json
from services.links.sources.reading.sql import read_rows
from services.links.sources.reading.sql_tables import Row, Wanted
from tests.conftest import Database
from tests.links import source_samples as samples
from tests.links.source_samples import HeldFile, refused_of, source_of, sqlite_of

TABLE = Wanted("url", ("keyword", "url", "title"), frozenset({"keyword", "url"}))

TEXTS = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.none(), TEXTS, st.sampled_from(["'", "\\", "\\'", "'',(", ");--", "/*", "\r\n", "`", '"', "\\N", "\t"])
)
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=8)

_MYSQL = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"}
_COPY = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def mysql(value: str | None) -> str:
    return "NULL" if value is None else "'" + "".join(_MYSQL.get(letter, letter) for letter in value) + "'"


def standard(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def sqlite_spelled(value: str | None) -> str:
    """As SQLite's `.dump` writes newlines."""
    if value is None or "\n" not in value or "\\n" in value:
        return standard(value)
    return f"replace({standard(value.replace(chr(10), chr(92) + 'n'))},'\\n',char(10))"


def hexed(value: str | None) -> str:
    return "NULL" if value is None else f"0x{value.encode().hex()}" if value else "''"


def copied(value: str | None) -> str:
    return "\\N" if value is None else "".join(_COPY.get(letter, letter) for letter in value)


def values_of(text: str, block: int = 65536) -> list[tuple[str | None, ...]]:
    found = list(read_rows(HeldFile(text, block=block), TABLE))
    assert not [row for row in found if isinstance(row, Unusable)]
    return [tuple(row.values.values()) for row in found if isinstance(row, Row)]


def error_of(text: str | bytes) -> str:
    with pytest.raises(UnusableFile) as caught:
        list(read_rows(HeldFile(text), TABLE))
    return str(caught.value)


@pytest.mark.parametrize(
    ("head", "spell"),
    [
        ("-- MySQL dump\n", mysql),
        ("-- MySQL dump\n", hexed),
        ("-- PostgreSQL database dump\n", standard),
        ("PRAGMA foreign_keys=OFF;\n", sqlite_spelled),
    ],
)
@given(rows=ROWS, block=st.integers(3, 200), is_single=st.booleans())
def test_what_a_database_writes_is_read(head: str, spell, rows: list, block: int, is_single: bool) -> None:  # type: ignore[no-untyped-def, type-arg]
    """Rows in the escapes of each database are read back, one in a statement or many, in blocks of any size."""
    spelled = [f"({','.join(map(spell, row))})" for row in rows]
    statements = spelled if is_single else [",\n".join(spelled)]
    text = head + "".join(f"INSERT INTO yourls_url (keyword, url, title) VALUES {each};\n" for each in statements)

    assert values_of(text, block) == rows


@given(rows=ROWS, block=st.integers(3, 200))
def test_what_pg_dump_copies_is_read(rows: list, block: int) -> None:  # type: ignore[type-arg]
    """Rows of COPY are read back, and what follows them is a statement again."""
    lines = "".join("\t".join(map(copied, row)) + "\n" for row in rows)
    after = "INSERT INTO public.yourls_url VALUES ('a','b','c');\n"
    text = f"COPY public.yourls_url (keyword, url, title) FROM stdin;\n{lines}\\.\n\n{after}"

    assert values_of(text, block) == [*rows, ("a", "b", "c")]


@given(rows=ROWS)
def test_what_sqlite_dumps_is_read(rows: list) -> None:  # type: ignore[type-arg]
    """A SQLite file and its own dump have the same rows."""
    with sqlite3.connect(":memory:") as conn:
        conn.execute("CREATE TABLE yourls_url (keyword, url, title)")
        conn.executemany("INSERT INTO yourls_url VALUES (?, ?, ?)", rows)
        conn.commit()
        dump, data = "PRAGMA foreign_keys=OFF;\n" + "\n".join(conn.iterdump()), conn.serialize()

    assert values_of(dump) == rows
    assert [tuple(row.values.values()) for row in read_tables(HeldFile(data), TABLE) if isinstance(row, Row)] == rows


@pytest.mark.parametrize(
    "name", ["`my_url`", '"my_url"', "my_url", "`db`.`my_url`", '"public"."my_url"', "public.my_url", "[my_url]"]
)
def test_names_may_be_quoted(name: str) -> None:
    """A table is found under any prefix, in the quotes of each database, with or without its schema."""
    assert values_of(f"INSERT INTO {name} VALUES ('a','b',NULL);") == [("a", "b", None)]
    assert values_of(f"INSERT IGNORE INTO {name} (`keyword`, \"url\", [title]) VALUES ('a','b',1);") == [
        ("a", "b", "1")
    ]
    assert values_of(f"REPLACE INTO {name} VALUES ('a','b',-1.5e3);") == [("a", "b", "-1.5e3")]


def test_columns_are_those_of_the_table() -> None:
    """Without a list of columns, their order is that of CREATE TABLE, with its keys and defaults passed over."""
    text = (
        "CREATE TABLE IF NOT EXISTS `a_url` (\n  `title` text DEFAULT '),(' COMMENT 'a, b', -- the title\n  `key` int,\n"
        "  `url` decimal(10,2), `keyword` enum('a','b''c'),\n  PRIMARY KEY (`keyword`), "
        "UNIQUE `u` (`url`(30)), KEY `x` (`key`)\n);\n"
        "INSERT INTO `a_url` VALUES ('T',1,'U','K');"
    )
    (row,) = read_rows(HeldFile(text), TABLE)

    assert isinstance(row, Row)
    assert row.values == {"title": "T", "key": "1", "url": "U", "keyword": "K"}
    assert row.line == 7


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE yourls_url;",
        "CREATE TRIGGER t AFTER INSERT ON yourls_url FOR EACH ROW DELETE FROM x;",
        "DELIMITER ;;\nCREATE PROCEDURE p() BEGIN INSERT INTO yourls_url VALUES ('x','y','z'); END;;\nDELIMITER ;",
        "INSERT INTO yourls_url SELECT 'x','y','z';",
        "UPDATE yourls_url SET url = 'x; INSERT INTO yourls_url VALUES (1,2,3)';",
        "/* INSERT INTO yourls_url VALUES ('x','y','z'); */",
        "-- INSERT INTO yourls_url VALUES ('x','y','z');\n",
        "/*!40000 ALTER TABLE `yourls_url` DISABLE KEYS */;",
        "SELECT load_file('/etc/passwd');",
        "INSERT INTO other VALUES ('; INSERT INTO yourls_url VALUES (''x'',''y'',''z'');');",
        "CREATE FUNCTION f() RETURNS void AS $body$ INSERT INTO yourls_url VALUES ('x','y','z'); $body$ LANGUAGE sql;",
        "CREATE VIEW yourls_url AS SELECT 1;",
    ],
)
def test_other_statements_are_passed_over(statement: str) -> None:
    """What is no row is neither run nor read, and the rows after it are."""
    assert values_of(f"{statement}\nINSERT INTO yourls_url VALUES ('a','b','c');") == [("a", "b", "c")]


def test_rows_that_are_none_are_named() -> None:
    """A computed value and a row of a wrong width are unusable, and the rows after them are read."""
    text = (
        "INSERT INTO yourls_url VALUES\n('a','b','c'),\n('d',concat('x',sleep(9)),'f'),\n('g','h'),\n"
        "(_utf8mb4'i',X'6A',TRUE),\n('k' 'l','m','n'),('o','p','q') ON CONFLICT DO NOTHING;\n"
    )
    found = list(read_rows(HeldFile(text), TABLE))

    assert [tuple(row.values.values()) if isinstance(row, Row) else (row.line, row.reason) for row in found] == [
        ("a", "b", "c"),
        (3, "has the expression 'concat', and nothing of a file is computed"),
        (4, "has 2 values for 3 columns"),
        ("i", "j", "true"),
        (6, "has \"'l','m','n'),('o','p\" where a comma belongs"),
        ("o", "p", "q"),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (samples.YOURLS_DUMP[:-700], "Line 18: the file ends in the middle of what begins here"),
        (samples.SHLINK_DUMP[:1500], "Line 39: the file ends"),
        ("INSERT INTO yourls_url VALUES ('a','b','c'),\n", "Line 2: the file ends in the middle of what begins here"),
        ("INSERT INTO yourls_url VALUES\n('a','" + "x" * 40_000_000, "Line 2: what begins here does not end within"),
        (
            "DROP TABLE yourls_url;\nDELETE FROM x;\n",
            "Line 3: the file ends without a table url. The tables are: none.",
        ),
        ("INSERT INTO wp_posts VALUES (1);", "Line 1: the file ends without a table url. The tables are: wp_posts."),
        (b"INSERT INTO yourls_url VALUES\n('a','\xff\xfe','c');", "Line 2 has bytes that are no UTF-8."),
        ("INSERT INTO yourls_url VALUES " + "(" * 5000, "Line 1: the file ends in the middle"),
    ],
)
def test_a_cut_or_foreign_dump_ends_with_its_line(text: str | bytes, error: str) -> None:
    """A dump that is cut, has no such table, or is no text, is refused with the line."""
    assert error_of(text).startswith(error)


def test_a_long_field_of_a_dump_is_one_unusable_row() -> None:
    """A field of 10 MB is named, and the rows after it are read."""
    text = f"INSERT INTO yourls_url VALUES ('a','{'x' * 10_000_000}','c'),('d','e','f');"
    long, after = read_rows(HeldFile(text), TABLE)

    assert isinstance(long, Unusable)
    assert "more than 131,072 characters" in long.reason
    assert isinstance(after, Row)


def test_bytes_of_other_tables_may_be_wrong() -> None:
    """A dump with raw bytes in a table that nobody wants is read; `mysqldump` writes them without `--hex-blob`."""
    text = b"INSERT INTO blobs VALUES (1,'\xff\xfe\\0\\'');\nINSERT INTO yourls_url VALUES ('a','b','\xc3\xa9');\n"
    (row,) = read_rows(HeldFile(text, block=3), TABLE)

    assert isinstance(row, Row)
    assert row.values == {"keyword": "a", "url": "b", "title": "é"}
    copied = b"COPY public.a_url (keyword, url, title) FROM stdin;\na\tb\tc\nd\te\t\xe9\n\\.\n"
    assert error_of(copied).startswith("Line 3 has bytes that are no UTF-8.")


def test_backslashes_are_those_of_the_database() -> None:
    """A backslash escapes in MySQL, and is a letter elsewhere."""
    row = r"INSERT INTO yourls_url VALUES ('C:\','b','it''s');"

    assert values_of("SET standard_conforming_strings = on;\n" + row) == [("C:\\", "b", "it's")]
    assert values_of("-- MySQL dump\nINSERT INTO `yourls_url` VALUES ('C:\\\\','\\%','it\\'s\\n');") == [
        ("C:\\", "\\%", "it's\n")
    ]
    assert values_of("-- PostgreSQL database dump\nINSERT INTO a_url VALUES (E'a\\nb\\'c','b','c'::text);") == [
        ("a\nb'c", "b", "c")
    ]


HOSTILE = {
    "view": "CREATE VIEW urls AS SELECT 'a' AS short_url, 'https://e.com' AS long_url, 1 AS hits",
    "virtual": "CREATE VIRTUAL TABLE urls USING fts5(short_url, long_url, hits)",
    "computed": "CREATE TABLE urls (short_url, long_url AS (hex(zeroblob(1000))), hits); INSERT INTO urls VALUES ('a', 1)",
}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
def test_sqlite_runs_nothing_of_its_schema(script: str) -> None:
    """A view, a virtual table and a computed column are no tables with links."""
    file = HeldFile(sqlite_of(script), "urls.sqlite")
    with pytest.raises(UnusableFile, match="has no table"):
        list(source_of(file).read_links(file))


def test_sqlite_cannot_be_attached_or_written() -> None:
    """A trigger of the file is never fired, for nothing is written; a broken file is told."""
    script = samples.CHHOTO_SQLITE + "CREATE TRIGGER t AFTER UPDATE ON urls BEGIN DELETE FROM urls; END;"
    good = sqlite_of(script)
    broken = HeldFile(good[:4096] + b"\xff" * (len(good) - 4096), "urls.sqlite")

    assert len(list(source_of(HeldFile(good)).read_links(HeldFile(good)))) == 2
    with pytest.raises(UnusableFile, match=r"SQLite database"):
        list(source_of(broken).read_links(broken))
    for part in (HeldFile(good[:100]), HeldFile(good[:5000])):
        with pytest.raises(UnusableFile, match="SQLite"):
            list(source_of(part).read_links(part))


def test_sqlite_has_a_bound() -> None:
    """A larger file is refused before it is open, with a way that has none."""

    class Endless(HeldFile):
        def blocks(self):  # type: ignore[no-untyped-def]
            yield self.data
            while True:
                yield bytes(1024 * 1024)

    file = Endless(sqlite_of(samples.CHHOTO_SQLITE), "urls.sqlite")
    with pytest.raises(UnusableFile, match=re.escape("sqlite3 FILE .dump")):
        list(source_of(file).read_links(file))


ITEMS = st.dictionaries(
    st.text(min_size=1), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())), min_size=1
)


@given(st.lists(ITEMS, max_size=10), st.sampled_from(["list", "data", "lines", "deep"]), st.integers(1, 60))
def test_json_of_each_shape_is_read(items: list[dict[str, object]], shape: str, block: int) -> None:
    """A bare list, an answer with a list, one inside of another, and an object a line have the same rows."""
    items = [{f"m{name}": value for name, value in item.items()} for item in items]
    texts = {
        "list": json.dumps(items, indent=1),
        "data": json.dumps({"total": 1, "data": items, "more": {"a": [1]}}),
        "lines": "\n".join(map(json.dumps, items)),
        "deep": json.dumps({"shortUrls": {"data": items, "pagination": {"currentPage": 1}}}),
    }
    found = [row.members for row in read_json(HeldFile(texts[shape], block=block)) if isinstance(row, JsonRow)]

    assert found == items


def test_long_json_is_read_in_parts() -> None:
    """An answer that is longer than what is held at once has the same rows, YOURLS' numbered links too."""
    links = {
        f"link_{n}": {"shorturl": f"https://s.example.org/{n}", "url": "https://e.com/" + "x" * 100}
        for n in range(5000)
    }
    text = json.dumps({"links": links, "stats": {"total_links": "5000"}, "statusCode": "200"})

    assert [row.members for row in read_json(HeldFile(text)) if isinstance(row, JsonRow)] == list(links.values())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[{"a": 1},\n{"b": "cut', "Line 2: the file ends in the middle."),
        ('{"data": [{"a": 1}', "Line 1: the file ends in the middle."),
        ('[{"a": 1}\n{"b" 2}]', "Line 2: the file is no JSON: Expecting ':' delimiter."),
        ("[" * 100_000, "Line 1: the file has lists or objects in one another, too deep to be read."),
        ('{"a":' * 100_000, "Line 1: the file has lists or objects in one another, too deep to be read."),
        ('{"data":' * 100_000, "Line 1: the file has lists or objects in one another, too deep to be read."),
        ('[{"a": ' + "9" * 10_000 + "}]", "Line 1: the file is no JSON: a number is too long."),
        ('[{"a": "' + "x" * 40_000_000, "Line 1: what begins here does not end within 16,777,216"),
    ],
)
def test_broken_json_ends_with_its_line(text: str, error: str) -> None:
    """JSON that is cut, broken, nested without end or endless is refused with its line."""
    with pytest.raises(UnusableFile) as caught:
        list(read_json(HeldFile(text)))

    assert str(caught.value).startswith(error)


def test_wrong_types_are_unusable_rows() -> None:
    """Members of wrong types are named, and the next object follows."""
    good: dict[str, object] = {"address": "a", "target": "https://e.com/", "visit_count": 1}
    bad: list[dict[str, object]] = [
        {"target": {}},
        {"visit_count": "x"},
        {"address": ["a"]},
        {"created_at": 7e99},
        {"domain": {}},
        {"visit_count": -1},
    ]
    file = HeldFile(json.dumps([*[good | each for each in bad], 5, None, good]))
    found = list(source_of(file).read_links(file))

    assert len(refused_of(file)) == len(bad) + 2
    assert isinstance(found[-1], FoundLink)


@pytest.mark.parametrize("options", [[], ["--inserts"], ["--column-inserts", "--rows-per-insert=2"]])
async def test_pg_dump_is_read(database: Database, options: list[str]) -> None:
    """What PostgreSQL's own program writes of hostile texts is read back, as COPY and as INSERT."""
    hostile = [
        "'",
        "\\",
        "\\'",
        "'',(",
        ");--",
        "/*",
        "a\r\nb\tc\x0b\x08\x0c",
        "\\.",
        "$$",
        '"',
        "é日本😀",
        "",
        None,
        "\\N",
    ]
    rows = [(f"k{number}", text, hostile[-1 - number]) for number, text in enumerate(hostile)]
    conn = await asyncpg.connect(database.owner_url)
    try:
        await conn.execute(
            'CREATE SCHEMA foreign_; CREATE TABLE foreign_."My_url" (title text, keyword text, url text)'
        )
        body = "SELECT 'INSERT INTO a_url VALUES (1);'"
        await conn.execute(f"CREATE FUNCTION foreign_.f() RETURNS text LANGUAGE sql AS $_$ {body} $_$")
        await conn.executemany('INSERT INTO foreign_."My_url" (keyword, url, title) VALUES ($1, $2, $3)', rows)
    finally:
        await conn.close()
    program = find_program("pg_dump", 18)
    dump = await run_program(program, "--schema=foreign_", *options, timeout_s=60, url=database.owner_url)
    found = [row.values for row in read_rows(HeldFile(dump, block=100), TABLE) if isinstance(row, Row)]

    assert [(row["keyword"], row["url"], row["title"]) for row in found] == rows
