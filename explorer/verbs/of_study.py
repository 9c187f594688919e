"""What verbs ask of a study: itself, by the words given or the last one used here, and architectures in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.last import recall, remember
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import optuna

    from search_spaces.architecture import Architecture


def load(study: str | None, storage: str | None, *, writable: bool = False) -> optuna.Study:
    """The study that is meant, remembered as the last one used here; opened to read, unless `writable`."""
    import optuna

    from explorer.storage import load_study, writable_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, url = recall(study, storage)
    loaded = writable_study(name, url) if writable else load_study(name, url)
    remember(loaded.study_name, url)
    return loaded


def architecture_of(what: str, study: str | None, storage: str | None) -> Architecture | str:
    """The architecture of a trial, where `what` is its number; else `what` itself, a preset or a file."""
    if not (what.isascii() and what.isdecimal()):
        return what
    from explorer import results
    from search_spaces.architecture import Architecture

    frame = results.frame(load(study, storage))
    row = results.find_trial(frame, int(what))
    if row is None:
        raise InputError(f"trial={what}: the study has {len(frame)} trials, none such with a record")
    return Architecture.from_dict(row["architecture"], f"trial {what}").model_copy(update={"name": f"trial {what}"})
