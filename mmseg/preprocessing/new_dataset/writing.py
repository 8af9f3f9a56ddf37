"""Write the configs of a dataset, with a comment on every choice."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg.preprocessing.new_dataset import templates
from mmseg.preprocessing.new_dataset.choosing import Choices, Classes
from mmseg.preprocessing.new_dataset.finding import Domain
from mmseg.preprocessing.new_dataset.looking import LabelLook, rgb
from mmseg.preprocessing.new_dataset.roles import SPLITS

MOST_INLINE = 40  # classes that stand in the config itself
MOST_NAMED = 8  # values that a comment names
DATA, CLASSES_FILE, LIST_FILE = "data.py", "classes.json", "{}_images.txt"
CONFIGS = {
    "source_only": templates.SOURCE_ONLY,
    "daformer": templates.DAFORMER,
    "mic": templates.MIC,
    "cdda": templates.CDDA,
}
PARTS = ("source", "target", "val")
ALL_FILES = (
    DATA,
    *(f"{name}.py" for name in CONFIGS),
    CLASSES_FILE,
    *(LIST_FILE.format(part) for part in PARTS),
)
HELD_OUT = 4  # of so many labeled images of the target, one is evaluated on
APART = "Every fourth image with a label is evaluated on, and not adapted to."
WIDTH = 96
VAL_AND_TEST, TEST_ALONE = (
    "val=_evaluation_set,\n    test=_evaluation_set,",
    "test=_evaluation_set,",
)


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated on, and why."""

    domain: Domain | None
    look: LabelLook | None
    unknown: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Plan:
    """All that the configs say."""

    name: str
    model: str  # 'b5' or 'b0'
    bases: str  # the folder `_base_` as seen from the configs
    classes: Classes
    choices: Choices
    source: Domain
    source_look: LabelLook
    unknown: tuple[int, ...]
    target: Domain
    evaluation: Evaluation


def files_of(plan: Plan) -> dict[str, str]:
    """Return the content of each file by its name."""
    files = {DATA: _data(plan)}
    words = _words(plan)
    files |= {f"{name}.py": template.format(**words) for name, template in CONFIGS.items()}
    if len(plan.classes.entries) > MOST_INLINE:
        rows = ",\n  ".join(json.dumps(dict(one)) for one in plan.classes.entries)
        files[CLASSES_FILE] = f"[\n  {rows}\n]\n"
    domains = (plan.source, plan.target, plan.evaluation.domain)
    for part, domain in zip(PARTS, domains, strict=True):
        if domain is not None and domain.list_reason:
            files[LIST_FILE.format(part)] = "".join(f"{stem}\n" for stem in domain.stems.values())
    return files


def depth_dir(domain: Domain, apart: bool = False) -> str:
    """Return where the depth maps of a domain are, or will be; `apart` from another one's."""
    if domain.depth is not None:
        return domain.depth
    root, _, inside = domain.root.partition("!")
    if inside or domain.root.endswith("!"):  # beside the archive
        place = PurePosixPath(root)
        own = place.parent / (place.stem if "*" not in place.name else "")
        return f"{own.as_posix().removesuffix('/.')}_depth_any"
    if domain.images in ("", "."):  # maps among the images would be taken for images
        return f"{root.rstrip('/')}_depth_any"
    parts = PurePosixPath(domain.images).parts
    below = parts if apart else [part for part in parts if part.lower() in SPLITS]
    return PurePosixPath(root, "depth_any", *below).as_posix()


def depth_dirs(plan: Plan) -> tuple[str, str]:
    """Return the folders of the depth maps of source and target."""
    is_shared = plan.source.root == plan.target.root
    return depth_dir(plan.source, is_shared), depth_dir(plan.target, is_shared)


def _data(plan: Plan) -> str:
    """Return the text of the data section."""
    classes, choices = plan.classes, plan.choices
    source_depth, target_depth = depth_dirs(plan)
    dataset = _labeled(plan.source, "source", plan.source_look, plan.unknown)
    words = _words(plan) | {
        "class_comment": _comment(*_about_classes(classes)),
        "classes": _class_text(classes),
        "crop_comment": _comment(
            f"The largest usual size that fits into images of {_size(choices.source_scale)} and "
            f"{_size(choices.target_scale)} pixels. Smaller crops, in steps of 32, need less "
            "memory and time, and see less of the scene."
        ),
        "scale_comment": _comment(
            "(width, height) that images are resized to fit into. It is the most frequent size, or "
            "a part of it above 1280 pixels. Let things have about the same size in both domains."
        ),
        "source_scale": choices.source_scale,
        "target_scale": choices.target_scale,
        "source": _section(dataset | {"dep_dir": source_depth}, "source", 12),
        "target": _section(
            _folders(plan.target, "target") | {"dep_dir": target_depth}, "target", 12
        ),
        "depth_comment": _comment(_about_depth(plan), indent=8),
        "workers": 4 if plan.model == "b5" else 2,
        "sampling_comment": _comment(
            "Rare classes are drawn more often. An image shows a class if its label has more than "
            "min_pixels of it: a share of the label as in the published 3000 pixels for GTA, and "
            "at most half of what the best label has of the rarest class. A lower class_temp "
            "draws rare classes even more often (published for 19 classes: 0.01).",
            indent=8,
        ),
        "sampling": f"rare_class_sampling=dict(min_pixels={choices.min_pixels}, "
        f"class_temp={choices.class_temp}, min_crop_ratio=0.5)",
        "evaluation_comment": _comment(plan.evaluation.why),
        "evaluation": _evaluation(plan),
        "parts": VAL_AND_TEST if plan.evaluation.domain else TEST_ALONE,
    }
    return templates.DATA.format(**words)


