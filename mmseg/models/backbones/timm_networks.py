"""Make networks of timm without downloads, and read files of their weights.

timm and what it brings (torchvision) are imported only when a network is made.
"""

import difflib
import io
from collections.abc import Mapping, Sequence, Set
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mmseg.config.values import Section
from mmseg.system.errors import ConfigError

# Arguments of timm's constructors that let a network take images of any size.
# Those with the first may ignore the second without a word.
ANY_SIZE: Sequence[dict[str, bool]] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})
# Arguments of timm.create_model that this program sets itself, or that would fetch or run files.
OURS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
OURS += ("features_only", "out_indices", "num_classes", "in_chans", "scriptable", "exportable")
# What timm's own conversions raise for the weights of another network.
FOREIGN = (LookupError, AttributeError, RuntimeError, ValueError, TypeError, AssertionError)


def require_timm() -> Any:
    """Return the module `timm`; raise a sentence for the user if the package is missing."""
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"expected the package timm, version 1.0.20 or newer, got: {error}. Install it: "
            'pip install "cdda-seg[vfm]" (or pip install "timm>=1.0.20").'
        ) from error
    return timm


def make_network(model_name: str, in_channels: int, model_kwargs: Section) -> Any:
    """Return a network of timm with random weights and without classifier, for any image size.

    `ConfigError` for names that timm does not know and arguments that the network does not take.
    """
    timm = require_timm()
    if not timm.is_model(model_name.partition(".")[0]):
        close = difflib.get_close_matches(model_name, timm.list_models(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ConfigError(
            f"expected the name of a network of timm as model_name, got {model_name!r}{hint} "
            "timm.list_models() gives all names; a file of weights is named by pretrained."
        )
    if taken := [key for key in model_kwargs if key in OURS]:
        raise ConfigError(
            f"expected arguments of the network in model_kwargs, got {', '.join(taken)}, which the "
            "program sets itself. Drop them; pretrained, in_channels and out_indices are keys of "
            "TIMMBackbone."
        )
    arguments = {"pretrained": False, "num_classes": 0, "in_chans": in_channels, **model_kwargs}
    for sizes in ANY_SIZE:
        try:
            return timm.create_model(model_name, **{**sizes, **arguments})
        except TypeError as error:
            if any(f"'{key}'" in str(error) for key in sizes):  # a network without this argument
                continue
            raise ConfigError(
                f"expected arguments of timm's {model_name} in model_kwargs, got "
                f"{dict(model_kwargs)}: {error}. Correct them."
            ) from error
    raise AssertionError("unreachable: the last arguments are none")


def classifier_prefixes(network: Any) -> list[str]:
    """Return how the keys of the image classifier begin in files of a network's weights."""
    names = network.pretrained_cfg.get("classifier") or ()
    return [f"{name}." for name in ((names,) if isinstance(names, str) else names)]


def where_to_get(network: Any) -> str:
    """Say what to do without a file of a network's weights, as the end of a sentence."""
    cfg = network.pretrained_cfg
    places = [f"https://huggingface.co/{cfg['hf_hub_id']}" if cfg.get("hf_hub_id") else ""]
    places.append(str(cfg.get("url") or ""))
    known = " or ".join(place for place in places if place) or "timm's collection"
    return (
        f"nothing is downloaded: get the weights of {cfg.get('architecture', 'the network')} from "
        f"{known}, put the file there, or set pretrained=None to start from random weights"
    )


def timm_layout(
    found: Mapping[str, Tensor], network: nn.Module, keys: Set[str]
) -> Mapping[str, Tensor]:
    """Return the weights of a file under timm's names, which are `keys`, whatever its layout is.

    timm's own conversions know the layouts of the networks' authors. Files that no conversion fits
    come back as they are. What a conversion resizes, or drops though it has an effect, comes back
    under its own name and shape: `load_pretrained` refuses it.
    """
    if found.keys() == keys:
        return found
    convert = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
    if convert is None:
        return found
    try:
        with redirect_stdout(io.StringIO()):
            converted = dict(convert(dict(found), network))
    except FOREIGN:
        return found
    for key, original in found.items():
        if key not in converted:
            if _is_lost_bias(key, original, converted):
                converted[key] = original
        elif not _is_same_table(original, converted[key]):
            converted[key] = original
    return converted


def _is_same_table(original: Tensor, converted: Tensor) -> bool:
    """Tell whether a tensor was not resized; timm's tables have no place for CLS with registers."""
    has_place = original.ndim == converted.ndim == 3 and len(original) == 1
    is_shorter = has_place and original.shape[1] == converted.shape[1] + 1
    return is_shorter or original.numel() == converted.numel()


def _is_lost_bias(key: str, original: Tensor, converted: Mapping[str, Tensor]) -> bool:
    """Tell whether a bias of DINOv3's attention is missing in timm's layout, and is not zero."""
    is_split = key.replace("qkv.bias", "q_bias") in converted
    return key.endswith("qkv.bias") and not is_split and bool(original.any())
