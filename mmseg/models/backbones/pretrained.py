"""Load a backbone's ImageNet weights from a file, and say exactly what does not fit."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.models.backbones.weight_names import checked_file, how_to_fetch
from mmseg.system.errors import ConfigError
from mmseg.system.files import refuse_endless
from mmseg.system.hub import is_on_hub, local_file
from mmseg.system.safe_loading import UnreadableFileError
from mmseg.system.soundness import faults_in, misfits
from mmseg.system.weight_files import load_weights_file
from mmseg.system.weight_table import is_known_kind, known_as

SHOWN = 4  # names per list in an error message
Arrange = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def load_pretrained(
    backbone: nn.Module,
    path: str | Path,
    where_to_get: str,
    ignored: Sequence[str] = ("head.",),
    arrange: Arrange = dict,
) -> None:
    """Fill `backbone` from the file at `path`; every key and shape must fit.

    `torch.save` or safetensors made the file; nothing in it is executed. The keys are at its top
    level or under `state_dict` or `model`. Batch counts of batch norms, which old files lack, start
    at 0.

    Args:
        backbone: to fill.
        path: of the file, or a name such as 'torchvision://resnet50' (see `weight_table`), or a
            file on the hub, such as 'hf://owner/name' (see `hub`).
        where_to_get: what to do if there is no such file, as the end of a sentence.
        ignored: prefixes of keys that are left out, those of the image classifier.
        arrange: returns the other weights under the backbone's names.

    Raises:
        FileNotFoundError: if there is no such file.
        UnsafeFileError: if it contains more than tensors and plain values.
        ConfigError: if it cannot be read or does not fit, or if `path` is another URL.
    """
    if is_known_kind(str(path)):
        path = checked_file(str(path))
    elif is_on_hub(path):
        path = local_file(path)
    if "://" in str(path) or str(path).startswith("hf-hub:"):
        name = str(path).rsplit("/", 1)[-1].removesuffix(".pth")
        raise ConfigError(
            f"expected the path of a file as `pretrained`, got '{path}', and nothing is "
            "downloaded; download these weights and give the path of the file, e.g. "
            f"model.pretrained='pretrained/{name}.pth', or set model.pretrained=None to start "
            "from random weights."
        )
    path = Path(path)
    refuse_endless(path, "pretrained weights")
    if not path.is_file():
        known = known_as(path)
        how = f" {how_to_fetch(known.name if known.path == path else 'CONFIG')}." if known else ""
        raise FileNotFoundError(
            f"expected pretrained weights at '{path}', got no such file; {where_to_get}.{how}"
        )
    found = {k: v for k, v in _read_state(path).items() if not k.startswith(tuple(ignored))}
    found = dict(arrange(found))
    expected = backbone.state_dict()
    for key in expected:
        if key.endswith(".num_batches_tracked"):
            found.setdefault(key, torch.tensor(0))
    if problems := _differences(expected, found):
        raise ConfigError(
            f"expected the weights of {type(backbone).__name__} in '{path}', got others: "
            f"{'; '.join(problems)}; give the file that belongs to the backbone's type."
        )
    backbone.load_state_dict(found)


def weight_notes(network: nn.Module) -> list[str]:
    """Return what the log should say about the weights that a network starts from."""
    parts: list[Any] = [part for part in network.modules() if hasattr(part, "weight_notes")]
    return list(dict.fromkeys(note for part in parts for note in part.weight_notes()))


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """Return the state dict in a file."""
    try:
        content: Any = load_weights_file(path, "pretrained weights")
    except UnreadableFileError as error:
        raise ConfigError(
            f"expected a file of tensors at '{path}', got one that cannot be read ({error}); fetch "
            "the file again."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(
            f"expected a state dict in '{path}', got {type(content).__name__}; "
            "give a file of named weights."
        )
    if faults := faults_in(content):
        raise ConfigError(
            f"expected finite weights in '{path}', got {', '.join(faults[:SHOWN])}. Fetch the file "
            "again."
        )
    return content


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Describe missing keys, unexpected keys and keys of another shape or kind."""
    shapes, kinds = misfits(expected, found)
    lists = {
        "missing keys": [key for key in expected if key not in found],
        "unexpected keys": [key for key in found if key not in expected],
        "other shapes": shapes,
        "other kinds": kinds,
    }
    return [
        f"{title} {', '.join(names[:SHOWN])}"
        + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        for title, names in lists.items()
        if names
    ]
