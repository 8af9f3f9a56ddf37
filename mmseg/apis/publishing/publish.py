"""Reduce a training checkpoint to one network's weights, and write what belongs to them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg.apis.publishing.machine_paths import shared_config, without_machine
from mmseg.apis.publishing.model_card import Card, is_card, results_of
from mmseg.config.language import python_text
from mmseg.engine import checkpoint as checkpoints
from mmseg.engine.provenance import REPRO
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, write_json
from mmseg.system.hub import REPOSITORY, hub_errors, local_file, reason_of, require_hub
from mmseg.system.options import TrustOptions, option
from mmseg.system.outputs import check_output_file, real_path
from mmseg.system.safe_loading import trusting_files
from mmseg.system.weight_files import SAFETENSORS, write_safetensors

CARD, CONFIG = "README.md", "config.py"
CONFIG_NOTE = "# The config of the checkpoint beside it. Paths of the machine are shortened.\n"
REPRO_NOTE = "published", "paths of the machine are shortened"
PREFIX = "model."  # of the student in a checkpoint of a training
Say = Callable[[str], object]


@dataclass(frozen=True)
class PublishOptions(TrustOptions):
    """The choices of the command line."""

    checkpoint: str = option(help="of a training", positional=True)
    out: Path = option(
        help="file to write; with .safetensors, a model card and the config lie beside it",
        positional=True,
    )
    keep_precision: bool = option(False, "do not halve the weights")
    eval_model: str = option("student", "the network to share", choices=checkpoints.NETWORKS)
    original_keys: bool = option(
        False, f"name the weights {PREFIX}…, as the original program reads them"
    )
    license: str | None = option(None, "of the weights, for the model card, such as apache-2.0")
    hub: str | None = option(None, "push the folder of the file there", metavar="OWNER/NAME")

    def __post_init__(self) -> None:
        """Refuse what belongs to a model card where there is none."""
        given = {"--license": self.license, "--hub": self.hub}
        named = [name for name, value in given.items() if value is not None]
        if named and not self.has_card:
            raise ConfigError(
                f"expected a file that ends in {SAFETENSORS} with {' and '.join(named)}, got "
                f"'{self.out}'. Rename it, or drop the option."
            )

    @property
    def has_card(self) -> bool:
        """Whether a model card, the config and the record of the run are written, too."""
        return self.out.suffix == SAFETENSORS


def publish(options: PublishOptions, say: Say) -> None:
    """Write the weights of one network, and to a `.safetensors` file what belongs to it.

    Raises:
        CheckpointError: if the checkpoint cannot be read, or lacks the network.
        ConfigError: if an output would replace an input, or a file that this command did not make.
        OSError: if a file cannot be written or pushed.
    """
    source = local_file(options.checkpoint)
    _check_outputs(options, source)
    if options.hub is not None:
        require_hub()
        if not REPOSITORY.fullmatch(options.hub):
            raise ConfigError(f"--hub: expected OWNER/NAME, got {options.hub!r}. Correct it.")
    with trusting_files(options.trust_checkpoint):
        checkpoint = checkpoints.read_checkpoint(source)
    state = _state(options, checkpoint)
    meta = checkpoint.get("meta") or {}
    kept = {key: meta[key] for key in ("CLASSES", "PALETTE") if key in meta}
    config = shared_config(meta.get("config"))
    if options.has_card:
        text = python_text(config) if config is not None else None
        kept |= {"config": text, "versions": meta.get("versions")}
        write_safetensors(options.out, state, kept)
    else:
        checkpoints.write_checkpoint(options.out, {"meta": kept, "state_dict": state})
    _check_written(options.out, state)
    say(f"{len(state)} tensors, {options.out.stat().st_size / 2**20:.1f} MB: {options.out}")
    if options.has_card:
        _write_beside(options, source, checkpoint, config, say)
    if options.hub is not None:
        _push(options.out.parent, [options.out.name, CARD, CONFIG, REPRO], options.hub)
        say(f"Pushed to https://huggingface.co/{options.hub}")


def _check_outputs(options: PublishOptions, source: Path) -> None:
    """Raise `ConfigError` for a file that would replace an input or somebody else's file."""
    check_output_file(options.out, [options.checkpoint, source])
    if not options.has_card:
        return
    if real_path(options.out.parent) == real_path(source.parent):
        raise ConfigError(
            f"expected '{options.out.name}' in a folder of its own, got '{options.out.parent}', in "
            "which the checkpoint lies. Choose another folder."
        )
    for name, is_own in {CARD: is_card, CONFIG: _is_config, REPRO: _is_repro}.items():
        check_output_file(options.out.with_name(name), [source], f"a place for {name}", is_own)


def _state(options: PublishOptions, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights to share, under the names to share them by."""
    tensors = checkpoint["state_dict"]
    state = checkpoints.network_state(tensors, options.eval_model, options.checkpoint)
    if not options.keep_precision:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    prefix = PREFIX if options.original_keys else ""
    return {prefix + key: value for key, value in state.items()}


def _check_written(file: Path, state: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` unless the file holds exactly these weights."""
    found = checkpoints.read_checkpoint(file)["state_dict"]
    wrong = [k for k, v in state.items() if k not in found or not torch.equal(found[k], v.cpu())]
    if wrong or len(found) != len(state):
        raise checkpoints.CheckpointError(
            f"expected {len(state)} tensors in '{file}' as they were written, got {len(found)}, of "
            f"which {len(wrong)} differ. Check the disk, and publish again."
        )


def _write_beside(
    options: PublishOptions,
    source: Path,
    checkpoint: Mapping[str, Any],
    config: dict[str, Any] | None,
    say: Say,
) -> None:
    """Write the model card, the config and the record of the run."""
    folder = options.out.parent
    if config is not None:
        _write(folder / CONFIG, CONFIG_NOTE + python_text(config))
    else:
        say(f"Without {CONFIG}: the checkpoint holds no config of plain values. Add it by hand.")
    repro = source.with_name(REPRO)
    if repro.is_file():
        record = dict([REPRO_NOTE], **without_machine(_json(repro) or {}))
        write_json(folder / REPRO, record)
    else:
        say(f"Without {REPRO}: there is none beside '{options.checkpoint}'.")
    card = Card(
        title=(options.hub or options.out.stem).rpartition("/")[2],
        address=f"hf://{options.hub}" if options.hub else options.out.name,
        config=config or {},
        license=options.license,
        network=options.eval_model,
        iteration=(checkpoint.get("meta") or {}).get("iter"),
        results=results_of(source, checkpoint, options.eval_model),
    )
    _write(folder / CARD, card.text())
    for note in card.origins():
        say(f"License: {note}")


def _push(folder: Path, names: list[str], repository: str) -> None:
    api = require_hub().HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        patterns = [escape(name) for name in names]
        api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=patterns)
    except hub_errors() as error:
        raise OSError(
            f"expected to push '{folder}' to {repository!r}, got: {reason_of(error)}. Log in with "
            "`hf auth login`, and start the command again; the folder is complete."
        ) from error


def _write(file: Path, text: str) -> None:
    with atomic_write(file, "w") as stream:
        stream.write(text)


def _is_config(file: Path) -> bool:
    return file.read_bytes().startswith(CONFIG_NOTE.encode())


def _is_repro(file: Path) -> bool:
    key, value = REPRO_NOTE
    return (_json(file) or {}).get(key) == value


def _json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
