"""How much cheaper than in full a search trains its candidates: fewer epochs, smaller images, a part of the data.

    --fidelity epochs=5,image_size=24,data=0.5

leaves the schedule of `--epochs` after 5 of them, trains and validates at 24 pixels, and trains on half of each class's
images (docs/fidelity.md). What a candidate costs stays that of its own image size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import require_size
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.proxy.dataset import Dataset
    from explorer.proxy.train import TrainSettings
    from search_spaces.space import SearchSpace

EXAMPLE = "epochs=5,image_size=24,data=0.5"
EARLY = 0.4  # share of the schedule that a search with a final stage runs, where nothing else is said


@dataclass(frozen=True)
class Fidelity:
    """What of a training in full is done; None: all of it."""

    epochs: int | None = None  # of the schedule
    image_size: int | None = None  # pixels
    data: float | None = None  # share of the training images, above 0, to 1

    @classmethod
    def parse(cls, text: str) -> Fidelity:
        """The fidelity that words say, any of them: "epochs=5,image_size=24,data=0.5".

        Raises:
            InputError: a word that is none, is there twice, or whose value is out of range; one line.
        """
        found: dict[str, float] = {}
        for word in text.split(","):
            name, equals, value = (part.strip() for part in word.partition("="))
            if name not in ("epochs", "image_size", "data") or not equals or name in found:
                raise InputError(
                    f"fidelity={text}: {word.strip()!r} is not understood; give each once, as in {EXAMPLE}"
                )
            try:
                found[name] = float(value) if name == "data" else int(value)
            except ValueError:
                kind = "a number, such as 0.5" if name == "data" else "a whole number"
                raise InputError(f"fidelity={text}: {name}={value} is not {kind}") from None
        fidelity: dict[str, Any] = found
        for name, fits, range_ in (
            ("epochs", found.get("epochs", 1) >= 1, "at least 1"),
            ("image_size", found.get("image_size", 8) >= 8, "at least 8 pixels"),
            ("data", 0 < found.get("data", 1) <= 1, "a share above 0, and at most 1"),
        ):
            if not fits:
                raise InputError(f"fidelity={text}: {name}={found[name]:g}: give {range_}")
        return cls(**fidelity)


def train_settings(epochs: int, stop_epoch: int | None, fidelity: str | None, augment: str = "none") -> TrainSettings:
    """The training that the options `--epochs`, `--stop-epoch`, `--fidelity` and `--augment` ask for.

    Raises:
        InputError: they cannot be had together; one line.
    """
    from pydantic import ValidationError

    from explorer.proxy.augment import augmentation_named
    from explorer.proxy.train import TrainSettings

    asked = Fidelity() if fidelity is None else Fidelity.parse(fidelity)
    if asked.epochs is not None and stop_epoch not in (None, asked.epochs):
        raise InputError(f"stop-epoch={stop_epoch} and fidelity epochs={asked.epochs} say two things; give one of them")
    if asked.epochs is not None and asked.epochs > epochs:
        raise InputError(f"fidelity={fidelity}: epochs={asked.epochs} lies beyond --epochs {epochs}; raise --epochs")
    try:
        return TrainSettings(
            epochs=epochs,
            stop_epoch=stop_epoch if asked.epochs is None else asked.epochs,
            data_share=1.0 if asked.data is None else asked.data,
            image_size=asked.image_size,
            augmentation=augmentation_named(augment),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-") + "=" + str(first["input"]) + ": " if first["loc"] else ""
        raise InputError(name + first["msg"].removeprefix("Value error, ")) from None


def fitted(settings: TrainSettings, space: SearchSpace) -> TrainSettings:
    """The settings as they act on a space: an image size that is its only one anyway leaves nothing out.

    Raises:
        InputError: the space has smaller images than asked for, or strides that cannot serve them; one line.
    """
    size, smallest = settings.image_size, min(space.image_sizes)
    if size is None or space.image_sizes == (size,):
        return settings.model_copy(update={"image_size": None})
    if size > smallest:
        raise InputError(f"fidelity image_size={size}: the space has images of {smallest} pixels; give at most that")
    for stride in space.strides:
        require_size(size, stride, space.most_stages)
    return settings


def require_data(space: SearchSpace, dataset: Dataset, source: str, settings: TrainSettings, seed: int) -> None:
    """Raise InputError, one line, where networks of the space cannot be trained on all data, or a share of it."""
    from explorer.proxy.dataset import at_share, require_memory

    channels, batch, share = dataset.train_images.shape[1], settings.batch_size, settings.data_share
    if space.root.leaf("in_channels").options != (channels,):
        raise InputError(f"in_channels: the data {source} has {channels} channels; set in_channels: {channels}")
    largest = settings.image_size or max(space.image_sizes)  # pixels trained at
    require_memory(share, dataset.train_images.nbytes * largest**2 // dataset.image_size**2)
    for option, images, way_out in (
        (f"data={source}", len(dataset.train_images), "give more, or a smaller batch_size"),
        (f"fidelity data={share:g}", len(at_share(dataset.train_labels.numpy(), share, seed)), "raise it"),
    ):
        if images < batch:
            raise InputError(f"{option}: {images} training images are fewer than a batch of {batch}; {way_out}")


def left_early(settings: TrainSettings) -> TrainSettings:
    """The settings of a search before a final stage: it leaves the schedule at 40 %, unless it is said when it does.

    Raises:
        InputError: the search trains in full, so that there is nothing more to train; one line.
    """
    if settings.stop_epoch is None:
        settings = settings.model_copy(update={"stop_epoch": max(1, round(EARLY * settings.epochs))})
    if settings.is_full:
        raise InputError(
            f"finalists: the search itself trains in full, all {settings.epochs} epochs; raise --epochs,"
            " or lower --stop-epoch or --fidelity"
        )
    return settings


def final_stage_told(finalists: int, asked: TrainSettings, settings: TrainSettings) -> str:
    """What a search with a final stage does, in words; `asked` are the settings before left_early."""
    early = f", {EARLY:.0%}, as --stop-epoch does not say" * (asked.stop_epoch is None)
    return (
        f"then {finalists} finalists in full, {settings.epochs} epochs each;"
        f" the search leaves the schedule after {settings.epochs_run}{early}"
    )


def in_words(source: str, proxy: Mapping[str, Any]) -> str:
    """What accuracies stand for, by a study's record: "cues at 24 px, 50 % of the images, 5 of 12 epochs"."""
    epochs, stop = proxy["epochs"], proxy["stop_epoch"]
    size, share = proxy.get("image_size"), proxy.get("data_share", 1)  # early studies have neither
    parts = [source if size is None else f"{source} at {size} px"]
    parts += [f"{100 * share:.3g} % of the images"] * (share != 1)
    parts += ["augmented"] * (proxy.get("augmentation") is not None)
    return ", ".join([*parts, f"{epochs if stop in (None, epochs) else f'{stop} of {epochs}'} epochs"])


def asked_alike(proxy: Mapping[str, Any]) -> dict[str, Any]:
    """A study's record of its training in one spelling, in which what is not said is as it is without it."""
    stop = None if proxy.get("stop_epoch") == proxy.get("epochs") else proxy.get("stop_epoch")
    return {**proxy, "stop_epoch": stop, "data_share": proxy.get("data_share", 1.0)} | {
        "image_size": proxy.get("image_size")
    }
