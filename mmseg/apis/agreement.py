"""Whether the parts of a config that belong together agree.

What the datasets' files and the depth statistics hold is compared with the config where they are
read.
"""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg.apis.dataset_sections import check_labels, classes_of, is_dataset, refuse
from mmseg.config.checking import keys_of, origin
from mmseg.config.registry import UDA
from mmseg.config.run_config import ConfigParts, RunConfig
from mmseg.config.sections import DataConfig, each
from mmseg.config.values import Section
from mmseg.datasets import CustomDataset, UDADataset, unlabeled_classes_of
from mmseg.datasets.crop_store import SETTINGS_FILE, read_settings
from mmseg.datasets.labels import IGNORE
from mmseg.datasets.unlabeled import OWN_STEPS
from mmseg.models.builder import statistics_dataset
from mmseg.models.uda.feature_distance import FeatureDistance
from mmseg.models.uda.settings import DACSSettings
from mmseg.system import processes
from mmseg.system.errors import ConfigError

Size = tuple[int, int]  # (rows, columns)
COLORS = 3  # red, green, blue
FORMATTING = frozenset({"DefaultFormatBundle", "ImageToTensor"})  # make tensors


def process_warnings(run: RunConfig) -> list[str]:
    """Say whether the run has another number of processes than `n_gpus`."""
    planned, found = run.num_processes, processes.world_size()
    if planned is None or planned == found:
        return []
    samples = run.data.samples_per_gpu
    follows = run.optimizer.get("sqrt_batch")  # the learning rate does, and the log says how
    kept = "max_iters stays" if follows else "Learning rate and max_iters stay"
    return [
        f"The config is for n_gpus={planned}, but {found} process(es) run: a batch is "
        f"{found} x {samples} = {found * samples} images of each domain instead of "
        f"{planned * samples}, which is another experiment. {kept} as in the config."
    ]


def check_agreement(run: RunConfig) -> None:
    """Raise `ConfigError` for values that contradict each other; the model has present names."""
    check_classes(run)
    check_method(run)
    check_training_data(run)
    check_pipelines(run.data)
    backbone = run.model.get("backbone", {})
    for key in ("in_channels", "in_chans"):
        if backbone.get(key, COLORS) != COLORS:
            refuse(backbone, key, f"{COLORS}, as images have", backbone[key], "Leave it out.")
    least, rate = run.schedule.min_lr, run.optimizer.get("lr")
    if rate is not None and least > rate:
        expected = f"at least lr_config.min_lr, {least}, to which it falls"
        refuse(run.optimizer, "lr", expected, rate, "Change one of them.")
    uda = run.uda or {}
    source, target = sample_size(run, run.data.source), sample_size(run, run.data.target)
    others = [] if uda.get("source_only") else run.data.targets
    for size in (sample_size(run, section) for section in [*run.data.sources[1:], *others]):
        if source and size and source != size:
            expected = f"samples of {_text(source)} like the source's, because both are mixed"
            advice = "End both pipelines with RandomCrop and Pad to the same size."
            refuse(run.data.train, "target", expected, _text(size), advice)
    if size := target or source:
        check_details(run, size)
        check_margins(run, uda, size)
        check_masks(uda, size)
        check_source_crops(uda, size)


def check_classes(run: RunConfig) -> None:
    """Raise unless network, datasets and lists of classes mean the same classes."""
    aux = run.model.get("auxiliary_head") or []
    heads = [run.model.get("decode_head") or {}, *([aux] if isinstance(aux, Mapping) else aux)]
    known = classes_of(run.data)
    for section, classes in known[1:]:
        check_same_classes(*known[0], section, classes)
    for head in heads if known else ():
        check_head(head, *known[0])
    uda, count = run.uda or {}, heads[0].get("num_classes")
    things = uda.get("imnet_feature_dist_classes") if uda.get("imnet_feature_dist_lambda") else None
    if things and count and max(things) >= count:
        expected = f"classes below {count}, the number of classes of the network"
        refuse(run.uda, "imnet_feature_dist_classes", expected, max(things), "Correct the list.")


def check_same_classes(
    first: Section, expected: tuple[str, ...], section: Section, found: tuple[str, ...]
) -> None:
    """Raise unless the classes of two sections of datasets are the same."""
    if found == expected:
        return
    if not (first.get("classes") or section.get("classes")):
        words = f"the classes of {first['type']}", f"those of {section['type']}"
        refuse(section, "type", *words, "Let all datasets have the same classes.")
    place = getattr(first, "path", "") or first["type"]
    words = f"the classes of {place}, {_listed(expected)}", _listed(found)
    refuse(section, "classes", *words, "Set the same names in all sections of datasets.")


