"""Time of making depth maps with the architectures of Depth Anything V2, on drawn images.

Neither weights nor a dataset are needed: the networks are random, the images are grainy blobs in
files as large as those of GTA and Cityscapes. Every line is measured in a new process: first the
whole run as tools/make_depth.py does it, with loading the network, then each stage by itself, for
one image in one process.

python benchmarks/depth_maps.py --models small large --num-images 4
python benchmarks/depth_maps.py --models small base large --device cuda --amp --num-images 400
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from training_step import device_name, wait

from mmseg.datasets.depth.bins import write_map
from mmseg.datasets.image_files import read_color
from mmseg.preprocessing.depth_maps.make_maps import Options, make_maps
from mmseg.preprocessing.depth_maps.network import load_network
from mmseg.preprocessing.depth_maps.scaling import to_stored, upsample

SIZES = ("1914x1052", "2048x1024")
DISTINCT = 8  # images; all others are copies of them
REPEATS = 3
GRAIN = 1.5  # standard deviation of the noise: decides how large the files are


@dataclass(frozen=True)
class Architecture:
    """What differs between the sizes of the network."""

    channels: int
    heads: int
    layers: int
    outputs: tuple[int, ...]
    neck: tuple[int, ...]
    fusion: int


ARCHITECTURES = {
    "tiny": Architecture(12, 2, 4, (1, 2, 3, 4), (6, 8, 10, 12), 4),  # to try this script
    "small": Architecture(384, 6, 12, (3, 6, 9, 12), (48, 96, 192, 384), 64),
    "base": Architecture(768, 12, 12, (3, 6, 9, 12), (96, 192, 384, 768), 128),
    "large": Architecture(1024, 16, 24, (5, 12, 18, 24), (256, 512, 1024, 1024), 256),
}


def main() -> None:
    """Measure and print a Markdown table."""
    options = parse_arguments()
    device = torch.device(options.device)
    batch_size = options.batch_size or usual_batch_size(device)
    workers = options.num_workers
    if workers is None:
        workers = 1 if device.type == "cpu" else min(16, os.cpu_count() or 1)
    number = options.num_images or (400 if device.type == "cuda" else 4)
    print(
        f"{device_name(device)}, {'with' if options.amp else 'without'} --amp, batches of "
        f"{batch_size}, {workers} workers, {number} images of each size\n\n"
        "| network | images | images/s | read | resize | network and scaling "
        "| of these scaling | write | GPU memory |\n|---|---|" + "---:|" * 7
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for size in options.sizes:
            draw_images(root / size, size, number)
        for model in options.models:
            save_network(root / model, ARCHITECTURES[model])
            for size in options.sizes:
                choices = Options(
                    inputs=(root / size,),
                    out=root / "maps",
                    model=str(root / model),
                    device=device,
                    batch_size=batch_size,
                    amp=options.amp,
                    workers=workers,
                )
                print(f"| {model} | {size} {in_new_process(measure, choices)}", flush=True)
                shutil.rmtree(choices.out)
            shutil.rmtree(root / model)


def parse_arguments() -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--models", nargs="+", choices=ARCHITECTURES, default=["small", "large"])
    add("--sizes", nargs="+", default=SIZES, metavar="WxH", help="of the images")
    add("--num-images", type=int, help="of each size (default: 4, on a GPU 400)")
    add("--batch-size", type=int, help="(default: as tools/make_depth.py)")
    add("--num-workers", type=int, help="(default: as tools/make_depth.py)")
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=usual, help="(default: a GPU if there is one)")
    add("--amp", action="store_true")
    return parser.parse_args()


def usual_batch_size(device: torch.device) -> int:
    """Return how many images tools/make_depth.py computes together."""
    return 1 if device.type == "cpu" else 8


def draw_images(folder: Path, size: str, number: int) -> None:
    """Write PNG files of about 2.4 MB, as those of GTA and Cityscapes are."""
    folder.mkdir()
    width, height = (int(side) for side in size.split("x"))
    rng = np.random.default_rng(0)
    for index in range(min(number, DISTINCT)):
        blobs = rng.integers(30, 226, (9, 16, 3)).astype(np.float32)
        image = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, GRAIN, image.shape)
        cv2.imwrite(str(folder / f"{index:05d}.png"), image.clip(0, 255).astype(np.uint8))
    for index in range(DISTINCT, number):
        source = folder / f"{index % DISTINCT:05d}.png"
        (folder / f"{index:05d}.png").symlink_to(source)


def save_network(folder: Path, architecture: Architecture) -> None:
    """Save a network of random weights in the form of the published ones."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    from transformers.utils import logging

    logging.disable_progress_bar()
    backbone = Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=architecture.channels,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        out_indices=list(architecture.outputs),
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=architecture.channels,
        neck_hidden_sizes=list(architecture.neck),
        fusion_hidden_size=architecture.fusion,
    )
    model = DepthAnythingForDepthEstimation(config)
    model.head.conv3.weight.data.abs_()  # it stands between two ReLUs: so not all becomes 0
    model.save_pretrained(folder)


def in_new_process(function: Callable[[Options], str], options: Options) -> str:
    """Call a function where nothing was loaded or allocated before."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, options).result()


def measure(options: Options) -> str:
    """Return the rest of a line of the table."""
    # Else the workers would be started as this process was, which takes seconds.
    multiprocessing.set_start_method(None, force=True)
    start = time.perf_counter()
    run = make_maps(options, say=lambda line: None)
    rate = run.made / (time.perf_counter() - start)
    if run.failures:
        raise SystemExit("\n".join(run.failures))
    device, number = options.device, options.batch_size
    memory = "-"
    if device.type == "cuda":
        memory = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB"
    network = load_network(str(options.model), device, options.amp)
    file = next(options.inputs[0].iterdir())
    image = read_color(file)
    pixels = torch.from_numpy(network.rule.pixels(image))
    batch = pixels.expand(number, -1, -1, -1).contiguous().to(device)
    prediction, size = batch[:, 0], image.shape[:2]
    levels = network.maps(batch, size)[0][0].cpu().numpy()  # the first call allocates
    stages = [
        seconds(lambda: read_color(file)),
        seconds(lambda: network.rule.pixels(image)),
        seconds(lambda: network.maps(batch, size), device) / number,
        seconds(lambda: to_stored(upsample(prediction, size)), device) / number,
        seconds(lambda: write_map(options.out / "again.png", levels)),
    ]
    cells = [f"{rate:.3g}", *(f"{s:.4f} s" for s in stages), memory]
    return f"| {' | '.join(cells)} |"


def seconds(task: Callable[[], object], device: torch.device | None = None) -> float:
    """Return the median time of a task, with what it starts on a device."""
    times = []
    for _ in range(REPEATS):
        if device:
            wait(device)
        start = time.perf_counter()
        task()
        if device:
            wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
