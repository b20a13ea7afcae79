"""Many links at once: paste or upload them, see how they were read, follow the progress, and see the result of each row."""

from codecs import BOM_UTF8
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import uuid4

import streamlit as st

from services.dashboard.lists.encodings import LARGEST_FILE_BYTES, RowsRefused
from services.dashboard.lists.parsing import parse_rows, result_text, results_csv, slices
from services.dashboard.pages.links.import_preview import show_preview
from services.dashboard.texts import format_count, is_web_address, plain
from services.dashboard.widgets.frames import make_frame
from shared.api import MOST_ROWS
from shared.client import ApiError, Client, RowResult, Unreachable

LARGEST_TEXT = 2_000_000
LONGEST_REFUSAL = 1000
EXAMPLE = "url,code,title,tags\nhttps://www.example.com/a,,First,news|spring\nhttps://www.example.com/b,bee,Second,"


@dataclass
class BulkCreation:
    """The links to create and the progress. The state is kept between runs, so that a page that was left can go on."""

    rows: list[dict[str, Any]]
    lines: list[int]
    """Where each row begins in the text or file."""
    name: str = field(default_factory=lambda: uuid4().hex)
    """The beginning of each slice's repeat key. A slice whose answer was lost is sent again and done once."""
    results: list[RowResult] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.results) >= len(self.rows)


def show_bulk(client: Client) -> None:
    """Show the tab."""
    batch: BulkCreation | None = st.session_state.get("bulk")
    if batch is None:
        _ask()
        return
    if not batch.is_done:
        _create(client, batch)
    _show_results(batch)


def _ask() -> None:
    text = st.text_area(
        "Addresses, one in each line, or CSV",
        key="bulk_text",
        height=180,
        max_chars=LARGEST_TEXT,
        placeholder=EXAMPLE,
        help=r"The first line of a table names its columns: url, code, domain, title, tags (joined by \|), status\_code, "
        r"expires\_at, or as other shorteners call them. Without it each line is an address.",
    )
    file = st.file_uploader(
        f"Or a CSV file, up to {MOST_ROWS:,} rows",
        type=["csv", "tsv", "txt"],
        key="bulk_file",
        max_upload_size=LARGEST_FILE_BYTES // 2**20,
    )
    content: str | bytes = text or "" if file is None else file.getvalue()
    if file is not None and (text or "").strip():
        st.error("Here are both a file and a pasted text. Take one of them out.")
        return
    if file is None and not (text or "").strip():
        # A press sends the text of the box, and then the preview appears.
        st.button("Preview", type="primary", icon=":material/preview:", key="bulk_preview")
        return
    try:
        understood = parse_rows(content)
    except RowsRefused as refused:
        st.error(plain(str(refused), LONGEST_REFUSAL))
        return
    show_preview(understood)
    # A button of another text is another button: what is created has been shown.
    shown = sha256(content.encode() if isinstance(content, str) else content).hexdigest()
    if st.button("Create links", type="primary", icon=":material/playlist_add:", key=f"bulk_create_{shown}"):
        st.session_state["bulk"] = BulkCreation(understood.rows, understood.lines)
        st.rerun()


def _create(client: Client, batch: BulkCreation) -> None:
    total = len(batch.rows)
    progress = st.progress(len(batch.results) / total, "Creating …")
    for first, rows in slices(batch.rows, len(batch.results)):
        try:
            answer = client.create_links(rows, f"{batch.name}-{first}")
        except Unreachable:
            st.warning(
                "The link service cannot be reached right now. What is below is done; the rest can go on in a moment."
            )
            st.button("Go on", type="primary", key="bulk_go_on")
            break
        except ApiError as error:
            st.error(plain(error.detail or error.title))
            st.button("Go on", key="bulk_go_on")
            break
        batch.results.extend(
            RowResult(first + result.index, result.status, result.link, result.problem) for result in answer.results
        )
        progress.progress(len(batch.results) / total, f"{len(batch.results):,} of {total:,}")
    if batch.is_done:
        progress.empty()


def _show_results(batch: BulkCreation) -> None:
    failed = sum(result.link is None for result in batch.results)
    made = sum(result.status == 201 for result in batch.results)
    if made:
        st.success(f"{format_count(made, 'link')} created.")
    if failed:
        st.warning(f"{format_count(failed, 'row')} failed; the column Result says why.")
    shown = sorted(batch.results, key=lambda result: (result.link is not None, result.index))
    st.dataframe(
        make_frame(
            {
                "Line": [batch.lines[result.index] for result in shown],
                "Result": [result_text(result) for result in shown],
                "Short link": [_address(result) for result in shown],
                "Target": [str(batch.rows[result.index].get("url", "")) for result in shown],
            }
        ),
        hide_index=True,
        column_config={
            "Target": st.column_config.TextColumn(width="medium"),
            "Short link": st.column_config.LinkColumn(display_text=r"^https?://(.*)$"),
            "Result": st.column_config.TextColumn(width="medium"),
        },
        alt="What became of each row",
    )
    with st.container(horizontal=True):
        st.download_button(
            "Download results",
            # Excel on Windows needs the mark for UTF-8.
            BOM_UTF8 + results_csv(batch.rows, batch.lines, batch.results).encode(),
            file_name="created-links.csv",
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
            key="bulk_download",
        )
        if st.button("Create more", key="bulk_more"):
            del st.session_state["bulk"]
            st.rerun()


def _address(result: RowResult) -> str:
    return result.link.short_url if result.link is not None and is_web_address(result.link.short_url) else ""
