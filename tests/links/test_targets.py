"""The rules of a link's target, against the attacks of the field."""

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.links.links.targets import TargetRefused, TargetRules
from services.links.site import Site
from shared.api import LONGEST_URL
from shared.settings import LinksSettings

RULES = TargetRules(own_domains=["sho.rt", "go.example.org"], allow_private=False)

ACCEPTED = [
    ("https://www.python.org", "https://www.python.org/"),
    ("HTTPS://WWW.Python.ORG:443/A?b=C#D", "https://www.python.org/A?b=C#D"),
    ("http://example.com:80/", "http://example.com/"),
    ("https://example.com:8443/x", "https://example.com:8443/x"),
    # What browsers make of backslashes and missing slashes decides, not what they look like.
    ("https://good.com\\@evil.com/", "https://good.com/@evil.com/"),
    ("https:\\\\evil.com/", "https://evil.com/"),
    ("https:/evil.com", "https://evil.com/"),
    ("https:evil.com", "https://evil.com/"),
    # Hosts outside ASCII are kept as browsers send them.
    ("https://ex。ample.com/", "https://ex.ample.com/"),
    ("https://аpple.com/", "https://xn--pple-43d.com/"),
    ("https://bücher.de/größe?q=ä#ö", "https://xn--bcher-kva.de/gr%C3%B6%C3%9Fe?q=%C3%A4#%C3%B6"),
    # Encoded line ends stay encoded.
    ("https://example.com/%0d%0aSet-Cookie:%20a=b", "https://example.com/%0d%0aSet-Cookie:%20a=b"),
    ("  https://example.com/a b  ", "https://example.com/a%20b"),
    ("https://example.com/a/../b/./c", "https://example.com/b/c"),
    ("https://example.com/a?x=[1]|{2}'3'", "https://example.com/a?x=[1]|{2}%273%27"),
    ("http://8.8.8.8/", "http://8.8.8.8/"),
    ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
    ("https://example.com./x", "https://example.com./x"),
]

REFUSED = [
    *("javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://a.com/1"),
    *("intent://x#Intent;scheme=http;end", "ftp://example.com/", "mailto:a@example.com", "ws://example.com/"),
    *("java\nscript:alert(1)", "\x01javascript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)"),
    *(
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://example.com/\x00",
        "https://example.com/\x85",
        "\thttps://a.com/",
    ),
    *("", " ", "x", "/relative", "//example.com/", "www.example.com", "https://", "https:///", "http://a.com:80:81/"),
    *(
        "https://good.com%00.evil.com/",
        "https://exa mple.com/",
        "https://a.com:99999/",
        "https://[::1",
        "https://xn--/",
    ),
    *("https://bank.com@evil.com/", "https://user:password@example.com/", "https://:password@example.com/"),
    *("http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://0/"),
    *(
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/",
        "http://100.64.0.1/",
    ),
    *("http://169.254.169.254./", "http://224.0.0.1/", "http://255.255.255.255/", "http://[ff02::1]/"),
    *("http://[::1]/", "http://[::]/", "http://[fe80::1]/", "http://[fc00::1]/", "http://[::ffff:127.0.0.1]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[2002:a00:1::1]/", "http://[::ffff:a00:1]/"),
    *(
        "http://localhost/",
        "http://LOCALHOST:8080/",
        "http://localhost./",
        "http://a.localhost/",
        "http://printer.local/",
    ),
    *("http://metadata.google.internal/", "http://router.lan/", "http://wiki/", "http://nas.home.arpa/"),
    *("https://sho.rt/abc", "http://SHO.RT./abc", "https://go.example.org/x", "https://sho.rt:8443/"),
    "https://example.com/" + "a" * LONGEST_URL,
]


@pytest.mark.parametrize(("text", "href"), ACCEPTED)
def test_target_is_stored_as_browsers_read_it(text: str, href: str) -> None:
    """What is stored is the address that a browser would go to."""
    assert RULES.parse(text) == href


@pytest.mark.parametrize("text", REFUSED)
def test_target_is_refused(text: str) -> None:
    """Nothing but a public http(s) address outside of this site becomes a target."""
    with pytest.raises(TargetRefused):
        RULES.parse(text)


@pytest.mark.parametrize("text", ["http://10.1.2.3/", "http://wiki/", "http://localhost:3000/", "http://[::1]/"])
def test_private_targets_can_be_allowed(text: str) -> None:
    """An installation inside a company may link to its own hosts."""
    rules = TargetRules(own_domains=["sho.rt"], allow_private=True)

    assert rules.parse(text) == ada_url.URL(text).href


