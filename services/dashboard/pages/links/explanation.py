"""A panel of the editor: where a link with rules or a split leads a visit that one describes, and why."""

from typing import get_args

import streamlit as st

from services.dashboard.texts import plain
from services.dashboard.widgets.inputs import errors_of
from shared.api import Browser, Device, System
from shared.client import ApiError, Client, DecidedRule, Explanation, KeyRefused, Link, Unreachable

CHOICES = {
    "device": ("Device", get_args(Device)),
    "os": ("System", get_args(System)),
    "browser": ("Browser", get_args(Browser)),
}
TEXTS = {
    "language": ("Accepted languages", "de-CH, en;q=0.5"),
    "country": ("Country", "NZ"),
    "query": ("Query", "campaign=spring"),
    "referrer": ("Referrer", "news.example.org"),
    "time": ("Time", "2027-01-31T12:00:00Z; empty: now"),
    "address": ("Address", "192.0.2.7"),
}


def show_explanation(client: Client, link: Link) -> None:
    """Show inputs for a visit, and what the stored rules make of it."""
    with st.expander(
        "Where does a visitor go?", icon=":material/alt_route:", key=f"explain_{link.name}_{link.version}"
    ):
        st.caption("By the rules as they are stored. What you leave empty, the visitor does not tell.")
        visit: dict[str, str] = {}
        grid = st.grid(2, min_column_width=150)
        for name, (label, values) in CHOICES.items():
            with grid.cell():
                chosen = st.selectbox(label, ["", *values], key=f"explain_{link.name}_{name}")
                visit[name] = chosen or ""
        for name, (label, example) in TEXTS.items():
            with grid.cell():
                text = st.text_input(label, key=f"explain_{link.name}_{name}", placeholder=example, max_chars=500)
                visit[name] = (text or "").strip()
        try:
            found = client.explain(link, {name: value for name, value in visit.items() if value})
        except (KeyRefused, Unreachable):
            raise
        except ApiError as error:
            for name, reason in errors_of(error).items():
                st.error(plain(f"{TEXTS.get(name, (name,))[0]} {reason}"), icon=":material/error:")
            return
        _show(found)


def _show(found: Explanation) -> None:
    for target in found.targets:
        share = "" if target.share == 1 else f"{target.share:.0%} of these visitors: "
        st.text(f"{share}{target.variant} → {target.url}")
    for rule in found.rules:
        _show_rule(rule)


def _show_rule(rule: DecidedRule) -> None:
    if rule.wins:
        st.success(f"{plain(rule.name)} wins: all its conditions hold.", icon=":material/check:")
    elif rule.holds:
        st.info(f"{plain(rule.name)} would hold, but an earlier rule wins.", icon=":material/info:")
    else:
        reasons = [
            f"{each.condition} is {each.found if each.found is not None else 'not known'}, not {' or '.join(each.wanted)}"
            for each in rule.conditions
            if not each.holds
        ]
        st.warning(plain(f"{rule.name} does not hold: {'; '.join(reasons)}.", 1000), icon=":material/close:")
