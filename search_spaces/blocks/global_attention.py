"""Multi-head self-attention over the whole map, (B, C, H, W) -> the same shape (ViT)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.conv_bn import linear


class GlobalAttention(nn.Module):
    """Norm (where the stage has LayerNorm), qkv, attention among all tokens, projection."""

    def __init__(self, width: int, heads: int, norm: str) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width) if norm == "layer" else nn.Identity()
        self.qkv = linear(norm, width, 3 * width)
        self.proj = linear(norm, width, width, bn_weight=0)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.norm(x.permute(0, 2, 3, 1)).reshape(b, h * w, c)
        tokens = self.proj(attend(self.qkv(tokens), self.heads))
        return tokens.view(b, h, w, c).permute(0, 3, 1, 2)


def attend(qkv: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v per head: (B, N, 3 C) split q|k|v, then heads -> (B, N, C).

    `bias` broadcasts to (B, heads, N, N).
    """
    b, n, c3 = qkv.shape
    q, k, v = qkv.view(b, n, 3, heads, c3 // 3 // heads).permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, N, d)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return out.transpose(1, 2).reshape(b, n, c3 // 3)
