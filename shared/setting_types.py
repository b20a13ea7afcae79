"""Checks settings that need more than a type: addresses of sites, domains, networks, URLs of stores.

`shared/settings.py` gives them to fields. Each error says what is allowed; `load_settings` puts the setting's name before it.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated

from ada_url import idna
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from shared.api import ForeignApi
from shared.listen import parse_address

FORBIDDEN_SCHEMES = frozenset(
    {
        "about",
        "blob",
        "data",
        "file",
        "filesystem",
        "jar",
        "javascript",
        "livescript",
        "mocha",
        "vbscript",
        "view-source",
    }
)
"""No setting allows targets with these: they run as code, or show what is on the visitor's machine."""

_match_scheme = re.compile(r"[a-z][0-9a-z+.-]{0,31}").fullmatch
_match_label = re.compile(r"[0-9a-z]([0-9a-z-]{0,61}[0-9a-z])?").fullmatch
_match_url = re.compile(
    r"(?P<scheme>[a-z]+)://"
    r"(?:(?:[0-9A-Za-z._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?"
    r"(?:[0-9A-Za-z._~,:\[\]-]|%[0-9A-Fa-f]{2})*"
    r"(?:/[^?#\s]*)?(?:\?[^#\s]*)?"
).fullmatch
_PLAIN_IN_URL = re.compile(r"[0-9A-Za-z._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2}")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def check_host(text: str) -> str:
    """Check a host name or an IP address, in lower case; an IPv6 address stands in brackets.

    Raises:
        ValueError: It is neither. For a name in Unicode the error has its ASCII form.
    """
    host = text.lower()
    if not host.isascii():
        spelled = idna.encode(host).decode()
        hint = f": {spelled} for {text}" if _match_label(spelled.partition(".")[0]) else ""
        raise ValueError(f"must be in ASCII, an international name in its xn-- form{hint}")
    if host.startswith("["):
        IPv6Address(host.removeprefix("[").removesuffix("]"))
        return host
    labels = host.split(".")
    if labels[-1].isdecimal():
        return str(IPv4Address(host))
    if len(host) > 253 or not all(_match_label(label) for label in labels):
        raise ValueError(
            f"must be a host name such as go.example.org, without scheme, port, path or blank, not {text!r}"
        )
    return host


def _check_base_url(value: str) -> str:
    match = re.fullmatch(r"(https?)://([^/?#@\\\s]*?)(?::([0-9]{1,5}))?/?", value, re.IGNORECASE)
    if match is None or (match[3] is not None and not 0 < int(match[3]) < 65536):
        raise ValueError("must be http(s)://host or http(s)://host:port, without user, path or query")
    port = "" if match[3] is None else f":{int(match[3])}"
    return f"{match[1].lower()}://{check_host(match[2])}{port}"


def _check_listen(value: str) -> str:
    parse_address(value)
    return value


def _check_network(value: str) -> str:
    try:
        network: IPv4Network | IPv6Network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"must be addresses or networks such as 10.0.0.0/8, not {value!r}") from None
    if network.prefixlen == 0:
        raise ValueError(f"{value} is everyone: name the addresses of the proxies in front")
    return str(network)


def _check_origin(value: str) -> str:
    """Write an origin as browsers send it: lower case, without the default port of its scheme."""
    origin = re.fullmatch(r"(https?)://([0-9a-z.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", value.lower())
    if origin is None or not 0 < int(origin[3] or 1) < 2**16:
        raise ValueError(
            f"{value!r} is no origin: each is http(s)://host or http(s)://host:port, in ASCII, without a path and without *"
        )
    scheme, host, port = origin.groups()
    is_usual = port is None or int(port) == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{int(port)}"


def _check_scheme(value: str) -> str:
    scheme = value.lower()
    if not _match_scheme(scheme):
        raise ValueError(f"must be schemes such as https,mailto,tel, without a colon, not {value!r}")
    if scheme in FORBIDDEN_SCHEMES:
        raise ValueError(f"{scheme} is never allowed: such an address runs as code or shows the visitor's own files")
    return scheme


def _check_root_url(value: str) -> str:
    if not re.fullmatch(r"(/|https?://)[!#%&'()*+,./0-9:=?@A-Z_a-z~-]*", value):
        raise ValueError("must be a path or an http(s) URL, percent-encoded")
    if value == "/" or value.startswith("//"):
        raise ValueError("must lead elsewhere than `/` itself: a path such as /dashboard/, or an http(s) URL")
    return value


def _check_store_url(value: SecretStr, schemes: tuple[str, ...], example: str) -> SecretStr:
    """Refuse a URL that its driver would read in another way than its writer meant; the error quotes no part of it."""
    text = value.get_secret_value()
    scheme, _, rest = text.partition("://")
    if scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{each}://' for each in schemes)}, as {example}")
    user = rest.rpartition("@")[0]
    odd = dict.fromkeys(_PLAIN_IN_URL.sub("", user))
    if odd:
        spelled = ", ".join(f"{char} as {''.join(f'%{byte:02X}' for byte in char.encode())}" for char in odd)
        raise ValueError(f"the user or password must be percent-encoded in a URL: {spelled}")
    if not _match_url(text):
        raise ValueError(f"must be a URL as {example}; a password's @ # / ? % and blanks are percent-encoded")
    return value


def _check_postgres_url(value: SecretStr) -> SecretStr:
    return _check_store_url(value, ("postgresql", "postgres"), "postgresql://user:password@host:5432/database")


def _check_redis_url(value: SecretStr) -> SecretStr:
    return _check_store_url(value, ("redis", "rediss", "unix"), "redis://user:password@host:6379")


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


EmptyIsNone = BeforeValidator(_none_if_empty)
"""Marks an optional setting: Compose passes a setting that is not set as an empty text."""

BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
Listen = Annotated[str, AfterValidator(_check_listen)]
RootUrl = Annotated[str, AfterValidator(_check_root_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_check_postgres_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(check_host)], ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_check_network)], ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_check_origin)], ...], NoDecode, BeforeValidator(_split)]
Schemes = Annotated[
    tuple[Annotated[str, AfterValidator(_check_scheme)], ...], NoDecode, BeforeValidator(_split), Field(min_length=1)
]
ForeignApis = Annotated[tuple[ForeignApi, ...], NoDecode, BeforeValidator(_split)]
