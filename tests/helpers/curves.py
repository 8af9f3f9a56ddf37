"""Ten training iterations of every demo config in float64, the same on any machine.

Each config of `configs/demo/` is reduced in sizes (crops, channels) and times (warm-up, length of
the run, memory of the teacher), so that ten iterations see all of it, and runs through the real
engine: `Trainer.step` with schedule, optimizer and the draws of its seed. The curve is every logged
value, the norm of the student's gradient before the optimizer steps and the distance of the
teacher, of which only labels are seen otherwise. Weights, images, labels, depth, source crops and
bank follow from names by NumPy; dropout and stochastic depth too, because torch's own numbers
differ between processors and devices. What is left is the rounding of float64.

    curve = train_curve("cdda_mic", folder)          # device="cuda", dtype=torch.float32, …
    largest_deviation(curve, recorded("cdda_mic"))   # one number per iteration, <= TOLERANCES

`python tests/helpers/record_curves.py` records anew. Nothing here needs more than a run does.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for place in (ROOT, ROOT / "tests/golden"):
    if str(place) not in sys.path:
        sys.path.append(str(place))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from gen_scene import scenes  # noqa: E402
from golden_init import arr, blocky_labels, init_module  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mmseg.apis.train import build_initial_method, images_per_step  # noqa: E402
from mmseg.config import Config, load_config  # noqa: E402
from mmseg.config.run_config import read_run  # noqa: E402
from mmseg.datasets.image_files import write_label  # noqa: E402
from mmseg.datasets.labels import PALETTE  # noqa: E402
from mmseg.datasets.loader import to_device  # noqa: E402
from mmseg.engine import build_optimizer  # noqa: E402
from mmseg.engine.meters import LossMeter  # noqa: E402
from mmseg.engine.schedule import Schedule  # noqa: E402
from mmseg.engine.trainer import RunOutput, Trainer  # noqa: E402
from mmseg.models.layers import StochasticDepth  # noqa: E402
from mmseg.models.uda.depthmetric import depth_histogram, load_bank  # noqa: E402
from mmseg.models.uda.depthmetric.bank import Bank  # noqa: E402
from mmseg.visualization.palettes import colorize, save_picture  # noqa: E402

Curve = list[dict[str, float]]

NAMES: tuple[str, ...] = tuple(
    sorted(path.stem for path in (ROOT / "configs/demo").glob("*.py") if path.stem != "oracle")
)  # the oracle has no training method of its own
RECORDINGS = ROOT / "tests/golden/curves"
ITERATIONS = 10
# Relative, per iteration: rounding grows with every step. 1e-9 at the first, 1e-6 at the tenth.
TOLERANCES: tuple[float, ...] = tuple(10 ** (-9 + i / 3) for i in range(ITERATIONS))
GRADIENT, TEACHER = "gradient_norm", "teacher_distance"

SIZE, DETAIL = (64, 96), (32, 48)  # of a crop, and of HRDA's window in it
NARROWER = 4  # the networks: float64 computes depth-wise convolutions channel by channel
VIT = {"embed_dim": 64, "depth": 4, "num_heads": 1, "img_size": 64}
FROZEN = {"embed_dim": 16, "depth": 1, "num_heads": 1, "img_size": 56}
CROPS, SHOWN = 11, 0.6  # in the bank, and the share of the classes that one of them shows
LENGTH, WARMUP = 20, 4  # iterations of the run, which ends its warm-up within the curve
ALPHA = 0.8  # of the teacher, which reaches it in iteration 5
# Similarities above which a target image is re-weighted and guided: some are, others are not.
REWEIGHT, RELABEL = 0.108, 0.103
VIT_THRESHOLDS = 0.138, 0.132  # the same for a ViT


def demo_trainer(
    name: str,
    folder: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Trainer:
    """Return the trainer of a demo config at iteration 0.

    Args:
        name: one of `NAMES`.
        folder: where source crops, bank and what the run writes go.
        device: what computes.
        dtype: of weights, images and depth statistics.
    """
    cfg = demo_config(name, Path(folder))
    run = read_run(cfg)
    if cfg.uda.get("matrix_path"):
        _write_crops(Path(folder))
    method = init_module(build_initial_method(run).to(dtype))
    if getattr(method, "cdda", None) is not None:  # its norms were computed in float32
        bank = load_bank(cfg.uda.matrix_path, cfg.uda.dataset)
        method.cdda.metric.bank = Bank(bank.to(dtype))
    _draw_from_numpy(method.model, cfg.data.samples_per_gpu)
    method = method.to(device)
    schedule = Schedule(run.schedule, run.runner.max_iters)
    optimizer = build_optimizer(method, cfg.optimizer, images_per_step(run))
    return Trainer(method, optimizer, schedule, run, RunOutput(cfg.work_dir))


def demo_config(name: str, folder: Path) -> Config:
    """Return a demo config for crops of `SIZE`; files lie in `folder`."""
    cfg = load_config(ROOT / f"configs/demo/{name}.py")
    cfg["work_dir"] = str(folder)
    if "vit" in cfg.model.backbone:
        _shrink_vit(cfg)
    else:
        head = cfg.model.decode_head
        head.in_channels = [channels // NARROWER for channels in head.in_channels]
        head.channels //= NARROWER
        head.decoder_params.embed_dims //= NARROWER
        cfg.model.backbone["embed_dims"] = head.in_channels
    if "hr_crop_size" in cfg.model:
        cfg.model.hr_crop_size = DETAIL
    cfg.runner.max_iters, cfg.uda.alpha = LENGTH, ALPHA
    cfg.lr_config.update(warmup_iters=WARMUP, warmup_ratio=0.1)
    if cfg.uda.get("matrix_path"):
        cfg.uda.matrix_path = str(folder / f"crops/gta_{CROPS}_distribution.pth")
        cfg.uda.croped_images_path = str(folder / "crops/images")
        cfg.uda.croped_labels_path = str(folder / "crops/labels")
        thresholds = VIT_THRESHOLDS if "vit" in cfg.model.backbone else (REWEIGHT, RELABEL)
        cfg.uda.reweight_threshold, cfg.uda.relabel_threshold = thresholds
    return cfg


def _shrink_vit(cfg: Config) -> None:
    """Choose sizes at which no table of positions is resized, because that is done in float32."""
    backbone, uda = cfg.model.backbone, cfg.uda
    backbone.update(inner_size=VIT["img_size"], conv_inplane=16)
    backbone.vit.update(model_name="vit_tiny_patch16_224", model_kwargs=VIT)
    cfg.model.decode_head.in_channels = VIT["embed_dim"]
    if uda.get("mask_generator"):
        uda.mask_generator.mask_block_size = 16
    if uda.get("vfm_feature_dist"):
        uda.vfm_feature_dist.update(size=FROZEN["img_size"], model_kwargs=FROZEN)


def demo_batch(name: str, iteration: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Return the batch of an iteration, as the loader makes it, on the CPU."""
    count, norm, margins = _data_facts(name)
    drawn = scenes(2200 + iteration, 2 * count, *SIZE)  # source, then target
    labels = np.stack([label for label, _ in drawn])[:, None]
    images = [_picture(label[0], f"{iteration}_{i}") for i, label in enumerate(labels)]
    mean, std = np.float32(norm["mean"]), np.float32(norm["std"])
    pixels = (np.stack(images).astype(np.float32) - mean) / std  # (2B, H, W, 3)
    labels[arr(f"curves:ignored{iteration}", labels.shape, "uniform") < 0.05] = 255
    image = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).to(dtype).contiguous()
    metas = [{"img_norm_cfg": norm, "img_shape": (*SIZE, 3)} for _ in range(count)]
    batch = {
        "img": image[:count], "img_metas": metas,
        "gt_semantic_seg": torch.from_numpy(labels[:count]),
        "target_img": image[count:], "target_img_metas": metas,
        "target_depth": torch.from_numpy(np.stack([depth for _, depth in drawn[count:]])),
    }  # fmt: skip
    if margins is not None:
        sides = (SIZE[0], SIZE[0], SIZE[1], SIZE[1])
        pairs = zip(margins, sides, strict=True)
        top, bottom, left, right = (int(m * side) if m < 1 else m for m, side in pairs)
        valid = torch.zeros(count, 1, *SIZE, dtype=torch.uint8)
        valid[..., top : SIZE[0] - bottom, left : SIZE[1] - right] = 1
        batch["valid_pseudo_mask"] = valid
    return batch


