"""A network as one file of Python that needs torch alone: the code of its blocks, and the network spelt out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorer.export.source import Source, collect
from explorer.export.subject import Subject
from explorer.export.target import Target
from search_spaces.architecture import (
    Architecture,
    ConvMixer,
    GlobalMixer,
    NoMixer,
    PatchStem,
    SingleHeadMixer,
    Stage,
    WindowMixer,
)
from search_spaces.cost import cost

WIDTH = 120  # columns

USE = """
    network = Network()               # in training mode; Network(classes=10) has another classifier
    network.load_state_dict(torch.load("{weights}", weights_only=True))
    network = network.fuse()          # a copy for inference, its BatchNorms folded away
    logits = network(images)          # ({shape}) -> (B, {classes})
    maps = network.features(images)   # of each stage, finest first
"""


def write_python(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the network as Python that needs torch alone."""
    path.write_text(python_source(subject), encoding="utf-8")
    return {}


def python_source(subject: Subject, *, use: str = USE, imports: str = "", more: str = "") -> str:
    """The text of a file that defines `Network`, beginning with how it is used; `more` follows it."""
    from search_spaces.blocks.network import Network, channels_last, fold, initialise

    architecture = subject.architecture.canonical
    body = network_class(architecture)
    roots = [
        type(module) for module in subject.network.modules() if type(module).__module__.startswith("search_spaces")
    ]
    roots = [root for root in dict.fromkeys(roots) if root is not Network]
    source = collect([*roots, fold, initialise, channels_last, *_makers(architecture)], given=["Network"])
    source.imports |= {
        "import torch",
        "from torch import Tensor, nn",
        "import copy",
        *filter(None, imports.split("\n")),
    }
    parts = [
        _docstring(subject, use),
        "from __future__ import annotations",
        _import_lines(source),
        _constants(architecture),
    ]
    blocks = "\n\n\n".join([NAMED.strip(), *source.definitions.values(), body])
    return "\n\n".join(parts) + "\n\n\n" + blocks + "\n" + (f"\n\n{more.strip()}\n" if more else "")


NAMED = '''
def named(**parts: nn.Module) -> nn.Sequential:
    """The parts in their order, under their names."""
    sequence = nn.Sequential()
    for name, part in parts.items():
        sequence.add_module(name, part)
    return sequence
'''


def network_class(architecture: Architecture) -> str:
    """The class `Network` of a canonical architecture, every number in it spelt out.

    Its parts are made in the order of ours, so that one seed gives both the same weights.
    """
    from search_spaces.blocks.network import Network

    blocks = sum(stage.depth for stage in architecture.stages)
    lines = [
        "class Network(nn.Module):",
        f'    """(B, {architecture.in_channels}, H, W) -> logits (B, classes); '
        f'made for {architecture.image_size} pixels, it takes other sizes too."""',
        "",
        "    def __init__(self, classes: int = CLASSES, in_channels: int = IN_CHANNELS, drop_path: float = "
        f"{architecture.drop_path!r}) -> None:",
        "        super().__init__()",
    ]
    if blocks > 1:
        remark = "  # of stochastic depth, linear over all blocks"
        lines += [f"        rates = [drop_path * i / {blocks - 1} for i in range({blocks})]{remark}"]
    else:
        lines += ["        rates = [0.0 * drop_path]  # of stochastic depth: none for a single block"]
    lines += [*_stem(architecture), "        self.stages = nn.ModuleList()"]
    first = 0
    for i, (stage, side) in enumerate(zip(architecture.stages, architecture.maps, strict=True)):
        before = architecture.stages[i - 1].width if i else None
        lines += _stage(stage, side, before, first)
        first += stage.depth
    kind = {"layer": "LayerNormHead", "batch": "BatchNormHead"}[architecture.head.norm]
    lines += [
        f"        self.head = {kind}({architecture.stages[-1].width}, classes)",
        "        initialise(self)",
        "        channels_last(self)",
        "",
    ]
    methods = [inspect.getsource(method).rstrip() for method in (Network.features, Network.forward, Network.fuse)]
    return "\n".join(lines) + "\n" + "\n\n".join(methods)


Call = tuple[str, list[str]]  # what is called, its arguments


def _stem(architecture: Architecture) -> list[str]:
    stem, width = architecture.stem, architecture.stages[0].width
    if isinstance(stem, PatchStem):
        embed = f'Patches(in_channels, {width}, stride={stem.stride}, norm="{stem.norm}")'
    else:
        embed = f"ConvSteps(in_channels, {stem.widths(width)})"
    parts = [f"embed={embed}"]
    if stem.position == "absolute":
        parts.append(f"position=Position({width}, {architecture.maps[0]})")
    return _lines(8, "self.stem = ", ("named", parts))


def _stage(stage: Stage, side: int, before: int | None, first: int) -> list[str]:
    """The lines that add a stage whose map is side x side; `first` counts the blocks before it."""
    bodies = {"local": _local(stage), "mixer": _mixer(stage, side), "ffn": _ffn(stage)}
    rate = f"rates[{first} + i]" if first else "rates[i]"
    lines = [f"        # {side} x {side} tokens", "        blocks = (", "            named("]
    for name, body in bodies.items():
        if body is not None:
            lines += _lines(16, f"{name}=", ("Residual", [_flat(body), rate]), ",", first=body)
    lines += ["            )", f"            for i in range({stage.depth})", "        )"]
    parts = [] if before is None else [f"downsample={_flat(_downsample(stage, before))}"]
    return [*lines, *_lines(8, "self.stages.append(", ("named", [*parts, "blocks=nn.Sequential(*blocks)"]), ")")]


