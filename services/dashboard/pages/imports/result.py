"""What an import is at, on the page Import: its progress, its result with what was refused, and those before it."""

import csv
from itertools import islice

import streamlit as st

from services.dashboard.texts import format_count, format_instant, plain
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.frames import make_frame
from shared.client import Client, Import

LOOK_EVERY_S = 1.0
MOST_EARLIER = 20
SHOWN_REFUSALS = 100

STATES = {
    "receiving": "not all of its file has arrived",
    "waiting": "waiting for its turn",
    "reading": "being read",
    "importing": "being imported",
    "done": "done",
    "failed": "failed",
    "undoing": "being undone",
    "undone": "undone",
}


@st.fragment(run_every=LOOK_EVERY_S)
def watch(client: Client, import_id: str) -> None:
    """Show how far an import is; this part of the page runs anew each second."""
    found = client.read_import(import_id)
    if found.is_over:
        st.rerun()
    if found.state == "receiving":
        st.warning("Not all of the file has arrived. Drop it again, as another file.")
        return
    st.info(f"The import is {STATES[found.state]}.")
    pace = "" if found.rows_per_second is None else f", {found.rows_per_second:,.0f} a second"
    left = "" if found.seconds_left is None else f", {max(found.seconds_left, 1):,.0f} s left"
    st.text(f"{format_count(found.rows_read, 'row')} read{pace}{left}")
    _show_counts(found)
    st.caption("It goes on by itself if you leave this page.")


def show_result(client: Client, found: Import) -> None:
    """Show what became of an import, or would, and offer the next step."""
    st.subheader(plain(found.filename or found.id), anchor=False)
    if found.format:
        st.text(f"Format: {found.format}")
    if found.state == "failed":
        st.error(plain(found.error or "The import failed.", 1000))
    elif found.state == "undone":
        st.success(f"The import is undone. {format_count(found.kept, 'link')} edited or clicked since: kept.")
    elif found.dry_run:
        st.info("Nothing has been created yet: this is what would become of it.")
    else:
        st.success("The import is done.")
    _show_counts(found)
    if found.refused or found.notices or found.kept:
        _show_refused(client, found)
    if found.state == "done" and found.dry_run:
        if st.button("Import now", type="primary", icon=":material/move_to_inbox:", key="import_start"):
            client.begin_after_dry_run(found.id)
            st.rerun()
    elif found.state == "done":
        with st.popover("Undo", icon=":material/undo:"):
            st.write(
                "The links that this import made are deleted, and those that it replaced are as before. What was edited "
                "or clicked since stays."
            )
            if st.button("Undo the import", key="import_undo"):
                client.undo_import(found.id)
                st.rerun()


def show_earlier(client: Client) -> str | None:
    """Show the imports before, and return the one that somebody opens."""
    earlier = client.imports()[:MOST_EARLIER]
    if earlier:
        st.subheader("Imports before", anchor=False)
    for found in earlier:
        what = "tried out" if found.dry_run and found.state == "done" else STATES[found.state]
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Open", key=f"import_open_{found.id}"):
                return found.id
            when = format_instant(found.created_at, viewer_zone())
            st.text(f"{when}  {found.filename or found.format or ''}: {what}, {format_count(found.made, 'link')}")
    return None


def _show_counts(found: Import) -> None:
    counts = {
        "To make" if found.dry_run else "Made": found.made,
        "There already": found.found,
        "To replace" if found.dry_run else "Replaced": found.replaced,
        "Refused": found.refused,
        "Visits": found.visits,
    }
    with st.container(horizontal=True):
        for name, count in counts.items():
            st.metric(name, f"{count:,}")


def _show_refused(client: Client, found: Import) -> None:
    """Show the first rows that were left out or changed, and offer all of them as a file."""
    with client.refused(found.id) as parts:
        content = b"".join(parts)
    rows = islice(csv.DictReader(content.decode("utf-8-sig").splitlines(keepends=True)), SHOWN_REFUSALS)
    st.dataframe(make_frame(list(rows)), hide_index=True, alt="Rows that were left out or changed, and why")
    st.download_button(
        "Download these rows",
        content,
        file_name="refused.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key="import_refused",
    )