def _words(plan: Plan) -> dict[str, Any]:
    """Return what the templates of all files have in common."""
    crop = plan.choices.crop
    is_small = plan.model == "b0"
    return {
        "name": plan.name,
        "bases": plan.bases,
        "crop": crop,
        "network": "daformer_sepaspp_mitb0_demo" if is_small else "daformer_sepaspp_mitb5",
        "schedule": f"adamw_poly10warm_{'demo' if is_small else '40k'}",
        "length": templates.SHORT if is_small else templates.LONG,
        "method": templates.SHORT_METHOD if is_small else templates.LONG_METHOD,
        "count": len(plan.classes.entries),
        "block": max(crop // 8, 8),
        "num_crops": plan.choices.num_crops,
        "cdda_note": "" if plan.source.depth and plan.target.depth else templates.CDDA_NOTE,
    }


def _about_classes(classes: Classes) -> Sequence[str]:
    start = f"{len(classes.entries)} classes"
    if classes.file is not None:
        return (f"{start} of {classes.file}, in the order of the train ids.",)
    return (f"{start}. {' '.join(classes.hints)}",)


def _class_text(classes: Classes) -> str:
    if len(classes.entries) > MOST_INLINE:
        return f'"{{{{ fileDirname }}}}/{CLASSES_FILE}"'
    return "[\n" + "".join(f"    {_row(one)},\n" for one in classes.entries) + "]"


def _row(entry: Mapping[str, Any]) -> str:
    return f"dict({', '.join(f'{key}={_text(value)}' for key, value in entry.items())})"


def _about_depth(plan: Plan) -> str:
    if plan.source.depth and plan.target.depth:
        return "Relative inverse depth (near is bright) that was found; only CDDA reads it."
    return (
        "Only CDDA reads depth. Maps are not there yet for both domains: tools/make_depth.py makes "
        "them (docs/depth_maps.md). Use the same model for both."
    )


def _evaluation(plan: Plan) -> str:
    """Return the lines of the section of `val` and `test`."""
    shown = plan.evaluation
    if shown.domain is None or shown.look is None:
        return _section(_folders(plan.target, "target"), "test", 4)
    return _section(_labeled(shown.domain, "val", shown.look, shown.unknown), "test", 4)


def _folders(domain: Domain, part: str) -> dict[str, Any]:
    words: dict[str, Any] = {"data_root": domain.root, "img_dir": domain.images or "."}
    words["img_suffix"] = domain.img_suffix
    if domain.list_reason:
        words["#split"] = domain.list_reason
        words["split"] = f"{{{{ fileDirname }}}}/{LIST_FILE.format(part)}"
    return words


def _labeled(domain: Domain, part: str, look: LabelLook, unknown: Sequence[int]) -> dict[str, Any]:
    """Return the keys of a section with labels; those that start with `#` are comments."""
    words = _folders(domain, part)
    words |= {"ann_dir": domain.labels, "seg_map_suffix": domain.seg_map_suffix}
    words["labels"] = look.kind
    if unknown:
        words["#ignored"] = f"No class has {listed(look, unknown)}: all such pixels are ignored."
        words[f"ignored_{look.kind}"] = "others"
    return words


def listed(look: LabelLook, values: Sequence[int]) -> str:
    """Name the first of some values of labels."""
    shown = ", ".join(str(rgb(v) if look.kind == "colors" else v) for v in values[:MOST_NAMED])
    return shown + (" …" if len(values) > MOST_NAMED else "")


def _section(words: Mapping[str, Any], part: str, indent: int) -> str:
    """Return the lines of a section of a dataset."""
    pad = " " * indent
    lines = [f'{pad}type="FolderDataset",']
    for key, value in words.items():
        if key.startswith("#"):
            lines.append(_comment(value, indent=indent))
        else:
            lines.append(f"{pad}{key}={_text(value)},")
    return "\n".join([*lines, f"{pad}classes=_classes,", f"{pad}pipeline={part}_pipeline,"])


def _text(value: Any) -> str:
    """Write a value as Python, strings in double quotes as the repository has them."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _size(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _comment(*texts: str, indent: int = 0) -> str:
    start = " " * indent + "# "
    lines = [line for text in texts for line in _wrap(text, WIDTH - len(start))]
    return "\n".join(start + line for line in lines)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def relative_bases(out: Path, bases: Path) -> str:
    """Return the folder of bases as seen from the configs: relative inside of one project.

    >>> relative_bases(Path("/p/configs/mine"), Path("/p/configs/_base_"))
    '../_base_'
    """
    for steps, parent in enumerate((out, *out.parents)):
        if bases.is_relative_to(parent):
            return "/".join([*[".."] * steps, bases.relative_to(parent).as_posix()])
    return bases.as_posix()
