"""Networks compiled by `torch.compile`: fewer and larger kernels, after minutes of compiling.

What is compiled keeps its name and its weights, so checkpoints are those of an uncompiled run:

* of a network that learns: backbone, neck, and heads, each as one graph. Losses and HRDA's fusion
  stay as they are, because they depend on a box that is drawn anew in each iteration;
* of one that never learns (a teacher, the ImageNet copy, a frozen encoder): all that it computes.

Copies of a network share a compiled graph where they are used alike, as two teachers are. Sizes are
fixed: each size of a batch has a graph, and torch goes on uncompiled after eight. Stochastic depth
and dropout draw the numbers of an uncompiled run.

Mode `max` also tries several kernels for each product, and replays networks that never learn as
CUDA graphs. The next replay overwrites the result of the last one, so results are copied. Networks
that learn are not replayed: gradients of all passes of a step are kept until its end, and those
that a replay has written would be lost with the next one.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from mmseg.config.sections import CompileConfig
from mmseg.engine.logs import get_logger
from mmseg.system.errors import ConfigError

INDUCTOR = "inductor"
TRITON_SINCE = (7, 0)  # compute capability of the first GPUs that triton has kernels for
PATIENCE = 3600.0  # seconds that processes wait for each other's compiler


def require_compiler(device: torch.device, backend: str = INDUCTOR) -> None:
    """Compile three numbers; raise `ConfigError` where that does not work."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < TRITON_SINCE:
            raise ConfigError(
                "expected a GPU of compute capability 7.0 or newer for --compile, got "
                f"{torch.cuda.get_device_name(device)} of {capability[0]}.{capability[1]}; leave "
                "--compile out."
            )
    try:
        compiled = torch.compile(_three, backend=backend, dynamic=False)
        compiled(torch.ones(3, device=device))
    except (RuntimeError, ImportError, OSError) as error:
        needed = "a C++ compiler (the package g++)"
        if device.type == "cuda":
            needed = "triton (pip install triton), a C compiler (gcc), and Python's headers"
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"expected that torch.compile works on {device} for --compile, which needs {needed}, "
            f"got: {reason}. Install what is missing, or leave --compile out."
        ) from error


def _three(x: Tensor) -> Tensor:
    return x.sin() + 1


def compile_method(method: Any, settings: CompileConfig, backend: str = INDUCTOR) -> None:
    """Compile the networks of a training method, in place; its first iteration is timed."""
    for network in _networks(method):
        network.is_compiled = True  # whoever prepares weights for one pass can leave that to it
        if any(parameter.requires_grad for parameter in network.parameters()):
            _compile_parts(network, _compiler(settings, backend, is_replayed=False))
        else:
            _compile_whole(network, _compiler(settings, backend, is_replayed=True))
    _time_first_iteration(method)


def compile_for_prediction(network: Any, settings: CompileConfig, backend: str = INDUCTOR) -> None:
    """Compile the parts of a network that predicts, in place.

    HRDA's windows would make one graph with a copy of the network for each call.
    """
    _compile_parts(network, _compiler(settings, backend, is_replayed=True))


def _networks(method: nn.Module) -> Iterator[Any]:
    """Yield all segmentors of a method, and its frozen encoder of features."""
    yield from (m for m in method.modules() if hasattr(m, "backbone") and hasattr(m, "decode_head"))
    encoder = getattr(getattr(method, "vfm_distance", None), "encoder", None)
    if encoder is not None:
        yield encoder


Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]


def _compiler(settings: CompileConfig, backend: str, is_replayed: bool) -> Compiler:
    """Return what compiles a function; `is_replayed` allows CUDA graphs."""
    from torch._inductor import list_mode_options  # slow, and only of use here

    options: dict[str, Any] = {"fallback_random": True}  # draw as torch does without compiling
    if settings.mode == "max":
        name = "max-autotune" if is_replayed else "max-autotune-no-cudagraphs"
        options |= list_mode_options(name)
    arguments = {"options": options} if backend == INDUCTOR else {}
    compile_function = partial(torch.compile, backend=backend, dynamic=False, **arguments)
    is_graph = is_replayed and settings.mode == "max"
    return lambda function: _compiled(function, compile_function(function), is_graph)


def _compiled(
    function: Callable[..., Any], compiled: Callable[..., Any], is_graph: bool
) -> Callable[..., Any]:
    """Return a function like `function` that runs `compiled`, except inside of another one."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*arguments, **options)
        # Windows are cut from images of many sizes, which show in their strides: one graph for all.
        arguments = tuple(a.contiguous() if isinstance(a, Tensor) else a for a in arguments)
        if not is_graph:
            return compiled(*arguments, **options)
        torch.compiler.cudagraph_mark_step_begin()
        return tree_map_only(Tensor, torch.clone, compiled(*arguments, **options))

    return run


def _compile_parts(network: Any, compiler: Compiler) -> None:
    for part in _parts(network):
        part.forward = compiler(part.forward)


def _parts(network: Any) -> Iterable[Any]:
    """Return backbone, neck, and heads; HRDA's head consists of two."""
    head = network.decode_head
    heads = [head.head, head.scale_attention] if hasattr(head, "scale_attention") else [head]
    others = getattr(network, "auxiliary_heads", dict)().values()
    parts = [network.backbone, getattr(network, "neck", None), *heads, *others]
    return [part for part in parts if part is not None]


def _compile_whole(network: Any, compiler: Compiler) -> None:
    for name in ("generate_pseudo_label", "extract_feat"):
        if hasattr(network, name):
            setattr(network, name, compiler(getattr(network, name)))
    if not hasattr(network, "extract_feat"):  # an encoder of features
        network.forward = compiler(network.forward)


def _time_first_iteration(method: Any) -> None:
    """Log how long the first iteration takes, in which most graphs are compiled."""
    logger, original = get_logger(), method.accumulate_gradients

    @wraps(original)
    def timed(*arguments: Any, **options: Any) -> Any:
        logger.info("Compiling the networks: the first iteration takes minutes")
        method.accumulate_gradients = original
        start = time.perf_counter()
        output = original(*arguments, **options)
        seconds = time.perf_counter() - start
        logger.info(f"Compiled: the first iteration took {seconds:.0f} s")
        return output

    method.accumulate_gradients = timed
