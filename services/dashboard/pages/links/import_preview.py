"""The preview of a list or file, before anything is created."""

import streamlit as st

from services.dashboard.lists.encodings import WINDOWS_1252
from services.dashboard.lists.layouts import DELIMITERS
from services.dashboard.lists.parsing import ParsedList
from services.dashboard.texts import format_count, plain, shorten
from services.dashboard.widgets.frames import make_frame

FIRST_ROWS = 5
MOST_PROBLEMS = 5
LONGEST_CELL = 200
HIDDEN = "\u2022\u2022\u2022\u2022"
"""Stands for a password."""


def show_preview(understood: ParsedList) -> None:
    """Show form, encoding, columns, the number of rows and the first of them, and what is wrong."""
    layout = understood.layout
    form = (
        f"a table, its cells separated by {DELIMITERS[layout.delimiter]}" if layout.delimiter else "a list of addresses"
    )
    encoding = f", in {understood.encoding}" if understood.encoding else ""
    st.info(plain(f"This is {form}{encoding}: {format_count(len(understood.rows), 'link')} to create."))
    if layout.has_header:
        st.text("Columns: " + ", ".join(_column_text(column.name, column.field) for column in layout.columns))
    if understood.encoding == WINDOWS_1252:
        st.warning(
            "The file is not in UTF-8, so it was read as Windows-1252. If letters look wrong below, save it in UTF-8."
        )
    _show_problems("left out", understood.left_out)
    _show_problems("to be looked at", understood.doubts)
    st.dataframe(
        make_frame(
            [
                {"line": line}
                | {name: HIDDEN if name == "password" else _cell_text(value) for name, value in row.items()}
                for line, row in zip(understood.lines[:FIRST_ROWS], understood.rows, strict=False)
            ]
        ).fillna(""),
        hide_index=True,
        alt="The first rows as they were understood",
    )


def _show_problems(what: str, problems: list[str]) -> None:
    if not problems:
        return
    shown = " ".join(problems[:MOST_PROBLEMS])
    more = f" And {len(problems) - MOST_PROBLEMS:,} more." if len(problems) > MOST_PROBLEMS else ""
    st.warning(plain(f"{format_count(len(problems), 'row')} {what}. {shown}{more}", 1000))


def _column_text(name: str, field: str | None) -> str:
    name = shorten(name, 50)
    if field is None:
        return f"{name} (not used)"
    meant = "code" if field == "short_url" else field
    return name if name == meant else f"{name} = {meant}"


def _cell_text(value: object) -> str:
    text = " | ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shorten(text, LONGEST_CELL)