def check_head(head: Section, section: Section, classes: tuple[str, ...]) -> None:
    """Raise for a head of another number of classes than a dataset."""
    if head.get("num_classes", len(classes)) != len(classes):
        expected = f"{len(classes)}, the number of classes of {section['type']}"
        advice = "Change it, or set classes=[…] in the sections of the datasets."
        refuse(head, "num_classes", expected, head["num_classes"], advice)


def check_method(run: RunConfig) -> None:
    """Raise for keys of `uda` that do not go together, or a dataset of CDDA that is unknown."""
    uda: Any = run.uda or {}
    settings_class = getattr(UDA.class_of(uda), "settings_class", None) if uda else None
    if settings_class is None:
        return
    keys, _ = keys_of(settings_class)
    values = {key: value for key, value in uda.items() if key in keys}
    if uda.get("matrix_path"):
        if len({section["type"] for section in run.data.sources}) > 1 and not uda.get("dataset"):
            advice = (
                "Set it to the name of a dataset that annotates as many classes, such as 'gta'."
            )
            refuse(uda, "dataset", "a name for the statistics of several sources", "none", advice)
        values["dataset"] = statistics_dataset(uda, run.data.source)
    try:
        settings = settings_class(**values)
        if isinstance(settings, DACSSettings) and settings.uses_depth and settings.dataset:
            unlabeled_classes_of(settings.dataset)
    except ConfigError as error:
        raise ConfigError(f"{origin(uda, 'dataset') or origin(uda)}{error}") from None


def check_feature_distance(run: RunConfig) -> None:
    """Raise for a distance to the features of a network that nothing has trained.

    `load_from` does not count: it fills the student alone.
    """
    uda, backbone = run.uda or {}, run.model.get("backbone")
    frozen = uda.get("vfm_feature_dist")
    if frozen is not None and not (frozen.get("pretrained") or frozen.get("allows_random")):
        expected = (
            "the file of the frozen network's weights, because the distance is to its features"
        )
        advice = "Name it, or set uda.vfm_feature_dist=None."
        refuse(frozen, "pretrained", expected, "none", advice)
    weight = uda.get("imnet_feature_dist_lambda")
    if not weight:
        return
    parts = [uda.get(f"imnet_feature_dist_{key}") for key in ("classes", "scale_min_ratio")]
    try:
        FeatureDistance(weight, parts[0], parts[1], num_classes=1)
    except ConfigError as error:
        raise ConfigError(f"{origin(uda, 'imnet_feature_dist_classes')}{error}") from None
    own = (backbone or {}).get("init_cfg") or {}  # of a backbone of the user's own
    has_file = (backbone or {}).get("pretrained") or own.get("checkpoint")
    if backbone and not (run.model.get("pretrained") or has_file):
        expected = "0 without pretrained weights, because it is the distance to their features"
        advice = "Set model.pretrained to the file of the backbone's ImageNet weights, or set it "
        refuse(run.uda, "imnet_feature_dist_lambda", expected, weight, f"{advice}to 0.")


def check_training_data(run: RunConfig) -> None:
    """Raise for datasets that would leave something out, or ignore other labels than the head.

    A target needs neither labels nor classes.
    """
    kind = "a UDADataset" if run.uda else "the labeled dataset alone"
    if run.data.train and is_dataset(run.data.train, CustomDataset if run.uda else UDADataset):
        way = "with" if run.uda else "without"
        advice = "Change it, or add or remove the section uda."
        expected = f"{kind} {way} a section uda"
        refuse(run.data.train, "type", expected, run.data.train["type"], advice)
    check_labels(run.data.sources)
    check_labels(run.data.val)
    for section in (*run.data.sources, *run.data.targets):
        if section.get("test_mode"):
            expected = "False for a dataset that is trained on"
            refuse(section, "test_mode", expected, True, "Leave it out.")
    head = run.model.get("decode_head") or {}
    for section in (head, *run.data.sources, *run.data.targets, *each(run.data.val)):
        ignored = section.get("ignore_index", IGNORE)
        if ignored != head.get("ignore_index", IGNORE):
            expected = f"{head.get('ignore_index', IGNORE)}, as of model.decode_head"
            refuse(section, "ignore_index", expected, ignored, "Set all to the same label.")


