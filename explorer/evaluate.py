"""One architecture's evaluation: the cheap steps first, and none that cannot matter any more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from explorer.limits import Limits
from explorer.metrics import metrics
from explorer.record import Evaluation, Latency, Precision
from explorer.setup import Setup, Target
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.proxy.dataset import Dataset
    from explorer.proxy.train import TrainSettings

OnStep = Callable[[str], None]  # what is being done now, for a person
OnEpoch = Callable[[Evaluation], bool]  # (what is known after an epoch, its accuracy last) -> go on?
BeforeTraining = Callable[[Evaluation], bool]  # (what is known then) -> train it?


def evaluate(
    architecture: Architecture,
    *,
    data: str | Dataset = "cues",
    setup: Setup | None = None,
    settings: TrainSettings | None = None,
    limits: Limits | None = None,
    seed: int = 0,
    measure: Collection[str] = ("accuracy", "latency"),
    known: Evaluation | None = None,
    score: str | None = None,
    on_step: OnStep | None = None,
    before_training: BeforeTraining | None = None,
    on_epoch: OnEpoch | None = None,
) -> Evaluation:
    """Cost, peak memory, latencies and proxy accuracy of an architecture, in this order; it ends early over a limit.

    Closed-form cost comes before building, cost limits before timing, latency and memory limits before training; they
    hold for the first runtime and batch size. `measure` names the metrics wanted: without "accuracy" nothing is
    trained; with a latency, or a limit on it, every runtime and batch size of the setup is timed, else none. A latency
    whose verdict is not ok is measured a second time, and the better of the two is kept. `known` is what the steps
    before training have found, here or on another machine; they are not taken again. The same seed and architecture
    train to the same accuracy on the same device. Images that `settings` makes smaller are smaller for the training
    alone: costs, memory and latencies are those of the architecture's own size. The seed also draws the share of them.

    `score` names a zero-cost score (explorer/scores) to be taken before training.

    Raises:
        InputError: the data has other classes or channels than the architecture, or a metric is not measured.
        TrainingDiverged: the loss became infinite or NaN.
    """
    setup, limits, say = setup or Setup(), limits or Limits(), on_step or (lambda text: None)
    wanted = {row.name for row in metrics(setup.recorded(name) for name in measure)}
    timed = limits.latency is not None or any(name.partition("@")[0] == "latency" for name in wanted)
    profiled = timed or "memory" in wanted or limits.memory is not None
    evaluation = known or count(architecture, limits)
    if evaluation.infeasible or not (profiled or "accuracy" in wanted):
        return evaluation

    from explorer.profile.device import resolve_device
    from explorer.proxy.train import TrainSettings, train_seed

    settings = settings or TrainSettings()
    own_seed = train_seed(seed, architecture.id)
    device = resolve_device(setup.device)
    network = build_seeded(architecture, own_seed)
    if profiled and known is None:
        evaluation = _profiled(network, evaluation, setup, device, limits, timed, say)
    if evaluation.infeasible or "accuracy" not in wanted:
        return evaluation
    if settings.image_size not in (None, architecture.image_size):
        network = build_seeded(_smaller(architecture, settings.image_size), own_seed)
    dataset = _fitting(data, network.architecture, say).at_share(settings.data_share, seed)
    if score is not None:
        evaluation = _scored(network, evaluation, score, dataset, device, seed)
    if before_training is not None and not before_training(evaluation):
        return evaluation
    result = _trained(network, evaluation, dataset, settings, device, own_seed, say, on_epoch)
    return evaluation.model_copy(
        update={
            "accuracy": result.accuracy,
            "accuracy_by_epoch": tuple(result.accuracy_by_epoch),
            "trained": result.told,
            "seconds": {**evaluation.seconds, "train": result.seconds},
        }
    )


def count(architecture: Architecture, limits: Limits) -> Evaluation:
    """What is known of an architecture in closed form, and whether that is over a limit."""
    counts = cost(architecture)
    return Evaluation(
        macs=counts.macs,
        params=counts.params,
        activations=counts.activations,
        params_folded=counts.params_folded,
        infeasible=limits.exceeded(counts),
    )


def build_seeded(architecture: Architecture, seed: int) -> Any:
    """The network with weights drawn from a seed, leaving torch's global generator as it was."""
    import torch

    from search_spaces.blocks.network import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture)


