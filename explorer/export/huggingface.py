"""A folder that `transformers.AutoModelForImageClassification` loads offline: config, code, weights, preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from explorer.export.python import python_source
from explorer.export.subject import Subject
from explorer.export.target import Target

CODE = "modeling_vitscape.py"
USE = """
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained("{name}_huggingface", trust_remote_code=True)
    logits = model(pixel_values=images).logits  # ({shape}) -> (B, {classes})
"""
IMPORTS = """
from typing import Any
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput
"""
CLASS = '''
LOSSES = {{  # by the configuration's problem_type
    None: F.cross_entropy,
    "single_label_classification": F.cross_entropy,
    "multi_label_classification": F.binary_cross_entropy_with_logits,
    "regression": F.mse_loss,
}}


class NetworkConfig(PretrainedConfig):
    """What may be chosen when the network is made; all else is in its code."""

    model_type = "{model_type}"

    def __init__(
        self, num_channels: int = IN_CHANNELS, drop_path_rate: float = {drop_path}, **kwargs: Any
    ) -> None:
        self.num_channels = num_channels
        self.drop_path_rate = drop_path_rate
        super().__init__(**kwargs)


class NetworkForImageClassification(PreTrainedModel):
    """The network under transformers' names; its state dict's keys are those of `Network`."""

    config_class = NetworkConfig
    main_input_name = "pixel_values"
    _no_split_modules = ["Residual"]

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        network = Network(config.num_labels, config.num_channels, config.drop_path_rate)
        self.stem, self.stages, self.head = network.stem, network.stages, network.head
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """What the constructor could not do where it had no memory: the buffers of windows, a new classifier."""
{buffers}        if isinstance(module, nn.Linear) and not getattr(module.weight, "_is_hf_initialized", False):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None and not getattr(module.bias, "_is_hf_initialized", False):
                nn.init.zeros_(module.bias)

    features = Network.features

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutput | tuple[Tensor, ...]:
        """Logits (B, labels); the loss where labels (B,) are given; the map of each stage where asked for."""
        maps = self.features(pixel_values)
        logits = self.head(maps[-1])
        loss = None if labels is None else LOSSES[self.config.problem_type](logits, labels)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = ImageClassifierOutput(loss=loss, logits=logits, hidden_states=tuple(maps) if wanted else None)
        as_dict = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()
'''
BUFFERS = """        if isinstance(module, WindowAttention):
            module.compute_geometry()
"""


def write_huggingface(subject: Subject, folder: Path) -> dict[str, Any]:
    """Write config.json, the modelling code, model.safetensors and, where known, the preprocessing."""
    from safetensors.torch import save

    folder.mkdir(parents=True)
    architecture = subject.architecture.canonical
    windowed = any(stage.mixer.kind == "window" for stage in architecture.stages)
    text = CLASS.format(model_type="vitscape", drop_path=architecture.drop_path, buffers=BUFFERS if windowed else "")
    source = python_source(subject, use=USE, imports=IMPORTS, more=text)
    (folder / CODE).write_text(source, encoding="utf-8")
    module = CODE.removesuffix(".py")
    config = {
        "model_type": "vitscape",
        "architectures": ["NetworkForImageClassification"],
        "auto_map": {
            "AutoConfig": f"{module}.NetworkConfig",
            "AutoModelForImageClassification": f"{module}.NetworkForImageClassification",
        },
        "image_size": architecture.image_size,
        "num_channels": architecture.in_channels,
        "drop_path_rate": architecture.drop_path,
        "num_labels": architecture.classes,
        "vitscape_architecture": subject.architecture.to_dict(),
    }
    _write_json(folder / "config.json", config)
    mean, std = subject.statistics
    _write_json(folder / "preprocessor_config.json", _processor(architecture.image_size, list(mean), list(std)))
    weights = {name: tensor.contiguous() for name, tensor in subject.network.state_dict().items()}
    (folder / "model.safetensors").write_bytes(save(weights, {"format": "pt"}))
    return {}


def _processor(size: int, mean: list[float], std: list[float]) -> dict[str, Any]:
    """As images of a folder are prepared for training and validation: short side resized (bicubic), centre crop."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


HUGGINGFACE = Target(
    file="{name}_huggingface",
    write=write_huggingface,
    load="""
from transformers import AutoModelForImageClassification

network = AutoModelForImageClassification.from_pretrained("./{name}_huggingface", trust_remote_code=True)


def model(images):
    return network(pixel_values=images).logits
""",
    needs={"transformers": "transformers", "safetensors": "vitscape[search]"},
)
