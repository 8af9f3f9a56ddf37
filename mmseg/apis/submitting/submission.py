"""Files for public test servers: from a checkpoint or from predictions, or looked at alone."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.apis.predicting.loading import checkpoint_file, load_network
from mmseg.apis.predicting.segmenter import test_steps
from mmseg.apis.submitting.archive import (
    INDEXED,
    PictureReader,
    Wanted,
    check_submission,
    is_submission,
    require_server_size,
    write_submission,
)
from mmseg.apis.test import name_test_split
from mmseg.config.registry import DATASETS
from mmseg.config.run_config import read_parts
from mmseg.datasets import build_dataset
from mmseg.datasets.acdc import ACDCDataset
from mmseg.datasets.cityscapes import ID_NAMES, CityscapesDataset
from mmseg.datasets.dark_zurich import DarkZurichDataset
from mmseg.datasets.image_files import encode_png, files_below
from mmseg.datasets.joint import listed
from mmseg.datasets.labels import id_to_train_id
from mmseg.engine.checkpoint import NETWORKS
from mmseg.engine.evaluator import predictions, split_name
from mmseg.system import processes
from mmseg.system.archives import archives_of
from mmseg.system.errors import ConfigError
from mmseg.system.files import refuse_endless, require_writable
from mmseg.system.options import LaunchOptions, TrustOptions, check_values, option
from mmseg.system.outputs import check_output_file
from mmseg.system.waiting import set_patience

Say = Callable[[str], object]
SERVED: dict[str, type[CityscapesDataset]] = {
    "cityscapes": CityscapesDataset,
    "acdc": ACDCDataset,
    "dark_zurich": DarkZurichDataset,
}
SPLITS, IDS = ("test", "val"), ("train", "label")
TASK = "task"  # of its options, one has to be given


@dataclass(frozen=True, kw_only=True)
class SubmissionOptions(LaunchOptions, TrustOptions):
    """The choices of a command line."""

    dataset: str = option(
        help="whose test server it is for", positional=True, choices=tuple(SERVED)
    )
    out: str | None = option(None, "archive to write", metavar="FILE.zip")
    checkpoint: str | None = option(
        None,
        "label the images with it: a file of weights, or the folder of a run (its best one)",
        metavar="RUN_OR_FILE",
        one_of=TASK,
    )
    predictions: str | None = option(
        None, "pack label maps: PNG files called as the images", metavar="DIR", one_of=TASK
    )
    validate: str | None = option(
        None, "only look at a submission", metavar="FILE.zip", one_of=TASK
    )
    config: str | None = option(None, "by default the one in the checkpoint, or beside it")
    eval_model: str = option("student", "network of the checkpoint", choices=NETWORKS)
    aug_test: bool = option(False, "six sizes, each also mirrored")
    ids: str = option("train", "what the files of --predictions hold", choices=IDS)
    split: str = option("test", "val only to try the command", choices=SPLITS)
    data_root: str | None = option(
        None, "folder of the dataset; by default that of the config, or data/DATASET", metavar="DIR"
    )

    @property
    def kind(self) -> type[CityscapesDataset]:
        """The class that knows the dataset and its server."""
        return SERVED[self.dataset]


def run_submission(options: SubmissionOptions, say: Say) -> None:
    """Write a submission, or look at one, and say what it holds.

    `say` takes lines for the person. `ConfigError` if the server would refuse what there is; then
    nothing is written.
    """
    check_options(options)
    if options.validate is not None:
        _validate(options, options.validate, say)
        return
    wanted, pictures = (_labeled if options.checkpoint else _packed)(options, say)
    parts = processes.gather_objects(pictures)
    if processes.is_main():
        out, files = str(options.out), {n: file for part in parts for n, file in part.items()}
        count = write_submission(out, files, wanted)
        say(f"Wrote {count} PNG files of {wanted.rule.ids}, and read them back: {out}")


def check_options(options: SubmissionOptions) -> None:
    """Raise `ConfigError` for options that do not go together, before anything is loaded."""
    check_values(options)
    tasks = {name: getattr(options, name) for name in ("checkpoint", "predictions", "validate")}
    given = [name for name, value in tasks.items() if value is not None]
    if len(given) != 1:
        named = ", ".join(f"--{name}" for name in given) or "none"
        raise ConfigError(
            f"expected one of --checkpoint, --predictions and --validate, got {named}."
        )
    if (options.out is None) != (given == ["validate"]):
        wish = "no --out with --validate" if options.out else "a file to write, --out"
        raise ConfigError(f"expected {wish}, got {options.out!r}.")
    only = {
        "--config": (options.config is not None, "checkpoint"),
        "--eval-model": (options.eval_model != "student", "checkpoint"),
        "--aug-test": (options.aug_test, "checkpoint"),
        "--ids": (options.ids != "train", "predictions"),
    }
    for name, (is_given, task) in only.items():
        if is_given and given != [task]:
            raise ConfigError(f"expected {name} with --{task} alone, got it with --{given[0]}.")


def _labeled(options: SubmissionOptions, say: Say) -> tuple[Wanted, dict[str, bytes]]:
    """Return what is wanted, and this process's share of it, as a network labels the images."""
    device = processes.init_from_environment(options.launcher, options.local_rank)
    file = checkpoint_file(str(options.checkpoint))
    _require_output(options, [file, *([options.config] if options.config else [])])
    model = load_network(file, options.config, device, options.eval_model)
    _require_classes(model, options.kind)
    parts = read_parts(model.cfg)
    set_patience(parts.max_wait)
    steps = test_steps(model.cfg, aug_test=options.aug_test)
    section = _section(options, listed(parts.data.test))
    own_size = {"test_short_side": None}  # which the server takes
    dataset, wanted = _images({**section, "pipeline": steps, **own_size}, options, say)
    if processes.is_main():
        require_writable(Path(str(options.out)).parent)
        say(f"Network: {options.eval_model} of {file}")
    pictures = {}
    for index, ids in predictions(model, dataset, parts.data.workers, shows_progress=True):
        served = _converted(ids, "train", options.kind)
        pictures[dataset.server_names[index]] = encode_png(served)
    return wanted, pictures


