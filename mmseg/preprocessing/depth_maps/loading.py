"""Read the network of a checkpoint with `transformers`, and make sure that it is all there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from typing import Any

import torch

from mmseg.preprocessing.depth_maps.checkpoints import RULE_FILE, Checkpoint, advice
from mmseg.preprocessing.depth_maps.inputs import InputRule, rule_of
from mmseg.system.safe_loading import UNREADABLE

_QUANTITIES = {  # of the types whose output does not depend on their settings
    "depth_pro": "inverse",  # before its own post-processing
    "glpn": "metric",
    "zoedepth": "metric",
}


@dataclass(frozen=True)
class Loaded:
    """A network on the CPU, in float32, with its input and what it predicts."""

    network: Any
    rule: InputRule
    quantity: str


def load_checkpoint(checkpoint: Checkpoint, quantity: str | None = None) -> Loaded:
    """Read a network; the weights last, after all else is known to be right.

    Args:
        checkpoint: to read.
        quantity: what it predicts; None for what its type is known to predict.

    Raises:
        OSError, ValueError: with a sentence for the user.
    """
    with _quiet():
        config = _config(checkpoint)
        quantity = quantity or known_quantity(config, checkpoint)
        rule = _rule(checkpoint, config)
        return Loaded(_network(checkpoint, config, rule), rule, quantity)


def require_transformers() -> None:
    """Raise a sentence for the user if the package is missing or too old."""
    try:
        from transformers import AutoModelForDepthEstimation  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"expected the package transformers, version 5 or newer, got: {error}; do install it: "
            'pip install "cdda-seg[depth]" (or pip install "transformers>=5").'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Let `transformers` say nothing: what matters of a checkpoint is checked here."""
    from transformers.utils import logging

    verbosity, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_bars:
            logging.enable_progress_bar()


def _config(checkpoint: Checkpoint) -> Any:
    """Return the configuration of a depth network, or say that it is none."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING

    content = checkpoint.settings("config.json")
    where = f"config.json of '{checkpoint.name}'"
    if content is None:
        raise FileNotFoundError(
            f"expected config.json in '{checkpoint.folder}', got a folder without it; "
            f"{advice(checkpoint.name)}"
        )
    if isinstance(content.get("backbone"), str) and not content.get("backbone_config"):
        raise ValueError(
            f"expected the whole network in {where}, got a backbone by name only "
            f"({content['backbone']}); do use a model that describes its backbone_config."
        )
    try:
        config = AutoConfig.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    except _library_errors() as error:
        raise ValueError(
            f"expected a network that this version of transformers knows, got in {where}: "
            f"{_first_line(error)}; do use a newer transformers or another model."
        ) from error
    if type(config) not in MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
        raise ValueError(
            f"expected a depth network, got '{config.model_type}' in {where}; {advice('')}"
        )
    return config


def known_quantity(config: Any, checkpoint: Checkpoint) -> str:
    """Return what a type of networks predicts."""
    kind = config.model_type
    if kind == "depth_anything":
        return "metric" if config.depth_estimation_type == "metric" else "inverse"
    if kind == "dpt":  # with this backbone it was trained on meters of NYU and KITTI
        backbone = getattr(config.backbone_config, "model_type", None)
        return "metric" if backbone == "dinov2" else "inverse"
    if kind not in _QUANTITIES:
        raise ValueError(
            f"expected a network of a known output, got '{kind}' of '{checkpoint.name}'; do say "
            "what it predicts: --quantity inverse (large is near) or --quantity metric (meters)."
        )
    return _QUANTITIES[kind]


def _rule(checkpoint: Checkpoint, config: Any) -> InputRule:
    """Return how a picture becomes the network's input."""
    is_depth_anything = config.model_type == "depth_anything"
    settings = checkpoint.settings(RULE_FILE)
    if settings is not None:
        try:
            return rule_of(settings, covers=is_depth_anything)
        except ValueError as error:
            raise ValueError(f"'{checkpoint.folder / RULE_FILE}': {error}") from error
    if is_depth_anything:
        return InputRule()
    raise FileNotFoundError(
        f"expected {RULE_FILE} in '{checkpoint.folder}', got a folder without it; do copy it from "
        f"where the model is from: only Depth Anything's input is known without it."
    )


def _network(checkpoint: Checkpoint, config: Any, rule: InputRule) -> Any:
    """Return the network in float32 with all weights from its files."""
    from transformers import AutoModelForDepthEstimation

    checkpoint.weight_files()
    try:
        network, report = AutoModelForDepthEstimation.from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except _library_errors() as error:
        raise ValueError(
            f"expected weights of a depth network in '{checkpoint.folder}', got: "
            f"{_first_line(error)}; {advice(checkpoint.name)}"
        ) from error
    if report["mismatched_keys"]:
        name, stored, expected = sorted(report["mismatched_keys"])[0]
        raise ValueError(
            f"expected {name} of shape {list(expected)} in the weights of '{checkpoint.name}', "
            f"got {list(stored)}; {advice(checkpoint.name)}"
        )
    network.eval()
    _require_no_random(network, sorted(report["missing_keys"]), rule, checkpoint)
    return network


def _require_no_random(
    network: Any, missing: list[str], rule: InputRule, checkpoint: Checkpoint
) -> None:
    """Raise if weights that the file lacks, which are random now, have a part in the output.

    Published DPT networks lack some that are never used.
    """
    state = network.state_dict()
    random = [state[name] for name in missing if name in state]
    if not random:
        return
    height, width = rule.size_for(64, 64)
    with torch.inference_mode():
        for weight in random:
            weight.fill_(torch.nan if weight.is_floating_point() else 0)
        output = network(pixel_values=torch.zeros(1, 3, height, width)).predicted_depth
        for weight in random:
            weight.zero_()
    if not output.isfinite().all():
        raise ValueError(
            f"expected all weights of a depth network in '{checkpoint.folder}', got a file without "
            f"{len(missing)} of them, such as {missing[0]}; {advice(checkpoint.name)}"
        )


def _library_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries raise for files that they cannot use."""
    from huggingface_hub import errors
    from safetensors import SafetensorError

    of_configs = getattr(errors, "StrictDataclassError", ValueError)
    return (*UNREADABLE, OSError, ImportError, SafetensorError, of_configs)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
