"""The names of weights in the files of VFM-UDA and VFM-UDA++, and ours.

The files are those of Lightning: a network is under `network.`, with the parts `encoder`, `upscale`
and `out`. VFM-UDA++ has a ViT-Adapter as the encoder, VFM-UDA a plain ViT.
"""

from collections.abc import Mapping
from typing import TypeVar

ENCODER = "network.encoder."
# In ViT-Adapter's encoder, the ViT and the adapter have no level of their own.
VIT_PARTS = ("cls_token", "pos_embed", "reg_token", "patch_embed.", "blocks.")
Value = TypeVar("Value")


def adapter_names(found: Mapping[str, Value]) -> dict[str, Value]:
    """Return the weights of a pre-trained adapter under the names of `ViTAdapter`.

    What belongs to the image classifier (every key with `head` in it) is left out.

    >>> adapter_names({'network.encoder.cls_token': 1, 'network.encoder.up.bias': 2})
    {'vit.cls_token': 1, 'up.bias': 2}
    """
    named = {k.removeprefix(ENCODER): v for k, v in found.items() if "head" not in k}
    return {adapter_name(key): value for key, value in named.items()}


def adapter_name(key: str) -> str:
    """Return the name in `ViTAdapter` of a weight of the encoder of VFM-UDA++."""
    return f"vit.{key}" if key.startswith(VIT_PARTS) else key
