"""Export a trained network for use without this program, and prove that it computes the same.

Legend: N images, C classes, H×W pixels.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from mmseg.apis.exporting.exported_network import (
    PixelsToProbabilities,
    Size,
    facts_of,
    usual_size,
    why_one_size,
)
from mmseg.apis.exporting.formats import FORMATS, ExportError, Format, Run
from mmseg.apis.predicting.loading import checkpoint_file, load_network
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write
from mmseg.system.outputs import check_output_file

TOLERANCE = 1e-4  # of probabilities
SMALLEST = 64  # pixels along a side, for images of any size
TRACED = (101, 134)  # sides that no stride divides
CHECKED = ((1, 128, 192), (2, *TRACED), (3, 75, 163))  # (N, H, W)
PIXELS = {"uint8": torch.uint8, "float32": torch.float32}
Say = Callable[[str], object]


@dataclass(frozen=True)
class Wanted:
    """What is exported, and how.

    Attributes:
        checkpoint, config, network: as for `load_network`.
        format: 'onnx', or 'program' of torch.export.
        out: the file to write.
        size: (H, W) of the images; by default any, and where a network has one size only, that of
            the test pipeline.
        pixels: type of the input.
    """

    checkpoint: str | Path
    format: Literal["onnx", "program"]
    out: Path
    config: str | Path | None = None
    size: Size | None = None
    network: str = "student"
    pixels: Literal["uint8", "float32"] = "uint8"


def export_network(wanted: Wanted, say: Say) -> float:
    """Write an exported network, and return how much its probabilities differ at most.

    The file gets its name only if that is at most `TOLERANCE` on three inputs.

    Raises:
        ExportError: if it differs more, or the network cannot be exported.
        ImportError: if libraries for the format are missing.
        Also the errors of `load_network`.
    """
    form = FORMATS[wanted.format]
    file = checkpoint_file(wanted.checkpoint)
    form.check(torch.nn.Identity())
    read = [file] if wanted.config is None else [file, wanted.config]
    check_output_file(wanted.out, read, "--out", form.is_own)
    network = load_network(file, wanted.config, "cpu", wanted.network)
    model = PixelsToProbabilities(network)
    form.check(model)
    program, size = _traced_for_sizes(model, wanted, say)
    facts = facts_of(network, wanted.network, size, wanted.pixels)
    with atomic_write(wanted.out) as stream:
        form.write(program, facts, stream)
        stream.flush()
        largest = _largest_difference(model, form, Path(stream.name), _inputs(size, wanted.pixels))
    say(f"{wanted.out}: {wanted.out.stat().st_size / 1e6:.1f} MB, mode {facts['mode']}")
    say(f"input  {facts['input']}\noutput {facts['output']}\n{facts['size_advice']}")
    say(f"Probabilities differ by at most {largest:.1e} from the network's, on three inputs.")
    return largest


def _traced_for_sizes(
    model: PixelsToProbabilities, wanted: Wanted, say: Say
) -> tuple[Any, Size | None]:
    """Trace for the size that is wanted, else for any if that works, else for the usual one."""
    size, reason = wanted.size, why_one_size(model.network)
    if size is None and reason is None:
        try:
            return _traced(model, None, wanted.pixels), None
        except (RuntimeError, ConfigError):  # the second try, for one size, says what is wrong
            reason = "torch.export cannot trace this network for others"
    if size is None:
        size = usual_size(model.network)
        if size is None:
            raise ConfigError(
                "expected the size of the images, which this network needs "
                f"({reason}), got no img_scale in data.test.pipeline. Name it: --size H W."
            )
        say(f"The file is for images of {size[1]}x{size[0]} pixels alone: {reason}.")
    _require_size(model, size)
    try:
        return _traced(model, size, wanted.pixels), size
    except RuntimeError as error:
        raise ExportError(
            f"expected operations that torch.export can trace, got: {_first_line(error)}, "
            f"{_place_of(error)}. Write that part of the network without it."
        ) from error


def _require_size(model: PixelsToProbabilities, size: Size) -> None:
    try:
        model(torch.zeros(1, 3, *size))
    except RuntimeError as error:
        raise ExportError(
            f"expected a size that the network takes, got {size[0]}x{size[1]} (rows x columns): "
            f"{_first_line(error)}. Choose another one: --size H W."
        ) from error


def _traced(model: PixelsToProbabilities, size: Size | None, pixels: str) -> Any:
    """Trace a network for any number of images, of any size if there is none."""
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if size is None:
        names = ((2, "height"), (3, "width"))
        axes |= {axis: torch.export.Dim(name, min=SMALLEST) for axis, name in names}
    image = torch.zeros(2, 3, *(size or TRACED), dtype=PIXELS[pixels])
    shapes = {"image": axes}
    with torch.no_grad():
        program = torch.export.export(model, (image,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where the code of this program lies
    return program


def _inputs(size: Size | None, pixels: str) -> list[np.ndarray]:
    """Return three batches (N, 3, H, W) of colored blocks."""
    shapes: Sequence[tuple[int, ...]] = CHECKED if size is None else [(n, *size) for n in (1, 2, 1)]
    random = torch.Generator().manual_seed(0)
    images = []
    for count, height, width in shapes:
        blocks = (count, 3, height // 8 + 1, width // 8 + 1)
        colors = torch.randint(0, 256, blocks, generator=random).float()
        images.append(F.interpolate(colors, size=(height, width)).to(PIXELS[pixels]).numpy())
    return images


def _largest_difference(
    model: PixelsToProbabilities, form: Format, file: Path, inputs: Sequence[np.ndarray]
) -> float:
    """Run a file on the inputs, and return its largest difference from the network."""
    run: Run = form.load(file)
    largest = 0.0
    for pixels in inputs:
        with torch.no_grad():
            expected = model(torch.from_numpy(pixels)).numpy()
        difference = float(np.abs(run(pixels) - expected).max())
        if not difference <= TOLERANCE:  # also not a number
            raise ExportError(
                f"expected probabilities within {TOLERANCE:g} of the network's, got a difference "
                f"of {difference:.1e} for images {pixels.shape}; no file was written. Try the "
                "other --format, or fix the size with --size H W."
            )
        largest = max(largest, difference)
    return largest


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")


def _place_of(error: BaseException) -> str:
    """Say which line of the network an error of torch comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "torch" not in Path(frame.filename).parts]
    return f"at {own[-1].filename}:{own[-1].lineno} ({own[-1].line})"
