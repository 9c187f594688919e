"""Limits on an architecture's cost, as words on the command line and as Optuna constraints."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import Field, ValidationError

from explorer.metrics import METRICS, Metric, metric
from explorer.record import Evaluation, Record
from search_spaces.cost import Cost
from search_spaces.errors import InputError

UNITS: dict[str, dict[str, float]] = {  # unit -> factor to the stored unit
    "latency": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "": 1.0},
    "macs": {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    "params": {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9},
    "memory": {"": 1.0, "MB": 1e6 / 2**20, "MiB": 1.0, "GB": 1e9 / 2**20, "GiB": 1024.0},
    "accuracy": {"": 1.0, "%": 1.0},
}
EXAMPLES = {"latency": "2ms", "macs": "1G", "params": "5M", "memory": "64MiB", "accuracy": "70%"}


class LimitError(InputError):
    """A limit or budget that cannot be understood; one line."""


class Limits(Record):
    """The most that an architecture may cost; None where there is no limit."""

    macs: float | None = Field(None, gt=0)  # multiply-adds
    params: float | None = Field(None, gt=0)
    latency: float | None = Field(None, gt=0)  # ms
    memory: float | None = Field(None, gt=0)  # MiB

    @classmethod
    def parse(cls, **words: str | float | None) -> Limits:
        """Limits from words such as latency="2ms", macs="1G"; numbers are in stored units.

        Raises:
            LimitError: not a quantity of that kind, or not above 0.
        """
        if unknown := words.keys() - cls.model_fields.keys():
            raise LimitError(f"{', '.join(sorted(unknown))}: no limit; there are {', '.join(cls.model_fields)}")
        values = {name: quantity(name, word) for name, word in words.items() if word is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise LimitError(f"max-{name}={words[name]}: a limit must be above 0, such as {EXAMPLES[name]}") from None

    def given(self) -> dict[str, float]:
        """The limits there are, by metric."""
        return {name: value for name, value in self if value is not None}

    def exceeded(self, evaluation: Evaluation | Cost) -> str | None:
        """The first limit exceeded, in words: "macs 5.11 M > 4.00 M"; None if none known to be."""
        for name, limit in self.given().items():
            value = _value(METRICS[name], evaluation)
            if value is not None and value > limit:
                return f"{name} {METRICS[name].text(value)} > {METRICS[name].text(limit)}"
        return None

    def constraints(self, evaluation: Evaluation | None) -> dict[str, float]:
        """The relative excess over each limit, feasible where <= 0; 0 where the value is not known."""
        found = {}
        for name, limit in self.given().items():
            value = None if evaluation is None else METRICS[name].read(evaluation)
            found[name] = 0.0 if value is None else value / limit - 1
        return found


def _value(metric: Metric, evaluation: Evaluation | Cost) -> float | None:
    if isinstance(evaluation, Evaluation):
        return metric.read(evaluation)
    return {"macs": evaluation.macs, "params": evaluation.params}.get(metric.name)


def quantity(name: str, word: str | float) -> float:
    """The number in stored units that a word such as "2ms", "1.5G" or "64MiB" says.

    >>> quantity("macs", "1.5G")
    1500000000.0
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*([A-Za-zµ%]*)\s*", str(word))
    base = name.partition("@")[0]  # every latency is a latency
    units = UNITS[base]
    if match is None or (match[2].lower() not in {unit.lower() for unit in units}):
        known = ", ".join(unit for unit in units if unit)
        raise LimitError(
            f"{name}={word}: not a quantity; write a number and a unit ({known}), such as {EXAMPLES[base]}"
        )
    factor = next(factor for unit, factor in units.items() if unit.lower() == match[2].lower())
    value = float(match[1]) * factor
    if math.isinf(value):
        raise LimitError(f"{name}={word}: too large; leave the limit out, or give one such as {EXAMPLES[base]}")
    return value


def parse_budget(text: str) -> dict[str, float]:
    """{"latency": 2.0} of "latency=2ms"; several are separated by commas.

    >>> parse_budget("latency@cuda_graph/b32=2ms, macs=1G")
    {'latency@cuda_graph/b32': 2.0, 'macs': 1000000000.0}

    Raises:
        InputError: no such metric, or no quantity of that kind.
    """
    budgets: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, word = part.partition("=")
        if not equals or name.strip().partition("@")[0] not in UNITS:
            raise LimitError(
                f"budget {part!r}: write METRIC=QUANTITY, such as latency=2ms; metrics: {', '.join(UNITS)}"
            )
        budgets[metric(name.strip()).name] = quantity(name.strip(), word)
    return budgets
