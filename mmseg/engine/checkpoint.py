"""Read and write checkpoints; fit those of the whole family of programs into a network.

A checkpoint is a dictionary: `meta` (plain values), `state_dict` (with the prefixes `model.` for
the student and `ema_model.` for the teacher), `optimizer`, `schedule`, `iteration`, `seed`, `best`.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.system.files import atomic_write
from mmseg.system.safe_loading import UnreadableFileError, load_safely

PARALLEL = ("module.", "_orig_mod.")  # what wraps a whole method or one of its networks
WRAPPERS = (*PARALLEL, "model.")  # around the student: taken off
TEACHER = "ema_model."
NETWORKS = ("student", "teacher")  # those of a training method that can be tested
OTHERS = ("ema_model.", "imnet_model.", "mic.", "model_D.")  # beside the student: left out
NOT_SAVED = ("imnet_model.",)  # frozen; comes back from the `pretrained` file
HEAD = "decode_head."
INNER_HEAD, ATTENTION = f"{HEAD}head.", f"{HEAD}scale_attention."  # of HRDA
SHOWN_KEYS = 5


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or is not one of this network."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint to the CPU without executing anything that it may contain.

    Returns:
        The dictionary of the file; a bare state dict comes back as {'state_dict': …}.

    Raises:
        FileNotFoundError: naming the checkpoints that the folder does have.
        UnsafeFileError: for a file that asks for more than tensors and plain values.
        CheckpointError: for a file that is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint at {str(path)!r}. {_neighbors(path)}")
    try:
        content = load_safely(path, "a checkpoint")
    except (UnreadableFileError, OSError) as error:
        raise CheckpointError(
            f"expected a checkpoint of tensors and plain values at {str(path)!r}, got a file that "
            f"cannot be read as one ({error}); copy or save it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"expected a dictionary in {str(path)!r}, got {type(content)}.")
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            return {**content, "state_dict": content[key]}
    return {"state_dict": content}


def student_state(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the student's weights under the names of the bare network.

    >>> list(student_state({'module.model.neck.weight': torch.ones(1), 'ema_model.neck.weight': 0}))
    ['neck.weight']
    """
    return _renamed(state_dict, _student_name)


def teacher_state(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the teacher's weights under the names of the bare network; none without a teacher.

    >>> list(teacher_state({'model.neck.bias': 0, 'module.ema_model.neck.bias': torch.ones(1)}))
    ['neck.bias']
    """
    return _renamed(state_dict, _teacher_name)


def network_state(state_dict: Mapping[str, Any], network: str, path: str | Path) -> dict[str, Any]:
    """Return the weights of the 'student' or the 'teacher' of the checkpoint at `path`.

    Raises:
        CheckpointError: if there is no such network in it.
    """
    if network not in NETWORKS:
        raise ValueError(f"expected a network among {', '.join(NETWORKS)}, got {network!r}.")
    is_teacher = network == "teacher"
    state = teacher_state(state_dict) if is_teacher else student_state(state_dict)
    if not state:
        remedy = "Test the student, or give" if is_teacher else "Give"
        keys = f"keys starting with {TEACHER!r}" if is_teacher else "keys of a network"
        raise CheckpointError(
            f"expected a {network} ({keys}) in the checkpoint {str(path)!r}, got none. "
            f"{remedy} a checkpoint of a {'self-' if is_teacher else ''}training run."
        )
    return state


def load_weights(network: nn.Module, path: str | Path, which: str = "student") -> dict[str, Any]:
    """Load a checkpoint's student (or teacher) into a bare network, and return its `meta`.

    Raises:
        CheckpointError: naming the first keys that do not fit.
    """
    checkpoint = read_checkpoint(path)
    state = network_state(checkpoint["state_dict"], which, path)
    load_state(network, state, f"checkpoint {str(path)!r}")
    meta = checkpoint.get("meta")
    return dict(meta) if isinstance(meta, Mapping) else {}


def load_start(network: nn.Module, path: str | Path) -> str:
    """Load a checkpoint's student as the start of a new run.

    HRDA also starts from a network of one scale, whose head becomes the head of both scales; its
    scale attention then keeps the weights that it was initialized with.

    Returns:
        A sentence for the log, which says so.

    Raises:
        CheckpointError: naming the first keys that do not fit.
    """
    state = network_state(read_checkpoint(path)["state_dict"], "student", path)
    said = f"Loaded the student's weights from {path}."
    own, optional = network.state_dict(), ()
    if _has(own, INNER_HEAD) and not _has(state, INNER_HEAD):
        optional = (ATTENTION,)
        said += " They are of one scale"
        said += f": {ATTENTION}* keeps its initial weights." if _has(own, ATTENTION) else "."
        state = {
            INNER_HEAD + k.removeprefix(HEAD) if k.startswith(HEAD) else k: v
            for k, v in state.items()
        }
    load_state(network, state, f"checkpoint {str(path)!r}", optional)
    return said


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    what: str,
    optional: tuple[str, ...] = (),
) -> None:
    """Load a state dict that has to fit exactly.

    Args:
        module: what to fill.
        state: its new values.
        what: how an error message calls `state`.
        optional: prefixes of keys that may be missing.

    Raises:
        CheckpointError: naming missing and unexpected keys and shapes that differ.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in state and not k.startswith(optional)]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"expected the weights of this {type(module).__name__}, got others in the {what}: "
            + "; ".join(
                part
                for part in (
                    _some("missing", missing),
                    _some("unexpected", unexpected),
                    _some("of another shape", shapes),
                )
                if part
            )
            + ". Use the config that the checkpoint was trained with."
        )
    module.load_state_dict(dict(state), strict=False)