def _packed(options: SubmissionOptions, say: Say) -> tuple[Wanted, dict[str, bytes]]:
    """Return what is wanted, and its files as a folder has them."""
    folder, kind = Path(str(options.predictions)), options.kind
    if not folder.is_dir():
        raise FileNotFoundError(
            f"expected a folder of predictions at '{folder}', got none. Make it with: python "
            "tools/test.py CONFIG CHECKPOINT --test-set --show-dir DIR --opacity 1"
        )
    _require_output(options, [folder])
    dataset, wanted = _images(_section(options), options, say)
    are_labels = options.ids == "label"
    num_ids = len(ID_NAMES) if are_labels else len(kind.CLASSES)
    reader = PictureReader(wanted, INDEXED, num_ids)
    pictures = {}
    for name, ids in reader.read(files_below(folder, ".png"), lambda name: _content(folder / name)):
        served = _converted(ids, options.ids, kind)
        if served.max() >= wanted.rule.num_ids:
            reader.faults.add("with ids of no class", name)
        pictures[name] = encode_png(served)
    expected = f"one PNG of {options.ids} ids 0…{num_ids - 1} for each of the {len(dataset)} images"
    advice = "" if are_labels else " If they hold label ids, add --ids label."
    reader.faults.require_none(expected, folder, f"Nothing was written. Correct them.{advice}")
    if are_labels:
        _require_label_ids(reader.seen, folder, "Leave --ids label out")
    return wanted, pictures


def _validate(options: SubmissionOptions, file: str, say: Say) -> None:
    """Look at a submission; without images, only at what all submissions have in common."""
    section, rule = _section(options), options.kind.SERVER
    try:
        _, wanted = _images(section, options, say)
    except FileNotFoundError:
        if options.data_root is not None or options.split != SPLITS[0]:
            raise
        wanted = Wanted(None, rule, options.kind.IMG_SUFFIX)
        place = f"{section['data_root']}/{section['img_dir']}"
        say(f"Not compared with the images, which are not in {place}: name them with --data-root")
    count, seen = check_submission(file, wanted)
    if rule.takes_label_ids:
        _require_label_ids(seen, file, "Make the submission with this command")
    say(f"{count} PNG files of {rule.ids}, without a fault: {file}")


def _section(options: SubmissionOptions, tested: Sequence[Any] = ()) -> dict[str, Any]:
    """Return the section of the images: that of the `tested` ones of the kind, else the usual."""
    kind = options.kind
    own = [section for section in tested if DATASETS.class_of(section) is kind]
    if options.data_root is None and own:
        section = copy.deepcopy(dict(own[0]))
        if options.split == "test":
            name_test_split(section)
        return section
    root, images = options.data_root or f"data/{options.dataset}", kind.SERVER.images
    place = {"data_root": root, "img_dir": f"{images}/{options.split}"}
    return {"type": kind.__name__, **place, "pipeline": [{"type": "LoadImageFromFile"}]}


def _images(section: Any, options: SubmissionOptions, say: Say) -> tuple[Any, Wanted]:
    """Return the dataset of the images, and what is wanted for them."""
    dataset = build_dataset(section, test_mode=True)
    _require_output(options, [dataset.img_dir, *archives_of(dataset.img_dir)])
    wanted = Wanted.of(dataset)
    if options.split == "test":
        require_server_size(wanted, dataset.img_dir)
    if processes.is_main():
        say(f"Images: {split_name(dataset)}, {len(dataset)}")
    return dataset, wanted


def _require_output(options: SubmissionOptions, read: Sequence[str | Path]) -> None:
    if options.out is not None:
        check_output_file(options.out, read, "--out", is_submission)


def _require_classes(model: Any, kind: type[CityscapesDataset]) -> None:
    """Raise `ConfigError` for a network of other classes than the server's."""
    names = tuple(model.CLASSES or ())
    if names != kind.CLASSES or model.num_classes != len(names):
        raise ConfigError(
            f"expected a network of the {len(kind.CLASSES)} classes of the test server, got "
            f"{model.num_classes}: {', '.join(names[:3])}, …. Take a checkpoint of these classes."
        )


def _require_label_ids(seen: set[int], place: str | Path, advice: str) -> None:
    """Raise `ConfigError` for train ids in the place of label ids, where the values tell them."""
    of_no_class = sorted(seen - set(CityscapesDataset.LABEL_IDS.values()))
    if of_no_class and max(seen) < len(CityscapesDataset.CLASSES):
        raise ConfigError(
            f"expected label ids in '{place}', got train ids: no value above {max(seen)}, but "
            f"{of_no_class[0]}, the label id of no class. {advice}."
        )


def _converted(ids: np.ndarray, given: str, kind: type[CityscapesDataset]) -> np.ndarray:
    """Return what the server takes for ids of the kind `given`, train or label ids."""
    if (given == "label") == kind.SERVER.takes_label_ids:
        return ids
    return kind.to_label_id(ids) if given == "train" else id_to_train_id(ids, kind.ID_TO_TRAIN_ID)


def _content(file: Path) -> bytes:
    refuse_endless(file, "a PNG file")
    return file.read_bytes()
