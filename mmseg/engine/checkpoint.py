"""Read and write checkpoints; fit those of the whole family of programs into a network.

A checkpoint is a dictionary: `meta` (plain values), `state_dict` (with the prefixes `model.` for
the student and `ema_model.` for the teacher), and what `RunState.content` adds for resuming.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmseg.config.checking import check_section
from mmseg.config.values import Count, Index, Section
from mmseg.engine.logs import get_logger
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, refuse_endless
from mmseg.system.hub import WEIGHTS, local_file
from mmseg.system.safe_loading import UnreadableFileError
from mmseg.system.soundness import faults_in, misfits
from mmseg.system.vfm_names import LICENSE, is_released, our_names
from mmseg.system.weight_files import load_weights_file

PARALLEL = ("module.", "_orig_mod.")  # what wraps a whole method or one of its networks
WRAPPERS = (*PARALLEL, "model.")  # around the student: taken off
TEACHER = "ema_model."
NETWORKS = ("student", "teacher")  # those of a training method that can be tested
# Beside the student: left out.
OTHERS = ("ema_model.", "imnet_model.", "mic.", "model_D.", "vfm_distance.")
# Frozen; they come back from their `pretrained` files.
NOT_SAVED = ("imnet_model.", "vfm_distance.encoder.")
HEAD = "decode_head."
INNER_HEAD, ATTENTION = f"{HEAD}head.", f"{HEAD}scale_attention."  # of HRDA
SHOWN_KEYS = 5


@dataclass(frozen=True)
class SavedRun:
    """What a checkpoint holds beside weights, as far as a run needs it."""

    IS_OPEN: ClassVar[bool] = True  # other programs of the family save more, or less

    state_dict: Section
    meta: Section | None = None
    iteration: Index = 0
    seed: int | None = None
    progress: Section | None = None
    losses: Sequence[Sequence[Section]] | None = None
    gradients: Sequence[Section] | None = None
    optimizer: Section | None = None
    own_optimizers: Section | None = None
    scaler: Section | None = None
    world_size: Count = 1
    samples_per_gpu: Count = 1
    cumulative_iters: Count = 1


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or is not one of this network."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint to the CPU without executing anything that it may contain.

    `path` is a file of torch.save, a `.safetensors` file, or one on the hub (`hf://owner/name`). A
    bare state dict comes back as {'state_dict': …}. `FileNotFoundError` names the checkpoints
    that are in the folder; `UnsafeFileError` for a file that asks for more than tensors and plain
    values; `CheckpointError` for a file that is not a checkpoint.
    """
    path = local_file(path)
    refuse_endless(path, "a checkpoint")
    if not path.is_file():
        names = ", ".join(sorted(p.name for s in WEIGHTS for p in path.parent.glob(f"*{s}")))
        hint = f"The folder has {names}." if names else "Train a run first, or give a .pth file."
        raise FileNotFoundError(f"No checkpoint at {str(path)!r}. {hint}")
    try:
        content = load_weights_file(path, "a checkpoint")
    except (UnreadableFileError, OSError) as error:
        raise CheckpointError(
            f"expected a checkpoint of tensors and plain values at {str(path)!r}, got a file that "
            f"cannot be read as one ({error}); copy or save it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"expected a dictionary in {str(path)!r}, got {type(content)}.")
    states = [content[key] for key in ("state_dict", "model") if key in content]
    states = [state for state in states if isinstance(state, Mapping)]
    content = {**content, "state_dict": states[0]} if states else {"state_dict": content}
    _require_sound(content, path)
    return content


def _require_sound(content: Mapping[str, Any], path: Path) -> None:
    """Raise `CheckpointError` for weights or records that no run can have saved."""
    try:
        check_section(content, SavedRun, f"the checkpoint {str(path)!r}")
    except ConfigError as error:
        raise CheckpointError(f"{error} It is damaged: use another one.") from error
    if faults := faults_in(content["state_dict"]):
        raise CheckpointError(
            f"expected finite weights in the checkpoint {str(path)!r}, got "
            f"{_first_of('others', faults)}. Use an earlier one, or another copy of the file."
        )


def student_state(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the student's weights under the names of the bare network.

    >>> list(student_state({'module.model.neck.weight': torch.ones(1), 'ema_model.neck.weight': 0}))
    ['neck.weight']
    """
    if is_released(state_dict):
        state_dict = our_names(state_dict)
    named = ((_student_name(str(key)), value) for key, value in state_dict.items())
    return {n: v for n, v in named if n is not None and isinstance(v, Tensor)}


def teacher_state(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the teacher's weights under the names of the bare network; none without a teacher.

    >>> list(teacher_state({'model.neck.bias': 0, 'module.ema_model.neck.bias': torch.ones(1)}))
    ['neck.bias']
    """
    state = {}
    for key, value in state_dict.items():
        name = _without(PARALLEL, str(key))
        if name.startswith(TEACHER) and isinstance(value, Tensor):
            state[_without(PARALLEL, name.removeprefix(TEACHER))] = value
    return state


def network_state(state_dict: Mapping[str, Any], network: str, path: str | Path) -> dict[str, Any]:
    """Return the weights of the 'student' or the 'teacher' of the checkpoint at `path`.

    `CheckpointError` if it does not hold this network.
    """
    if network not in NETWORKS:
        raise ValueError(f"expected a network among {', '.join(NETWORKS)}, got {network!r}.")
    state = student_state(state_dict) if network == "student" else teacher_state(state_dict)
    if state:
        return state
    wanted, remedy = "keys of a network", "give a checkpoint of a training run"
    if network == "teacher":
        wanted = f"keys starting with {TEACHER!r}"
        remedy = "test the student, or give a checkpoint of a self-training run"
    raise CheckpointError(
        f"expected a {network} ({wanted}) in the checkpoint {str(path)!r}, got none; {remedy}."
    )


def load_weights(network: nn.Module, path: str | Path, which: str = "student") -> dict[str, Any]:
    """Load a checkpoint's student (or teacher) into a bare network, and return its `meta`.

    `CheckpointError` for weights that do not fit.
    """
    return use_weights(network, read_checkpoint(path), path, which)


def use_weights(
    network: nn.Module, content: Mapping[str, Any], path: str | Path, which: str = "student"
) -> dict[str, Any]:
    """Do the same with the content of the checkpoint at `path`."""
    state = network_state(content["state_dict"], which, path)
    if is_released(content["state_dict"]):
        get_logger().info(LICENSE)
    load_state(network, state, f"checkpoint {str(path)!r}")
    meta = content.get("meta")
    return dict(meta) if isinstance(meta, Mapping) else {}


def load_start(network: nn.Module, path: str | Path) -> str:
    """Load a checkpoint's student as the start of a new run.

    HRDA also starts from a network of one scale, whose head becomes the head of both scales; its
    scale attention then keeps its initial weights. The returned sentence for the log says so.
    `CheckpointError` for weights that do not fit.
    """
    found = read_checkpoint(path)["state_dict"]
    state = network_state(found, "student", path)
    said = f"Loaded the student's weights from {path}."
    if is_released(found):
        said += f" {LICENSE}"
    own, optional = network.state_dict(), ()
    if _has(own, INNER_HEAD) and not _has(state, INNER_HEAD):
        optional = (ATTENTION,)
        fate = f": {ATTENTION}* keeps its initial weights." if _has(own, ATTENTION) else "."
        said += f" They are of one scale{fate}"
        state = {
            INNER_HEAD + k.removeprefix(HEAD) if k.startswith(HEAD) else k: v
            for k, v in state.items()
        }
    load_state(network, state, f"checkpoint {str(path)!r}", optional)
    return said


def load_state(
    module: nn.Module, state: Mapping[str, Tensor], what: str, optional: tuple[str, ...] = ()
) -> None:
    """Load a state dict that has to fit exactly; keys with an `optional` prefix may be missing.

    `CheckpointError`, naming the file as `what`, for missing or unexpected keys or other shapes.
    """
    own = module.state_dict()
    shapes, kinds = misfits(own, state)
    wrong = {
        "missing": [k for k in own if k not in state and not k.startswith(optional)],
        "unexpected": [k for k in state if k not in own],
        "of another shape": shapes,
        "of another kind": kinds,
    }
    if found := [_first_of(title, keys) for title, keys in wrong.items() if keys]:
        raise CheckpointError(
            f"expected the weights of this {type(module).__name__}, got others in the {what}: "
            f"{'; '.join(found)}. Use the config that the checkpoint was trained with."
        )
    module.load_state_dict(dict(state), strict=False)


def saved_state(method: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a training method without the networks that are never trained."""
    return {k: v for k, v in method.state_dict().items() if not k.startswith(NOT_SAVED)}


def load_method(method: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Restore student and teacher from the state dict of an interrupted run.

    Prefixes of wrappers that the method itself does not use are dropped.
    """
    own, named = method.state_dict(), {}
    for name, value in state.items():
        while name not in own and name.startswith(PARALLEL):
            name = name.partition(".")[2]
        if not name.startswith(NOT_SAVED):
            named[name] = value
    load_state(method, named, what, optional=NOT_SAVED)


def write_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name and rename it when it is complete.

    It holds CPU tensors, so a plain `torch.load` reads it on a machine without a GPU.
    """
    with atomic_write(path) as file:
        torch.save(_on_cpu(dict(content)), file)


def make_meta(
    cfg_text: str, classes: Any, palette: Any, iteration: int, seed: int | None, **more: Any
) -> dict[str, Any]:
    """Return the `meta` of a checkpoint: plain values, readable by any program."""
    import mmseg

    return {
        "CLASSES": tuple(str(name) for name in classes) if classes else None,
        "PALETTE": [[int(v) for v in color] for color in palette] if palette else None,
        "config": cfg_text,
        "iter": int(iteration),
        "epoch": 0,
        "seed": seed,
        "time": time.ctime(),
        "versions": {"cdda-seg": mmseg.__version__, "torch": str(torch.__version__)},
        **more,
    }


def _on_cpu(value: Any) -> Any:
    """Move all tensors inside dictionaries, lists and tuples; those of the CPU are not copied."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(item) for item in value)
    return value


def _student_name(key: str) -> str | None:
    """Return a key's name in the bare network; None for a key of another network."""
    while key.startswith(WRAPPERS) and not key.startswith(OTHERS):
        key = key.partition(".")[2]
    return None if key.startswith(OTHERS) else key


def _without(prefixes: tuple[str, ...], key: str) -> str:
    """Remove prefixes from a key, in any order and number."""
    while key.startswith(prefixes):
        key = key.partition(".")[2]
    return key


def _has(state: Mapping[str, Any], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in state)


def _first_of(title: str, keys: list[str]) -> str:
    more = f", … ({len(keys)} in all)" if len(keys) > SHOWN_KEYS else ""
    return f"{title}: {', '.join(keys[:SHOWN_KEYS])}{more}"