@given(st.text(max_size=300) | st.from_regex(r"https?://[^\s/]{1,40}(/[^\x00-\x1f]{0,200})?", fullmatch=True))
def test_stored_target_is_printable_and_stable(text: str) -> None:
    """Whatever is accepted is ASCII without blanks, and parsing it again changes nothing: it can be a header as it is."""
    try:
        href = RULES.parse(text)
    except TargetRefused:
        return

    assert all(0x21 <= ord(character) <= 0x7E for character in href)
    assert RULES.parse(href) == href
    assert len(href) <= LONGEST_URL


def test_alias_of_a_domain_is_ours() -> None:
    """A link to `www.` of a short domain would lead to a link, or to itself."""
    settings = LinksSettings(
        links_database_url=SecretStr("postgresql:///x"),
        fastapi_secret_key=SecretStr("x" * 32),
        public_base_url="https://sho.rt",
        domains=("go.example.org",),
    )
    for name in ("www.sho.rt", "WWW.go.example.org", "www.sho.rt."):
        with pytest.raises(TargetRefused, match="short link of this site"):
            Site(settings).rules.parse(f"https://{name}/abc")


APPS = TargetRules(
    own_domains=["sho.rt"],
    allow_private=False,
    schemes=["http", "https", "mailto", "tel", "sms", "intent", "myapp", "feed"],
)
APP_TARGETS = [
    ("mailto:a@example.com?subject=data: x", "mailto:a@example.com?subject=data:%20x"),
    ("MailTo:Ä <a@example.com>", "mailto:%C3%84%20<a@example.com>"),
    ("tel:+43 1 234", "tel:+43%201%20234"),
    ("sms:+431234?body=hi", "sms:+431234?body=hi"),
    ("myapp://open/x?y#z", "myapp://open/x?y#z"),
    (
        "intent://scan/#Intent;scheme=zxing;S.browser_fallback_url=https%3A%2F%2Fexample.com;end",
        "intent://scan/#Intent;scheme=zxing;S.browser_fallback_url=https%3A%2F%2Fexample.com;end",
    ),
]
APP_REFUSED = [
    *(
        "javascript:alert(1)",
        "JaVaScRiPt:x",
        "java\tscript:x",
        "data:text/html,x",
        "file:///etc",
        "vbscript:x",
        "blob:x",
    ),
    *("ftp://example.com/", "ssh://example.com/", "view-source:https://example.com/", "about:blank"),
    *("feed:javascript:alert(1)", "feed:%6aavascript:alert(1)", "feed://data:text/html,x", "feed:java%0Ascript:x"),
    *("intent:#Intent;scheme=javascript;end", "intent://x#Intent;SCHEME=%66ile;end", "intent:data:x#Intent;end"),
    "intent://x#Intent;S.browser_fallback_url=javascript%3Aalert(1);end",
    "intent://x#Intent;S.browser_fallback_url=http%3A%2F%2F127.0.0.1;end",
    *("myapp://user:password@open/", "http://127.0.0.1/", "https://sho.rt/x", "tel:" + "1" * LONGEST_URL),
]


@pytest.mark.parametrize(("text", "href"), APP_TARGETS)
def test_operator_may_allow_addresses_of_apps(text: str, href: str) -> None:
    """Schemes that are named are taken, and stored as a header can carry them; without the setting they are not."""
    assert APPS.parse(text) == APPS.parse(href) == href
    with pytest.raises(TargetRefused, match=r"must begin with http:// or https://$"):
        RULES.parse(text)


@pytest.mark.parametrize("text", APP_REFUSED)
def test_what_runs_is_refused_however_it_is_spelled(text: str) -> None:
    """No setting lets an address run as code, read files, or carry one that does."""
    with pytest.raises(TargetRefused):
        APPS.parse(text)


@given(text=st.text(max_size=60), scheme=st.sampled_from(["mailto", "tel", "intent", "myapp", "feed"]))
def test_address_of_an_app_is_printable_and_stable(text: str, scheme: str) -> None:
    """Whatever is accepted fits into a header, and is the same when it is parsed again."""
    try:
        href = APPS.parse(f"{scheme}:{text}")
    except TargetRefused:
        return
    assert all("!" <= character <= "~" for character in href)
    assert APPS.parse(href) == href
