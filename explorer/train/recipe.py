"""How a network is trained in earnest: a recipe, a YAML file of plain values, some of them shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from explorer.augment.policy import Augmentation, Share
from search_spaces.architecture import check_format
from search_spaces.document import Document, SpecError, read_document, short, way_out
from search_spaces.errors import InputError

FORMAT: Final = "vitscape/recipe@1"
HERE = Path(__file__).parent / "recipes"
SMALL_IMAGE = 64  # pixels up to which the recipe for small images is the default


class Recipe(Augmentation):
    """Schedule, optimizer, clipping, averaging and distillation, beside the augmentation. 0 means: none.

    >>> load_recipe("swin").weight_decay
    0.05
    """

    format: Literal["vitscape/recipe@1"] = FORMAT
    name: str = "recipe"
    epochs: Annotated[int, Field(ge=1)] = 300
    batch_size: Annotated[int, Field(ge=1)] = 1024  # images a step, of all processes together
    lr: Annotated[float, Field(gt=0)] = 1e-3  # peak, for a batch of lr_batch_size
    lr_batch_size: Annotated[int, Field(ge=0)] = 1024  # the rate is proportional to the batch; 0: it is not
    warmup_epochs: Annotated[float, Field(ge=0)] = 5.0
    warmup_lr: Annotated[float, Field(ge=0)] = 1e-6  # at the first step
    min_lr: Annotated[float, Field(ge=0)] = 1e-5  # at the end
    weight_decay: Annotated[float, Field(ge=0)] = 0.05  # of weights of two and more axes; tables do not decay
    clip_norm: Annotated[float, Field(ge=0)] = 0.0  # largest norm of the whole gradient
    clip_adaptive: Annotated[float, Field(ge=0)] = 0.0  # of each unit's, as a share of its weights' (Brock et al. 2021)
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the moving average of the weights
    repeats: Annotated[int, Field(ge=1)] = 1  # times that an image is in a batch, augmented anew (Hoffer et al. 2020)
    distill: Literal["none", "soft", "hard"] = "none"  # from a teacher's logits (Hinton 2015), or its class (DeiT)
    distill_weight: Share = 0.5  # of the teacher's part in the loss
    temperature: Annotated[float, Field(gt=0)] = 1.0  # of soft distillation

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            told = f"warmup_epochs={self.warmup_epochs:g} are not fewer than epochs={self.epochs}"
            raise ValueError(f"{told}; lower them (--set warmup_epochs=0)")
        if self.clip_norm and self.clip_adaptive:
            raise ValueError("clip_norm and clip_adaptive are both set; set one of them to 0")
        return self

    def peak_lr(self) -> float:
        """The highest learning rate, for this batch size (Goyal et al. 2017)."""
        return self.lr * self.batch_size / self.lr_batch_size if self.lr_batch_size else self.lr

    def to_yaml(self) -> str:
        """The recipe file's text."""
        fields = self.model_dump(mode="json")
        first = {key: fields.pop(key) for key in ("format", "name")}
        return yaml.safe_dump(first | fields, sort_keys=False, width=120)


def recipes() -> tuple[str, ...]:
    """Names of the shipped recipes."""
    return tuple(sorted(path.stem for path in HERE.glob("*.yaml")))


def default_recipe(embedded: bool, image_size: int) -> str:
    """Name of the recipe for data that is embedded in the package, or of small images, or for others."""
    return "small" if embedded or image_size <= SMALL_IMAGE else "swin"


def load_recipe(name: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A shipped recipe by its name, or the recipe in a YAML or JSON file, with some of its fields changed.

    Raises:
        SpecError: no such recipe, or a field is unknown or impossible; one line, naming file, line and field.
    """
    document = read_document(_path(name))
    check_format(document, FORMAT)
    return changed(_checked({"name": _path(name).stem, **document.data}, document), changes or {})


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some of its fields changed, checked as a whole."""
    return _checked({**recipe.model_dump(), **changes}, Document("recipe", None)) if changes else recipe


def parse_changes(settings: Sequence[str]) -> dict[str, Any]:
    """{"mixup": 0.2} of ["mixup=0.2"], values read as YAML."""
    found = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise InputError(f"set={short(setting)}: write NAME=VALUE, such as mixup=0.2")
        if name in ("format", "name"):
            raise InputError(f"set={short(setting)}: {name} is not to be set; it belongs to the file")
        try:
            found[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"set={short(setting)}: the value is no plain YAML; write NAME=VALUE") from None
    return found


def _path(name: str | Path) -> Path:
    if isinstance(name, Path) or "/" in name or name.endswith((".yaml", ".yml", ".json")):
        return Path(name)
    if name not in recipes():
        raise SpecError(f"recipe={short(name)}: not known; {way_out(name, recipes())}, or the path of a file")
    return HERE / f"{name}.yaml"


def _checked(data: dict[str, Any], document: Document) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        name, message = first["loc"][:1], first["msg"].removeprefix("Value error, ")
        if not name:  # a rule between fields: the message names them
            raise document.error((), message) from None
        if first["type"] == "extra_forbidden":
            raise document.error(name, f"is not known here; {way_out(name[0], Recipe.model_fields)}") from None
        raise document.error(
            name, f"{short(data[str(name[0])])} is not allowed; {message[0].lower()}{message[1:]}"
        ) from None
