"""Attention of one head."""

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.layers.shape import is_exporting


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Return softmax(scale·query·keyᵀ)·value (N, L, C); `scale` is by default 1/√(query channels).

    Queries are (N, L, K), keys (N, M, K), values (N, M, C).
    """
    if is_exporting():  # ONNX has it for several heads
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)
    return F.scaled_dot_product_attention(query, key, value, scale=scale)
