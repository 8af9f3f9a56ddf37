"""Names that configs give to published ImageNet weights, and the files that they mean.

The files lie in the folder `pretrained` of the current folder; nothing is downloaded. The end of a
file's name is the beginning of its SHA-256.
"""

import hashlib
import re
from pathlib import Path

from mmseg.system.errors import ConfigError, nearest

FOLDER = Path("pretrained")
ADDRESSES = {
    "open-mmlab": "https://download.openmmlab.com/pretrain/third_party/",
    "torchvision": "https://download.pytorch.org/models/",
}
FILES = {
    "open-mmlab://resnet18_v1c": "resnet18_v1c-b5776b93.pth",
    "open-mmlab://resnet50_v1c": "resnet50_v1c-2cccc1ad.pth",
    "open-mmlab://resnet101_v1c": "resnet101_v1c-e67eebb6.pth",
    "open-mmlab://resnext50_32x4d": "resnext50-32x4d-0ab1a123.pth",
    "open-mmlab://resnext101_32x4d": "resnext101_32x4d-a5af3160.pth",
    "open-mmlab://resnext101_64x4d": "resnext101_64x4d-ee2c6f71.pth",
    "open-mmlab://resnest50": "resnest50_d2-7497a55b.pth",
    "open-mmlab://resnest101": "resnest101_d2-f3b931b2.pth",
    "open-mmlab://resnest200": "resnest200_d2-ca88e41f.pth",
    "torchvision://resnet18": "resnet18-f37072fd.pth",
    "torchvision://resnet34": "resnet34-b627a593.pth",
    "torchvision://resnet50": "resnet50-0676ba61.pth",
    "torchvision://resnet101": "resnet101-63fe2227.pth",
    "torchvision://resnet152": "resnet152-394f9c45.pth",
    "torchvision://resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
    "torchvision://resnext101_32x8d": "resnext101_32x8d-8ba56ff5.pth",
}
SUM_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
CHUNK = 1 << 20  # bytes


def is_known_kind(path: str) -> bool:
    """Tell whether a `pretrained` is a name of this table's kinds and not a path."""
    return path.partition("://")[0] in ADDRESSES and "://" in path


def path_of(path: str) -> Path:
    """Return the file that a `pretrained` means; of an unknown name, the name itself."""
    return FOLDER / FILES[path] if path in FILES else Path(path)


def checked_file(name: str) -> Path:
    """Return the file of a name, once its SHA-256 has been found to be the published one.

    Raises:
        ConfigError: if there is no such name, or if the file is another one or cut off.
        FileNotFoundError: if the file is not there.
    """
    if name not in FILES:
        raise ConfigError(
            f"expected a known name or the path of a file as `pretrained`, got {name!r}"
            f"{nearest(name, FILES)} Correct it, or give the path of the file."
        )
    path, address = path_of(name), ADDRESSES[name.partition("://")[0]] + FILES[name]
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the weights {name!r} at '{path}', got no such file, and nothing is "
            f"downloaded. Download {address} and put the file there, or set model.pretrained=None "
            "to start from random weights."
        )
    published, got = _published_sum(path), _sha256(path)
    if not got.startswith(published):
        raise ConfigError(
            f"expected the weights {name!r} at '{path}', whose SHA-256 begins with {published}, "
            f"got {got[:8]}: the file is cut off, damaged or another one. Download {address} again."
        )
    return path


def _published_sum(path: Path) -> str:
    match = SUM_IN_NAME.search(path.name)
    assert match, f"{path.name} has no check sum in its name"
    return match[1]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
