"""Three budgets to judge a front by, and the best architecture under each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from explorer import results
from explorer.metrics import Metric

SHARES = (0.25, 0.5, 0.75)  # of the front's members


class Best(NamedTuple):
    """The best architecture under a budget (in the cost's stored unit) that `share` of the front's members keep to."""

    share: float
    budget: float
    row: pd.Series[Any]


def goal_and_cost(frame: pd.DataFrame, objectives: Sequence[str]) -> tuple[Metric, Metric]:
    """What is to be best and what is to be paid: the first objective to maximize, and the first other to minimize.

    Where a study has only one, MACs, which every trial has, are the cost; of costs alone the second is paid.
    """
    rows = results.metrics_of(frame, objectives)
    goal = next((row for row in rows if row.maximize), rows[0])
    others = [row for row in rows if row.name != goal.name and not row.maximize]
    (macs,) = results.metrics_of(frame, ["macs"])
    return goal, others[0] if others else macs


def three_budgets(frame: pd.DataFrame, objectives: Sequence[str]) -> list[Best]:
    """The best under the quartiles of the front's costs; a budget that is another's is left out.

    A budget is the cost of a member: the cheapest one such that a quarter, a half, three quarters of the members cost
    no more.
    """
    goal, cost = goal_and_cost(frame, objectives)
    if goal.name == cost.name:
        row = results.best_under(frame, goal.name)
        return [] if row is None else [Best(1.0, float(row[cost.column]), row)]
    costs = results.front(frame, [goal.name, cost.name])[cost.column].to_numpy(dtype=float)
    found: list[Best] = []
    for share in SHARES if len(costs) else ():
        budget = float(np.quantile(costs, share, method="inverted_cdf"))
        row = results.best_under(frame, goal.name, **{cost.name: budget})
        if row is not None and all(budget != one.budget for one in found):
            found.append(Best(share, budget, row))
    return found
