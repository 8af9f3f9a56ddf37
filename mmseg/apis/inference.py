"""Label images as users of mmsegmentation do: `init_segmentor`, `inference_segmentor`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmseg.apis.predicting.loading import build_network, load_network, usual_device
from mmseg.apis.predicting.segmenter import as_bgr, palette_of, sample_of
from mmseg.config import Config, load_config
from mmseg.datasets import collate
from mmseg.engine.evaluator import predict
from mmseg.visualization.palettes import Colors, blend

Picture = str | Path | np.ndarray | Image.Image


def init_segmentor(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    network: str = "student",
) -> Any:
    """Build the network of a config, fill it from a checkpoint, and put it into eval mode.

    Args:
        config: path (with or without .py), or a loaded config.
        checkpoint: of this program or of the family; None keeps the initial weights.
        device: by default the GPU if there is one, else the CPU.
        network: 'student' or 'teacher' of the checkpoint.

    Returns the network, with `CLASSES`, `PALETTE` and `cfg`. The errors are those of
    `load_network`.
    """
    if checkpoint is not None:
        return load_network(checkpoint, config, device, network)
    model = build_network(config if isinstance(config, Config) else load_config(config))
    return model.to(device or usual_device()).eval()


def inference_segmentor(model: Any, img: Picture | Sequence[Picture]) -> list[np.ndarray]:
    """Label one image or several with the test pipeline of the network's config.

    `model` is from `init_segmentor`; `img` is a path, a PIL image, or pixels (H, W, 3) in the order
    blue, green, red; or a list of them. Returns one (H, W) uint8 map of classes per image.
    """
    images: list[Any] = list(img) if isinstance(img, list | tuple) else [img]
    steps = list(model.cfg.data.test.pipeline)
    # A file is read by the pipeline's own first step.
    pixels = [one if isinstance(one, str | Path) else as_bgr(one) for one in images]
    return [predict(model, collate([sample_of(steps, one)])) for one in pixels]


def show_result_pyplot(
    model: Any,
    img: Picture,
    result: Sequence[np.ndarray],
    palette: Colors | None = None,
    fig_size: tuple[float, float] = (15, 10),
    opacity: float = 0.5,
    title: str = "",
    block: bool = True,
    out_file: str | Path | None = None,
) -> None:
    """Show an image under its colored labels with matplotlib.

    Args:
        model: from `init_segmentor`.
        img: the image, as for `inference_segmentor`.
        result: what `inference_segmentor` returned; the first map is shown.
        palette: RGB color of each class; by default the network's.
        fig_size: (width, height) in inches.
        opacity: of the labels, from 0 to 1.
        title: above the picture.
        block: wait until the window is closed.
        out_file: write the picture there instead of opening a window.
    """
    import matplotlib.pyplot as plt

    picture = blend(as_bgr(img)[..., ::-1], result[0], opacity, palette or palette_of(model))
    figure = plt.figure(figsize=fig_size)
    plt.imshow(picture)
    plt.title(title)
    plt.axis("off")
    plt.tight_layout()
    if out_file is None:
        plt.show(block=block)
    else:
        figure.savefig(out_file)
    plt.close(figure)
