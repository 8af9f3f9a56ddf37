"""Which switches a training needs to fit into a GPU's memory (`--fit`), from measured peaks.

`fit_peaks.json` holds the memory of a training step of each published config, with its own crop and
batch, as `benchmarks/stub_gpu/peaks.py` measures it. Memory is in MiB there. A GB is 10⁹ bytes: a
GPU has about as much left of the number that it is sold with.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator

from mmseg.config import Config, load_config
from mmseg.config.run_config import read_run
from mmseg.engine.precision import half_for
from mmseg.system.errors import ConfigError

FILE = Path(__file__).with_name("fit_peaks.json")
MEASURE = "python benchmarks/stub_gpu/peaks.py"
WITH_CP = "with_cp"
# The numbers of the method come first: recomputing changes none of them, half precision does.
ORDER = ("fp32", f"fp32+{WITH_CP}", "bf16", f"bf16+{WITH_CP}")
# MiB beside what torch reserved: the context of CUDA (about 500), workspaces of cuDNN and cuBLAS.
# Fragmentation is in what torch reserved.
RESERVE = 1536
GB_PER_MIB = 2**20 / 1e9
# Of a model or a method: where it begins, how it is tested, and names.
IGNORED = ("pretrained", "pretrained_adapter", "test_cfg", "train_cfg", "dataset", WITH_CP)


def read_gigabytes(text: object) -> float:
    """Return how many GB a word means.

    >>> read_gigabytes("11GB"), read_gigabytes("7.5")
    (11.0, 7.5)
    """
    try:
        number = float(str(text).strip().lower().removesuffix("gb"))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"expected a number of GB, such as 11GB, got {text!r}.")
    return number


Gigabytes = Annotated[float, BeforeValidator(read_gigabytes)]


@dataclass(frozen=True)
class Fit:
    """What was chosen."""

    changes: dict[str, Any]  # of the config, by dotted path
    lines: list[str]  # for people: what, and why


def fit(cfg: Config, gigabytes: float) -> Fit:
    """Choose half precision and recomputing so that a training of `cfg` needs at most this memory.

    What the config switches on itself stays on. `ConfigError` for a config that was not measured,
    and for too little memory.
    """
    _require_gpu(gigabytes)
    name = measured_config(cfg)
    rows = {key: _need(row) for key, row in table()["configs"][name].items()}
    allowed = [key for key in ORDER if key in rows and _goes_on(key, cfg)]
    too_large = []
    for key in allowed:
        if rows[key] <= gigabytes:
            return _chosen(cfg, key, f"--fit {gigabytes:g}GB, {name}", rows, too_large)
        too_large.append(key)
    least = min(allowed, key=lambda key: rows[key])
    raise ConfigError(
        f"expected at least {rows[least]:.1f} GB for {name} ({least}, its own crop and batch), got "
        f"--fit {gigabytes:g}GB. Use a GPU with more memory, or change the experiment: a "
        "smaller backbone, a smaller crop, or data.samples_per_gpu=1 with "
        "optimizer_config.cumulative_iters=2 (docs/training.md, 'Less memory')."
    )


def _chosen(
    cfg: Config, key: str, title: str, rows: Mapping[str, float], too_large: list[str]
) -> Fit:
    changes: dict[str, Any] = {}
    if key.startswith("bf16") and not read_run(cfg).precision.dtype:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        changes |= {"fp16": None, "amp": {"dtype": half_for(device)}}
    if key.endswith(WITH_CP):
        changes |= dict.fromkeys(recomputing_keys(cfg), True)
    shown = {**changes, "amp": None, "amp.dtype": changes.get("amp", {}).get("dtype")}
    set_keys = ", ".join(f"{k}={v}" for k, v in shown.items() if v is not None)
    others = ", ".join(f"{other} {rows[other]:.1f} GB" for other in too_large)
    why = f"; more than there is: {others}" if others else ""
    return Fit(
        changes,
        [
            f"{title}: chose {key} ({set_keys or 'no change'}), which needs "
            f"{rows[key]:.1f} GB{why}",
            f"Measured without a GPU's kernels, with torch {table()['torch']}: what torch reserves "
            f"for a step, and {RESERVE * GB_PER_MIB:.1f} GB for CUDA and cuDNN. Crop, batch and "
            "method stay as they are",
        ],
    )


def recomputing_keys(cfg: Mapping[str, Any]) -> list[str]:
    """Return the keys that make the backbone recompute its activations; a ViT inside has its own.

    >>> recomputing_keys({"model": {"backbone": {"type": "ViTAdapter", "vit": {}}}})
    ['model.backbone.with_cp', 'model.backbone.vit.with_cp']
    """
    places = [
        "model.backbone",
        *(["model.backbone.vit"] if "vit" in cfg["model"]["backbone"] else []),
    ]
    return [f"{place}.{WITH_CP}" for place in places]


@cache
def table() -> dict[str, Any]:
    """Return the content of the file."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def measured_config(cfg: Config) -> str:
    """Return the measured config that needs as much memory as `cfg`; `ConfigError` without one."""
    wanted = memory_signature(cfg)
    own = Path(cfg.filename or "").with_suffix("").as_posix()
    names = sorted(table()["configs"], key=lambda name: not own.endswith(name))
    for name in names:
        if memory_signature(load_config(name)) == wanted:
            return name
    raise ConfigError(
        f"expected a config whose memory was measured for --fit, with its own crop and batch, got "
        f"{cfg.filename or 'another one'}, which differs from all {len(names)} of them in network, "
        f"method, crop, batch or optimizer. Measure it in a checkout with: {MEASURE} CONFIG"
    )


