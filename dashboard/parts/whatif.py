"""The controls of a what-if: edits of an architecture by choice, kept in the page's link as `edit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.text import plain
from explorer import structure
from explorer.analysis.whatif import MIXER_FIELDS, change, divisors, nearest_divisor, settings
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

EDIT, KEPT = "edit", "_whatif"  # in the URL, and in the session: whose edits, and how often they were begun anew
KERNELS, STRIDES = (3, 5, 7, 9, 11, 13), (2, 4, 8, 16)
LONGEST = 2000  # characters of a link's edits


def restored(base: str, original: Architecture) -> dict[str, Any]:
    """The edits of this base: those of the session, or of the link that opened it; says what is wrong with a link."""
    kept = st.session_state.get(KEPT)
    if kept is not None and kept["base"] == base:
        return dict(kept["edits"])
    found: dict[str, Any] = {}
    if kept is None:  # the session's first: a link may have them
        try:
            found = parse(st.query_params.get(EDIT, ""))
            change(original, found)
            has = structure.columns_of(original.to_dict())
            found = {column: value for column, value in found.items() if has.get(column) != value}
        except InputError as error:
            st.warning(f"The link's what-if is left out: {plain(error)}", icon=":material/link_off:")
            found = {}
    st.session_state[KEPT] = {"base": base, "edits": found, "round": 0 if kept is None else kept["round"] + 1}
    return dict(found)


def keep(base: str, edits: Mapping[str, Any]) -> None:
    """Keeps the edits for the session's other pages and in the URL."""
    st.session_state[KEPT] = st.session_state[KEPT] | {"base": base, "edits": dict(edits)}
    text = written(edits)
    if text and st.query_params.get(EDIT) != text:
        st.query_params[EDIT] = text
    elif not text and EDIT in st.query_params:
        del st.query_params[EDIT]


def reset() -> None:
    """Forgets all edits, and gives the controls their first values back."""
    kept = st.session_state[KEPT]
    st.session_state[KEPT] = {"base": kept["base"], "edits": {}, "round": kept["round"] + 1}


def written(edits: Mapping[str, Any]) -> str:
    """Edits as a link has them.

    >>> written({"mixer@2": "conv", "width@2": 64})
    'mixer2:conv,width2:64'
    """
    return ",".join(f"{column.replace('@', '')}:{_text(value)}" for column, value in edits.items())


def parse(text: str) -> dict[str, Any]:
    """The edits of a link.

    Raises:
        InputError: what is no edit; one line.
    """
    found: dict[str, Any] = {}
    for word in filter(None, text[:LONGEST].split(",")):
        name, colon, value = word.partition(":")
        column = (
            name
            if name in structure.GENERAL
            else f"{name.rstrip('0123456789')}@{name[len(name.rstrip('0123456789')) :]}"
        )
        if not colon or not structure.is_structure(column):
            raise InputError(f"{word[:40]}: is no edit; write mixer2:conv,width2:64")
        found[column] = _value(value)
    return found


def controls(original: Architecture, edits: Mapping[str, Any]) -> dict[str, Any]:
    """Draws the controls of one part of the network, chosen above them, and returns all edits."""
    parts = ["Stem", *(f"Stage {k}" for k in range(1, len(original.stages) + 1))]
    part = st.segmented_control("Part", parts, default=parts[0], required=True, key="edit_part", bind="query-params")
    asked = dict(edits)
    if part in (None, "Stem"):
        _stem(original, asked)
    else:
        _stage(original, parts.index(str(part)), asked)
    return asked


def _stem(original: Architecture, asked: dict[str, Any]) -> None:
    has = structure.columns_of(original.to_dict())
    _select("Stem", "stem_kind", ("patch", "conv"), has["stem_kind"], asked)
    _select("Stem stride, pixels", "stem_stride", STRIDES, has["stem_stride"], asked)
    _whole("Image size, pixels", "image_size", has["image_size"], asked, 8, 4096, 16)


