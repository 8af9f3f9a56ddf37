"""Published weights that people start from: their names, files, addresses, sums and licenses.

Their files belong into the folder `pretrained` of the current folder, where configs look for them.
Whoever names such a path outside of it (`weights/mit_b5.pth`) means the same file. Training and
testing download nothing; `tools/fetch_weights.py` does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

FOLDER = Path("pretrained")
HUB = "https://huggingface.co/"
OPEN_MMLAB = "https://download.openmmlab.com/pretrain/third_party/"
TORCHVISION = "https://download.pytorch.org/models/"
DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/"
KINDS = ("open-mmlab", "torchvision")  # before `://` in the names of configs

APACHE = "Apache-2.0"
NVIDIA = "NVIDIA Source Code License for SegFormer: non-commercial"
NON_COMMERCIAL = "CC-BY-NC-4.0: not for commercial use"
DINOV3 = "DINOv3 License: it also binds what is trained from these weights"
UNKNOWN = "unknown: none is stated with the files (the code beside them has the MIT license)"
UNSTATED = "none stated with the file; trained on ImageNet"

SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
DEPTH_LICENSES = {"small": APACHE, "base": NON_COMMERCIAL, "large": NON_COMMERCIAL}
DEPTH_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
SUM_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
# Where the file of a name that configs use lies below the address of its kind. The end of a file's
# name is the beginning of its SHA-256.
NAMED = {
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


@dataclass(frozen=True)
class WeightFile:
    """One file: its path below `pretrained`, and where it is downloaded.

    `sha256` is what the publisher states of the SHA-256, whole or its beginning; else ''.
    """

    path: str
    address: str
    sha256: str = ""


@dataclass(frozen=True)
class Weights:
    """Published weights; the files of several lie in one folder."""

    name: str
    license: str
    files: tuple[WeightFile, ...]

    @property
    def path(self) -> Path:
        """The file, or the folder of several, that a config or command names."""
        file = FOLDER / self.files[0].path
        return file if len(self.files) == 1 else file.parent


def _weights(name: str, license: str, path: str, address: str, sha256: str = "") -> Weights:
    return Weights(name, license, (WeightFile(path, address, sha256),))


def _rows() -> Iterator[Weights]:
    for name, file in NAMED.items():
        address = OPEN_MMLAB if name.startswith(KINDS[0]) else TORCHVISION
        (beginning,) = SUM_IN_NAME.findall(file)
        yield _weights(name, UNSTATED, file, address + file, beginning)
    for n in range(6):  # SegFormer's authors offer their files in cloud drives only
        address = f"{HUB}nvidia/mit-b{n}/resolve/main/pytorch_model.bin"
        yield _weights(f"mit_b{n}", NVIDIA, f"mit_b{n}.pth", address)
    for size, word in SIZES.items():
        for registers, timms in (("", ""), ("_reg4", "_reg4")):
            file = f"dinov2_vit{size}14{registers}_pretrain.pth"
            yield _weights(
                file.removesuffix("_pretrain.pth"),
                APACHE,
                file,
                f"{DINOV2}dinov2_vit{size}14/{file}",
            )
            yield _of_timm(f"vit_{word}_patch14{timms}_dinov2", "lvd142m", APACHE)
    for word in ("small", "base", "large"):
        yield _of_timm(f"vit_{word}_patch16_dinov3", "lvd1689m", DINOV3)
    for word in ("small", "base", "large"):
        file = f"dinov2_{word}_with_vitadapter_pretraining_in1k_step50000.ckpt"
        address = f"{HUB}tue-mps/vfmuda_plusplus_{word}_in1k_pretraining/resolve/main/{file}"
        path = f"dinov2_{word}_with_vitadapter_in1k.ckpt"
        yield _weights(f"vit_adapter_dinov2_{word}", UNKNOWN, path, address)
    for size, license in DEPTH_LICENSES.items():
        repository = depth_repository(size)
        folder = repository.rpartition("/")[2]
        files = [(f"{folder}/{f}", f"{HUB}{repository}/resolve/main/{f}") for f in DEPTH_FILES]
        name = f"depth_anything_v2_{size}"
        yield Weights(name, license, tuple(WeightFile(*file) for file in files))


def _of_timm(model_name: str, tag: str, license: str) -> Weights:
    address = f"{HUB}timm/{model_name}.{tag}/resolve/main/model.safetensors"
    return _weights(model_name, license, f"{model_name}.safetensors", address)


def depth_repository(size: str) -> str:
    """Return the name on the hub of Depth Anything V2 in a size: small, base or large."""
    return f"depth-anything/Depth-Anything-V2-{size.title()}-hf"


TABLE = {row.name: row for row in _rows()}


def is_known_kind(path: str) -> bool:
    """Tell whether a `pretrained` is a name like those of OpenMMLab and torchvision, and no path.

    >>> is_known_kind("torchvision://resnet7"), is_known_kind("https://a.org/b.pth")
    (True, False)
    """
    return "://" in path and path.partition("://")[0] in KINDS


def path_of(path: str) -> Path:
    """Return the file that a `pretrained` means; of an unknown name, the name itself."""
    return TABLE[path].path if path in TABLE else Path(path)


def known_as(path: str | Path) -> Weights | None:
    """Return the weights that a name, or a path in any folder, means; None for others.

    >>> known_as("weights/mit_b5.pth").name
    'mit_b5'
    """
    if str(path) in TABLE:
        return TABLE[str(path)]
    parts = PurePath(path).parts
    for row in TABLE.values():
        own = row.path.relative_to(FOLDER).parts
        if parts[-len(own) :] == own:
            return row
    return None
