"""Which choices of an architecture an objective depends on, by a random forest and what it loses without each choice.

Permutation importance (Breiman 2001) on trials that the forest has not seen. A space is conditional: a window size is
there only where the mixer is a window. So a choice is permuted among the trials that have it, within one kind of mixer,
and a kind of mixer is permuted together with the choices it brings: no mixer is asked about with a choice that it has
not. Other combinations that the space rules out, such as heads that do not divide a width, are still asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer import results, structure
from explorer.metrics import Metric
from search_spaces.errors import InputError

FEWEST, MOST = 30, 2000  # trials: below, nothing is said; above, a sample is taken
REFITS = 5  # each on another three quarters of the trials
PERMUTATIONS = 2
TREES = 50
OF_MIXER = ("window", "shift", "heads", "kernel", "partial", "qk_dim")  # choices that a kind of mixer brings
SUMS = ("stem", "depth")  # columns that follow from others
MISSING = -1.0  # below every number that a choice has


class ImportanceError(InputError):
    """Importance cannot be computed; one line that says the next step."""


@dataclass(frozen=True)
class Importance:
    """What each choice is worth to an objective's prediction.

    The table has, by falling importance: column, choice (in words), importance (how much of the held-out R² is lost
    when the choice is permuted: mean over the refits), low and high (least and most of the refits), values (how many
    the choice takes), trials (that have it).
    """

    objective: str
    table: pd.DataFrame
    r2: tuple[float, float, float]  # of the held-out trials: least, mean, most of the refits
    trials: int  # used
    of: int  # there were
    deviation: pd.Series[Any]  # standard deviation of the importance over the refits, by column


def importance(frame: pd.DataFrame, objective: str, seed: int = 0) -> Importance:
    """Importance of the structure's columns for an objective; costs by their logarithm. Deterministic.

    Trials whose number of stages is not known, having no architecture that can be read, are left out.

    Raises:
        ImportanceError: fewer than 30 complete trials, nothing that varies, or no scikit-learn.
    """
    (metric,) = results.metrics_of(frame, [objective])
    rows = results.candidates(frame, [objective])
    if "stage_count" in rows:
        rows = rows[rows["stage_count"].notna()]
    total = len(rows)
    if total < FEWEST:
        raise ImportanceError(
            f"Importance needs at least {FEWEST} complete trials with {metric.label}; there are {total}:"
            " let the search run on"
        )
    rng = np.random.default_rng(seed)
    if total > MOST:
        rows = rows.iloc[np.sort(rng.choice(total, MOST, replace=False))]
    target = _target(rows, metric)
    columns = [c for c in structure.splits(rows) if c not in SUMS]
    if not columns or np.ptp(target) == 0:
        raise ImportanceError(f"{metric.label} has one value, or all trials one structure: nothing to explain yet")
    if find_spec("sklearn") is None:
        raise ImportanceError("Importance needs scikit-learn: pip install 'vitscape[search]'")
    codes = pd.DataFrame({column: _coded(rows[column]) for column in columns})
    columns, alike = _without_twins(codes)
    losses, r2 = _losses(rows, codes, columns, target, rng)
    table = pd.DataFrame(
        {
            "column": columns,
            "choice": [_in_words(column, alike) for column in columns],
            "importance": losses.mean(axis=0),
            "low": losses.min(axis=0),
            "high": losses.max(axis=0),
            "values": [int(codes.loc[codes[c] != MISSING, c].nunique()) for c in columns],
            "trials": [int((codes[c] != MISSING).sum()) for c in columns],
        }
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    spread = pd.Series(losses.std(axis=0, ddof=1), index=columns, name="deviation")
    return Importance(objective, table, (float(r2.min()), float(r2.mean()), float(r2.max())), len(rows), total, spread)


def _target(rows: pd.DataFrame, metric: Metric) -> NDArray[np.float64]:
    values = np.asarray(rows[metric.column].astype("float64"), dtype=np.float64)
    return values if metric.maximize or values.min() <= 0 else np.log(values)


def _coded(values: pd.Series[Any]) -> NDArray[np.float64]:
    """A column as numbers: its own, or the place of its category; MISSING where a network has not the choice."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return np.asarray(values.cat.codes, dtype=np.float64)  # -1 where missing
    return np.asarray(values.astype("Float64").fillna(MISSING), dtype=np.float64)


