"""The local engine: one trial after the other in this process, on one device."""

from __future__ import annotations

import optuna

from explorer.record import Evaluation
from explorer.search.attempt import Images, attempt
from explorer.search.progress import SearchProgress
from explorer.search.session import Budget, interrupts, session
from explorer.search.stopping import Stopping
from explorer.search.study import Plan
from search_spaces.architecture import Architecture


def run(
    study: optuna.Study,
    plan: Plan,
    budget: Budget,
    presets: list[Architecture],
    progress: SearchProgress,
    stopping: Stopping | None = None,
) -> str:
    """Why the search ended, in words, after evaluating candidates until the budget is spent.

    The presets that the space contains are evaluated first. One process at a time searches a study.

    Raises:
        SearchStopped: ten trials failed in a row, or another process searches this study.
        KeyboardInterrupt: after the running trial was closed and enqueued again.
    """
    images = Images.of(plan.work.data)
    with interrupts() as check, session(study, plan, budget, presets, progress, stopping) as search:

        def say(text: str) -> None:
            check()
            progress.step(text)
            for number in search.under_way:  # one, or none while the next is chosen
                search.says(number, text)

        say("choosing")
        while (candidate := search.next()) is not None:
            number = candidate.trial.number

            def goes_on(so_far: Evaluation, number: int = number) -> bool:
                return stopping is None or stopping.goes_on(number, so_far)

            found = attempt(candidate.architecture, plan.work, images, on_step=say, on_epoch=goes_on)
            search.finish(candidate, found)
            say("choosing")
    return search.ended or "nothing was asked for"
