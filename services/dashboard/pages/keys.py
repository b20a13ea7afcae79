"""The page Keys, for admins: make a key and show it once, list all, revoke."""

from datetime import UTC, datetime

import streamlit as st

from services.dashboard.texts import format_instant, plain
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.copying import show_copyable
from services.dashboard.widgets.frames import make_frame
from services.dashboard.widgets.inputs import Errors, errors_of, show_error, show_other_errors
from shared.api import LAST_YEAR, LONGEST_OWNER, LONGEST_TITLE, USUAL_SCOPES, Scope
from shared.client import ApiError, Client, Key, KeyRefused, NewKey, Unreachable

SCOPES: dict[Scope, str] = {
    "links:read": "links:read: see links",
    "links:write": "links:write: create, edit and delete links",
    "stats:read": "stats:read: see statistics",
    "admin": "admin: all of it, for everyone's links, and keys",
}
FIELDS = ("owner", "name", "scopes", "expires_at")
MADE, ERRORS, REVOKING = "keys_made", "keys_errors", "keys_revoking"


def page(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Keys", anchor=False)
    made: NewKey | None = st.session_state.get(MADE)
    if made is not None:
        _show_made(made)
    with st.expander("Create a key", expanded=made is None, icon=":material/add:"):
        _ask(client)
    _show_keys(client, key)


def _show_made(made: NewKey) -> None:
    with st.container(border=True, key="made_key"):
        st.success("The key is made. Copy it now: it cannot be shown again.")
        st.text(f"For {made.owner}")
        show_copyable(made.key)
        if st.button("I have copied it", key="keys_copied"):
            del st.session_state[MADE]
            st.rerun()


def _ask(client: Client) -> None:
    errors: Errors = st.session_state.pop(ERRORS, {})
    zone = viewer_zone()
    with st.form("keys_form", border=False):
        owner = st.text_input(
            "Owner", max_chars=LONGEST_OWNER, key="keys_owner", placeholder="Whose links it is for, such as alice"
        )
        show_error(errors, "owner", "The owner")
        name = st.text_input(
            "Name", max_chars=LONGEST_TITLE, key="keys_name", placeholder="What it is for, such as the newsletter"
        )
        show_error(errors, "name", "The name")
        scopes = st.multiselect(
            "Scopes", list(SCOPES), default=USUAL_SCOPES, format_func=SCOPES.__getitem__, key="keys_scopes"
        )
        show_error(errors, "scopes", "What it may do")
        until = st.datetime_input(
            "Expires",
            value=None,
            min_value=datetime.now(zone).replace(tzinfo=None, second=0, microsecond=0),
            max_value=datetime(LAST_YEAR, 12, 30),  # noqa: DTZ001  # the input has no time zone
            key="keys_expires_at",
            help=f"In your time zone, {plain(zone.key)}. Empty: never.",
            format="YYYY-MM-DD",
        )
        show_error(errors, "expires_at", "The expiry")
        pressed = st.form_submit_button("Create key", type="primary")
    show_other_errors(errors, FIELDS)
    if pressed:
        expires_at = None if until is None else until.replace(tzinfo=zone)
        fields = {"owner": owner.strip(), "name": name.strip() or None, "scopes": scopes, "expires_at": expires_at}
        _create(client, {name: value for name, value in fields.items() if value is not None})


def _create(client: Client, fields: dict[str, object]) -> None:
    try:
        st.session_state[MADE] = client.create_key(fields)
    except (KeyRefused, Unreachable):
        raise
    except ApiError as error:
        st.session_state[ERRORS] = errors_of(error)
    st.rerun()


def _show_keys(client: Client, own: Key) -> None:
    keys = client.list_keys()
    zone = viewer_zone()
    chosen = st.dataframe(
        make_frame(
            {
                "Owner": [key.owner for key in keys],
                "Name": [key.name or "" for key in keys],
                "State": [_state(key, own) for key in keys],
                "Scopes": [list(key.scopes) for key in keys],
                "Created": [format_instant(key.created_at, zone) for key in keys],
                "Expires": [format_instant(key.expires_at, zone) for key in keys],
                "Key": [f"tu_{key.id}_…" for key in keys],
            }
        ),
        hide_index=True,
        column_config={"Scopes": st.column_config.ListColumn(), "Name": st.column_config.TextColumn(width="medium")},
        on_select="rerun",
        selection_mode="single-row",
        key="keys_table",
        alt="API keys, the newest first",
    )
    rows = chosen["selection"]["rows"]
    if not rows or rows[0] >= len(keys):
        st.caption("Select a key to revoke it.")
    elif keys[rows[0]].revoked_at is not None:
        st.caption("This key is revoked already.")
    elif st.button("Revoke", icon=":material/block:", key="keys_revoke"):
        st.session_state[REVOKING] = keys[rows[0]]
    if REVOKING in st.session_state:
        revoking: Key = st.session_state[REVOKING]
        admins = [each.id for each in keys if "admin" in each.scopes and _state(each, own) in ("valid", "yours")]
        _revoke_dialog(client, revoking, own, is_last_admin=admins == [revoking.id])


def _forget_revoking() -> None:
    st.session_state.pop(REVOKING, None)


@st.dialog("Revoke for good?", on_dismiss=_forget_revoking)
def _revoke_dialog(client: Client, key: Key, own: Key, *, is_last_admin: bool) -> None:
    st.write("Whatever uses this key is refused within a second, and cannot be let in again with it.")
    st.text(f"{key.owner}{f' · {key.name}' if key.name else ''} (tu_{key.id}_…)")
    if key.id == own.id:
        st.warning("This is the key that you are signed in with.")
    if is_last_admin:
        st.warning("This is the last admin key. Without it keys are managed on the host alone, by `tinyurl keys`.")
    with st.container(horizontal=True):
        if st.button("Revoke key", type="primary", key="keys_revoke_confirmed"):
            _forget_revoking()
            client.revoke_key(key.id, force=is_last_admin)
            st.rerun()
        if st.button("Keep", key="keys_revoke_dismissed"):
            _forget_revoking()
            st.rerun()


def _state(key: Key, own: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "yours" if key.id == own.id else "valid"
