"""How fast the parameters of a vision transformer learn: the nearer to the image, the slower.

Legend: L blocks, numbered from 0; δ = `layer_decay`, m = `backbone_lr_mult`.
"""

import re
from collections.abc import Iterable

from mmseg.system.errors import ConfigError

# What stands before `blocks.<number>.` in the names of a ViT's parameters, and that number.
VIT_BLOCK = re.compile(r"((?:.*\.)?backbone\.(?:vit\.)?)blocks\.(\d+)\.")


def vit_factors(names: Iterable[str], layer_decay: float, mult: float) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter that belongs to a ViT.

    It is m·δ^(L-1-i) in block i, and m·δ^L for what stands beside the blocks: patches, positions,
    tokens, the last norm. A ViT is `backbone` or `backbone.vit`; the parts of an adapter around it
    are none of its parameters, and neither are heads. `ConfigError` without a ViT.

    >>> vit_factors(["backbone.blocks.0.w", "backbone.blocks.1.w", "backbone.cls"], 0.5, 1.0)
    {'backbone.blocks.0.w': 0.5, 'backbone.blocks.1.w': 1.0, 'backbone.cls': 0.25}
    """
    names = list(names)
    depths: dict[str, int] = {}
    for match in filter(None, map(VIT_BLOCK.match, names)):
        depths[match[1]] = max(depths.get(match[1], 0), int(match[2]) + 1)
    if not depths:
        raise ConfigError(
            "expected a vision transformer, with parameters backbone.blocks.0.… or "
            "backbone.vit.blocks.0.…, for layer_decay and backbone_lr_mult of "
            f"optimizer.paramwise_cfg, got {_backbone_text(names)}. Use "
            "paramwise_cfg.custom_keys=dict(backbone=dict(lr_mult=…)) instead."
        )
    factors = {}
    for name in names:
        for vit, depth in depths.items():
            if name.startswith(vit):
                match = VIT_BLOCK.match(name)
                factors[name] = mult * layer_decay ** (
                    depth - 1 - int(match[2]) if match else depth
                )
    return factors


def _backbone_text(names: Iterable[str]) -> str:
    """Name a parameter of the backbone, where there is one."""
    found = next((name for name in names if re.search(r"(^|\.)backbone\.", name)), None)
    return f"a backbone with {found!r}" if found else "no backbone"