def train_curve(
    name: str,
    folder: str | Path,
    device: torch.device | str = "cpu",
    iterations: int = ITERATIONS,
    dtype: torch.dtype = torch.float64,
) -> Curve:
    """Train a demo config and return what each iteration logged, by name."""
    trainer = demo_trainer(name, folder, device, dtype)
    curve: Curve = []
    trainer.state.losses = _Recorder(curve)
    measured: Curve = []
    trainer.optimizer.register_step_pre_hook(lambda *_: measured.append(_measures(trainer.method)))
    trainer.method.train()
    for iteration in range(iterations):
        trainer.step(to_device(demo_batch(name, iteration, dtype), trainer.device))
    return [values | further for values, further in zip(curve, measured, strict=True)]


def recorded(name: str) -> Curve:
    """Return the recorded curve of a demo config."""
    path = RECORDINGS / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the curve of configs/demo/{name}.py at '{path}', got no such file; make it "
            f"with: python tests/helpers/record_curves.py {name}"
        )
    return json.loads(path.read_text(encoding="utf-8"))["iterations"]


@dataclass(frozen=True)
class Change:
    """The first iteration (from 1) at which a value is not what it was."""

    term: str
    iteration: int
    old: float | None  # None where the term was not logged
    new: float | None


def changes(curve: Curve, former: Curve) -> list[Change]:
    """Return every term of a curve that is beyond tolerance of the former curve."""
    found: dict[str, Change] = {}
    for i, (new, old, tolerance) in enumerate(zip(curve, former, TOLERANCES, strict=True)):
        for term in {**old, **new}:
            pair = old.get(term), new.get(term)
            if term not in found and not deviation(*pair[::-1]) <= tolerance:
                found[term] = Change(term, i + 1, *pair)
    return list(found.values())


