"""A table on a page: numbers with four significant digits, and a dash where there is none; its file has all digits."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

MISSING = "–"


def show(table: Any, *, key: str, config: dict[str, Any] | None = None, **options: Any) -> Any:
    """Draws a table, or a styled one, and returns what st.dataframe returns; `config` is of columns of its own kind."""
    rows = table if isinstance(table, pd.DataFrame) else table.data
    columns = formats(rows) | (config or {})
    return st.dataframe(table, hide_index=True, key=key, column_config=columns, **{"placeholder": MISSING} | options)


def formats(table: pd.DataFrame) -> dict[str, Any]:
    """How the columns are written that are no whole numbers: with four significant digits."""
    broken = [name for name, kind in table.dtypes.items() if pd.api.types.is_float_dtype(kind)]
    return {str(name): st.column_config.NumberColumn(format="%.4g") for name in broken}
