"""A trained network from the folder of its run, or from a checkpoint alone."""

import copy
from pathlib import Path
from typing import Any

import torch

from mmseg.apis.dataset_sections import classes_and_palette
from mmseg.apis.run_names import configs_in
from mmseg.config import Config, load_config
from mmseg.config.registry import SEGMENTORS
from mmseg.config.run_config import read_parts
from mmseg.datasets.labels import CLASSES, PALETTE
from mmseg.engine.checkpoint import read_checkpoint, use_weights
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.models import build_segmentor
from mmseg.models.legacy import with_present_names
from mmseg.system.errors import ConfigError
from mmseg.system.hub import local_file


def load_network(
    checkpoint: str | Path,
    config: str | Path | Config | None = None,
    device: str | torch.device | None = None,
    network: str = "student",
) -> Any:
    """Return the network of a checkpoint in eval mode, with `CLASSES`, `PALETTE` and `cfg`.

    Args:
        checkpoint: a file, also on the hub (`hf://owner/name`), or the folder of a run: then its
            best checkpoint, else its latest.
        config: by default the one inside of the checkpoint, else the one beside it.
        device: by default the GPU if there is one, else the CPU.
        network: 'student' or 'teacher' of the checkpoint.

    Raises:
        CheckpointError: for a checkpoint of another network, or one without the teacher wanted.
        ConfigError: if there is no config.
        FileNotFoundError: if there is no checkpoint.
        UnsafeFileError: for a checkpoint of more than tensors and plain values; see
            `mmseg.system.safe_loading.trusting_files`.
    """
    file = checkpoint_file(checkpoint)
    content = read_checkpoint(file)
    if config is None:
        config = _config_of(content, file)
    model = build_network(config if isinstance(config, Config) else load_config(config))
    meta = use_weights(model, content, file, network)
    model.CLASSES = meta.get("CLASSES") or model.CLASSES
    model.PALETTE = meta.get("PALETTE") or model.PALETTE
    return model.to(device or usual_device()).eval()


def build_network(cfg: Config) -> Any:
    """Return the network of a config with random weights, with `CLASSES`, `PALETTE` and `cfg`."""
    parts = read_parts(cfg)
    SEGMENTORS.check(with_present_names(parts.model))
    section: Any = copy.deepcopy(parts.model)
    section.update(pretrained=None, train_cfg=None)
    if "pretrained" in section.get("backbone", {}):
        section["backbone"]["pretrained"] = None
    model: Any = build_segmentor(section, test_cfg=parts.test_cfg)
    model.CLASSES, model.PALETTE = classes_and_palette(parts.data) or (CLASSES, PALETTE)
    model.cfg = cfg
    return model


def usual_device() -> str:
    """Return the GPU if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def checkpoint_file(path: str | Path) -> Path:
    """Return a checkpoint; of the folder of a run the best one, else the latest; see `hub`."""
    path = local_file(path)
    if not path.is_dir():
        return path
    folder = CheckpointFolder(path)
    found = folder.best or folder.latest
    if found is None:
        raise FileNotFoundError(
            f"expected best_mIoU_iter_N.pth or latest.pth in '{path}', got neither. Give the "
            "folder of a run that has saved a checkpoint, or the file itself."
        )
    return found


def config_of(checkpoint: str | Path) -> Config:
    """Return the config that `load_network` takes for a checkpoint."""
    file = checkpoint_file(checkpoint)
    return _config_of(read_checkpoint(file), file)


def _config_of(content: dict[str, Any], file: Path) -> Config:
    """Return the config inside of a checkpoint, or the only one beside it."""
    meta = content.get("meta")
    if text := meta.get("config") if isinstance(meta, dict) else None:
        return Config.from_plain_text(str(text), str(file))
    beside = configs_in(file.parent)
    if len(beside) != 1:
        raise ConfigError(
            f"expected the config of the checkpoint '{file}' inside of it or beside it, got none "
            f"inside and {len(beside)} beside it. Name it: --config CONFIG."
        )
    return load_config(beside[0])