def largest_deviation(curve: Curve, recorded: Curve) -> list[float]:
    """Return, for each iteration of `curve`, the largest relative deviation of any value.

    It is infinite where a value is missing, superfluous or not finite.
    """
    return [
        max(deviation(ours.get(term), theirs.get(term)) for term in ours.keys() | theirs.keys())
        for ours, theirs in zip(curve, recorded[: len(curve)], strict=True)
    ]


def deviation(ours: float | None, theirs: float | None) -> float:
    """Return how far a value is from a recorded one: relatively, absolutely where that is 0."""
    if ours is None or theirs is None:
        return np.inf
    relative = abs(ours - theirs) / (abs(theirs) or 1.0)
    return relative if np.isfinite(relative) else np.inf


class _Recorder(LossMeter):
    """A meter that also keeps every value as it comes, which it adds up in float32."""

    def __init__(self, curve: Curve) -> None:
        super().__init__()
        self.curve = curve

    def add(self, losses: Any, iteration: int) -> None:
        self.curve.append({name: float(value) for name, value in losses.items()})
        super().add(losses, iteration)


class _NumPyNoise:
    """Replaces what dropout and stochastic depth drew by draws of NumPy with the same seed.

    Batches that go through a backbone as one get the draws that they would get one by one.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.seed: int | None = None
        self.rng = np.random.default_rng()

    def dropped(self, module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        (x,) = inputs
        if not module.training or module.p == 0:
            return output
        self._start()
        whole = {nn.Dropout2d: 2}.get(type(module), x.ndim)  # what is kept as a whole
        kept = self.rng.random((*x.shape[:whole], *[1] * (x.ndim - whole))) >= module.p
        return x * self._on(kept / (1 - module.p), x)

    def factors(
        self, module: StochasticDepth, inputs: tuple[int], output: list[Tensor | None]
    ) -> list[Tensor | None]:
        rates = np.array([rate for rate in module.rates if rate > 0])[:, None]
        if not module.training or not len(rates):
            return output
        self._start()
        (images,) = inputs
        groups = max(images // self.batch, 1)
        drawn = self.rng.random((groups, len(rates), images // groups))
        factors = (drawn >= rates) / (1 - rates)
        joined = iter(factors.transpose(1, 0, 2).reshape(len(rates), images, 1, 1))
        return [self._on(next(joined), module.keep) if r > 0 else None for r in module.rates]

    def _start(self) -> None:
        if torch.initial_seed() != self.seed:  # a new iteration
            self.seed = torch.initial_seed()
            self.rng = np.random.default_rng(self.seed)

    @staticmethod
    def _on(factor: np.ndarray, like: Tensor) -> Tensor:
        return torch.from_numpy(factor).to(like.device, like.dtype, non_blocking=True)


def _draw_from_numpy(student: nn.Module, batch: int) -> None:
    noise = _NumPyNoise(batch)
    for module in student.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.register_forward_hook(noise.dropped)
        elif isinstance(module, StochasticDepth):
            module.register_forward_hook(noise.factors)


def _measures(method: Any) -> dict[str, float]:
    """Return the norm of the student's gradient and how far the teacher's weights are from it."""
    student = list(method.model.parameters())
    measures = {GRADIENT: _norm(p.grad for p in student if p.grad is not None)}
    if getattr(method, "teacher", None) is not None:
        pairs = zip(method.teacher.network.parameters(), student, strict=True)
        measures[TEACHER] = _norm(theirs - ours.detach() for theirs, ours in pairs)
    return measures


def _norm(tensors: Iterable[Tensor]) -> float:
    return float(torch.stack([t.double().square().sum() for t in tensors]).sum().sqrt())


@cache
def _data_facts(name: str) -> tuple[int, dict[str, Any], Sequence[float] | None]:
    """Return the batch size, the normalization and the untrusted margins of the target images."""
    cfg = demo_config(name, Path())
    norm = {**cfg.img_norm_cfg}
    return cfg.data.samples_per_gpu, norm, cfg.data.train.target.get("crop_pseudo_margins")


def _picture(label: np.ndarray, name: str) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB: the classes in their colors, with noise."""
    noise = arr(f"curves:picture{name}", (*label.shape, 3), "int", -40, 41)
    return np.clip(colorize(label, PALETTE).astype(np.int64) + noise, 0, 255).astype(np.uint8)


def _write_crops(folder: Path) -> None:
    """Write source crops and the bank of their depth statistics."""
    histograms = []
    for number, (_, depth) in enumerate(scenes(3000, CROPS, *SIZE)):
        classes = np.flatnonzero(arr(f"curves:classes{number}", (19,), "uniform") < SHOWN)
        label = blocky_labels(f"curves:crop{number}", *SIZE, classes)
        save_picture(folder / f"crops/images/{number}.png", _picture(label, f"crop{number}"))
        write_label(folder / f"crops/labels/{number}.png", label.astype(np.uint8))
        histograms.append(depth_histogram(torch.from_numpy(label), torch.from_numpy(depth)))
    torch.save(torch.stack(histograms), folder / f"crops/gta_{CROPS}_distribution.pth")
