"""Writes the Pareto front of a study as a picture: SVG, PNG or PDF, or HTML that opens offline.

python -m dashboard.picture --storage runs/tiny.db --study tiny_32 --out docs/front.svg
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, WIDTH
from dashboard.figures import pareto_front
from explorer.metrics import MetricError
from explorer.results import frame
from explorer.storage import StorageError, load_study, study_data, study_objectives, study_record

FORMATS = (".svg", ".png", ".pdf", ".html")
OFFLINE = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": ""}  # a picture shares itself with nobody


class PictureError(ValueError):
    """A picture that cannot be written; one line."""


def write_picture(figure: go.Figure, out: Path) -> None:
    """Writes the figure in the format of the file's ending; its folder is made where missing."""
    if out.suffix not in FORMATS:
        raise PictureError(f"cannot write {out.name!r}: the ending is one of {' '.join(FORMATS)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".html":
            figure.write_html(out, include_plotlyjs=True, config=OFFLINE)
        else:
            out.write_bytes(_drawn(figure, out.suffix[1:]))
    except OSError as error:
        raise PictureError(f"cannot write {out}: {error.strerror or error}") from None


def _drawn(figure: go.Figure, kind: str) -> bytes:
    """The figure drawn by a headless Chromium; a PNG with two pixels a point."""
    try:
        import kaleido
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError:
        raise PictureError(f"{kind} needs kaleido: pip install 'vitscape[picture]'; html needs nothing") from None
    size = {"width": figure.layout.width or WIDTH, "height": figure.layout.height or HEIGHT}
    logging.getLogger("choreographer").setLevel(logging.ERROR)  # the error says what its warnings say
    try:  # mathjax off: kaleido would fetch it from the internet
        drawn: bytes = kaleido.calc_fig_sync(
            figure, opts={"format": kind, "scale": 2 if kind == "png" else 1, **size}, kopts={"mathjax": False}
        )
    except ChromeNotFoundError:
        hint = "install it (Debian: apt-get install chromium) or set BROWSER_PATH; html needs nothing"
        raise PictureError(f"{kind} needs Chromium or Chrome: {hint}") from None
    except (BrowserClosedError, BrowserFailedError):
        raise PictureError(f"{kind}: the browser did not start; set BROWSER_PATH to a Chromium or Chrome") from None
    return drawn


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.picture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--storage", required=True, help="Optuna storage: a SQLite file or a URL")
    parser.add_argument("--study", help="name; may be left out where the storage has one study")
    parser.add_argument("--out", required=True, type=Path, help="file to write: .svg, .png, .pdf or .html")
    parser.add_argument("--objectives", help="two of the metrics, such as accuracy,macs; default: the study's")
    parser.add_argument("--title")
    parser.add_argument("--dark", action="store_true", help="for dark pages")
    parser.add_argument("--width", type=int, default=WIDTH, help="pixels")
    parser.add_argument("--height", type=int, default=HEIGHT, help="pixels")
    given = parser.parse_args(arguments)
    try:
        study = load_study(given.study, given.storage)
        objectives = given.objectives.split(",") if given.objectives else study_objectives(study)[:2]
        trained = study_data(study) if "accuracy" in objectives else ""
        figure = pareto_front(
            frame(study),
            objectives,
            data=" · ".join(part for part in (study_record(study)["space_name"], trained) if part),
            title=given.title,
            theme="dark" if given.dark else "light",
            width=given.width,
            height=given.height,
        )
        write_picture(figure, given.out)
    except (StorageError, MetricError, PictureError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