def check_pipelines(data: DataConfig) -> None:
    """Raise unless the pipelines end in what a training or an evaluation needs."""
    tests = [*each(data.val), *each(data.test)]
    wanted = [(section, ("img", "gt_semantic_seg")) for section in data.sources]
    wanted += [(section, ("img",)) for section in [*data.targets, *tests]]
    for section, keys in wanted:
        steps: Any = section.get("pipeline") or ()
        types = [step["type"] if isinstance(step, Mapping) else None for step in steps]
        if not steps or not all(kind in OWN_STEPS for kind in types):
            continue  # steps of the user's own may do anything
        is_test = any(section is one for one in tests)
        is_source = any(section is one for one in data.sources)
        if is_source and "LoadAnnotations" not in types:
            expected, got = "LoadAnnotations among the steps of a labeled dataset", "none"
            refuse(section, "pipeline", expected, got, "Add it behind LoadImageFromFile.")
        end = "MultiScaleFlipAug" if is_test else "Collect"
        if types[-1] != end:
            refuse(section, "pipeline", f"{end} as the last step", types[-1], f"Add {end}.")
        inner = steps[-1]["transforms"] if is_test else steps
        last, before = inner[-1], {step["type"] for step in inner[:-1]}
        if last["type"] != "Collect" or not before & FORMATTING:
            expected = f"{' or '.join(sorted(FORMATTING))}, then Collect at the end"
            refuse(section, "pipeline", expected, last["type"], "Add what is missing.")
        if missing := [key for key in keys if key not in last["keys"]]:
            refuse(last, "keys", f"{missing[0]!r} among them", last["keys"], "Add it.")


def sample_size(run: ConfigParts, section: Section | None) -> Size | None:
    """Return the size of the training samples of a dataset, if its pipeline fixes one."""
    if size := (run.data.train or {}).get("sync_crop_size"):
        return size[0], size[1]
    size = None
    for step in (section or {}).get("pipeline", ()):
        if isinstance(step, Mapping):
            sizes = {"RandomCrop": step.get("crop_size"), "Pad": step.get("size")}
            size = sizes.get(step["type"]) or size
    return None if size is None else (size[0], size[1])


def check_details(run: RunConfig, size: Size) -> None:
    """Raise for details of HRDA that are larger than the samples, of `size`."""
    detail = run.model.get("hr_crop_size")
    if detail and any(a > b for a, b in zip(detail, size, strict=True)):
        expected, got = f"a part of the samples of {_text(size)}", _text((detail[0], detail[1]))
        refuse(run.model, "hr_crop_size", expected, got, "Make it smaller.")


def check_margins(run: RunConfig, uda: Section, size: Size) -> None:
    """Raise for margins that leave nothing of samples of `size`, or that are set twice."""
    top, bottom = (uda.get(f"pseudo_weight_ignore_{side}", 0) for side in ("top", "bottom"))
    key = f"pseudo_weight_ignore_{'top' if top >= bottom else 'bottom'}"
    if top + bottom >= size[0]:
        expected = f"margins that leave some of the {size[0]} rows of the samples"
        refuse(uda, key, expected, f"{top} and {bottom}", "Lower them.")
    if (top or bottom) and (run.data.target or {}).get("crop_pseudo_margins"):
        expected = "either this margin or data.train.target.crop_pseudo_margins"
        refuse(uda, key, expected, "both", "Remove one.")


def check_masks(uda: Section, size: Size) -> None:
    """Raise for blocks that are larger than samples of `size`, if they are of their pixels."""
    generator = uda.get("mask_generator") or {}
    block = generator.get("mask_block_size") if generator.get("at") != "inner" else None
    if uda.get("mask_mode") and block and round(min(size) / block) == 0:
        expected = f"blocks at most as large as the samples of {_text(size)}"
        refuse(generator, "mask_block_size", expected, block, "Use smaller blocks.")


def check_source_crops(uda: Section, size: Size) -> None:
    """Raise for source crops of another size than the samples, which they replace."""
    if not uda.get("matrix_path"):
        return
    if uda.get("reference_quirks") and size[0] != size[1]:
        expected = f"False for samples of {_text(size)}, which are not square"
        refuse(uda, "reference_quirks", expected, True, "Set it to False.")
    settings = Path(uda.get("croped_images_path") or "").parent / SETTINGS_FILE
    found = read_settings(settings).get("crop_size") if settings.is_file() else None
    if found and tuple(found) != size:
        expected = f"source crops of {_text(size)}, the size of the samples"
        got = f"{_text((found[0], found[1]))} in '{settings.parent}'"
        advice = "Delete that folder and draw them again with run_seg.py and this config."
        refuse(uda, "croped_images_path", expected, got, advice)


def _listed(names: tuple[str, ...]) -> str:
    return reprlib.repr(list(names))


def _text(size: Size) -> str:
    return f"{size[1]}x{size[0]} pixels"
