"""The files of weights that a config calls by a name: `open-mmlab://…` and `torchvision://…`."""

from pathlib import Path

from mmseg.system.errors import ConfigError, nearest
from mmseg.system.files import sha256_of
from mmseg.system.weight_table import NAMED, TABLE


def checked_file(name: str) -> Path:
    """Return the file of a name, once its SHA-256 has been found to be the published one.

    Raises:
        ConfigError: if there is no such name, or if the file is another one or cut off.
        FileNotFoundError: if the file is not there.
    """
    if name not in NAMED:
        raise ConfigError(
            f"expected a known name or the path of a file as `pretrained`, got {name!r}"
            f"{nearest(name, NAMED)} Correct it, or give the path of the file."
        )
    path, (file,) = TABLE[name].path, TABLE[name].files
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the weights {name!r} at '{path}', got no such file, and nothing is "
            f"downloaded. {how_to_fetch(name)} (it downloads {file.address}), or set "
            "model.pretrained=None to start from random weights."
        )
    if not (got := sha256_of(path)).startswith(file.sha256):
        raise ConfigError(
            f"expected the weights {name!r} at '{path}', whose SHA-256 begins with {file.sha256}, "
            f"got {got[:8]}: the file is cut off, damaged or another one. Delete it. "
            f"{how_to_fetch(name)}."
        )
    return path


def how_to_fetch(name: str) -> str:
    """Say which command fetches weights of the table."""
    return f"Fetch it with: python tools/fetch_weights.py {name}"
