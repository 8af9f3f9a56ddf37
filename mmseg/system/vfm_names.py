"""The names of weights in the released files of VFM-UDA and VFM-UDA++, and ours.

The files are those of Lightning: a network is under `network.`, with the parts `encoder`, `upscale`
and `out`. The encoder of VFM-UDA++ is a ViT-Adapter, that of VFM-UDA a plain ViT.
"""

from collections.abc import Mapping
from typing import TypeVar

from mmseg.system.weight_table import UNKNOWN

ENCODER, HEAD, CLASSIFIER = "network.encoder.", "network.upscale.", "network.out."
TOKEN, SECOND_TOKEN = f"{ENCODER}mask_token", "network.token_masking.mask_token"
ADAPTER = f"{ENCODER}level_embed"  # only the encoder of VFM-UDA++ has it
# Beside the student: its teacher, and the networks of the feature distance.
OTHERS = ("network_ema.", "network_feature_extractor.", "network_feature_head.")
# In the adapter's encoder, the ViT and what is beside it have no level of their own.
VIT_PARTS = ("cls_token", "pos_embed", "reg_token", "patch_embed.", "blocks.")
OUR_VIT, OUR_BACKBONE, OUR_HEAD = "backbone.vit.", "backbone.", "decode_head."
OUR_CLASSIFIER = f"{OUR_HEAD}conv_seg."
LICENSE = f"License of the weights of VFM-UDA and VFM-UDA++: {UNKNOWN}."
Value = TypeVar("Value")


def is_released(state: Mapping[str, Value]) -> bool:
    """Tell whether these are the weights of VFM-UDA or VFM-UDA++, or of their encoder."""
    return any(key.startswith(ENCODER) for key in state)


def our_names(state: Mapping[str, Value]) -> dict[str, Value]:
    """Return the student's weights of a released file under the names of our `EncoderDecoder`.

    >>> our_names({'network.encoder.cls_token': 1, 'network.out.weight': 2, 'network_ema.out': 3})
    {'backbone.cls_token': 1, 'decode_head.conv_seg.weight': 2}
    """
    has_adapter, named = ADAPTER in state, {}
    for key, value in state.items():
        if key.startswith(OTHERS) or (key == SECOND_TOKEN and TOKEN in state):
            continue
        if key.startswith(ENCODER):
            key = key.removeprefix(ENCODER)
            key = OUR_BACKBONE + (adapter_name(key) if has_adapter else key)
        elif key.startswith(CLASSIFIER):
            key = OUR_CLASSIFIER + key.removeprefix(CLASSIFIER)
        elif key.startswith(HEAD):
            key = key.removeprefix("network." if not has_adapter else HEAD)
            key = OUR_HEAD + key
        named[key] = value
    return named


def released_names(state: Mapping[str, Value]) -> dict[str, Value]:
    """Do the opposite: return the weights of our network under the names of the released files.

    >>> released_names({'backbone.vit.cls_token': 1, 'decode_head.norm1.bias': 2})
    {'network.encoder.cls_token': 1, 'network.upscale.norm1.bias': 2}
    """
    named = {}
    for key, value in state.items():
        for ours, theirs in (
            (OUR_VIT, ENCODER),
            (OUR_BACKBONE, ENCODER),
            (OUR_CLASSIFIER, CLASSIFIER),
            (f"{OUR_HEAD}upscale.", HEAD),
            (OUR_HEAD, HEAD),
        ):
            if key.startswith(ours):
                key = theirs + key.removeprefix(ours)
                break
        named[key] = value
    if TOKEN in named:
        named[SECOND_TOKEN] = named[TOKEN]
    return named


def adapter_names(found: Mapping[str, Value]) -> dict[str, Value]:
    """Return the weights of a pre-trained adapter under the names of `ViTAdapter`.

    Beside the encoder, the files hold an image classifier (every key with `head` in it) or the
    rest of a segmentation network. They are left out.

    >>> adapter_names({'network.encoder.cls_token': 1, 'network.encoder.up.bias': 2, 'head.a': 3})
    {'vit.cls_token': 1, 'up.bias': 2}
    """
    return {adapter_name(key): value for key, value in _of_encoder(found).items()}


def vit_names(found: Mapping[str, Value]) -> dict[str, Value]:
    """Return the weights of the ViT alone, of a released file or a pre-trained adapter."""
    named = _of_encoder(found)
    if is_released(found) and ADAPTER in found:
        return {key: value for key, value in named.items() if key.startswith(VIT_PARTS)}
    return named


def adapter_name(key: str) -> str:
    """Return the name in `ViTAdapter` of a weight of the encoder of VFM-UDA++."""
    return f"vit.{key}" if key.startswith(VIT_PARTS) else key


def _of_encoder(found: Mapping[str, Value]) -> dict[str, Value]:
    if not is_released(found):
        return {key: value for key, value in found.items() if "head" not in key}
    named = {k.removeprefix(ENCODER): v for k, v in found.items() if k.startswith(ENCODER)}
    return {key: value for key, value in named.items() if "head" not in key}
