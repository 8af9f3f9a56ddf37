"""Where the files of a depth network are, in a local folder or on the hub, and their hash."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from mmseg.system.hub import hub_errors, reason_of
from mmseg.system.safe_loading import load_safely
from mmseg.system.weight_table import (
    DEPTH_FILES,
    DEPTH_LICENSES,
    NON_COMMERCIAL,
    depth_repository,
)

ALIASES = {size: depth_repository(size) for size in DEPTH_LICENSES}
LICENSES = {ALIASES[size]: license for size, license in DEPTH_LICENSES.items()}
CONFIG_FILE, RULE_FILE, _ = DEPTH_FILES


@dataclass(frozen=True)
class NetworkFiles:
    """A network's name (an alias is replaced), its folder, and its commit of the hub, if any."""

    name: str
    folder: Path
    revision: str | None = None

    def weights_sha256(self) -> str:
        """Return a hash over names, types, shapes and bytes of all stored tensors.

        It is taken from the files, because the names in the loaded network change with the
        versions of `transformers`. How the tensors are spread over files does not matter.
        """
        from safetensors import safe_open

        whole = self.folder / "model.safetensors"
        files = [whole] if whole.is_file() else sorted(self.folder.glob("model-*.safetensors"))
        readers = [safe_open(file, "pt") for file in files]
        tensors = {n: partial(r.get_tensor, n) for r in readers for n in r.keys()}  # noqa: SIM118
        for file in [] if files else sorted(self.folder.glob("pytorch_model*.bin")):
            stored = load_safely(file, "the weights")
            tensors |= {name: partial(stored.get, name) for name in stored}
        digest = hashlib.sha256()
        for name in sorted(tensors):
            value = tensors[name]()
            kind = str(value.dtype).removeprefix("torch.")
            digest.update(f"{name} {kind} {list(value.shape)}\n".encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()


def find_network(model: str) -> NetworkFiles:
    """Find the files of a network; raise a sentence if they are nowhere.

    A local folder needs no connection. 'small', 'base' and 'large' (Depth Anything V2) and other
    names on the hub are downloaded, if they are not in the cache yet.
    """
    folder = Path(model).expanduser()
    if model not in ALIASES and folder.is_dir():
        return NetworkFiles(model, folder)
    name = ALIASES.get(model, model)
    if folder.is_file() or name.startswith((".", "~")) or folder.is_absolute():
        got = "a file" if folder.is_file() else "no such folder"
        raise FileNotFoundError(
            f"expected a folder with a depth network at '{model}', got {got}; {advice(name)}"
        )
    snapshot = _downloaded(name)
    return NetworkFiles(name, snapshot, revision=snapshot.name)


def advice(name: str) -> str:
    """Say how to get a network, and under which license."""
    known = name if name in LICENSES else ALIASES["small"]
    intent = "download it with" if known == name else "download a network, for example with"
    others = "" if known == name else f" Base and Large, which are better: {NON_COMMERCIAL}."
    return (
        f"{intent}: hf download {known} --local-dir pretrained/{known.rpartition('/')[2]}, and "
        f"give that folder as --model. License of its weights: {LICENSES[known]}.{others}"
    )


def _downloaded(name: str) -> Path:
    """Return the folder of a network of the hub in this machine's cache."""
    from huggingface_hub import snapshot_download

    try:
        wanted = [CONFIG_FILE, RULE_FILE, "model*.safetensors*"]
        folder = Path(snapshot_download(name, allow_patterns=wanted))
        if not any(folder.glob("model*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns="pytorch_model*.bin*"))
        return folder
    except hub_errors() as error:
        raise FileNotFoundError(
            f"expected a local folder or a network of the hub named '{name}', got: "
            f"{reason_of(error)}; {advice(name)}"
        ) from error
