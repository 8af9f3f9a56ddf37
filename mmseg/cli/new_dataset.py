"""What `tools/new_dataset.py` starts: look, choose, write, check, and say what comes next."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from mmseg.apis.checks import check_run, check_test
from mmseg.config import load_config
from mmseg.datasets import build_dataset
from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.depth.bins import make_command
from mmseg.preprocessing.new_dataset import choosing, looking, writing
from mmseg.preprocessing.new_dataset.finding import Domain, Wanted, find_domain
from mmseg.preprocessing.new_dataset.looking import LabelLook, Size
from mmseg.preprocessing.new_dataset.writing import Evaluation, Plan
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write
from mmseg.system.options import option
from mmseg.system.outputs import check_output_folder
from mmseg.system.shipped import root

Say = Callable[[str], object]
BASES = Path("configs/_base_")
MODELS = ("b5", "b0")
MOST_SHOWN = 12  # values of labels
NO_EVALUATION = (
    "There are no labels to evaluate on: trainings are not evaluated, and tools/test.py paints the "
    "predictions (--show-dir). Give --val to change that."
)


@dataclass(frozen=True, kw_only=True)
class NewDatasetOptions:
    """The choices of the command line."""

    source: str = option(help="folder or archive of images and labels", positional=True)
    target: str = option(help="folder or archive of images", positional=True)
    out: Path = option(help="folder of the configs", metavar="DIR")
    val: str | None = option(
        None, "folder or archive of images and labels to evaluate on; by default the target's"
    )
    images: str | None = option(None, "folder of the images in SOURCE; by default found")
    labels: str | None = option(None, "folder of the labels in SOURCE")
    depth: str | None = option(None, "folder of the depth maps in SOURCE, or anywhere")
    target_images: str | None = option(None, "folder of the images in TARGET")
    target_depth: str | None = option(None, "folder of the depth maps in TARGET, or anywhere")
    val_images: str | None = option(None, "folder of the images in VAL")
    val_labels: str | None = option(None, "folder of the labels in VAL")
    classes: str | None = option(
        None, "table of classes (JSON or CSV); by default each id or color of the labels is one"
    )
    name: str | None = option(None, "of the runs and crops; by default that of DIR")
    model: Literal["b5", "b0"] = option(
        "b5", "network: MiT-B5, or the small MiT-B0 to try anything on a CPU", choices=MODELS
    )
    overwrite: bool = option(False, "replace configs of an earlier call")

    @property
    def title(self) -> str:
        """The name in configs."""
        name = self.name or self.out.resolve().name
        if not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(
                f"expected a --name of letters, digits, '_', '-' and '.', got {name!r}. Choose "
                "another name."
            )
        return name


@dataclass(frozen=True)
class Found:
    """The pictures of a person; `val` is None if nothing can be evaluated on."""

    source: Domain
    target: Domain
    val: Domain | None
    why: str  # about `val`

    @property
    def folders(self) -> list[Path]:
        """All folders that are read."""
        found = [domain for domain in (self.source, self.target, self.val) if domain is not None]
        labels = [Path(one.root, one.labels) for one in found if one.labels is not None]
        return [*(one.image_dir for one in found), *labels]


def new_dataset_command(options: NewDatasetOptions, say: Say) -> None:
    """Write configs for the pictures of a person."""
    name = options.title
    if not options.overwrite:
        _require_new(options.out)
    found = _find(options)
    check_output_folder(options.out, found.folders, "a folder of configs")
    plan = _plan(options, name, found, say)
    write_configs(plan, options.out)
    crop, scales = plan.choices.crop, (plan.choices.source_scale, plan.choices.target_scale)
    words = " and ".join(f"{width}x{height}" for width, height in scales)
    say(f"Chosen: {len(plan.classes.entries)} classes, images at {words}, crops of {crop}x{crop}")
    names = ", ".join(f"{name}.py" for name in writing.CONFIGS)
    say(f"Wrote {names} and {writing.DATA} to {options.out}, with a comment on every choice.")
    for line in next_steps(plan, options.out):
        say(line)


def _find(options: NewDatasetOptions) -> Found:
    """Find the folders; without `--val`, labels of the target serve for evaluation."""
    places = options.images, options.labels, options.depth
    source = find_domain(Wanted("SOURCE", options.source, *places))
    images, depth = options.target_images, options.target_depth
    target = find_domain(Wanted("TARGET", options.target, images, None, depth, reads_labels="no"))
    places = options.val_images, options.val_labels
    if options.val:
        val = find_domain(Wanted("--val", options.val, *places, part="val"))
        return Found(source, target, val, f"What --val named: {options.val}.")
    wanted = Wanted("TARGET", options.target, *places, part="val", reads_labels="may")
    val = find_domain(wanted)
    if val.labels is None:
        return Found(source, target, None, NO_EVALUATION)
    if val.image_dir != target.image_dir:
        return Found(source, target, val, "The labels that the target has.")
    held = val.names[:: writing.HELD_OUT]
    rest = [name for name in target.names if name not in {*held}]
    if not rest:
        return Found(source, target, None, NO_EVALUATION)
    parts = target.part(rest, writing.APART), val.part(held, writing.APART)
    return Found(source, *parts, "Some of the labels that the target has.")


def _plan(options: NewDatasetOptions, name: str, found: Found, say: Say) -> Plan:
    """Look at the pictures, say what they are like, and choose what suits them."""
    look = looking.look_at_labels(found.source)
    sizes = [looking.image_sizes(domain) for domain in (found.source, found.target)]
    classes = choosing.choose_classes(look, options.classes)
    lines = [*_report("Source", found.source, sizes[0], look)]
    if absent := choosing.absent_classes(classes, look):
        more = " …" if len(absent) > MOST_SHOWN else ""
        lines.append(f"  no pixel of {', '.join(absent[:MOST_SHOWN])}{more}")
    unknown = choosing.unknown_values(classes, look)
    if unknown:
        lines.append(f"  ignored, of no class: {writing.listed(look, unknown)}")
    lines += _report("Target", found.target, sizes[1])
    evaluation = Evaluation(None, None, (), found.why)
    if found.val is None:
        lines.append(f"Evaluation: none. {found.why}")
    else:
        own = looking.look_at_labels(found.val)
        lines += _report("Evaluation", found.val, looking.image_sizes(found.val), own)
        others = tuple(choosing.unknown_values(classes, own))
        evaluation = Evaluation(found.val, own, others, found.why)
    for line in lines:
        say(line)
    return Plan(
        name=name,
        model=options.model,
        bases=_bases(options.out),
        classes=classes,
        choices=choosing.choose(classes, look, found.source, *sizes),
        source=found.source,
        source_look=look,
        unknown=tuple(unknown),
        target=found.target,
        evaluation=evaluation,
    )


def write_configs(plan: Plan, out: Path) -> None:
    """Write the configs, after a check that they say what can be trained."""
    files = writing.files_of(plan)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new_dataset-", dir=out.parent) as trial:
        _write(files, Path(trial))
        _check(Path(trial))
    _write(files, out)


def _require_new(out: Path) -> None:
    """Raise `ConfigError` if one of the files is there already."""
    if old := [name for name in writing.ALL_FILES if (out / name).exists()]:
        raise ConfigError(
            f"expected a folder without {', '.join(old)} at '{out}', got them there: they may hold "
            "changes. Choose another --out, or add --overwrite to replace them."
        )


def _write(files: Mapping[str, str], folder: Path) -> None:
    for name, text in files.items():
        with atomic_write(folder / name, "w") as stream:
            stream.write(text)


def _check(folder: Path) -> None:
    """Raise if a training would refuse one of the configs or their data."""
    for name in writing.CONFIGS:
        cfg = load_config(folder / name)
        check_run(cfg)
        check_test(cfg)
    data = load_config(folder / writing.DATA).data
    for section in (data.train.source, data.train.target, data.test):
        build_dataset({**section, "dep_dir": None})  # every image has its label


def next_steps(plan: Plan, out: Path) -> list[str]:
    """Return what a person should do next, commands indented."""
    first, config = (shlex.quote((out / name).as_posix()) for name in ("daformer", "cdda"))
    lines = ["Next:", f"  python tools/check_data.py {first}"]
    pairs = zip((plan.source, plan.target), writing.depth_dirs(plan), strict=True)
    missing = [(domain, folder) for domain, folder in pairs if domain.depth is None]
    for domain, folder in missing:
        is_renamed = domain.names[0].endswith(CityscapesDataset.IMG_SUFFIX)  # without a layout
        keeps = "gta" if is_renamed else None
        lines.append(f"  {make_command(domain.image_dir, folder, keeps)}")
    lines += [f"  python run_seg.py --config {config}"]
    lines += [f"  python run_experiments.py --config {config}"]
    if missing:
        lines.append("The other configs need neither depth maps nor run_seg.py.")
    if plan.model == "b5" and not Path("pretrained/mit_b5.pth").is_file():
        lines.append("Before, fetch pretrained/mit_b5.pth: python tools/fetch_weights.py mit_b5")
    return lines


def _bases(out: Path) -> str:
    """Return the folder of bases as seen from the configs; the program's own is found by name."""
    here = Path.cwd().resolve()
    project = here if (here / BASES).is_dir() else root()
    if not out.resolve().is_relative_to(project):
        return (BASES if project == root() else project / BASES).as_posix()
    return writing.relative_bases(out.resolve(), project / BASES)