def saved_state(method: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a training method without the networks that are never trained."""
    return {k: v for k, v in method.state_dict().items() if not k.startswith(NOT_SAVED)}


def load_method(method: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Restore student and teacher from the state dict of an interrupted run."""
    load_state(method, _own_names(method, state), what, optional=NOT_SAVED)


def write_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name and rename it when it is complete.

    It holds CPU tensors, so that a plain `torch.load` reads it on a machine without a GPU.
    """
    with atomic_write(path, "wb") as file:
        torch.save(_on_cpu(dict(content)), file)


def make_meta(
    cfg_text: str, classes: Any, palette: Any, iteration: int, seed: int | None, **facts: Any
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
        **facts,
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


def _own_names(method: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop wrappers' prefixes that the method itself does not use, and what it never reads."""
    own = method.state_dict()
    names = {}
    for key, value in state.items():
        name = key
        while name not in own and name.startswith(PARALLEL):
            name = name.partition(".")[2]
        if not name.startswith(NOT_SAVED):
            names[name] = value
    return names


def _renamed(
    state_dict: Mapping[str, Any], rename: Callable[[str], str | None]
) -> dict[str, Tensor]:
    """Return the tensors whose key has a new name, under that name."""
    named = ((rename(str(key)), value) for key, value in state_dict.items())
    return {n: v for n, v in named if n is not None and isinstance(v, Tensor)}


def _student_name(key: str) -> str | None:
    """Return a key's name in the bare network; None for a key of another network."""
    while True:
        if key.startswith(OTHERS):
            return None
        if not key.startswith(WRAPPERS):
            return key
        key = key.partition(".")[2]


def _teacher_name(key: str) -> str | None:
    """Return a key's name in the bare network; None for a key of another network."""
    key = _without(PARALLEL, key)
    return _without(PARALLEL, key.removeprefix(TEACHER)) if key.startswith(TEACHER) else None


def _without(prefixes: tuple[str, ...], key: str) -> str:
    """Take prefixes off a key, in any order and number."""
    while key.startswith(prefixes):
        key = key.partition(".")[2]
    return key


def _has(state: Mapping[str, Any], prefix: str) -> bool:
    """Tell whether any key starts with a prefix."""
    return any(key.startswith(prefix) for key in state)


def _some(title: str, keys: list[str]) -> str:
    """List the first few keys under a title, or return an empty string."""
    more = f", … ({len(keys)} in all)" if len(keys) > SHOWN_KEYS else ""
    return f"{title}: {', '.join(keys[:SHOWN_KEYS])}{more}" if keys else ""


def _neighbors(path: Path) -> str:
    """Say which checkpoints lie in a file's folder."""
    names = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
    if not names:
        return "Train a run first, or give the path of a .pth file."
    return f"The folder has {', '.join(names)}."
