"""The network as a model of timm: the self-contained file, and a class that speaks timm's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from explorer.export.python import python_source
from explorer.export.subject import Subject
from explorer.export.target import Target

USE = """
    import timm
    import {identifier}_timm  # registers the model

    name = "vitscape_{identifier}"
    model = timm.create_model(name, checkpoint_path="{weights}")  # ({shape}) -> (B, {classes})
    trained = {{"pretrained": True, "pretrained_cfg_overlay": {{"file": "{weights}"}}}}
    backbone = timm.create_model(name, features_only=True, **trained)  # a list of maps, finest first
    encoder = timm.create_model(name, num_classes=0, **trained)  # pooled features instead of logits
"""
IMPORTS = """
from typing import Any
from torch.nn import functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
"""
CLASS = '''
class TimmNetwork(Network):
    """The network under timm's names: `forward_features`, `forward_head`, `reset_classifier`, `feature_info`."""

    def __init__(
        self,
        num_classes: int = CLASSES,
        in_chans: int = IN_CHANNELS,
        drop_path_rate: float = {drop_path},
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__(max(1, num_classes), in_chans, drop_path_rate)
        self.drop_rate = drop_rate
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = {width}
        self.feature_info = [
            {info},
        ]
        if num_classes == 0 or global_pool != "avg":
            self.reset_classifier(num_classes, global_pool)

    def get_classifier(self) -> nn.Module:
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        if global_pool not in (None, "avg"):
            raise ValueError(f"global_pool={{global_pool!r}}: this network averages over tokens; use 'avg'")
        self.num_classes = num_classes
        like = next(self.parameters())
        classifier = nn.Linear(self.num_features, num_classes or 1, device=like.device, dtype=like.dtype)
        nn.init.trunc_normal_(classifier.weight, std=0.02)
        self.head.fc = classifier if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = F.dropout(self.head.pooled(x), self.drop_rate, self.training)
        return x if pre_logits else self.head.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Maps (B, C, H, W) of the stages `indices`, after the last map unless these are all that is wanted."""
        if norm or output_fmt != "NCHW":
            raise ValueError("maps come without a norm, as NCHW")
        maps = self.features(x)
        wanted, _ = feature_take_indices(len(maps), indices)
        chosen = [maps[i] for i in wanted]
        return chosen if intermediates_only else (maps[-1], chosen)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Leave out the stages after the last one wanted, and the head."""
        wanted, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        if prune_head or last + 1 < len(self.feature_info):
            self.head = nn.Identity()
        return wanted

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        if enable:
            raise ValueError("gradient checkpointing is not supported by this network")

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        tables = ("relative_position_bias_table", "position.embedding")
        return {{name for name, _ in self.named_parameters() if name.endswith(tables)}}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        fine = [(r"^stages\\.(\\d+)\\.downsample", (0,)), (r"^stages\\.(\\d+)\\.blocks\\.(\\d+)", None)]
        return {{"stem": r"^stem", "blocks": r"^stages\\.(\\d+)" if coarse else fine}}


default_cfgs = generate_default_cfgs(
    {{
        "{model}": {{
            "num_classes": CLASSES,
            "input_size": (IN_CHANNELS, IMAGE_SIZE, IMAGE_SIZE),
            "pool_size": ({side}, {side}),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": {mean},
            "std": {std},
            "first_conv": "{first_conv}",
            "classifier": "head.fc",
        }}
    }}
)


@register_model
def {model}(pretrained: bool = False, **kwargs: Any) -> TimmNetwork:
    """The network; it has no weights to download: give `checkpoint_path`."""
    stages = tuple(range({stages}))
    features = {{"out_indices": stages, "feature_cls": "getter"}}
    return build_model_with_cfg(TimmNetwork, "{model}", pretrained, feature_cfg=features, **kwargs)
'''


def write_timm(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the self-contained file with the model registered as `vitscape_NAME`. Returns that name."""
    architecture = subject.architecture.canonical
    reductions = [architecture.stem.stride * 2**i for i in range(len(architecture.stages))]
    info = [
        f'{{"num_chs": {stage.width}, "reduction": {reduction}, "module": "stages.{i}"}}'
        for i, (stage, reduction) in enumerate(zip(architecture.stages, reductions, strict=True))
    ]
    model = f"vitscape_{subject.identifier}"
    mean, std = subject.statistics
    text = CLASS.format(
        drop_path=architecture.drop_path,
        width=architecture.stages[-1].width,
        info=",\n            ".join(info),
        model=model,
        side=architecture.maps[-1],
        mean=mean,
        std=std,
        first_conv="stem.embed.proj" if architecture.stem.kind == "patch" else "stem.embed.steps.0.conv",
        stages=len(architecture.stages),
    )
    path.write_text(python_source(subject, use=USE, imports=IMPORTS, more=text), encoding="utf-8")
    return {"model": model}


TIMM = Target(
    file="{identifier}_timm.py",
    write=write_timm,
    load="""
import timm
import torch
import {identifier}_timm

model = timm.create_model("vitscape_{identifier}")
model.load_state_dict(torch.load("{weights}", weights_only=True))
model = model.eval()
""",
    needs={"timm": "timm"},
    takes_weights=True,
)
