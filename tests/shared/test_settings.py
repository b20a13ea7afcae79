"""Settings: from the environment or files, checked once, each mistake named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared import settings as module
from shared.domains import www_aliases
from shared.settings import LinksSettings, NginxSettings, RedirectSettings, load_settings

GOOD = {
    "LINKS_DATABASE_URL": "postgresql:///x",
    "FASTAPI_SECRET_KEY": "x" * 32,
    "PUBLIC_BASE_URL": "https://Sho.rt:8443/",
    "DOMAINS": "b.example, C.example",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_links_settings(environment: pytest.MonkeyPatch) -> None:
    """Names are normalised, lists are split, secrets do not show."""
    settings = load_settings(LinksSettings)

    assert settings.public_base_url == "https://sho.rt:8443"
    assert settings.default_domain == "sho.rt"
    assert settings.own_domains == ("sho.rt", "b.example", "c.example")
    assert "x" * 32 not in repr(settings)


def test_secrets_come_from_files_too(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of the setting's name is read; the environment wins."""
    (tmp_path / "fastapi_secret_key").write_text("from a file, and long enough to be taken\n")
    (tmp_path / "public_base_url").write_text("https://other.example")
    environment.setattr(module, "SECRETS_DIR", tmp_path)
    environment.delenv("FASTAPI_SECRET_KEY")
    settings = load_settings(LinksSettings)

    assert settings.fastapi_secret_key.get_secret_value() == "from a file, and long enough to be taken"
    assert settings.default_domain == "sho.rt"


