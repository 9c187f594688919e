"""A zero-cost score as one more reason not to train a candidate, beside the search's other rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from explorer.record import Evaluation, TrialRecord
from explorer.scores.screen import Screen
from explorer.search.stopping import Decision, Rule, audited
from search_spaces.architecture import Architecture


@dataclass
class Screened:
    """Does not train what scores among the lowest 30 % of the candidates of like MACs; else the first rule decides.

    The score is in the evaluation, which whoever trains puts it into; where it is missing, nothing could be told. One
    architecture in twenty is never screened, so that what the score is worth stays to be seen.
    """

    score: str
    first: Rule | None = None
    screen: Screen = field(default_factory=Screen)

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        if not so_far.accuracy_by_epoch and not audited(architecture):
            scored = so_far.scores.get(self.score, -math.inf)
            if self.screen.hopeless(so_far.macs, scored):
                share = f"{100 * self.screen.rank(so_far.macs, scored):.0f} %"
                reason = f"not trained: {self.score} {scored:.4g}, {share} of the candidates of like MACs score as low"
                return Decision(False, reason=reason)
        return Decision() if self.first is None else self.first.decide(number, architecture, so_far)

    def learn(self, number: int, record: TrialRecord) -> None:
        if record.status in ("complete", "stopped") and record.evaluation is not None:
            found = record.evaluation
            self.screen.see(number, found.macs, found.scores.get(self.score, -math.inf))
        if self.first is not None:
            self.first.learn(number, record)