def _without_twins(codes: pd.DataFrame) -> tuple[list[str], dict[str, list[str]]]:
    """The columns, of those that always change together the first alone; and its twins."""
    seen: dict[bytes, str] = {}
    alike: dict[str, list[str]] = {}
    for column in codes.columns:
        same = pd.factorize(codes[column])[0].astype(np.int32).tobytes()
        first = seen.setdefault(same, column)
        if first != column:
            alike.setdefault(first, []).append(column)
    return list(seen.values()), alike


def _in_words(column: str, alike: dict[str, list[str]]) -> str:
    twins = [structure.label(twin) for twin in alike.get(column, [])]
    more = f" (and {len(twins) - 2} more)" if len(twins) > 2 else ""
    return structure.label(column) + (f" = {', '.join(twins[:2])}{more}" if twins else "")


def _losses(
    rows: pd.DataFrame,
    codes: pd.DataFrame,
    columns: Sequence[str],
    target: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(refits, columns): what is lost of R² without each; and R² of each refit, on its held-out trials."""
    from sklearn.ensemble import ExtraTreesRegressor

    inputs, owners = _inputs(rows, codes, columns)
    blocks = [np.isin(owners, _block(column, codes)) for column in columns]
    losses, r2 = np.zeros((REFITS, len(columns))), np.zeros(REFITS)
    for refit in range(REFITS):
        order = rng.permutation(len(rows))
        held_out, seen = np.split(order, [max(len(rows) // 4, 8)])
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=refit)
        forest.fit(inputs[seen], target[seen])
        truth, known = target[held_out], inputs[held_out]
        variance = float(truth.var()) or 1.0
        kinds = codes.iloc[held_out]
        error = float(((forest.predict(known) - truth) ** 2).mean())
        r2[refit] = 1 - error / variance
        for i, column in enumerate(columns):
            swapped = [_permuted(known, kinds, column, blocks[i], rng) for _ in range(PERMUTATIONS)]
            wrong = forest.predict(np.concatenate(swapped)) - np.tile(truth, PERMUTATIONS)
            losses[refit, i] = (float((wrong**2).mean()) - error) / variance
    return losses, r2


def _inputs(
    rows: pd.DataFrame, codes: pd.DataFrame, columns: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """What the forest sees, (trials, inputs), and the column that each input is of: categories one input a value."""
    parts, owners = [], []
    for column in columns:
        code = codes[column].to_numpy()
        if isinstance(rows[column].dtype, pd.CategoricalDtype):
            values = np.unique(code[code != MISSING])
            parts.append((code[:, None] == values).astype(np.float32))
        else:
            parts.append(code[:, None].astype(np.float32))
        owners += [column] * parts[-1].shape[1]
    return np.concatenate(parts, axis=1), np.array(owners)


def _block(column: str, codes: pd.DataFrame) -> list[str]:
    """The columns that are permuted as one: with a kind of mixer its own choices, with the number of stages those of
    the stages that not every network has."""
    name, _, stage = column.partition("@")
    if name == "mixer":
        return [column, *(f"{own}@{stage}" for own in OF_MIXER)]
    if name == "stage_count":
        fewest = codes[column].min()
        return [column, *(c for c in codes.columns if "@" in c and int(c.partition("@")[2]) > fewest)]
    return [column]


def _permuted(
    inputs: NDArray[np.float32],
    codes: pd.DataFrame,
    column: str,
    block: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The inputs with a column's block permuted: among those that have the choice, within one kind of mixer."""
    found = inputs.copy()
    group = np.where(codes[column].to_numpy() == MISSING, -2, 0)
    name, _, stage = column.partition("@")
    if name in OF_MIXER and f"mixer@{stage}" in codes:
        group = np.where(group < 0, group, codes[f"mixer@{stage}"].to_numpy())
    for value in np.unique(group[group > -2]):
        members = np.flatnonzero(group == value)
        found[np.ix_(members, block)] = inputs[np.ix_(rng.permutation(members), block)]
    return found
