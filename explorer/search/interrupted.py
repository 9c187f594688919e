"""What an interruption leaves of a study's trials: closed, and their choices enqueued again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState

from explorer.frame import trial_record
from explorer.limits import Limits
from explorer.record import TrialRecord
from explorer.search.pareto.history import PLAN
from explorer.search.study import ORIGIN, close_trial, records, waiting
from explorer.storage import ATTRIBUTE
from search_spaces.space import SearchSpace

MOST_RETRIES = 3


def close_interrupted(study: optuna.Study, space: SearchSpace, objectives: tuple[str, ...], limits: Limits) -> None:
    """Close the trials that a killed process left running, and enqueue again what they tried."""
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        trial = _unplanned(study, frozen)
        record = trial_record(frozen)
        if record is None or record.status == "interrupted":
            retry(study, trial, space, frozen)
            continue
        # evaluated or answered, and killed before its values were told
        first = None if record.duplicate_of is None else records(study).get(record.duplicate_of)
        close_trial(study, trial, record, objectives, limits, stored=True, first=first)


def _unplanned(study: optuna.Study, frozen: FrozenTrial) -> Trial:
    """A trial to be closed, made without the study's sampler: that would plan it anew."""
    sampler, study.sampler = study.sampler, RandomSampler()
    try:
        return Trial(study, frozen._trial_id)
    finally:
        study.sampler = sampler


def retry(study: optuna.Study, trial: Trial, space: SearchSpace, frozen: FrozenTrial) -> None:
    """Enqueue an interrupted trial's architecture again, unless that has failed too often, and close the trial."""
    meant = Meant.of(frozen)
    try:
        architecture = space.suggest(meant)  # type: ignore[arg-type]
    except ValueError:  # killed while the sampler chose: nothing was evaluated, nothing is lost
        study.tell(trial, state=TrialState.FAIL)
        return
    origin = frozen.user_attrs.get(ORIGIN, {})
    retries = origin.get("retries", 0)
    died = retries >= MOST_RETRIES
    record = TrialRecord(
        id=architecture.id,
        architecture=architecture.canonical.to_dict(),
        status="failed" if died else "interrupted",
        error=f"the process died {retries + 1} times while this trial ran" if died else None,
        preset=origin.get("preset"),
        retry_of=origin.get("retry_of"),
        retries=retries,
    )
    if not died:
        enqueue_again(study, meant.params, origin, frozen.number, retries + 1)
    trial.set_user_attr(ATTRIBUTE, record.model_dump(mode="json"))
    study.tell(trial, state=TrialState.FAIL)


class Meant(FixedTrial):
    """Answers as a trial that was killed has answered, and meant to answer what it was not asked any more.

    What it was enqueued with is not among its parameters before it was asked for it, nor is what its sampler planned.
    """

    def __init__(self, params: dict[str, Any], planned: Mapping[str, float]) -> None:
        super().__init__(params)
        self.planned = planned  # as Optuna stores values

    @classmethod
    def of(cls, frozen: FrozenTrial) -> Meant:
        """Of a trial as the storage has it."""
        attributes = frozen.system_attrs
        return cls({**attributes.get("fixed_params", {}), **frozen.params}, attributes.get(PLAN, {}).get("point", {}))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        planned = self.planned.get(name)
        if name not in self._params and planned is not None and distribution._contains(planned):
            self._params[name] = distribution.to_external_repr(planned)
        return super()._suggest(name, distribution)


def enqueue_again(
    study: optuna.Study, params: dict[str, Any], origin: dict[str, Any], number: int, retries: int
) -> None:
    """Put an interrupted trial's choices back into the queue, unless they are there.

    Before the trial is closed: a kill in between then costs a repeat, which is answered from the record, and no trial.
    """
    if not any(other.user_attrs.get(ORIGIN, {}).get("retry_of") == number for other in waiting(study)):
        again = {"preset": origin.get("preset"), "retry_of": number, "retries": retries}
        study.enqueue_trial(params, user_attrs={ORIGIN: again})
