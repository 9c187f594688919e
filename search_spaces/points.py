"""The exact points of a space: what is possible together, how many networks there are, which choices lead to one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from search_spaces.architecture import Mixer, Spec, Stage, canonical_mixer
from search_spaces.nodes import Choice, Leaf, Mapping, Value

PLAIN = ("downsample", "local", "norm", "activation")  # fields of a stage that depend on no other


@lru_cache(maxsize=10_000)
def possible_widths(part: Mapping) -> tuple[Value, ...]:
    mixers = part.choice("mixer").alternatives
    return tuple(w for w in part.leaf("width").options if any(possible_mixer(m, w) is not None for m in mixers))


@lru_cache(maxsize=10_000)
def possible_mixer(mixer: Mapping, width: Value) -> dict[str, tuple[Value, ...]] | None:
    """For each field of a mixer the values possible at this width; None if some field has none."""
    assert isinstance(width, int)
    options: dict[str, tuple[Value, ...]] = {}
    for field, leaf in mixer.fields.items():
        assert isinstance(leaf, Leaf)
        if field == "heads":
            options[field] = _heads_of(leaf, width)
        elif field == "partial_channels":
            options[field] = tuple(p for p in leaf.options if p is None or (isinstance(p, int) and p <= width))
        elif field == "size":
            options[field] = tuple(s for s in leaf.options if possible_shifts(mixer.leaf("shift"), s))
        else:
            options[field] = leaf.options
    return options if all(options.values()) else None


def _heads_of(heads: Leaf, width: Value) -> tuple[Value, ...]:
    return tuple(h for h in heads.options if isinstance(h, int) and isinstance(width, int) and width % h == 0)


def possible_shifts(shifts: Leaf, size: Value) -> tuple[Value, ...]:
    assert isinstance(size, int)
    return tuple(s for s in shifts.options if s == "half" or (isinstance(s, int) and s < size))


def why_impossible(part: Mapping) -> tuple[str | None, str]:
    """(the field of the first mixer, if it is one alone, that leaves nothing possible; what is wrong with it)"""
    widths = part.leaf("width").options
    mixer = part.choice("mixer").alternatives[0]
    for field in ("heads", "size", "partial_channels"):
        leaf = mixer.fields.get(field)
        if isinstance(leaf, Leaf):
            listed, wide = ", ".join(map(str, leaf.options)), ", ".join(map(str, widths))
            if field == "heads" and not any(_heads_of(leaf, width) for width in widths):
                divisors = [n for n in range(1, 33) if isinstance(widths[0], int) and widths[0] % n == 0]
                return field, f"heads={listed} does not divide width={wide}; divisors of {widths[0]}: {divisors}"
            if field == "size" and not any(possible_shifts(mixer.leaf("shift"), s) for s in leaf.options):
                shifts = ", ".join(map(str, mixer.leaf("shift").options))
                return "shift", f"shift={shifts} is not below size={listed}; use a smaller shift, or half"
            if field == "partial_channels" and None not in leaf.options:
                return field, f"partial_channels={listed} is above width={wide}; use at most the width"
    return None, "no combination of its values is possible; see that heads divide widths and shifts are below sizes"


def may_be_absent(choice: Choice) -> bool:
    return any(0 in part.leaf("depth").options for part in choice.alternatives)


def parts(choice: Choice) -> set[Spec]:
    """The different stems or heads that a choice allows."""
    return {spec for _, _, spec in _spelled(choice)}


def find_part(name: str, choice: Choice, wanted: Spec) -> dict[str, Value] | None:
    """The choices, by place, that lead to a stem or head; None if none do."""
    for label, fields, spec in _spelled(choice):
        if spec == wanted:
            return _labelled(name, choice, label, fields)
    return None


def count_stage(choice: Choice, side: int) -> int:
    """How many different stages a choice allows on a map of side x side tokens."""
    if len(choice.alternatives) > 1:  # alternatives may overlap
        return len({key for part in choice.alternatives for key in _stages(part, side)})
    part, total = choice.alternatives[0], 0
    depths = [depth for depth in part.leaf("depth").options if depth]
    for width in possible_widths(part):
        mixers = sum(len(mixers_of(part, width, depth == 1, side)) for depth in depths)
        total += mixers * len(_hiddens(part, width))
    for field in PLAIN:
        total *= len(part.leaf(field).options)
    return total


def find_stage(name: str, choice: Choice, wanted: Stage, side: int, written: Stage) -> dict[str, Value] | None:
    """The choices, by place, that lead to a canonical stage, as it was written where possible; None if none do."""
    for label, part in zip(choice.labels, choice.alternatives, strict=True):
        fields: dict[str, Value] = {field: getattr(wanted, field) for field in ("depth", "width", *PLAIN)}
        if any(value not in part.leaf(field).options for field, value in fields.items()):
            continue
        ratio = _hiddens(part, wanted.width).get(wanted.hidden)
        spellings = mixers_of(part, wanted.width, wanted.depth == 1, side).get(wanted.mixer, ())
        if ratio is None or not spellings:
            continue
        as_written = [s for s in spellings if s[2] == written.mixer]
        mixer_label, mixer_fields, _ = (as_written or spellings)[0]
        found = _labelled(name, choice, label, {**fields, "ffn_ratio": ratio})
        place = f"{name}.{label}" if len(choice.alternatives) > 1 else name
        return found | _labelled(f"{place}.mixer", part.choice("mixer"), mixer_label, dict(mixer_fields))
    return None


def find_absent(name: str, choice: Choice) -> dict[str, Value] | None:
    """The choices, by place, that leave a stage out; None if it must be there."""
    for label, part in zip(choice.labels, choice.alternatives, strict=True):
        if 0 in part.leaf("depth").options:
            return _labelled(name, choice, label, {"depth": 0})
    return None


Spelling = tuple[str, tuple[tuple[str, Value], ...], Spec]  # label, fields as written, what they say


@lru_cache(maxsize=100_000)
def mixers_of(part: Mapping, width: Value, depth_one: bool, side: int) -> dict[Mixer, tuple[Spelling, ...]]:
    """The different mixers possible in a stage, in canonical form, each with the spellings that lead to it."""
    assert isinstance(width, int)
    found: dict[Mixer, tuple[Spelling, ...]] = {}
    choice = part.choice("mixer")
    for label, mixer in zip(choice.labels, choice.alternatives, strict=True):
        options = possible_mixer(mixer, width)
        if options is None:
            continue
        for values in product(*options.values()):
            fields = dict(zip(options, values, strict=True))
            if "size" in fields and fields["shift"] not in possible_shifts(mixer.leaf("shift"), fields["size"]):
                continue
            spec = mixer.model.model_validate(fields)
            key = canonical_mixer(spec, width, 1 if depth_one else 2, side)  # type: ignore[arg-type]
            found[key] = (*found.get(key, ()), (label, tuple(fields.items()), spec))
    return found


def _stages(part: Mapping, side: int) -> Iterator[tuple[object, ...]]:
    plain = [part.leaf(field).options for field in PLAIN]
    for depth, width in product(part.leaf("depth").options, possible_widths(part)):
        if depth:
            mixers, hiddens = mixers_of(part, width, depth == 1, side), _hiddens(part, width)
            yield from product((depth,), (width,), mixers, hiddens, *plain)


def _hiddens(part: Mapping, width: Value) -> dict[int, Value]:
    """Hidden widths of the FFN, with the ratio that gives each."""
    assert isinstance(width, int)
    ratios = part.leaf("ffn_ratio").options
    return {max(1, round(ratio * width)): ratio for ratio in reversed(ratios) if isinstance(ratio, int | float)}


def _spelled(choice: Choice) -> Iterator[tuple[str, dict[str, Value], Spec]]:
    for label, part in zip(choice.labels, choice.alternatives, strict=True):
        for values in product(*(part.leaf(field).options for field in part.fields)):
            fields = dict(zip(part.fields, values, strict=True))
            yield label, fields, part.model.model_validate(fields)


def _labelled(name: str, choice: Choice, label: str, fields: dict[str, Value]) -> dict[str, Value]:
    if len(choice.alternatives) == 1:
        return {f"{name}.{field}": value for field, value in fields.items()}
    return {name: label, **{f"{name}.{label}.{field}": value for field, value in fields.items()}}
