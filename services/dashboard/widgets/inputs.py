"""The fields of a link as inputs, for the pages that create and edit links, with the API's errors beside them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from services.dashboard.texts import plain
from shared.api import (
    CODE_TAKEN,
    FIRST_YEAR,
    LAST_YEAR,
    LONGEST_DECISION,
    LONGEST_NOTES,
    LONGEST_PASSWORD,
    LONGEST_TITLE,
    LONGEST_URL,
    MOST_CLICKS,
    MOST_TAGS,
    StatusCode,
    problem_type,
)
from shared.client import ApiError, Link

STATUS_CODES: dict[StatusCode, str] = {
    302: "302: temporary",
    301: "301: permanent",
    307: "307: temporary, method kept",
    308: "308: permanent, method kept",
}

_PARTS = {"rules": "rule", "split": "target"}
"""Fields that are lists, and what is in them."""

RULES_EXAMPLE = """[
  {"name": "phones", "if": {"device": "mobile", "language": ["de", "fr"]}, "url": "https://m.example.com/"},
  {"if": {"country": "NZ", "time": "09:00-17:00", "time_zone": "Pacific/Auckland"}, "url": "https://example.com/nz"}
]"""
SPLIT_EXAMPLE = """[
  {"name": "old", "url": "https://example.com/a", "weight": 9},
  {"name": "new", "url": "https://example.com/b", "weight": 1}
]"""

Errors = dict[str, str]
Fields = dict[str, object]


def errors_of(error: ApiError) -> Errors:
    """Return the reason for each wrong field; the empty name has the reason that concerns no field."""
    if error.type == problem_type(CODE_TAKEN):
        return {"code": "is taken, or was: a code is never given out twice"}
    errors: Errors = {}
    for path, reason in error.errors.items():
        field, _, place = path.partition(".")
        errors.setdefault(field, _placed(field, place, reason) if place and field in _PARTS else reason)
    return errors or {"": error.detail or error.title}


def _placed(field: str, place: str, reason: str) -> str:
    """Say which rule or target is meant, as one counts them."""
    number, _, rest = place.partition(".")
    which = f"{_PARTS[field]} {int(number) + 1}" if number.isdecimal() else number
    return f"are wrong in {which}{f', at {rest}' if rest else ''}: {reason}"


def show_error(errors: Mapping[str, str], field: str, name: str) -> None:
    """Show what is wrong with a field, right below it."""
    if field in errors:
        st.error(f"{name} {plain(errors[field])}", icon=":material/error:")


def show_other_errors(errors: Mapping[str, str], fields: Sequence[str]) -> None:
    """Show the reasons that concern no field with an input."""
    for field, reason in errors.items():
        if field not in fields:
            st.error(plain(f"{field} {reason}".strip()), icon=":material/error:")


_SWITCHES = {
    "forward_query": "Pass the visitor's query parameters on",
    "visitor_query_wins": "Of two with the same name, pass on the visitor's",
    "forward_path": "Pass on the path behind the code",
    "crawlable": "Let search engines follow it",
    "preview": "Show at the address with a + where it leads",
}


class LinkInputs:
    """Inputs for what a link has beside its target and code.

    Args:
        prefix: Of the widgets' keys.
        link: What they begin with; None for a new link.
        known_tags: To choose from.
        zone: In which times are read.
        errors: Of the last try.
    """

    names = (
        *("title", "notes", "tags", "expires_at", "max_clicks", "expired_url", "status_code"),
        *("forward_query", "forward_path", "crawlable", "preview", "rules", "split", "password"),
        "visitor_query_wins",
    )

    def __init__(
        self, prefix: str, link: Link | None, known_tags: Sequence[str], zone: ZoneInfo, errors: Mapping[str, str]
    ) -> None:
        self._prefix = prefix
        self._link = link
        self._known_tags = known_tags
        self._zone = zone
        self._errors = errors

    def draw(self) -> Fields:
        """Draw the inputs.

        Returns:
            The fields as the API takes them; a password only if it is to change.
        """
        fields: Fields = {
            "title": self._title(),
            "notes": self._notes(),
            "tags": self._tags(),
            "expires_at": self._expires_at(),
            "max_clicks": self._max_clicks(),
            "expired_url": self._expired_url(),
            "status_code": self._status_code(),
            **{name: self._switch(name, label) for name, label in _SWITCHES.items()},
            **self._deciding(),
        }
        return fields | self._password()

    def _switch(self, name: str, label: str) -> bool:
        is_on = getattr(self._link, name) if self._link else name == "preview"
        switched = st.checkbox(label, value=is_on, key=f"{self._prefix}_{name}")
        show_error(self._errors, name, "This")
        return switched

    def _notes(self) -> str | None:
        notes = st.text_area(
            "Notes",
            value=(self._link.notes or "") if self._link else "",
            max_chars=LONGEST_NOTES,
            key=f"{self._prefix}_notes",
            placeholder="For yourself; visitors never see them",
        )
        show_error(self._errors, "notes", "The notes")
        return (notes or "").strip() or None

    def _deciding(self) -> Fields:
        """Draw the inputs of rules and split. They are open where there are some, or one is wrong."""
        has_some = self._link is not None and (self._link.rules is not None or self._link.split is not None)
        is_wrong = any(field in self._errors for field in _PARTS)
        with st.expander("Rules and split", expanded=has_some or is_wrong, key=f"{self._prefix}_deciding_{is_wrong}"):
            return {
                "rules": self._json(
                    "rules",
                    "The rules",
                    RULES_EXAMPLE,
                    "The first rule whose conditions all hold leads the visitor: device, os, browser, language, country, "
                    "query, referrer, after, before, weekday, time, time_zone, address. Else it is the address above.",
                ),
                "split": self._json(
                    "split",
                    "The split",
                    SPLIT_EXAMPLE,
                    "Targets that share the visitors by weight, instead of the address above.",
                ),
            }

    def _json(self, field: str, name: str, example: str, description: str) -> object:
        """Draw a field as JSON. A text that is none is given as it is, and the API refuses it, too."""
        value = getattr(self._link, field) if self._link else None
        text = st.text_area(
            name.removeprefix("The ").capitalize(),
            value=json.dumps(value, ensure_ascii=False, indent=2) if value else "",
            height=160 if value else 90,
            max_chars=2 * LONGEST_DECISION,
            key=f"{self._prefix}_{field}",
            placeholder=example,
            help=description,
        )
        if not (text or "").strip():
            show_error(self._errors, field, name)
            return None
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            where = f" in line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            st.error(f"{name}: this is no JSON{where}.", icon=":material/error:")
            return text
        show_error(self._errors, field, name)
        return found

    def _title(self) -> str | None:
        title = st.text_input(
            "Title",
            value=(self._link.title or "") if self._link else "",
            max_chars=LONGEST_TITLE,
            key=f"{self._prefix}_title",
            placeholder="What the link is for",
        )
        show_error(self._errors, "title", "The title")
        return (title or "").strip() or None

    def _tags(self) -> list[str]:
        own = list(self._link.tags) if self._link else []
        tags = st.multiselect(
            "Tags",
            options=list(dict.fromkeys([*own, *self._known_tags])),
            default=own,
            max_selections=MOST_TAGS,
            accept_new_options=True,
            key=f"{self._prefix}_tags",
            placeholder="Choose or type",
        )
        show_error(self._errors, "tags", "A tag")
        return [str(tag) for tag in tags]

    def _expires_at(self) -> datetime | None:
        own = self._link.expires_at if self._link else None
        begun = own.astimezone(self._zone).replace(tzinfo=None, second=0, microsecond=0) if own else None
        until = st.datetime_input(
            "Expires",
            value=begun,
            min_value=datetime(FIRST_YEAR, 1, 1),  # noqa: DTZ001  # the input has no time zone; its reader adds it
            max_value=datetime(LAST_YEAR, 12, 30),  # noqa: DTZ001
            key=f"{self._prefix}_expires_at",
            help=f"In your time zone, {plain(self._zone.key)}. Empty: never.",
            format="YYYY-MM-DD",
        )
        show_error(self._errors, "expires_at", "The expiry")
        if until == begun:
            # The seconds that the input does not show are kept.
            return own
        return None if until is None else until.replace(tzinfo=self._zone)

    def _max_clicks(self) -> int | None:
        own = self._link.max_clicks if self._link else None
        left = self._link.clicks_left if self._link else None
        limit = st.number_input(
            "Most visitors",
            min_value=1,
            max_value=MOST_CLICKS,
            value=own,
            step=1,
            key=f"{self._prefix}_max_clicks",
            help="So many get to the target, then the link has expired. Previews and bots do not count. Empty: no limit."
            + ("" if left is None else f" {left:,} are left."),
            placeholder="Empty: no limit",
        )
        show_error(self._errors, "max_clicks", "The number of visitors")
        return limit

    def _expired_url(self) -> str | None:
        url = st.text_input(
            "Where it leads after that",
            value=(self._link.expired_url or "") if self._link else "",
            max_chars=LONGEST_URL,
            key=f"{self._prefix}_expired_url",
            placeholder="Empty: a page that says the link is gone",
        )
        show_error(self._errors, "expired_url", "This address")
        return (url or "").strip() or None

    def _status_code(self) -> int:
        codes = list(STATUS_CODES)
        own = self._link.status_code if self._link else codes[0]
        code = st.selectbox(
            "Kind of redirect",
            codes,
            index=codes.index(own) if own in codes else 0,
            format_func=STATUS_CODES.__getitem__,
            key=f"{self._prefix}_status_code",
        )
        show_error(self._errors, "status_code", "The kind")
        return code

    def _password(self) -> Fields:
        has_password = self._link.has_password if self._link else False
        is_removed = has_password and st.checkbox("Remove the password", key=f"{self._prefix}_password_removed")
        password = st.text_input(
            "New password" if has_password else "Password",
            type="password",
            max_chars=LONGEST_PASSWORD,
            key=f"{self._prefix}_password",
            placeholder="Empty: it stays as it is" if has_password else "Empty: everybody may follow the link",
            help="Visitors have to know it. Nobody can read it here again.",
            autocomplete="new-password",
            disabled=is_removed,
        )
        show_error(self._errors, "password", "The password")
        if is_removed:
            return {"password": None}
        return {"password": password} if password else {}