def _stage(original: Architecture, k: int, asked: dict[str, Any]) -> None:
    has = structure.columns_of(original.to_dict())
    left, right = st.columns(2)
    with left:
        width = _whole("Width, channels", f"width@{k}", has[f"width@{k}"], asked, 1, 8192, 8)
        _whole("Depth, blocks", f"depth@{k}", has[f"depth@{k}"], asked, 1, 64, 1)
        kind = _select("Token mixer", f"mixer@{k}", tuple(MIXER_FIELDS), has[f"mixer@{k}"], asked)
        _mixer(original, k, str(kind), width, asked)
    with right:
        _real("FFN ratio", f"ffn_ratio@{k}", has[f"ffn_ratio@{k}"], asked, 0.1, 16.0, 0.5)
        _select("Norm", f"norm@{k}", ("layer", "batch"), has[f"norm@{k}"], asked)
        _select("Activation", f"activation@{k}", ("gelu", "relu"), has[f"activation@{k}"], asked)
        _select("Local 3×3 convolution", f"local@{k}", (False, True), has[f"local@{k}"], asked)
        if k > 1:
            kinds = ("patch_merging", "inverted_residual")
            _select("Downsampling before it", f"downsample@{k}", kinds, has[f"downsample@{k}"], asked)


def _mixer(original: Architecture, k: int, kind: str, width: int, asked: dict[str, Any]) -> None:
    """The choices that a mixer of this kind has."""
    for name in {name for names in MIXER_FIELDS.values() for name in names} - set(MIXER_FIELDS[kind]):
        asked.pop(f"{name}@{k}", None)  # of a mixer that is chosen no more
    usual = settings(original, k - 1, kind, width)
    if kind == "window":
        window = _whole("Window, tokens along a side", f"window@{k}", usual["window"], asked, 1, 256, 1)
        usual = settings(original, k - 1, kind, width, window)
        shift = min(usual["shift"], window - 1)
        _select("Shift, tokens", f"shift@{k}", tuple(range(window)), shift, asked, usual["shift"])
    if "heads" in MIXER_FIELDS[kind]:
        nearest = nearest_divisor(width, usual["heads"])
        _select("Heads", f"heads@{k}", tuple(divisors(width)), nearest, asked, usual["heads"])
    if kind == "conv":
        _select("Kernel", f"kernel@{k}", KERNELS, usual["kernel"], asked)
    if kind == "single_head":
        _real("Attending share of the channels", f"partial@{k}", usual["partial"], asked, 0.01, 1.0, 0.05)
        _whole("Query width, channels", f"qk_dim@{k}", usual["qk_dim"], asked, 1, 512, 8)


def _select(
    label: str, column: str, options: Sequence[Any], usual: Any, asked: dict[str, Any], original: Any = None
) -> Any:
    """A choice among options; `usual` stands there first, and is an edit where the original has another."""
    now = asked.get(column, usual)
    index = options.index(now) if now in options else options.index(usual)
    key = f"{_key(column)}/{len(options)}/{options[-1]}"
    value = st.selectbox(label, options, index=index, key=key, format_func=_shown)
    _record(column, value, usual if original is None else original, asked)
    return value


def _whole(label: str, column: str, usual: int, asked: dict[str, Any], low: int, high: int, step: int) -> int:
    low, high = min(low, usual), max(high, usual)
    now = min(max(int(asked.get(column, usual)), low), high)
    value = int(st.number_input(label, min_value=low, max_value=high, value=now, step=step, key=_key(column)))
    _record(column, value, usual, asked)
    return value


def _real(label: str, column: str, usual: float, asked: dict[str, Any], low: float, high: float, step: float) -> None:
    low, high = min(low, usual), max(high, usual)
    now, key = min(max(float(asked.get(column, usual)), low), high), _key(column)
    value = float(st.number_input(label, min_value=low, max_value=high, value=now, step=step, key=key, format="%.3g"))
    _record(column, usual if abs(value - usual) < 1e-6 else value, usual, asked)


def _record(column: str, value: Any, usual: Any, asked: dict[str, Any]) -> None:
    if value == usual:
        asked.pop(column, None)
    else:
        asked[column] = value


def _key(column: str) -> str:
    """A widget's key, which changes with the base and with each reset, so that the widget begins anew."""
    kept = st.session_state[KEPT]
    return f"whatif/{kept['base']}/{kept['round']}/{column}"


def _shown(value: Any) -> str:
    """An option in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    words = {
        "single_head": "single head",
        "none": "no token mixer",
        "global": "global attention",
        "conv": "convolution",
    }
    return words.get(value, str(value).replace("_", " "))


def _text(value: Any) -> str:
    """A choice as a link has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _value(text: str) -> Any:
    """What a link's word stands for."""
    if text in ("yes", "no"):
        return text == "yes"
    if text.isascii() and text.isdecimal() and len(text) <= 6:
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
