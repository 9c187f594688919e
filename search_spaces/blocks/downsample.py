"""Between stages: (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.architecture import squeeze_width
from search_spaces.blocks.conv_bn import ConvBN
from search_spaces.blocks.ffn import ConvFFN
from search_spaces.blocks.residual import Residual


class PatchMerging(nn.Module):
    """2x2 neighbours side by side in the channels, LayerNorm, linear 4C -> C' without bias (Swin, section 3.1)."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, out_width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        if h % 2 or w % 2:
            x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
        x = x.reshape(b, (h + 1) // 2, 2, (w + 1) // 2, 2, c)
        # column-major, as published: (0, 0), (1, 0), (0, 1), (1, 1)
        x = x.permute(0, 1, 3, 4, 2, 5).reshape(b, (h + 1) // 2, (w + 1) // 2, 4 * c)
        return self.reduction(self.norm(x)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate from their means: 1x1 convolutions, ReLU, sigmoid (Hu et al. 2018)."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, reduced, 1)
        self.expand = nn.Conv2d(reduced, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


class InvertedResidual(nn.Module):
    """Local and FFN residuals, 4x expansion with squeeze-excite and stride 2, and the residuals again (SHViT, 3.3)."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.local1 = Residual(ConvBN(width, width, 3, groups=width))
        self.ffn1 = Residual(ConvFFN(width, 2 * width, "relu", bn_weight=1))
        self.expand = ConvBN(width, 4 * width)
        self.depthwise = ConvBN(4 * width, 4 * width, 3, 2, groups=4 * width)
        self.se = SqueezeExcite(4 * width, squeeze_width(width))
        self.project = ConvBN(4 * width, out_width)
        self.local2 = Residual(ConvBN(out_width, out_width, 3, groups=out_width))
        self.ffn2 = Residual(ConvFFN(out_width, 2 * out_width, "relu", bn_weight=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.ffn1(self.local1(x))
        x = F.relu(self.depthwise(F.relu(self.expand(x))))
        x = self.project(self.se(x))
        return self.ffn2(self.local2(x))


DOWNSAMPLES: dict[str, type[PatchMerging] | type[InvertedResidual]] = {
    "patch_merging": PatchMerging,
    "inverted_residual": InvertedResidual,
}
