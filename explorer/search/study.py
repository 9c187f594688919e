"""The Optuna study of a search: opened, compared with what was asked, and its trials closed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from explorer.fidelity import asked_alike
from explorer.frame import trial_record
from explorer.limits import Limits
from explorer.metrics import metric, metrics
from explorer.record import TrialRecord
from explorer.search.attempt import Work
from explorer.search.interrupts import end_transactions
from explorer.search.place import Place
from explorer.sole_writer import SoleWriter
from explorer.storage import ATTRIBUTE, STUDY_FORMAT, StorageError, open_storage, storage_errors
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

ORIGIN = "vitscape_origin"  # user attribute of an enqueued trial: {"preset": name} or {"retry_of": n, "retries": k}
EXPECTED = "expected_values"  # user attribute of a stopped trial: its objectives, as far as known and else expected
RULES = ("stopping", "gating", "screen")  # of a plan's record: what is not trained, or not to the end


class StudyMismatch(InputError):
    """A study that was made under other conditions than those asked for; one line naming the difference."""


@dataclass(frozen=True)
class Plan:
    """What a search is: everything that must not change while its study grows."""

    space: SearchSpace
    work: Work
    data_fingerprint: str | None  # None where nothing is trained
    place: Place
    stopping: str = "none"  # the rule that ends trainings
    gating: bool = False  # whether it also says which are begun

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.work.objectives

    def record(self) -> dict[str, Any]:
        """The plan as the study keeps it: plain data."""
        setup = self.work.setup
        return {
            "format": STUDY_FORMAT,
            "space_name": self.space.name,
            "space": self.space.data,
            "objectives": list(self.objectives),
            "data": {"source": self.work.data, "fingerprint": self.data_fingerprint},
            "proxy": {**self.work.settings.model_dump(), "precision": self.place.training_precision},
            "conditions": {
                "precision": setup.precision,
                "runtimes": list(setup.runtimes),
                "batch_sizes": list(setup.batch_sizes),
                "protocol": self.place.protocol,
                "device": self.place.device,
                "device_name": self.place.device_name,
                "threads": setup.threads if self.place.device == "cpu" else None,
                "torch": self.place.torch,
                "libraries": self.place.libraries,
            },
            "limits": self.work.limits.model_dump(),
            "seed": self.work.seed,
            "stopping": self.stopping,
            "gating": self.gating,
            "screen": self.work.screen,
        }


def open_study(name: str, url: str, plan: Plan, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """The study of this name in a storage, made where it is missing.

    Raises:
        StorageError: the storage cannot be used, or holds another kind of study under this name.
        StudyMismatch: the study was made by another plan.
    """
    opened = open_storage(url, must_exist=False)
    end_transactions(opened.engine)
    storage = SoleWriter(opened)
    with storage_errors(url):
        directions = [row.direction for row in metrics(plan.objectives)]
        known = name in optuna.get_all_study_names(storage)
        if not known:
            study = optuna.create_study(study_name=name, storage=storage, directions=directions, sampler=sampler)
            study.set_user_attr(ATTRIBUTE, plan.record())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([row.quantity for row in metrics(plan.objectives)])
            return study
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        stored = study.user_attrs.get(ATTRIBUTE)
        if stored is None and study.get_trials(deepcopy=False):
            raise StorageError(f"study {name!r} was not made by vitscape search; choose another name with --study")
        if stored is None:  # killed between the two writes that make a study
            if [direction.name.lower() for direction in study.directions] != directions:
                raise StorageError(
                    f"study {name!r} has other directions than {', '.join(plan.objectives)}: name another"
                )
            study.set_user_attr(ATTRIBUTE, plan.record())
        else:
            refuse_difference(name, stored, plan.record())
        return study


def is_before_rules(study: optuna.Study) -> bool:
    """Whether a study was made before there were rules that end trainings."""
    return "stopping" not in study.user_attrs[ATTRIBUTE]


def keep_rules(study: optuna.Study, plan: Plan) -> None:
    """Write the rules that a study goes on by into its record, where it was made before there were such."""
    stored, asked = study.user_attrs[ATTRIBUTE], plan.record()
    used = (RULES[:2] if plan.stopping != "none" or plan.gating else ()) + (RULES[2:] if plan.work.screen else ())
    if not set(used) <= stored.keys():
        study.set_user_attr(ATTRIBUTE, {key: asked[key] for key in used} | stored)


def refuse_difference(name: str, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise StudyMismatch, naming the first differences, unless the two plans are the same."""
    before, now = stored["conditions"].get("protocol", 1), asked["conditions"]["protocol"]
    if before != now:
        raise StudyMismatch(
            f"study {name!r} was measured by protocol {before}, this Vitscape measures by {now}, and their latencies do"
            " not compare: give another --study name; front, trials and export still read it"
        )
    asked = {key: value for key, value in asked.items() if key in stored or key not in RULES}
    differences = _differences(_compared(stored), _compared(asked))  # there were studies before there were rules
    if differences:
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        raise StudyMismatch(
            f"study {name!r} was made with {'; '.join(differences[:3])}{more}:"
            " use the same options to continue it, or another --study name"
        )


