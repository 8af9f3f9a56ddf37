"""How right a teacher's labels of the target's training images are, for those who have labels.

Only looked at: training never sees these labels. The teacher labels whole images as at test time,
not the augmented crops of training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mmseg.apis.comparison.page import Block, Heading, Paragraph, Table
from mmseg.apis.comparison.runs import Group, Run
from mmseg.apis.comparison.tables import percent_text
from mmseg.apis.inference import init_segmentor
from mmseg.config import Config
from mmseg.config.run_config import read_parts
from mmseg.config.sections import each
from mmseg.datasets import build_dataset, collate
from mmseg.datasets.joint import plain
from mmseg.engine.checkpoint import CheckpointError
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.system.archives import has_file
from mmseg.system.errors import is_for_user

SHARES = {  # fields of `Accuracy`, as the report calls them
    "accuracy": "right pixels",
    "confident": "confident pixels",
    "confident_accuracy": "right ones of the confident",
}


@dataclass(frozen=True)
class Accuracy:
    """What a teacher got right; shares are fractions of the pixels whose label is a class.

    `confident` are those with a probability of at least `uda.pseudo_threshold`;
    `confident_accuracy` is None if there are none.
    """

    iteration: int
    images: int
    accuracy: float
    confident: float
    confident_accuracy: float | None


@dataclass(frozen=True)
class Measured:
    """The accuracies of the checkpoints of each run, or why there are none."""

    runs: Mapping[int | None, Sequence[Accuracy]]
    why_not: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        runs = {str(seed): [asdict(one) for one in found] for seed, found in self.runs.items()}
        return {"runs": runs, "why_not": self.why_not}


def measure_runs(group: Group, images: int) -> Measured:
    """Measure the teachers in the checkpoints `iter_N.pth` of each run on up to `images` images."""
    if not images:
        return Measured({}, "not asked for.")
    config = next(iter(group.values())).config
    uda = read_parts(config).uda or {}
    if "pseudo_threshold" not in uda or uda.get("source_only"):
        return Measured({}, "this method trains no teacher with a threshold.")
    try:
        dataset = target_dataset(config)
        chosen = _labeled(dataset, images)
        if not chosen:
            return Measured({}, f"no labels of '{dataset.img_dir}' are at hand.")
        threshold = float(uda["pseudo_threshold"])
        found = {s: _of_run(run, dataset, chosen, threshold) for s, run in group.items()}
    except (CheckpointError, OSError, ValueError, ImportError) as error:
        if not isinstance(error, CheckpointError) and not is_for_user(error):
            raise
        return Measured({}, str(error))
    if not any(found.values()):
        return Measured({}, "no run has kept a checkpoint iter_N.pth.")
    return Measured(found)


def target_dataset(config: Config) -> Any:
    """Return the (first) target of a config's training, prepared as for a test, with its labels."""
    data = read_parts(config).data
    test = (each(data.test) or each(data.val) or [{}])[0]
    section = {**plain(data.target or {}), "pipeline": test.get("pipeline")}
    section.pop("dep_dir", None)
    return build_dataset(section, test_mode=True)


@torch.no_grad()
def accuracy_of(
    model: Any, dataset: Any, chosen: Sequence[int], threshold: float
) -> tuple[float, float, float | None]:
    """Return the shares of `Accuracy` for the images `chosen` of a dataset."""
    device, counts = next(model.parameters()).device, torch.zeros(4, dtype=torch.int64)
    for index in chosen:
        batch = collate([dataset[index]])
        scores = model.inference(batch["img"][0].to(device), batch["img_metas"][0])
        probability, label = (part[0].cpu() for part in scores.max(1))  # (H, W)
        truth = torch.from_numpy(dataset.gt_label(index)).long()
        counts_here = (truth != dataset.ignore_index, probability >= threshold, label == truth)
        valid, confident, right = counts_here
        parts = (valid, valid & right, valid & confident, valid & confident & right)
        counts += torch.stack([part.sum() for part in parts])
    pixels, right, confident, both = counts.tolist()
    if not pixels:
        return 0.0, 0.0, None
    return right / pixels, confident / pixels, both / confident if confident else None


def accuracy_panels(measured: Measured, name: str) -> dict[str, Any]:
    """Return panels of curves over the iterations, for runs with several checkpoints."""
    panels = {}
    for key, title in SHARES.items():
        curves = [{a.iteration: 100 * getattr(a, key) for a in found
                   if getattr(a, key) is not None} for found in measured.runs.values()]  # fmt: skip
        if any(len(curve) > 1 for curve in curves):
            panels[f"pseudo-labels: {title}, percent"] = {name: curves}
    return panels


def accuracy_blocks(measured: Measured) -> Iterator[Block]:
    """Yield the section on pseudo-labels."""
    yield Heading("Pseudo-labels of the target's training images")
    if not measured.runs:
        yield Paragraph(f"Not measured: {measured.why_not}")
        return
    yield Paragraph(
        "The teacher of each kept checkpoint labels whole images as at test time; their labels are "
        "only looked at here, never in training. Percent of the pixels that have a class."
    )
    head = ["iteration", "seed", "images", *SHARES.values()]
    rows = [
        [str(one.iteration), str(seed), str(one.images)]
        + [percent_text(getattr(one, key)) for key in SHARES]
        for seed, found in measured.runs.items()
        for one in found
    ]
    yield Table("Accuracy of pseudo-labels", head, rows)


def _of_run(run: Run, dataset: Any, chosen: Sequence[int], threshold: float) -> list[Accuracy]:
    accuracies = []
    for iteration, file in CheckpointFolder(run.folder).numbered:
        model = init_segmentor(run.config, file, network="teacher")
        shares = accuracy_of(model, dataset, chosen, threshold)
        accuracies.append(Accuracy(iteration, len(chosen), *shares))
    return accuracies


def _labeled(dataset: Any, images: int) -> list[int]:
    """Return up to `images` indices of images with a label, evenly spread."""
    if dataset.ann_dir is None:
        return []
    infos = enumerate(dataset.img_infos)
    there = [i for i, info in infos if has_file(Path(dataset.ann_dir, info["ann"]["seg_map"]))]
    step = max(1, len(there) // images)
    return there[::step][:images]