def training_precision(device: str) -> Precision:
    """Autocast's type for training: none on a CPU, bfloat16 on a GPU that has it, else float16."""
    import torch

    if not device.startswith("cuda"):
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def _profiled(
    network: Any, evaluation: Evaluation, setup: Setup, device: Any, limits: Limits, timed: bool, say: OnStep
) -> Evaluation:
    """The evaluation with peak memory and, where `timed`, the latencies of the folded network."""
    from explorer.profile.latency import measure
    from explorer.profile.lease import waits_for
    from explorer.profile.memory import peak_memory_mb

    started = time.monotonic()
    folded, first = network.fuse(), setup.targets[0]
    how: dict[str, Any] = {"image_size": network.architecture.image_size, "device": str(device)}
    how |= {"in_channels": network.architecture.in_channels, "precision": setup.precision}

    def time_it(target: Target, remark: str = "") -> Latency:
        say("timing" + f" {target.key}" * (len(setup.targets) > 1) + remark)
        return measure(
            folded,
            **how,
            batch_size=target.batch_size,
            runtime=target.runtime,
            threads=setup.threads,
            time_limit_s=setup.time_limit_s,
            on_wait=lambda pid: say(waits_for(pid, device)),
        )

    def known(found: dict[str, Latency]) -> Evaluation:
        others = {key: latency for key, latency in found.items() if key != first.key}
        seconds = {"profile": time.monotonic() - started}
        update = {"latency": found.get(first.key), "latencies": others, "peak_memory_mb": memory, "seconds": seconds}
        so_far = evaluation.model_copy(update=update)
        return so_far.model_copy(update={"infeasible": limits.exceeded(so_far)})

    memory = peak_memory_mb(folded, **how, batch_size=first.batch_size)
    if not timed or known({}).infeasible:
        return known({})
    return known(_latencies(setup.targets, time_it, lambda latency: known({first.key: latency}).infeasible is not None))


def _latencies(
    targets: tuple[Target, ...], time_it: Callable[[Target, str], Latency], over: Callable[[Latency], bool]
) -> dict[str, Latency]:
    """Latencies by key: of the first target alone where that is over a limit, else of all.

    What cannot be trusted is measured again at the end, by when a disturbance may have passed; what would reject the
    architecture at once, lest noise reject it.
    """
    first, *others = targets
    found = {first.key: time_it(first, "")}
    late = list(targets)
    if over(found[first.key]):
        found[first.key] = _trusted(found[first.key], first, time_it)
        if over(found[first.key]):
            return found
        late.remove(first)
    found |= {target.key: time_it(target, "") for target in others}
    return found | {target.key: _trusted(found[target.key], target, time_it) for target in late}


def _trusted(latency: Latency, target: Target, time_it: Callable[[Target, str], Latency]) -> Latency:
    """The latency where its verdict is ok, else the better of it and one more measurement."""
    if latency.verdict in ("ok", None):
        return latency
    best = min(latency, time_it(target, f" again: {latency.verdict}"), key=lambda one: one.doubt)
    if best.verdict == "ok":
        return best
    return best.model_copy(update={"reason": "; ".join(filter(None, (best.reason, "the better of two measurements")))})


def _smaller(architecture: Architecture, image_size: int) -> Architecture:
    """The architecture for smaller images."""
    if image_size > architecture.image_size:
        raise InputError(
            f"image_size={image_size}: the architecture has images of {architecture.image_size} pixels;"
            " a training takes at most that"
        )
    return architecture.at_size(image_size)


def _scored(network: Any, evaluation: Evaluation, name: str, dataset: Dataset, device: Any, seed: int) -> Evaluation:
    """The evaluation with a zero-cost score of the untrained network, where it is a number."""
    from explorer.scores import SCORES, minibatch

    started = time.monotonic()
    images, labels = minibatch(dataset, seed, str(device))
    score = SCORES[name](network.to(device), images, labels)
    seconds = {**evaluation.seconds, "score": time.monotonic() - started}
    known = {name: score} if math.isfinite(score) else {}
    return evaluation.model_copy(update={"scores": known, "seconds": seconds})


def _fitting(data: str | Dataset, architecture: Architecture, say: OnStep) -> Dataset:
    """The data, which has what the architecture needs."""
    from explorer.proxy.progress import load_said

    dataset = load_said(data, architecture.image_size, say) if isinstance(data, str) else data
    for name, has, needs in (
        ("classes", architecture.classes, dataset.classes),
        ("in_channels", architecture.in_channels, dataset.train_images.shape[1]),
        ("image_size", architecture.image_size, dataset.image_size),
    ):
        if has != needs:
            raise InputError(
                f"{name}={has} does not fit the data {dataset.name}, which has {needs}: set {name}={needs}"
            )
    return dataset


def _trained(
    network: Any,
    evaluation: Evaluation,
    dataset: Dataset,
    settings: TrainSettings,
    device: Any,
    seed: int,
    say: OnStep,
    on_epoch: OnEpoch | None,
) -> Any:
    from explorer.profile.lease import training_lease
    from explorer.proxy.train import train

    epochs = settings.epochs_run
    doing, so_far = f"epoch 1/{epochs}", evaluation

    def wait(pid: int | None) -> None:
        say(f"waiting for process {pid or 'unknown'}, which times on {device}")

    with training_lease(device, wait) as give_way:
        say(doing)

        def between_steps() -> None:
            if give_way():
                say(doing)

        def after_epoch(epoch: int, accuracy: float) -> bool:
            nonlocal doing, so_far
            if epoch < epochs:
                doing = f"epoch {epoch + 1}/{epochs} ({accuracy:.1f} %)"
                say(doing)
            curve = (*so_far.accuracy_by_epoch, accuracy)
            so_far = so_far.model_copy(update={"accuracy": accuracy, "accuracy_by_epoch": curve})
            return on_epoch is None or on_epoch(so_far)

        return train(
            network,
            dataset.to(device),
            settings,
            device=device,
            precision=training_precision(str(device)),
            seed=seed,
            on_epoch=after_epoch,
            between_steps=between_steps,
        )