def _report(
    what: str, domain: Domain, sizes: Counter[Size], look: LabelLook | None = None
) -> list[str]:
    """Say what was found in a domain."""
    images = f"{len(domain.names)} images *{domain.img_suffix} in '{domain.image_dir}'"
    if look is not None and domain.labels is not None:
        images += f", with labels *{domain.seg_map_suffix} in '{Path(domain.root, domain.labels)}'"
    usual, (small, large) = choosing.usual_size(sizes), (min(sizes), max(sizes))
    shown = [f"{width}x{height}" for width, height in (usual, small, large)]
    lines = [f"{what}: {images}", f"  size {shown[0]}"]
    if len(sizes) > 1:
        lines[-1] += f" most often, {len(sizes)} sizes from {shown[1]} to {shown[2]}"
    if domain.list_reason == writing.APART:
        lines.append(f"  {domain.list_reason}")
    if domain.unlabeled:
        count, first = len(domain.unlabeled), domain.unlabeled[0]
        lines.append(f"  images without a label, not used: {count}, such as '{first}'")
    if domain.others:
        count, first = len(domain.others), domain.others[0]
        lines.append(f"  other pictures beside the images, not used: {count}, such as '{first}'")
    lines += [] if look is None else [_values(look)]
    if what != "Evaluation":
        fault = f" that fits: {domain.depth_fault}" if domain.depth_fault else ""
        lines.append(f"  depth: {domain.depth or 'none' + fault}")
    return lines


def _values(look: LabelLook) -> str:
    """Say which ids or colors labels hold, the most frequent ones first."""
    values = sorted(look.values, key=lambda value: -look.pixels[value])
    shown = values if len(values) <= MOST_SHOWN else values[: MOST_SHOWN - 1] + values[-1:]
    words = []
    for value in shown:
        name = f"{looking.rgb(value)}" if look.kind == "colors" else str(value)
        words.append(f"{name} {100 * look.share(value):.3g} %")
    if len(shown) < len(values):
        words.insert(-1, "…")
    return f"  {len(values)} {look.kind} in {look.count} labels: {', '.join(words)}"