BAD = [
    ("FASTAPI_SECRET_KEY", "short"),
    ("PUBLIC_BASE_URL", "sho.rt"),
    ("PUBLIC_BASE_URL", "https://sho.rt/path"),
    ("PUBLIC_BASE_URL", "https://bücher.example"),
    ("PUBLIC_BASE_URL", "ftp://sho.rt"),
    ("PUBLIC_BASE_URL", "https://sho.rt:99999"),
    ("PUBLIC_BASE_URL", "https://user@sho.rt"),
    ("PUBLIC_BASE_URL", "https://sho..rt"),
    ("PUBLIC_BASE_URL", "https://sho_rt"),
    ("PUBLIC_BASE_URL", "https://1.2.3.4.5"),
    ("DOMAINS", "https://go.example.org"),
    ("DOMAINS", "go.example.org/"),
    ("DOMAINS", "go.example.org:8080"),
    ("DOMAINS", "müller.de"),
    ("DOMAINS", "a.example, b .example"),
    ("DOMAINS", "a.example b.example"),
    ("DOMAINS", "a.example;b.example"),
    ("DOMAINS", "*.example.org"),
    ("DOMAINS", "-a.example"),
    ("DOMAINS", "a.example."),
    ("DOMAINS", "300.1.1.1"),
    ("DOMAINS", "[::zz]"),
    ("DOMAINS", f"{'a' * 64}.example"),
    ("LINKS_DATABASE_URL", "mysql://user:password@db/tinyurl"),
    ("LINKS_DATABASE_URL", "db/tinyurl"),
    ("LINKS_DATABASE_URL", "postgresql://user:password@db/tiny url"),
    ("COUNTRY_DATABASE", "/nowhere/countries.mmdb"),
    ("LISTEN", "8000"),
    ("LISTEN", "127.0.0.1:99999"),
    ("LISTEN", "unix:relative"),
    ("LINKS_POOL_SIZE", "0"),
    ("LOG_LEVEL", "loud"),
    ("ALLOW_PRIVATE_TARGETS", "perhaps"),
    *(("TARGET_SCHEMES", schemes) for schemes in ("", "https,JavaScript", "data", "https://", "tel, file", "-x")),
    ("PACKED_CLICKS", "perhaps"),
    ("COMPAT", "bitly"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_setting_ends_the_start_with_its_name(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """A setting that cannot be is named in one line, without its value."""
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as error:
        load_settings(LinksSettings)
    (line,) = capsys.readouterr().err.strip().splitlines()

    assert error.value.code == 2
    assert line.startswith(f"setting {name} (in the environment): ")
    assert "Value error" not in line
    assert value not in line or name in ("LISTEN", "PUBLIC_BASE_URL", "DOMAINS", "TARGET_SCHEMES")


def test_international_domain_is_answered_with_what_to_write(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name in Unicode is refused together with its ASCII form (UTS 46), which can be pasted."""
    environment.setenv("DOMAINS", "go.example.org, straße.de")
    with pytest.raises(SystemExit):
        load_settings(LinksSettings)

    assert "xn--strae-oqa.de for straße.de" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("password", "spelled"),
    [("p#ss", "# as %23"), ("p@ss", "@ as %40"), ("p/ss", "/ as %2F"), ("p?s", "? as %3F"), ("50%", "% as %25")]
    + [("p s", "  as %20"), ("pä", "ä as %C3%A4"), ("p[s]", "[ as %5B, ] as %5D"), ("a\\b", "\\ as %5C")],
)
@pytest.mark.parametrize("name", ["LINKS_DATABASE_URL", "REDIS_URL"])
def test_password_that_is_not_encoded_is_said_to_be_one(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, password: str, spelled: str
) -> None:
    """A password's character that a URL takes for something else is named with its spelling; the password is not."""
    scheme = "redis" if name == "REDIS_URL" else "postgresql"
    environment.setenv(name, f"{scheme}://user:{password}@host/0")
    environment.setenv("REDIRECT_DATABASE_URL", "postgresql:///x")
    with pytest.raises(SystemExit):
        load_settings(RedirectSettings if name == "REDIS_URL" else LinksSettings)
    (line,) = capsys.readouterr().err.splitlines()

    assert line.startswith(f"setting {name} (in the environment): the user or password must be percent-encoded")
    assert line.endswith(spelled)
    assert password not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///x",
        "postgres://user:p%23s%40s@db/tinyurl?sslmode=require",
        "postgresql://user:a:b~!$&'()*+,;=@h1:5432,h2:5433/db?target_session_attrs=read-write",
        "postgresql://user:secret@/tinyurl?host=%2Ftmp%2Fsockets",
        "postgresql://user:secret@[::1]:5432/tinyurl",
    ],
)
def test_good_database_urls(environment: pytest.MonkeyPatch, url: str) -> None:
    """What asyncpg understands is taken as it is: sockets, several hosts, options, encoded passwords."""
    environment.setenv("LINKS_DATABASE_URL", url)

    assert load_settings(LinksSettings).links_database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROOT_URL", "/"),
        ("ROOT_URL", "//other.example/"),
        ("ROOT_URL", "dashboard"),
        ("ROOT_URL", "javascript:alert(1)"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("REDIRECT_RATE", "0"),
        ("API_RATE", "99999999999"),
        ("LIMITS", "sometimes"),
        ("DOMAINS", "b.example; return 200 hello"),
    ],
)
def test_bad_settings_of_nginx(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """What would make nginx loop, believe everyone, or not start is refused by name before it is asked."""
    environment.setenv(name, value)
    with pytest.raises(SystemExit):
        load_settings(NginxSettings)

    assert capsys.readouterr().err.startswith(f"setting {name} (in the environment): ")


def test_wrong_secret_says_in_which_file_it_is(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A setting from a file is named with that file."""
    (tmp_path / "fastapi_secret_key").write_text("short\n")
    environment.setattr(module, "SECRETS_DIR", tmp_path)
    environment.delenv("FASTAPI_SECRET_KEY")
    with pytest.raises(SystemExit):
        load_settings(LinksSettings)

    assert capsys.readouterr().err.startswith(f"setting FASTAPI_SECRET_KEY (in {tmp_path / 'fastapi_secret_key'}): ")


def test_empty_optional_settings_are_not_set(environment: pytest.MonkeyPatch) -> None:
    """Compose hands over an empty text for what is not set."""
    for name in (
        "COUNTRY_DATABASE",
        "INTERNAL_TOKEN",
        "INTERNAL_TOKEN_PREVIOUS",
        "FASTAPI_SECRET_KEY_PREVIOUS",
        "DOMAINS",
    ):
        environment.setenv(name, "")
    settings = load_settings(LinksSettings)

    assert settings.country_database is None
    assert settings.internal_token is None
    assert settings.fastapi_secret_key_previous is None
    assert settings.own_domains == ("sho.rt",)


def test_missing_settings_are_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is missing is said at once."""
    with pytest.raises(SystemExit):
        load_settings(RedirectSettings)

    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["REDIRECT_DATABASE_URL", "REDIS_URL"]


JOURNAL = {
    "REDIRECT_DATABASE_URL": "postgresql:///x",
    "REDIS_URL": "redis://localhost",
    "JOURNAL_DIR": "/var/lib/tinyurl/journal",
    "LINKS_ADDRESS": "unix:/run/tinyurl/links-*.sock",
    "INTERNAL_TOKEN": "x" * 32,
}


@pytest.mark.parametrize("missing", ["LINKS_ADDRESS", "INTERNAL_TOKEN"])
def test_journal_needs_someone_to_ship_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """A journal without an address or a token ends the start and names what is missing; an empty one is none."""
    for name, value in JOURNAL.items():
        monkeypatch.setenv(name, value)
    assert str(load_settings(RedirectSettings).journal_dir) == JOURNAL["JOURNAL_DIR"]
    monkeypatch.setenv(missing, "")
    with pytest.raises(SystemExit):
        load_settings(RedirectSettings)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == f"JOURNAL_DIR needs {missing}"
    monkeypatch.setenv("JOURNAL_DIR", "")

    assert load_settings(RedirectSettings).journal_dir is None


@pytest.mark.parametrize(
    ("name", "value"), [("LINKS_ADDRESS", "links"), ("INTERNAL_TOKEN", "short"), ("JOURNAL_MAX_BYTES", "1000")]
)
def test_bad_journal_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """Each setting of the journal that cannot be is named."""
    for good, usual in JOURNAL.items():
        monkeypatch.setenv(good, usual)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load_settings(RedirectSettings)

    assert capsys.readouterr().err.startswith(f"setting {name} (in the environment): ")


def test_settings_cannot_be_changed(environment: pytest.MonkeyPatch) -> None:
    """What was read at the start stays."""
    settings = load_settings(LinksSettings)
    with pytest.raises(ValidationError):
        settings.public_base_url = "https://other.example"


def test_origins_are_spelled_as_browsers_send_them(environment: pytest.MonkeyPatch) -> None:
    """Lower case, and without the port that the scheme has anyway."""
    environment.setenv("CORS_ORIGINS", "https://App.example:443, http://localhost:3000,http://[::1]:80")

    assert load_settings(NginxSettings).cors_origins == ("https://app.example", "http://localhost:3000", "http://[::1]")


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "app.example",
        "https://*.app.example",
        "https://app.example/",
        "https://app.example/x",
        "ftp://app.example",
    ]
    + [
        "https://app.example:0",
        "https://app.example:65536",
        "https://bücher.example",
        "https://a;b",
        'https://a"',
        "https://u@a",
    ],
)
def test_what_is_no_origin(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str) -> None:
    """Anything else ends the start with the setting's name and what is allowed."""
    environment.setenv("CORS_ORIGINS", f"https://good.example,{value}")
    with pytest.raises(SystemExit):
        load_settings(NginxSettings)
    said = capsys.readouterr().err

    assert "CORS_ORIGINS" in said
    assert "http(s)://host" in said


def test_aliases() -> None:
    """A domain has one with `www.`, unless it is an address, has no dot, has it already or shares it with another domain."""
    domains = [
        "sho.rt",
        "go.example.org",
        "www.own.example",
        "both.example",
        "www.both.example",
        "localhost",
        "127.0.0.1",
        "[::1]",
    ]

    assert www_aliases(domains) == {"www.sho.rt": "sho.rt", "www.go.example.org": "go.example.org"}
