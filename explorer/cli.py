"""The command line `vitscape`: its verbs, and what becomes of what they raise."""

from __future__ import annotations

import io
import os
import sys

import typer

from explorer.verbs.bench import bench
from explorer.verbs.calibrate import calibrate
from explorer.verbs.cost import profile
from explorer.verbs.dashboard import dashboard, report
from explorer.verbs.explain import explain
from explorer.verbs.export import export
from explorer.verbs.import_weights import import_weights
from explorer.verbs.measure import attach, measure
from explorer.verbs.predict import predict
from explorer.verbs.results import front, trials
from explorer.verbs.search import search
from explorer.verbs.shipped import count, presets, spaces
from explorer.verbs.status import status
from explorer.verbs.train import train

app = typer.Typer(
    help="Search, measure and export efficient vision transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS = (
    search,
    status,
    front,
    trials,
    dashboard,
    report,
    profile,
    explain,
    measure,
    attach,
    bench,
    predict,
    calibrate,
    train,
    export,
    import_weights,
    spaces,
    presets,
    count,
)
for verb in VERBS:
    app.command()(verb)


def main() -> None:
    """Run the command line: exit status 2 and one line for bad input, 130 when interrupted."""
    from explorer.failure import status_of

    # before torch is loaded: threads that spin for long make a shared machine several times slower (docs/log.md)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a sign shows a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        result = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        sys.exit(status_of(error))
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
