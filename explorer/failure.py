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
    "pyarrow": "search",
    "pynvml": "search",
    "safetensors": "search",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "ray": "cluster",
    "streamlit": "dashboard",
    "plotly": "dashboard",
}
# some are defined beside torch, which is not loaded for their sake
STOPPED = ("SearchStopped", "CalibrationStopped", "NetworkRefused", "ExportFailed")
NO_MEMORY = (  # in the words of CUDA and MPS, of a CPU, of cuBLAS and cuDNN, of ONNX Runtime
    "out of memory",
    "can't allocate memory",
    "ALLOC_FAILED",
    "Failed to allocate memory",
)


def status_of(error: Exception) -> int:
    """The exit status for an exception, after telling it in one line; raises what is a fault of ours.

    2 is bad input or a package that is not installed; 1 a search that cannot go on, its storage or its cluster being
    gone, a network that a runtime cannot run, or no memory.
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
    if type(error).__module__.split(".")[0] == "ray":  # its head is gone; a worker's death never comes here
        told = " ".join(str(error).split())[:200]
        return _tell(f"the Ray cluster cannot be used any more ({told}); the same command continues on another", 1)
    if type(error).__name__ in STOPPED:
        return _tell(str(error), 1)
    if out_of_memory(error):
        told = (str(error).strip() or "there is no room").splitlines()[0]
        return _tell(f"out of memory: {told}; a smaller batch or image takes less", 1)
    raise error


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that something had no room in the memory of a device or of this machine."""
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return told or isinstance(error, MemoryError)


def _tell(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
