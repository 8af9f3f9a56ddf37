"""Files of weights, in both formats: those of torch.save and safetensors.

A safetensors file of this program holds the checkpoint's `meta` as JSON beside the tensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmseg.system.files import atomic_write
from mmseg.system.safe_loading import UnreadableFileError, load_safely

SAFETENSORS = ".safetensors"
META = "meta"


def load_weights_file(path: Path, what: str) -> Any:
    """Load a file of weights to the CPU and execute nothing in it; its suffix tells the format.

    Of safetensors, the content is {'meta': …, 'state_dict': …}. See `load_safely` for the errors;
    `ImportError` without the package safetensors.
    """
    return _load_safetensors(path) if path.suffix == SAFETENSORS else load_safely(path, what)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write named tensors, and plain values as `meta`."""
    _require_safetensors(path)
    from safetensors.torch import save

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    data = save(own, {"format": "pt", META: json.dumps(meta)})
    with atomic_write(path) as file:
        file.write(data)


def _load_safetensors(path: Path) -> dict[str, Any]:
    _require_safetensors(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {META: json.loads(notes.get(META, "{}")), "state_dict": tensors}
    except (SafetensorError, ValueError) as error:
        raise UnreadableFileError(
            f"safetensors did not write it, or it is cut off: {error}"
        ) from error


def _require_safetensors(path: Path) -> None:
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"expected the package safetensors for '{path}', got: {error}. Install it: "
            'pip install "cdda-seg[hub]" (or pip install safetensors).'
        ) from error
