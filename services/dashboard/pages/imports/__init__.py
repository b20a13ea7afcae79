"""The page Import: drop a file of this or another shortener, see what would become of it, import it, watch it, undo it.

This module asks; `result.py` shows what an import is at.
"""

from dataclasses import replace
from typing import BinaryIO, cast
from uuid import uuid4

import streamlit as st

from services.dashboard.known import known_domains
from services.dashboard.pages.imports.result import show_earlier, show_result, watch
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.inputs import Errors, errors_of, show_error, show_other_errors
from shared.client import ApiError, Client, ImportOptions, Key, KeyRefused, Unreachable, is_packed, send_file
from shared.client.words import OnConflict

LARGEST_MB = 16
"""As `maxUploadSize` and nginx have it; a file is in the memory of this process while it is sent on."""

CONFLICTS: dict[OnConflict, str] = {
    "skip": "Leave it out",
    "keep_both": "Give it another code",
    "replace": "Replace the link, if it is mine",
    "fail": "Import nothing at all",
}
DATES = {None: "Leave out what cannot be told", True: "3/4 is the 3rd of April", False: "3/4 is the 4th of March"}
FIELDS = ("format", "domain", "zone", "encoding", "slashes")
CURRENT, ERRORS, ROUND = "import_id", "import_errors", "import_round"


def page(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Import", anchor=False)
    import_id: str | None = st.session_state.get(CURRENT)
    found = None if import_id is None else client.read_import(import_id)
    if found is None or found.dry_run:
        _ask(client, key)
    if found is None:
        chosen = show_earlier(client)
        if chosen is not None:
            _go_to(chosen)
    elif not found.is_over:
        watch(client, found.id)
    else:
        show_result(client, found)
    if found is not None and st.button("Another file", icon=":material/arrow_back:", key="import_again"):
        # An uploader of another name is an empty one.
        st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
        _go_to(None)


def _ask(client: Client, key: Key) -> None:
    errors: Errors = st.session_state.pop(ERRORS, {})
    file = st.file_uploader(
        f"A file of another shortener, or an export of this one, up to {LARGEST_MB} MB; it may be packed with gzip",
        key=f"import_file_{st.session_state.get(ROUND, 0)}",
        max_upload_size=LARGEST_MB,
    )
    st.caption("A larger one goes by the command `tinyurl import`. Lists of your own are for Links, Create many.")
    on_conflict = st.selectbox(
        "If a code is in use", list(CONFLICTS), format_func=CONFLICTS.__getitem__, key="import_conflict"
    )
    domains = known_domains(client) if key.may("links:read") else ()
    domain_map = st.text_area(
        "Domains",
        key="import_domains",
        placeholder=f"old.example={domains[0] if domains else 'go.example.com'}",
        help="A line for each: a domain in the file, `=`, and yours that takes its place. A domain of yours alone is for "
        "links of which the file says none.",
    )
    show_error(errors, "domain", "This")
    with st.expander("How to read it", expanded=bool(set(FIELDS) & errors.keys()), icon=":material/tune:"):
        options = _ask_how(errors)
    show_other_errors(errors, FIELDS)
    # Nothing is created before it has been shown what would be.
    if st.button("Look at it", type="primary", icon=":material/preview:", disabled=file is None) and file is not None:
        options = replace(
            options,
            filename=file.name.removesuffix(".gz") if is_packed(file.name) else file.name,
            dry_run=True,
            on_conflict=on_conflict,
            domains=tuple(line.strip() for line in domain_map.splitlines() if line.strip()),
        )
        _send(client, cast("BinaryIO", file), file.name, file.size, options)


def _ask_how(errors: Errors) -> ImportOptions:
    """Draw the inputs for what a file does not say itself."""
    kind = st.text_input("Format", key="import_format", placeholder="Empty: told by the file", autocomplete="off")
    show_error(errors, "format", "The format")
    zone = st.text_input("Time zone of times without one", value=str(viewer_zone()), key="import_zone")
    show_error(errors, "zone", "The time zone")
    encoding = st.text_input("Encoding", key="import_encoding", placeholder="Empty: UTF-8, or UTF-16 with its mark")
    show_error(errors, "encoding", "The encoding")
    dates = st.selectbox("Dates like 3/4/2024", list(DATES), format_func=DATES.__getitem__, key="import_dates")
    fold_case = st.checkbox("Codes were the same in upper and lower case", key="import_fold_case")
    has_scheme = st.checkbox("Targets without http:// or https:// get https://", key="import_scheme")
    slashes = st.checkbox("Codes with / get - in its place", key="import_slashes")
    return ImportOptions(
        format=kind.strip() or None,
        zone=zone.strip() or None,
        encoding=encoding.strip() or None,
        day_first=dates,
        fold_case=fold_case,
        scheme="https" if has_scheme else None,
        slashes="-" if slashes else None,
    )


def _send(client: Client, file: BinaryIO, name: str, size: int, options: ImportOptions) -> None:
    bar = st.progress(0.0, "Sending …")

    def show_sent(sent: int) -> None:
        bar.progress(min(sent / max(size, 1), 1.0), f"{sent / 1e6:.1f} MB sent")

    tried: str | None = st.session_state.get(CURRENT)
    try:
        if tried is not None:
            # The look before, with other options.
            client.undo_import(tried)
        found = send_file(
            client,
            file,
            options,
            is_packed=is_packed(name),
            import_id=str(uuid4()),
            progress=show_sent,
        )
    except (KeyRefused, Unreachable):
        raise
    except ApiError as error:
        st.session_state[ERRORS] = errors_of(error)
        st.rerun()
    _go_to(found.id)


def _go_to(import_id: str | None) -> None:
    """Show another import, or none."""
    st.session_state[CURRENT] = import_id
    st.rerun()
