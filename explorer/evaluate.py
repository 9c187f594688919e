"""One architecture's evaluation: the cheap steps first, and none that cannot matter any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from explorer.limits import Limits
from explorer.metrics import metrics
from explorer.profile import measure_folded
from explorer.record import Evaluation, Precision
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.proxy.dataset import Dataset
    from explorer.proxy.train import TrainSettings

OnStep = Callable[[str], None]  # what is being done now, for a person
OnEpoch = Callable[[int, float], bool]  # (epoch from 1, top-1 %) -> go on?


@dataclass(frozen=True)
class Setup:
    """Where and how latency is measured; training runs on the same device."""

    device: str = "auto"
    precision: Precision = "fp32"
    batch_size: int = 1
    runtime: str = "eager"
    threads: int = 1  # intra-op threads while timing on a CPU

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("threads", self.threads)):
            if not 1 <= value <= 65536:
                raise InputError(f"{name}={value}: give a whole number from 1 to 65536")
        if self.precision not in get_args(Precision):
            raise InputError(f"precision={self.precision}: not known; use one of {', '.join(get_args(Precision))}")


def evaluate(
    architecture: Architecture,
    *,
    data: str | Dataset = "cues",
    setup: Setup | None = None,
    settings: TrainSettings | None = None,
    limits: Limits | None = None,
    seed: int = 0,
    measure: Collection[str] = ("accuracy", "latency"),
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
) -> Evaluation:
    """Cost, latency and proxy accuracy of an architecture, in this order; it ends early over a limit.

    Closed-form cost comes before building, cost limits before timing, latency and memory limits before training.
    `measure` names the metrics wanted: without "accuracy" nothing is trained, without "latency" (and a limit on it)
    nothing is timed. The same seed and architecture train to the same accuracy on the same device.

    Raises:
        InputError: the data has other classes or channels than the architecture.
        TrainingDiverged: the loss became infinite or NaN.
    """
    setup, limits, say = setup or Setup(), limits or Limits(), on_step or (lambda text: None)
    evaluation = count(architecture, limits)
    wanted = {metric.name for metric in metrics(measure)}
    if evaluation.infeasible or not (wanted & {"accuracy", "latency", "memory"} or limits.latency or limits.memory):
        return evaluation

    from explorer.profile.latency import resolve_device
    from explorer.proxy.train import train_seed

    own_seed = train_seed(seed, architecture.id)
    device = resolve_device(setup.device)
    network = build_seeded(architecture, own_seed)
    timed = "latency" in wanted or limits.latency is not None
    if timed or "memory" in wanted or limits.memory is not None:
        started = time.monotonic()
        if timed:
            say("timing")
        latency, memory = measure_folded(
            network,
            device=str(device),
            precision=setup.precision,
            batch_size=setup.batch_size,
            runtime=setup.runtime,
            threads=setup.threads,
            timed=timed,
            on_wait=lambda pid: say(f"waiting for process {pid}, which times on {device}"),
        )
        seconds = {"profile": time.monotonic() - started}
        found = {"latency": latency, "peak_memory_mb": memory, "seconds": seconds}
        evaluation = evaluation.model_copy(update=found)
        evaluation = evaluation.model_copy(update={"infeasible": limits.exceeded(evaluation)})
    if evaluation.infeasible or "accuracy" not in wanted:
        return evaluation
    result = _trained(network, architecture, data, settings, device, own_seed, say, on_epoch)
    return evaluation.model_copy(
        update={
            "accuracy": result.accuracy,
            "accuracy_by_epoch": tuple(result.accuracy_by_epoch),
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


def _trained(
    network: Any,
    architecture: Architecture,
    data: str | Dataset,
    settings: TrainSettings | None,
    device: Any,
    seed: int,
    say: OnStep,
    on_epoch: OnEpoch | None,
) -> Any:
    from explorer.proxy.data import load_data
    from explorer.proxy.train import TrainSettings, train

    settings = settings or TrainSettings()
    dataset = load_data(data, architecture.image_size) if isinstance(data, str) else data
    for name, has, needs in (
        ("classes", architecture.classes, dataset.classes),
        ("in_channels", architecture.in_channels, dataset.train_images.shape[1]),
        ("image_size", architecture.image_size, dataset.image_size),
    ):
        if has != needs:
            raise InputError(
                f"{name}={has} does not fit the data {dataset.name}, which has {needs}: set {name}={needs}"
            )
    epochs = settings.stop_epoch or settings.epochs
    say(f"epoch 1/{epochs}")

    def after_epoch(epoch: int, accuracy: float) -> bool:
        if epoch < epochs:
            say(f"epoch {epoch + 1}/{epochs} ({accuracy:.1f} %)")
        return on_epoch is None or on_epoch(epoch, accuracy)

    precision = training_precision(str(device))
    return train(
        network, dataset.to(device), settings, device=device, precision=precision, seed=seed, on_epoch=after_epoch
    )
