"""Tables for Streamlit. pandas, which takes 40 MB, is loaded with the first table and not with the start."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def make_frame(cells: Mapping[str, Sequence[object]] | Sequence[Mapping[str, object]]) -> "pd.DataFrame":
    """Make a table of its columns, or of its rows."""
    import pandas as pd  # noqa: PLC0415  # see above

    return pd.DataFrame(cells)
