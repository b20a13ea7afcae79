"""Exports: the links that the filter finds, fetched from the API as they come, then handed to the browser as one file."""

from codecs import BOM_UTF8

import streamlit as st

from services.dashboard.texts import format_count, plain
from shared.client import ApiError, Client, KeyRefused, LinkQuestion

LARGEST_MB = 64
"""The largest export in the memory of this process, some 200,000 links. The API has no such limit."""

KINDS = {
    "CSV": ("text/csv", "links.csv", b""),
    # Excel on Windows needs the mark for UTF-8. It is put here, because the API of the previous release does not know it yet.
    "CSV for Excel": ("text/csv", "links.csv", BOM_UTF8),
    "NDJSON": ("application/x-ndjson", "links.ndjson", b""),
}
"""The media type, the name and the first characters of the file, for each format."""
FORMATS = (
    "CSV for Excel begins with a byte order mark, by which Excel on Windows finds the letters outside of English. Where "
    "a semicolon separates lists, open it by Data, From Text/CSV. Create many reads both kinds of CSV."
)
SHOW_EVERY_BYTES = 2**18


class ExportTooLarge(Exception):
    """The export is larger than the dashboard keeps in memory."""


def show_export(client: Client, wanted: LinkQuestion) -> None:
    """Show the tab."""
    st.write("Exports have all links that the filter under All links finds, with all their fields.")
    limits = [f"{name}: {value}" for name, value in wanted.parameters().items()]
    st.text(", ".join(limits) if limits else "No filter is set: all links.")
    kind = st.segmented_control("Format", list(KINDS), default="CSV", required=True, key="export_kind", help=FORMATS)
    media_type, name, begin = KINDS[kind]
    asked = (kind, wanted)
    if st.button("Prepare the file", type="primary", icon=":material/file_save:", key="export_prepare"):
        st.session_state.pop("export", None)
        try:
            st.session_state["export"] = (asked, _fetch(client, wanted, media_type, begin))
        except KeyRefused:
            raise
        except ExportTooLarge:
            st.error(
                f"This is more than {LARGEST_MB} MB. Narrow the filter, or ask the API itself: GET /api/v1/exports."
            )
        except ApiError as error:
            st.error(plain(error.detail or error.title))
    done = st.session_state.get("export")
    if done is None or done[0] != asked:
        return
    lines = done[1].count(b"\n") - (1 if media_type == "text/csv" else 0)
    st.success(f"The file is ready: {format_count(max(lines, 0), 'line')}, {len(done[1]) / 1000:,.0f} kB.")
    st.download_button(
        f"Download {name}",
        done[1],
        file_name=name,
        mime=media_type,
        on_click="ignore",
        icon=":material/download:",
        key="export_download",
    )


def _fetch(client: Client, wanted: LinkQuestion, media_type: str, begin: bytes) -> bytes:
    body = bytearray(begin)
    shown = 0
    progress = st.progress(0.0, "Fetching …")
    with client.export(wanted, media_type) as chunks:
        for chunk in chunks:
            body += chunk
            if len(body) > LARGEST_MB * 2**20:
                raise ExportTooLarge
            if len(body) - shown >= SHOW_EVERY_BYTES:
                shown = len(body)
                # Nobody knows how long the export will be, so the bar fills towards the limit.
                progress.progress(len(body) / (LARGEST_MB * 2**20), f"{len(body) / 1e6:.1f} MB so far")
    progress.empty()
    return bytes(body)