def _compared(record: dict[str, Any]) -> dict[str, Any]:
    """A plan's record without what changes nothing: the space's name and remarks."""
    remarks = ("format", "name", "description", "published")
    space = {key: value for key, value in record["space"].items() if key not in remarks}
    same = {"space": space, "proxy": asked_alike(record["proxy"])}
    return {**{key: value for key, value in record.items() if key != "space_name"}, **same}


def _differences(stored: Any, asked: Any, place: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(asked, dict):
        found: list[str] = []
        for key in [*stored, *(key for key in asked if key not in stored)]:
            where = f"{place}.{key}" if place else str(key)
            found += _differences(stored.get(key), asked.get(key), where)
        return found
    if isinstance(stored, list) and isinstance(asked, list) and len(stored) == len(asked):
        return [
            line
            for i, pair in enumerate(zip(stored, asked, strict=True))
            for line in _differences(*pair, f"{place}.{i}")
        ]
    return [] if stored == asked else [f"{place}={stored!s:.60}, now {asked!s:.60}"]


def waiting(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are enqueued."""
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def close_trial(
    study: optuna.Study,
    trial: Trial,
    record: TrialRecord,
    objectives: tuple[str, ...],
    limits: Limits,
    stored: bool = False,
    first: TrialRecord | None = None,
) -> None:
    """Write a trial's whole record, its constraints and its values, in this order, so that a kill leaves it usable.

    A duplicate is told as its `first` trial was. What was stopped has no values, and of those that were expected of it
    the user attribute `expected_values` tells, where there are any, for a sampler to learn from.
    """
    source = first or record
    evaluation = source.evaluation
    if not stored:
        trial.set_user_attr(ATTRIBUTE, record.model_dump(mode="json"))
    known = {key for key in study._storage.get_trial_system_attrs(trial._trial_id) if key.startswith("constraints:")}
    for name, value in limits.constraints(evaluation).items():
        if f"constraints:{name}" not in known:
            trial.set_constraint(name, value)
    if source.status == "complete" and evaluation is not None:
        values = [metric(objective).read(evaluation) for objective in objectives]
        study.tell(trial, values, state=TrialState.COMPLETE)  # type: ignore[arg-type]
    elif source.status in ("stopped", "infeasible") and evaluation is not None:
        if source.expected_accuracy is not None:
            whole = evaluation.model_copy(update={"accuracy": source.expected_accuracy})
            trial.set_user_attr(EXPECTED, [metric(objective).read(whole) for objective in objectives])
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, state=TrialState.FAIL)


def spent(record: TrialRecord) -> bool:
    """Whether a trial counts towards `--trials`: evaluated or failed, not rejected by its closed-form cost alone."""
    if record.status == "infeasible":
        return record.evaluation is not None and bool(record.evaluation.seconds)
    return record.status in ("complete", "stopped", "failed")


def records(study: optuna.Study) -> dict[int, TrialRecord]:
    """The records of a study's finished trials, by number."""
    found = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and (record := trial_record(trial)) is not None:
            found[trial.number] = record
    return found
