"""The command line: one verb a function. What a verb needs is imported inside it, so that `--help` is instant."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.last import recall, remember
from explorer.limits import Limits, parse_budget
from explorer.options import (
    BatchSize,
    By,
    Data,
    Device,
    Epochs,
    Hours,
    Json,
    MaxLatency,
    MaxMacs,
    MaxMemory,
    MaxParams,
    Objectives,
    Precision,
    PrecisionName,
    Runtime,
    Sampler,
    Seed,
    StopEpoch,
    Storage,
    Study,
    Threads,
    Trials,
    WithPresets,
    whole_option,
)
from explorer.show import (
    console,
    grouped,
    print_front,
    print_json,
    print_profile,
    print_rows,
    print_trials,
    rows_of,
    short_count,
)
from search_spaces.errors import InputError

app = typer.Typer(
    help="Search, measure and export efficient vision transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def search(
    space: Annotated[str, typer.Argument(help="A shipped space by name, or a YAML or JSON file.")],
    study: Study = None,
    storage: Storage = None,
    trials: Trials = None,
    hours: Hours = None,
    data: Data = "cues",
    device: Device = "auto",
    precision: Precision = PrecisionName.fp32,
    batch_size: BatchSize = 1,
    runtime: Runtime = "eager",
    threads: Threads = 1,
    objectives: Objectives = "accuracy,latency",
    max_latency: MaxLatency = None,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_memory: MaxMemory = None,
    sampler: Sampler = "tpe",
    seed: Seed = 0,
    with_presets: WithPresets = False,
    epochs: Epochs = 12,
    stop_epoch: StopEpoch = None,
) -> None:
    """Evaluate architectures of a space until the budget is spent; the same command continues a study."""
    from pydantic import ValidationError

    from explorer.evaluate import Setup
    from explorer.proxy.train import TrainSettings
    from explorer.search import STORAGE
    from explorer.search import search as run
    from search_spaces.space import load_space

    limits = Limits.parse(latency=max_latency, macs=max_macs, params=max_params, memory=max_memory)
    loaded = load_space(space)
    try:
        settings = TrainSettings(epochs=epochs, stop_epoch=stop_epoch)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-") + "=" + str(first["input"]) + ": " if first["loc"] else ""
        raise InputError(name + first["msg"].removeprefix("Value error, ")) from None
    url = storage or os.environ.get("VITSCAPE_STORAGE") or STORAGE
    name = study or loaded.name
    try:
        found = run(
            loaded,
            study=name,
            storage=url,
            trials=trials if trials is not None or hours is not None else 100,
            hours=hours,
            objectives=tuple(part.strip() for part in objectives.split(",")),
            data=data,
            setup=Setup(device, precision.value, batch_size, runtime, threads),
            settings=settings,
            limits=limits,
            sampler=sampler,
            seed=seed,
            with_presets=with_presets,
        )
    except KeyboardInterrupt:
        remember(name, url)
        print("interrupted: what is finished is kept, the same command continues", file=sys.stderr)
        raise typer.Exit(130) from None
    remember(name, url)
    print_front(found, as_json=False)


@app.command()
def front(study: Study = None, storage: Storage = None, json: Json = False) -> None:
    """The Pareto front of a study: accuracy, latency with its spread, MACs, parameters, architecture."""
    print_front(_load(study, storage), as_json=json)


@app.command()
def trials(study: Study = None, storage: Storage = None, json: Json = False) -> None:
    """Every trial of a study."""
    from explorer import results

    loaded = _load(study, storage)
    frame = results.frame(loaded)
    if json:
        print_json(rows_of(frame))
    else:
        counts = ", ".join(f"{n} {status}" for status, n in frame["status"].value_counts().items())
        print_trials(f"{loaded.study_name}: {counts or 'no trials yet'}", frame)


@app.command()
def profile(
    what: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="A preset by name, an architecture file, or a trial's number.")
    ],
    study: Study = None,
    storage: Storage = None,
    latency: Annotated[bool, typer.Option(help="Build and time the network.")] = True,
    device: Device = "auto",
    precision: Precision = PrecisionName.fp32,
    batch_size: BatchSize = 1,
    runtime: Runtime = "eager",
    threads: Threads = 1,
    by: Annotated[By, typer.Option(help="Rows of the table.")] = By.stage,
    verify: Annotated[bool, typer.Option("--verify", help="Count again on the built network, with fvcore.")] = False,
    json: Json = False,
) -> None:
    """What one architecture costs: MACs by stage or layer, parameters, latency, peak memory."""
    from explorer.profile import profile as measure

    found = measure(
        _architecture(what, study, storage),
        latency=latency,
        device=device,
        precision=precision.value,
        batch_size=batch_size,
        runtime=runtime,
        threads=threads,
        verify=verify,
    )
    if json:
        data = found.model_dump(mode="json", exclude={"layers"})
        rows = grouped(found, by.value)
        data[f"by_{by.value}"] = [{"name": n, "macs": m, "params": p, "activations": a} for n, m, p, a in rows]
        print_json(data)
    else:
        print_profile(found, by.value)


@app.command()
def export(
    study: Study = None,
    storage: Storage = None,
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("pareto"),
    trial: Annotated[int | None, whole_option("One trial, by number.")] = None,
    knee: Annotated[bool, typer.Option("--knee", help="The knee of the front.")] = False,
    best_under: Annotated[
        str | None, typer.Option(help="The best within budgets, such as latency=2ms,macs=1G.")
    ] = None,
    whole_front: Annotated[bool, typer.Option("--front", help="The whole front.")] = False,
    to: Annotated[str, typer.Option(help="Of yaml, json.")] = "yaml",
    json: Json = False,
) -> None:
    """Write architectures of a study as files that rebuild their networks."""
    from explorer.export import export as write

    budgets = None if best_under is None else parse_budget(best_under)
    loaded = _load(study, storage)
    targets = [part.strip() for part in to.split(",")]
    paths = write(loaded, out, trial=trial, knee=knee, best_under=budgets, whole_front=whole_front, to=targets)
    if json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            console().print(str(path), markup=False, soft_wrap=True)


@app.command()
def spaces(json: Json = False) -> None:
    """The search spaces that are shipped, with their exact sizes."""
    from search_spaces.shipped import names
    from search_spaces.space import load_space

    found = [load_space(name) for name in names("spaces")]
    if json:
        print_json([{"name": s.name, "size": s.size, "description": s.description} for s in found])
    else:
        rows = [[s.name, short_count(s.size), s.description] for s in found]
        print_rows("", ["Space", ">Architectures", "What it is"], rows)


@app.command()
def presets(json: Json = False) -> None:
    """The published models that are shipped, with their published accuracy."""
    from search_spaces.cost import cost
    from search_spaces.shipped import names, preset

    rows = []
    for name in names("presets"):
        model, counts = preset(name), cost(preset(name))
        top1 = model.published.top1 if model.published else None
        source = model.published.source if model.published else None
        rows.append(
            {"name": name, "id": model.id, "image_size": model.image_size, "params": counts.params}
            | {"params_folded": counts.params_folded, "macs": counts.macs, "published_top1": top1, "source": source}
        )
    if json:
        print_json(rows)
    else:
        headings = ["Preset", ">Image (px)", ">Parameters", ">MACs", ">Top-1 (%)", "Published in"]
        cells = [
            [r["name"], r["image_size"], f"{r['params']:,}", f"{r['macs']:,}", r["published_top1"], r["source"]]
            for r in rows
        ]
        print_rows("", headings, [[str(cell) for cell in row] for row in cells])


@app.command()
def count(
    what: Annotated[str, typer.Argument(metavar="SPACE", help="A space, a preset, or a file of either.")],
    samples: Annotated[int, whole_option("Random architectures of which the spread is told.")] = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """How many architectures a space has, exactly, and how MACs and parameters spread over it; closed form."""
    import random
    from statistics import quantiles

    from search_spaces.cost import cost
    from search_spaces.space import load_space

    if not 1 <= samples <= 100_000:
        raise InputError(f"samples={samples}: give 1 to 100000")
    space, rng = load_space(what), random.Random(seed)
    drawn = [cost(space.sample(rng)) for _ in range(1 if space.size == 1 else samples)]
    spread = {}
    for name in ("macs", "params", "activations"):
        values = sorted(getattr(found, name) for found in drawn)
        cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
        spread[name] = {"min": values[0], "p5": cuts[0], "median": cuts[9], "p95": cuts[18], "max": values[-1]}
    if json:
        print_json({"name": space.name, "size": space.size, "samples": len(drawn), "seed": seed, **spread})
        return
    if space.size == 1:
        totals = [[name, f"{row['median']:,.0f}"] for name, row in spread.items()]
        print_rows(f"{space.name}: one architecture", ["", ">one image"], totals)
        return
    rows = [[name, *(f"{value:,.0f}" for value in row.values())] for name, row in spread.items()]
    title = f"{space.name}: {short_count(space.size)} architectures"
    print_rows(
        title, ["", ">least", ">5 %", ">median", ">95 %", ">most"], rows, [f"of {len(drawn)} samples, seed {seed}"]
    )


def _load(study: str | None, storage: str | None) -> Any:
    import optuna

    from explorer.storage import load_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, url = recall(study, storage)
    loaded = load_study(name, url)
    remember(loaded.study_name, url)
    return loaded


def _architecture(what: str, study: str | None, storage: str | None) -> Any:
    if not (what.isascii() and what.isdecimal()):
        return what
    from explorer import results
    from search_spaces.architecture import Architecture

    frame = results.frame(_load(study, storage))
    row = results.find_trial(frame, int(what))
    if row is None:
        raise InputError(f"trial={what}: the study has {len(frame)} trials, none such with a record")
    return Architecture.from_dict(row["architecture"], f"trial {what}").model_copy(update={"name": f"trial {what}"})


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
