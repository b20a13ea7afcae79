"""Makes drafts of found links, with the checks of any other link, or says why one is none.

`LinkIn` and `new_draft` decide. Most links have nothing but a target, a title and tags, all of them plain; `_plain_draft` makes
the same drafts of those in half the time.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from services.links.imports.forms import ImportOptions
from services.links.links.checks import new_draft, spell_domain
from services.links.links.forms import LinkIn
from services.links.links.rows import LinkDraft, LinkFields
from services.links.links.targets import TargetRefused, TargetRules
from services.links.site import Site
from services.links.sources.found import ROOT, FoundLink
from services.links.web.errors import InvalidInput, invalid_input
from services.links.web.hashing import check_password_hash
from services.links.web.texts import parse_instant
from shared.api import LAST_YEAR, LONGEST_TAG, LONGEST_TITLE, LONGEST_URL, MOST_TAGS
from shared.codes import fold_code, is_reserved
from shared.records import LinkKey

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""What was made before that was made at a time that the source does not know."""


CODE_FIELDS = frozenset({"code"})

_PLAIN_FIELDS = frozenset({"title", "tags"})
_is_plain = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch
_is_plain_code = re.compile(r"[0-9A-Za-z_-]{1,64}").fullmatch
_placeholder = re.compile(r"%s(?![0-9A-Za-z])|\{\*\}|\{\{[^}]{0,200}\}\}").search
_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]{1,5}(?:[/?#]|$))").match
"""What begins with a name and a colon has a scheme; with a number behind it, that is a port."""


LONGEST_ORIGIN = 1_000
"""Bytes."""


def origin_of(domain: str | None, code: str) -> str:
    """Return where a link was: the key by which it is found again. Its visits have the same domain and code."""
    return f"{domain or ''}/{'' if code == ROOT else code}"


def _origin_of_target(url: str) -> str:
    """Return the key of a link without a code. An index takes no long one."""
    return f"#{url}" if len(url.encode()) <= LONGEST_ORIGIN else f"##{hashlib.sha256(url.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class FoundDraft:
    """A link that can be stored.

    Attributes:
        origin: Where it was (`origin_of`); of a link without a code, its target.
        used: Visitors that its limit has let through.
    """

    line: int
    input: str
    origin: str
    draft: LinkDraft
    created_at: datetime | None
    clicks: int
    bots: int | None
    used: int
    folds_case: bool
    notices: tuple[str, ...]

    @property
    def key(self) -> LinkKey:
        return self.draft.key

    @property
    def humans(self) -> int:
        return self.clicks - min(self.bots or 0, self.clicks)

    def under(self, code: str) -> "FoundDraft":
        """Return the draft with another code."""
        return replace(self, draft=replace(self.draft, code=code), folds_case=False)


@dataclass(frozen=True, slots=True)
class FoundRoot:
    """What a bare domain leads to."""

    line: int
    input: str
    origin: str
    domain: str
    url: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A found link that cannot be stored.

    Attributes:
        key: If its code is to blame, what it was to be: another code would do.
    """

    line: int
    input: str
    reason: str
    key: LinkKey | None = None


class DraftMaker:
    """Makes drafts of what one import finds.

    Args:
        owner: Whose links they become.
        options: Of the import.
        site: This site.
        is_admin: Whether links of an archive stay those of their owners.
    """

    def __init__(self, owner: str, options: ImportOptions, site: Site, *, is_admin: bool = False) -> None:
        self._owner = owner
        self._is_admin = is_admin
        self._options = options
        self._site = site
        self._domains: dict[str | None, str | None] = {None: options.domains.default}

    @property
    def rules(self) -> TargetRules:
        """What targets may be."""
        return self._site.rules

    def make(self, found: FoundLink) -> FoundDraft | FoundRoot | Refused:
        """Check a link, and put it where it goes here."""
        shown = f"{found.short_url or origin_of(found.domain, found.code)} {found.url}"
        domain = self.find_domain(found.domain)
        if domain is None:
            reason = f"{found.domain} is no domain of this site; put its links on one with domain={found.domain}=DOMAIN"
            return Refused(found.line, shown, reason)
        url, notices = found.url, found.notices
        if self._options.scheme is not None and not _scheme(url.strip()):
            url = f"{self._options.scheme}://{url.strip().removeprefix('//')}"
        if _placeholder(url):
            return Refused(found.line, shown, "url has a placeholder, which means nothing here")
        if found.code == ROOT:
            return self._make_root(found, shown, domain, url)
        code = found.code
        if "/" in code and self._options.slashes is not None:
            code = code.replace("/", self._options.slashes)
            notices = (*notices, f"The code {found.code} has become {code}.")
        folds_case = bool(code) and self._options.fold_case
        fields: Mapping[str, object] = found.fields
        if "folds_case" in fields:
            fields = dict(fields)
            folds_case = bool(fields.pop("folds_case")) or folds_case
        if folds_case:
            try:
                code = fold_code(code)
            except ValueError as error:
                return Refused(found.line, shown, f"code {error}", (domain, code))
        plain = _plain_draft(LinkDraft(domain, self._owner, LinkFields(url), code), fields, self._site)
        used = 0
        if plain is None:
            fields, told = _fit(fields)
            notices = (*notices, *told)
            body = {**fields, "url": url, "code": code or None, "domain": domain}
            try:
                plain, used = self._checked_draft(body, found.clicks)
            except InvalidInput as problem:
                is_code = {error.field for error in problem.errors} == CODE_FIELDS
                return Refused(found.line, shown, problem.detail, (domain, code) if is_code else None)
        try:
            plain = self._keep(plain, found)
        except ValueError as error:
            return Refused(found.line, shown, f"password {error}")
        created_at = found.created_at
        if created_at is not None and not EARLIEST <= created_at <= datetime.now(UTC):
            created_at = None
            notices = (*notices, "When it was made is not known.")
        origin = self.origin_of(found.domain, found.code) if found.code else _origin_of_target(found.url)
        return FoundDraft(
            found.line, shown, origin, plain, created_at, found.clicks, found.bots, used, folds_case, notices
        )

    def _keep(self, draft: LinkDraft, found: FoundLink) -> LinkDraft:
        """Give a draft what no client may send: the hash of its password, and who owns it."""
        if found.password_hash is not None:
            fields = replace(draft.fields, password_hash=check_password_hash(found.password_hash))
            draft = replace(draft, fields=fields)
        return replace(draft, owner=found.owner) if self._is_admin and found.owner is not None else draft

    def origin_of(self, domain: str | None, code: str) -> str:
        """Return where a link was. Of files without hosts, which host it was is said by where they go here."""
        return origin_of(domain or self._options.domains.default, code)

    def find_domain(self, domain: str | None) -> str | None:
        """Find the domain of this site on which the links of another one go."""
        if domain not in self._domains:
            self._domains[domain] = self._find_domain(domain or "")
        return self._domains[domain]

    def _find_domain(self, domain: str) -> str | None:
        mapped = self._options.domains.hosts.get(domain)
        if mapped is None:
            try:
                spelled = spell_domain(domain)
            except ValueError:
                return None
            mapped = self._options.domains.hosts.get(spelled) or self._site.aliases.get(spelled, spelled)
        return mapped if mapped in self._site.own_domains else None

    def _make_root(self, found: FoundLink, shown: str, domain: str, url: str) -> FoundRoot | Refused:
        try:
            parsed = self._site.rules.parse(url)
        except TargetRefused as error:
            return Refused(found.line, shown, f"url {error}")
        return FoundRoot(found.line, shown, self.origin_of(found.domain, ROOT), domain, parsed)

    def _checked_draft(self, given: dict[str, object], clicks: int) -> tuple[LinkDraft, int]:
        """Check a link with all its fields.

        Returns:
            The draft, and how many visitors its limit has let through.

        Raises:
            InvalidInput: It cannot be stored.
        """
        left = given.pop("clicks_left", None)
        # One that is over already stays over. No other client may make such a link.
        over = _instant_of(given.get("expires_at"))
        if over is not None and over <= datetime.now(UTC):
            del given["expires_at"]
        else:
            over = None
        try:
            body = LinkIn.model_validate(given)
        except ValidationError as error:
            raise invalid_input(error) from None
        draft = new_draft(body, self._owner, self._site)
        if over is not None:
            # The beginning of one that has ended says nothing any more.
            begins = draft.fields.valid_from
            begins = None if begins is not None and begins >= over else begins
            draft = replace(draft, fields=replace(draft.fields, expires_at=over, valid_from=begins))
        most = draft.fields.max_clicks
        if most is None:
            return draft, 0
        used = most - left if isinstance(left, int) else clicks
        return draft, min(max(used, 0), most)


def _plain_draft(bare: LinkDraft, fields: Mapping[str, object], site: Site) -> LinkDraft | None:
    """Return the draft of a plain link; None of one that only `LinkIn` and `new_draft` can judge.

    Args:
        bare: The draft, with the target alone.
        fields: The others.
        site: This site.
    """
    code, url = bare.code, bare.fields.url
    if not fields.keys() <= _PLAIN_FIELDS or not 1 <= len(url) <= LONGEST_URL or not _is_plain(url):
        return None
    title, tags = fields.get("title"), fields.get("tags") or []
    if title is not None and not (isinstance(title, str) and len(title) <= LONGEST_TITLE and _is_plain(title)):
        return None
    if not isinstance(tags, list) or len(tags) > MOST_TAGS:
        return None
    if tags:
        for tag in tags:
            if not (isinstance(tag, str) and len(tag) <= LONGEST_TAG and _is_plain(tag)):
                return None
        if len(set(tags)) != len(tags):
            return None
    if code and not (_is_plain_code(code) and not is_reserved(code)):
        return None
    try:
        href = site.rules.parse(url)
    except TargetRefused:
        return None
    if href != url:
        return None
    return LinkDraft(bare.domain, bare.owner, LinkFields(url, title, tuple(tags)), code)


def _fit(given: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Make what is too long fit, and say so."""
    fields, told = dict(given), []
    title = fields.get("title")
    if isinstance(title, str) and len(title.strip()) > LONGEST_TITLE:
        fields["title"] = title.strip()[:LONGEST_TITLE].rstrip()
        told.append(f"The title was cut to {LONGEST_TITLE} characters.")
    tags = fields.get("tags")
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        kept = list(dict.fromkeys(tag for tag in tags if len(tag.strip()) <= LONGEST_TAG))
        if len(kept) < len(set(tags)):
            told.append(f"Tags of more than {LONGEST_TAG} characters were left out.")
        if len(kept) > MOST_TAGS:
            told.append(f"Of {len(kept)} tags the first {MOST_TAGS} are kept.")
        fields["tags"] = kept[:MOST_TAGS]
    return fields, told


def _instant_of(value: object) -> datetime | None:
    """Return a time that can be read; what cannot is left to the checks."""
    try:
        instant = parse_instant(value)
    except ValueError:
        return None
    return instant if isinstance(instant, datetime) and instant.year <= LAST_YEAR else None
