"""Where a depth network's files are: in a local folder or on the hub, and what they hold."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg.system.safe_loading import load_safely

_HUB = "depth-anything/Depth-Anything-V2-{}-hf"
ALIASES = {name: _HUB.format(name.title()) for name in ("small", "base", "large")}
_NON_COMMERCIAL = "CC-BY-NC-4.0: not for commercial use"
LICENSES = {
    ALIASES["small"]: "Apache-2.0",
    ALIASES["base"]: _NON_COMMERCIAL,
    ALIASES["large"]: _NON_COMMERCIAL,
}
RULE_FILE = "preprocessor_config.json"
# In the order of preference; an index names the files of a checkpoint in several parts.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Checkpoint:
    """A network's files.

    name: as it was asked for, an alias replaced by the name that it stands for.
    folder: that holds config.json and the weights.
    revision: the commit of the hub; None of a local folder.
    """

    name: str
    folder: Path
    revision: str | None = None

    @property
    def license(self) -> str | None:
        """The license of the weights, where it is known."""
        return LICENSES.get(self.name)

    def settings(self, file: str) -> dict[str, Any] | None:
        """Read a JSON file of the folder; None if there is none."""
        path = self.folder / file
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(
                f"expected JSON in '{path}', got: {error}; {advice(self.name)}"
            ) from error
        if not isinstance(content, dict):
            kind = type(content).__name__
            raise ValueError(f"expected an object in '{path}', got a {kind}; {advice(self.name)}")
        return content

    def weight_files(self) -> list[Path]:
        """Return the files with the weights.

        Raises:
            FileNotFoundError: with a sentence when one is missing.
        """
        for name in _WEIGHTS:
            if (self.folder / name).is_file():
                return [self.folder / name]
            if index := self.settings(f"{name}.index.json"):
                places = index.get("weight_map")
                if not isinstance(places, dict):
                    raise ValueError(
                        f"expected weight_map in '{self.folder / name}.index.json', got none; "
                        f"{advice(self.name)}"
                    )
                parts = sorted({self.folder / str(part) for part in places.values()})
                if missing := [part.name for part in parts if not part.is_file()]:
                    raise FileNotFoundError(self._without(missing[0]))
                return parts
        raise FileNotFoundError(self._without(" or ".join(_WEIGHTS)))

    def weights_sha256(self) -> str:
        """Return a hash over names, types, shapes and bytes of all stored tensors.

        It is taken from the files, because the names in the loaded network change with the
        versions of `transformers`. How the tensors are spread over files does not matter.
        """
        tensors = {}
        for file in self.weight_files():
            tensors.update(_readers(file))
        digest = hashlib.sha256()
        for name in sorted(tensors):
            value = tensors[name]()
            kind = str(value.dtype).removeprefix("torch.")
            digest.update(f"{name} {kind} {list(value.shape)}\n".encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def _without(self, file: str) -> str:
        return f"expected {file} in '{self.folder}', got a folder without it; {advice(self.name)}"


def find_checkpoint(model: str) -> Checkpoint:
    """Find the files of a network, and download them if they are on the hub only.

    Args:
        model: a local folder, which needs no network; else an alias or a name on the hub.

    Raises:
        OSError: with a sentence when they are at neither place.
    """
    folder = Path(model).expanduser()
    if model not in ALIASES and folder.is_dir():
        return Checkpoint(model, folder)
    name = ALIASES.get(model, model)
    if folder.is_file() or name.startswith((".", "~")) or folder.is_absolute():
        got = "a file" if folder.is_file() else "no such folder"
        raise FileNotFoundError(
            f"expected a folder with a depth network at '{model}', got {got}; {advice(name)}"
        )
    snapshot = _downloaded(name)
    return Checkpoint(name, snapshot, revision=snapshot.name)


def advice(name: str) -> str:
    """Say how to get a network, and under which license."""
    known = name if name in LICENSES else ALIASES["small"]
    intent = "download it with" if name in LICENSES else "download a network, for example with"
    folder = f"pretrained/{known.rpartition('/')[2]}"
    return (
        f"do {intent}: hf download {known} --local-dir {folder}, and give that folder as --model. "
        f"License of its weights: {LICENSES[known]}."
    ) + ("" if known == name else f" Base and Large, which are better: {_NON_COMMERCIAL}.")


def _downloaded(name: str) -> Path:
    """Return the folder of a network of the hub in this machine's cache.

    What is there already is not fetched again; HF_HUB_OFFLINE is respected.
    """
    from huggingface_hub import constants, errors, snapshot_download

    network_error = getattr(errors, "HTTPError", OSError)
    try:
        patterns = ["config.json", RULE_FILE, "model*.safetensors", "model.safetensors.index.json"]
        folder = Path(snapshot_download(name, allow_patterns=patterns))
        if not any(folder.glob("model*.safetensors")):
            patterns = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
            folder = Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError, network_error) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if constants.HF_HUB_OFFLINE:
            reason = "it is not among the downloaded ones, and HF_HUB_OFFLINE forbids to fetch it"
        raise FileNotFoundError(
            f"expected a local folder or a network of the hub named '{name}', got: {reason}; "
            f"{advice(name)}"
        ) from error
    return folder


def _readers(file: Path) -> dict[str, Callable[[], Tensor]]:
    """Return, for each name in a file of weights, what reads the tensor."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        content = safe_open(file, "pt")
        return {name: partial(content.get_tensor, name) for name in content.keys()}  # noqa: SIM118
    stored = load_safely(file, "the weights")
    return {name: partial(stored.get, name) for name in stored}
