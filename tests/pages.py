"""Pages of the dashboard run without a browser."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from dashboard import data

APP = Path(data.__file__).parent / "app.py"


def page(name: str, storage: Path | str, study: str | None = None, **query: str) -> AppTest:
    """A page of the app on a storage, run once; `query` is what its link says after the question mark."""
    data.configure(str(storage), study)
    test = AppTest.from_file(APP, default_timeout=60)
    for key, value in query.items():
        test.query_params[key] = value
    test.run()
    if name != "explore":
        test.switch_page(f"screens/{name}.py")
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
    return test