def _downsample(stage: Stage, before: int) -> Call:
    kind = {"patch_merging": "PatchMerging", "inverted_residual": "InvertedResidual"}[str(stage.downsample)]
    return kind, [str(before), str(stage.width)]


def _local(stage: Stage) -> Call | None:
    if not stage.local:
        return None
    return ("depthwise", [str(stage.width), "3"]) if stage.norm == "layer" else _depthwise_bn(stage.width, 3)


def _ffn(stage: Stage) -> Call:
    kind = "MLP" if stage.norm == "layer" else "ConvFFN"
    return kind, [str(stage.width), str(stage.hidden), f'"{stage.activation}"']


def _mixer(stage: Stage, side: int) -> Call | None:
    width, norm = str(stage.width), f'norm="{stage.norm}"'
    match stage.mixer:
        case WindowMixer() as mixer:
            shift = f"{mixer.shift_tokens} * (i % 2)" if mixer.shift_tokens else "0"  # odd blocks shift
            grid = [f"size={mixer.size}", f"shift={shift}", f"side={side}"]
            table = f"relative_position_bias={mixer.relative_position_bias}"
            return "WindowAttention", [width, f"heads={mixer.heads}", *grid, norm, table]
        case GlobalMixer() as mixer:
            return "GlobalAttention", [width, f"heads={mixer.heads}", norm]
        case SingleHeadMixer() as mixer:
            split = [f"partial={mixer.partial(stage.width)}", f"qk_dim={mixer.qk_dim}"]
            return "SingleHeadAttention", [width, *split, norm, f'activation="{stage.activation}"']
        case ConvMixer() as mixer if stage.norm == "layer":
            return "NormedConv", [width, str(mixer.kernel)]
        case ConvMixer() as mixer:
            return _depthwise_bn(stage.width, mixer.kernel)
        case NoMixer():
            return None


def _depthwise_bn(width: int, kernel: int) -> Call:
    return "ConvBN", [str(width), str(width), str(kernel), f"groups={width}", "bn_weight=0"]


def _flat(call: Call) -> str:
    return f"{call[0]}({', '.join(call[1])})"


def _lines(indent: int, before: str, call: Call, after: str = "", first: Call | None = None) -> list[str]:
    """A call in one line where it fits, else an argument a line; `first` is what its first argument calls."""
    space = " " * indent
    if len(line := f"{space}{before}{_flat(call)}{after}") <= WIDTH:
        return [line]
    inner = [f"{space}    {argument}," for argument in call[1]]
    if first is not None:
        inner[:1] = _lines(indent + 4, "", first, ",")
    return [f"{space}{before}{call[0]}(", *inner, f"{space}){after}"]


def _makers(architecture: Architecture) -> list[Callable[..., Any]]:
    """Functions of the block generator that the network class calls by name."""
    from search_spaces.blocks.conv import depthwise

    return [depthwise] if any(stage.local and stage.norm == "layer" for stage in architecture.stages) else []


def _docstring(subject: Subject, use: str) -> str:
    architecture, counts = subject.architecture, cost(subject.architecture)
    size = architecture.image_size
    shape = f"B, {architecture.in_channels}, {size}, {size}"
    weights = subject.weights_file if subject.weights else "weights.pt"
    lines = [
        f'"""{subject.name}: an efficient vision transformer in one file that needs torch alone.',
        "",
        *([_plain(architecture.description), ""] if architecture.description else []),
        f"{counts.params:,} parameters, {counts.macs:,} multiply-adds for an image of {size} x {size} pixels.",
        use.format(
            name=subject.name,
            identifier=subject.identifier,
            weights=weights,
            shape=shape,
            classes=architecture.classes,
        ).rstrip(),
        "",
        f"Written by Vitscape (Apache-2.0) of the architecture {architecture.id}.",
        '"""',
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A remark as it may stand in a docstring, in lines of their own."""
    import textwrap

    return textwrap.fill(text.replace("\\", "/").replace('"', "'"), WIDTH, break_long_words=False)


def _constants(architecture: Architecture) -> str:
    return (
        f"IMAGE_SIZE = {architecture.image_size}  # pixels, square\n"
        f"IN_CHANNELS = {architecture.in_channels}\n"
        f"CLASSES = {architecture.classes}"
    )


def _import_lines(source: Source) -> str:
    """Import lines, the standard library's first, names of one module in one line."""
    plain = sorted(line for line in source.imports if line.startswith("import "))
    names: dict[str, set[str]] = {}
    for line in source.imports:
        if line.startswith("from "):
            module, _, imported = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(part.strip() for part in imported.split(","))
    lines = plain + [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]
    third_party = [line for line in lines if line.split()[1].split(".")[0] in ("torch", "timm", "transformers")]
    return "\n".join(line for line in lines if line not in third_party) + "\n\n" + "\n".join(third_party)


PYTHON = Target(
    file="{identifier}.py",
    write=write_python,
    load="""
import torch
from {identifier} import Network

model = Network()
model.load_state_dict(torch.load("{weights}", weights_only=True))
model = model.eval()
""",
    takes_weights=True,
    timed=True,
)