def memory_signature(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the memory of a training step depends on.

    That is the network, the method without its numbers (a weight counts as there or not there), the
    crop, the batch, and the optimizer.
    """
    data = cfg.get("data") or {}
    return {
        "model": _structure(cfg.get("model") or {}),
        "uda": _switches(cfg.get("uda") or {}),
        "batch": data.get("samples_per_gpu"),
        "crops": sorted(set(_crops(data.get("train") or {}))),
        "optimizer": (cfg.get("optimizer") or {}).get("type"),
        "sync_bn": bool(cfg.get("sync_bn")),
    }


def _structure(value: Any) -> Any:
    """Return a section without what needs no memory, its lists as tuples."""
    if isinstance(value, Mapping):
        return {k: _structure(v) for k, v in value.items() if k not in IGNORED and v is not None}
    return tuple(map(_structure, value)) if isinstance(value, list | tuple) else value


def _switches(value: Any) -> Any:
    """Return a section whose numbers and paths are only there or not."""
    if isinstance(value, Mapping):
        return {k: s for k, v in value.items() if k not in IGNORED and (s := _switches(v))}
    if isinstance(value, list | tuple):
        return bool(value)
    is_path = isinstance(value, str) and "/" in value
    return bool(value) if is_path or not isinstance(value, str) else value


def _crops(value: Any) -> list[tuple[int, ...]]:
    """Return the sizes of all random crops in a section of training data."""
    if isinstance(value, Mapping):
        if value.get("type") == "RandomCrop":
            return [tuple(value["crop_size"])]
        value = list(value.values())
    parts = value if isinstance(value, list | tuple) else ()
    return [crop for part in parts for crop in _crops(part)]


def _need(row: Mapping[str, float]) -> float:
    """Return the GB that a GPU must have, rounded up to a tenth."""
    return math.ceil(10 * (row["reserved_mib"] + RESERVE) * GB_PER_MIB) / 10


def _goes_on(key: str, cfg: Config) -> bool:
    """Tell whether a row of the table has all that the config itself switches on."""
    backbone = cfg["model"]["backbone"]
    recomputes = bool(backbone.get(WITH_CP) or (backbone.get("vit") or {}).get(WITH_CP))
    is_half = read_run(cfg).precision.dtype is not None
    return (key.startswith("bf16") or not is_half) and (key.endswith(WITH_CP) or not recomputes)


def _require_gpu(gigabytes: float) -> None:
    """Raise `ConfigError` for more memory than the GPU has, if there is one."""
    if not torch.cuda.is_available():
        return
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    if gigabytes * 1e9 > 1.1 * properties.total_memory:
        raise ConfigError(
            f"expected --fit with at most the memory of {properties.name}, "
            f"{properties.total_memory / 1e9:.1f} GB, got {gigabytes:g}GB. Use a smaller number."
        )
