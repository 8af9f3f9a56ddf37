"""The files that a traced network is exported to, and how other programs run them.

`onnx`, `onnxscript` and `onnxruntime` are imported only for ONNX.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from mmseg.apis.exporting.exported_network import Facts
from mmseg.system.safe_loading import BROKEN

INPUT, OUTPUT = "image", "probabilities"
AXES = {0: "batch", 2: "height", 3: "width"}
FACTS = "facts.json"  # in the archive of a program
LARGEST = 2 * 10**9  # bytes of one ONNX file
OPERATION = re.compile(r"torch\.ops\.([\w.]+)|op='([\w.:]+)'")
Run = Callable[[np.ndarray], np.ndarray]


class ExportError(ValueError):
    """A network cannot be exported, or the file does not compute what the network does."""


@dataclass(frozen=True)
class Format:
    """How a traced network is written and run; `check` raises if something is missing for it."""

    check: Callable[[torch.nn.Module], None]
    write: Callable[[Any, Facts, IO[bytes]], None]
    load: Callable[[Path], Run]
    is_own: Callable[[Path], bool]  # was the file made by `write`?


# ONNX


def check_onnx(model: torch.nn.Module) -> None:
    """Raise if a library is missing (`ImportError`), or a network too large (`ExportError`)."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"expected the packages onnx, onnxscript and onnxruntime, got: {error}. Install them: "
            'pip install "cdda-seg[export]" (or pip install onnx onnxscript onnxruntime).'
        ) from error
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    if size > LARGEST:
        raise ExportError(
            f"expected a network of at most {LARGEST / 1e9:g} GB for one ONNX file, got "
            f"{size / 1e9:.1f} GB. Export it with --format program."
        )


def write_onnx(program: Any, facts: Facts, stream: IO[bytes]) -> None:
    """Write an ONNX model whose metadata are the facts, as JSON by their names."""
    import onnx

    names = {"input_names": [INPUT], "output_names": [OUTPUT]}
    options: dict[str, Any] = {"dynamo": True, "verbose": False, **names}
    try:
        # Its optimizer needs minutes for the operations of a MiT-B5; runtimes have their own.
        model = torch.onnx.export(program, optimize=False, **options).model_proto  # pyright: ignore
    except torch.onnx.OnnxExporterError as error:
        found = OPERATION.search(str(error))
        operation = next(filter(None, found.groups())) if found else str(error).splitlines()[0]
        raise ExportError(
            f"expected operations that ONNX has, got {operation}. Export with --format program."
        ) from error
    for value in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                dim.dim_param = AXES[axis]
    del model.graph.value_info[:]  # they name the axes as torch does
    for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
        del node.metadata_props[:]  # where the code of this program lies
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    onnx.helper.set_model_props(model, texts)
    with _refusals(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    stream.write(model.SerializeToString())


def load_onnx(path: Path) -> Run:
    """Return the function that an ONNX file computes with onnxruntime on the CPU."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors  # pyright: ignore

    kinds = (errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.NotImplemented)
    kinds += (errors.RuntimeException,)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    with _refusals(*kinds):
        cpu = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(path), options, providers=cpu)

    def run(pixels: np.ndarray) -> np.ndarray:
        with _refusals(*kinds):
            return np.asarray(session.run([OUTPUT], {INPUT: pixels})[0])

    return run


def is_own_onnx(path: Path) -> bool:
    """Tell by its metadata whether a file is from `write_onnx`."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        return False
    return any(one.key == "program" for one in model.metadata_props)


# Programs of torch.export


def write_program(program: Any, facts: Facts, stream: IO[bytes]) -> None:
    """Write an ExportedProgram, with the facts as an extra file."""
    torch.export.save(program, stream, extra_files={FACTS: json.dumps(facts, indent=2)})


def load_program(path: Path) -> Run:
    """Return the function that a saved ExportedProgram computes."""
    with path.open("rb") as stream:
        module = torch.export.load(stream).module()  # pyright: ignore[reportArgumentType]

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad(), _refusals(RuntimeError, AssertionError):
            return module(torch.from_numpy(pixels)).numpy()

    return run


def is_own_program(path: Path) -> bool:
    """Tell by its extra file whether a file is from `write_program`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == FACTS for name in archive.namelist())
    except BROKEN:
        return False


@contextmanager
def _refusals(*kinds: type[Exception]) -> Iterator[None]:
    """Turn an error of a library that looks at a file, or runs it, into a sentence."""
    try:
        yield
    except kinds as error:
        raise ExportError(
            f"expected a file that runs, got: {str(error).splitlines()[0].rstrip('. ')}; no file "
            "was written. Try the other --format, or fix the size with --size H W."
        ) from error


FORMATS = {
    "onnx": Format(check_onnx, write_onnx, load_onnx, is_own_onnx),
    "program": Format(lambda _: None, write_program, load_program, is_own_program),
}
