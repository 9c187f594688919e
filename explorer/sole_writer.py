"""An Optuna storage that is read from memory: for the one process that searches a study, and so writes its trials.

Optuna's own cache reads every trial under way from the database again at each call: with 64 of them that took most of
a second for each proposal. Here what is written is kept as well, and what was written is not read again. Trials that
others add, such as `optuna.study.enqueue_trial` from a notebook, are seen within seconds.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage, _CachedStorage
from optuna.trial import FrozenTrial, TrialState

LOOK_SECONDS = 2.0  # between two looks for trials that others have added


class SoleWriter(_CachedStorage):
    """The storage behind it, whose trials only this process changes."""

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._looked: dict[int, tuple[float, int]] = {}  # study -> time of the clock, largest id seen by then

    def forget(self) -> None:
        """Reads at the next call again what may have changed: all that was not finished, and what is newer."""
        self._looked.clear()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        trial = self._known(trial_id)
        value = distribution.to_external_repr(param_value_internal)
        self._keep(
            trial_id,
            params={**trial.params, param_name: value},
            distributions={**trial.distributions, param_name: distribution},
        )

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        try:
            done = super().set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:  # somebody else did
            self._put(self._backend.get_trial(trial_id))
            raise
        if state.is_finished() or not done:
            self._put(self._backend.get_trial(trial_id))  # with its times
        else:
            self._keep(trial_id, state=state, datetime_start=datetime.now() if state == TrialState.RUNNING else None)
        return done

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._keep(
            trial_id, intermediate_values={**self._known(trial_id).intermediate_values, step: intermediate_value}
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        self._keep(trial_id, user_attrs={**self._known(trial_id).user_attrs, key: value})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        self._keep(trial_id, system_attrs={**self._known(trial_id).system_attrs, key: value})

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if trial_id not in self._trial_id_to_study_id_and_number:
            return self._backend.get_trial(trial_id)
        trial = self._known(trial_id)
        # optuna.Trial notes its changes in what it is given here, too
        return trial if trial.state.is_finished() else copy.deepcopy(trial)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        """Reads all trials once, and from then on, now and then, those that others have added."""
        now = time.monotonic()
        looked, last = self._looked.get(study_id, (-LOOK_SECONDS, -1))
        if now - looked < LOOK_SECONDS:
            return
        if study_id not in self._looked:
            super()._read_trials_from_remote_storage(study_id)
            last = max((trial._trial_id for trial in self._studies[study_id].trials.values()), default=-1)
        else:
            newer = self._backend._get_trials(study_id, None, set(), last)
            last = max((trial._trial_id for trial in newer), default=last)
            with self._lock:  # our own are better known here
                added = [trial for trial in newer if trial._trial_id not in self._trial_id_to_study_id_and_number]
                self._add_trials_to_cache(study_id, added)
        self._looked[study_id] = now, last

    def _known(self, trial_id: int) -> FrozenTrial:
        study_id, number = self._trial_id_to_study_id_and_number[trial_id]
        return self._studies[study_id].trials[number]

    def _keep(self, trial_id: int, **changes: Any) -> None:
        """Puts a changed copy in a trial's place: whoever was given it before has it as it was."""
        trial = copy.copy(self._known(trial_id))
        for name, value in changes.items():
            setattr(trial, name, value)
        self._put(trial)

    def _put(self, trial: FrozenTrial) -> None:
        study_id, _ = self._trial_id_to_study_id_and_number[trial._trial_id]
        with self._lock:
            self._add_trials_to_cache(study_id, [trial])


def read_anew(study: optuna.Study) -> None:
    """Lets a study's trials be read again, where they are read from memory."""
    if isinstance(study._storage, SoleWriter):
        study._storage.forget()
