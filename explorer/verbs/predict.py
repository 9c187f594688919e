"""Latency of architectures that were not measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.options import Json, Seed, Storage, Study, whole_option
from explorer.show import print_json, print_rows
from explorer.verbs.of_study import architecture_of, load
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.profile.predict import LatencyPredictor
    from search_spaces.architecture import Architecture

MOST_SAMPLES = 100_000


def predict(
    architectures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARCHITECTURE...]", help="Presets by name, architecture files, numbers of trials."),
    ] = None,
    study: Study = None,
    storage: Storage = None,
    latency: Annotated[str, typer.Option(help="Which of the study's: latency, or latency@RUNTIME/bBATCH.")] = "latency",
    sample: Annotated[int, whole_option("Random architectures of the study's space to rank.")] = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Predict latencies from those that a study has measured, and tell how far the predictions can be trusted."""
    from explorer import results
    from explorer.profile.predict import from_frame
    from explorer.storage import study_record

    if not 0 <= sample <= MOST_SAMPLES:
        raise InputError(f"sample={sample}: give 0 to {MOST_SAMPLES}")
    loaded = load(study, storage)
    given = [_read(text, study, storage) for text in architectures or ()]
    drawn = _draw(study_record(loaded)["space"], sample, seed) if sample else []
    frame = results.frame(loaded)
    predictor = from_frame(frame, latency)
    rows = _rows(given, predictor, ranked=False) + _rows(drawn, predictor, ranked=True)
    title = f"{loaded.study_name}, {latency}: {results.conditions(frame, latency)}"
    validation = predictor.validation
    if json:
        print_json(
            {"conditions": title, "validation": asdict(validation) | {"poor": validation.poor}} | {"predictions": rows}
        )
    else:
        _print(title, rows, validation.text())


def _read(text: str, study: str | None, storage: str | None) -> Architecture:
    from search_spaces.architecture import Architecture
    from search_spaces.shipped import find

    found = architecture_of(text, study, storage)
    if isinstance(found, Architecture):
        return found
    read = Architecture.load(find(found, "presets"))
    return read if read.name else read.model_copy(update={"name": text})


def _draw(space: dict[str, Any], number: int, seed: int) -> list[Architecture]:
    import random

    from search_spaces.document import Document
    from search_spaces.space import SearchSpace

    rng, parsed = random.Random(seed), SearchSpace(Document("the study's space", space))
    drawn = {found.id: found for found in (parsed.sample(rng) for _ in range(number))}
    return list(drawn.values())


def _rows(architectures: list[Architecture], predictor: LatencyPredictor, ranked: bool) -> list[dict[str, Any]]:
    """One row an architecture; where `ranked`, the fastest first and those outside the domain last, without a rank."""
    from explorer.results import what

    found = predictor.predict(architectures)
    order = list(range(len(architectures)))
    if ranked:
        order.sort(key=lambda i: (not found.in_domain[i], found.median_ms[i]))
    return [
        {
            "name": architectures[i].name,
            "id": architectures[i].id,
            "rank": place if ranked and found.in_domain[i] else None,
            "median_ms": float(found.median_ms[i]),
            "lo_ms": float(found.lo_ms[i]),
            "hi_ms": float(found.hi_ms[i]),
            "in_domain": bool(found.in_domain[i]),
            "why": found.why[i],
            "what": what(architectures[i].canonical.to_dict()),
            "architecture": architectures[i].canonical.to_dict(),
        }
        for place, i in enumerate(order, 1)
    ]


def _print(title: str, rows: list[dict[str, Any]], report: str) -> None:
    cells = [
        [
            "" if row["rank"] is None else str(row["rank"]),
            f"{row['median_ms']:.3g}" if row["in_domain"] else "?",
            f"{row['lo_ms']:.3g} to {row['hi_ms']:.3g}" if row["in_domain"] else "",
            (f"{row['name']}: " if row["name"] else "") + row["what"],
            "" if row["in_domain"] else f"outside the domain: {row['why']}",
        ]
        for row in rows
    ]
    print_rows(title, [">Rank", ">Predicted, ms", ">95 % interval, ms", "Architecture", "Note"], cells, [report])
