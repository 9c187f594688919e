"""What an exception means to a person at the command line."""

from __future__ import annotations

import sys

from search_spaces.errors import InputError

EXTRAS = {
    "torch": "search",
    "optuna": "search",
    "fvcore": "search",
    "pandas": "search",
    "moocore": "search",
    "sklearn": "search",
    "numpy": "search",
    "scipy": "search",
    "sqlalchemy": "search",
    "PIL": "search",
    "pynvml": "search",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "ray": "cluster",
    "streamlit": "dashboard",
    "plotly": "dashboard",
}


def status_of(error: Exception) -> int:
    """The exit status for an exception, after telling it in one line; raises what is a fault of ours.

    2 is bad input or a package that is not installed, 1 a search that cannot go on.
    """
    if type(error).__name__ == "NoArgsIsHelpError":  # no bad input, but a question
        print(error)
        return 2
    usage = getattr(error, "format_message", None)  # click's, of which typer may carry its own copy
    if usage is not None:
        return _tell(" ".join(str(usage()).split()), 2)
    if isinstance(error, InputError):
        return _tell(str(error), 2)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS:
        package = (error.name or "").split(".")[0]
        return _tell(f"{package} is not installed; pip install 'vitscape[{EXTRAS[package]}]'", 2)
    if type(error).__module__.split(".")[0] in ("optuna", "sqlalchemy", "sqlite3"):  # a disk full, a table gone
        cause = error.__cause__ or error
        line = str(getattr(cause, "orig", None) or cause).strip().splitlines()[:1]  # the driver's words, not the SQL
        return _tell(f"the storage cannot be used any more: {line[0] if line else type(cause).__name__}", 1)
    if type(error).__name__ == "SearchStopped":  # defined beside torch, which is not loaded for its sake
        return _tell(str(error), 1)
    raise error


def _tell(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
