"""The local engine: one trial after the other in this process, on one device."""

from __future__ import annotations

from typing import Any

import optuna

from explorer.record import Evaluation
from explorer.search.attempt import Images, attempt
from explorer.search.budget import Budget
from explorer.search.interrupts import interrupts
from explorer.search.progress import SearchProgress
from explorer.search.searching import Asked, Begin
from explorer.search.session import session
from explorer.search.stopping import Decision, Rule
from explorer.search.study import Plan
from search_spaces.architecture import Architecture


def run(
    study: optuna.Study,
    plan: Plan,
    budget: Budget,
    presets: list[Architecture],
    progress: SearchProgress,
    rule: Rule | None = None,
    *,
    begin: Begin = session,
) -> str:
    """Why the search ended, in words, after evaluating candidates until the budget is spent.

    The presets that the space contains are evaluated first. One process at a time searches a study. What `begin` opens
    says what is evaluated, and keeps what was found.

    Raises:
        SearchStopped: ten trials failed in a row, or another process searches this study.
        KeyboardInterrupt: after the running trial was closed and enqueued again.
    """
    with interrupts() as check, begin(study, plan, budget, presets, progress, rule) as search:

        def say(text: str) -> None:
            check()
            progress.step(text)
            for number in search.under_way:  # one, or none while the next is chosen
                search.says(number, text)

        images = Images.of(plan.work, say)
        say("choosing")
        while (candidate := search.next()) is not None:

            def decide(so_far: Evaluation, of: Asked = candidate) -> Decision:
                return Decision() if rule is None else rule.decide(of.trial.number, of.architecture, so_far)

            how: dict[str, Any] = {"known": candidate.known, "on_step": say, "decide": decide}
            found = attempt(candidate.architecture, plan.work, images, **how)
            search.finish(candidate, found)
            say("choosing")
    return search.ended or "nothing was asked for"
