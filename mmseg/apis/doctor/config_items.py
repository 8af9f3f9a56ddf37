"""Whether what a config reads is there, and which command brings what is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmseg.apis.agreement import check_feature_distance
from mmseg.apis.checks import check_run
from mmseg.apis.data_check.config_checks import (
    RARE,
    Scanned,
    crops_and_bank,
    depth_of_two_recipes,
    wrong_statistics,
)
from mmseg.apis.data_check.findings import ERROR
from mmseg.apis.data_check.parts import VAL, open_part, sections_of
from mmseg.apis.data_check.parts import Part as Opened
from mmseg.apis.data_check.scan import Scan
from mmseg.apis.doctor.commands import WEIGHTS, command_for
from mmseg.apis.doctor.items import BROKEN, MISSING, OK, WARNING, Item, from_sentence
from mmseg.apis.missing_parts import FILE, Part, needed_parts
from mmseg.apis.network_cost import bare_network
from mmseg.config import Config
from mmseg.config.registry import DATASETS
from mmseg.config.run_config import RunConfig
from mmseg.datasets.class_statistics import statistics_files
from mmseg.datasets.file_checks import convert_command, require_each, require_files
from mmseg.models.backbones.weight_names import checked_file
from mmseg.preprocessing.plan import size_text
from mmseg.system.errors import is_for_user
from mmseg.system.soundness import damage_of
from mmseg.system.weight_table import NAMED, path_of

USER_ERRORS = (OSError, ValueError, ImportError)


@dataclass(frozen=True)
class Plan:
    """A config that can be trained.

    Attributes:
        run: what is read from it.
        cfg: as it is written.
        words: that name it on a command line, with the values that are changed.
        parameters: of its network.
    """

    run: RunConfig
    cfg: Config
    words: str
    parameters: int


def read_plan(cfg: Config, words: str) -> Plan | Item:
    """Check a config as training does and build its network; return what is wrong instead."""
    try:
        run = check_run(cfg)
        check_feature_distance(run)
        network = bare_network(run.model, run.test_cfg)
    except USER_ERRORS as error:
        return broken(error)
    return Plan(run, cfg, words, sum(p.numel() for p in network.parameters()))


def broken(error: Exception) -> Item:
    """Return what the error of a config says; a mistake of the program is raised again."""
    if not is_for_user(error):
        raise error
    return Item(BROKEN, "config", str(error))


def config_items(plan: Plan) -> Iterator[Item]:
    """Yield what is there of a config's files, and what is not."""
    method = (plan.run.uda or {}).get("type", "supervised training")
    text = f"{plan.words} can be trained: {method}, {plan.parameters / 1e6:.1f} M parameters"
    yield Item(OK, "config", text)
    missing, lacking = {}, set()
    for part in needed_parts(plan.run):
        if (lack := part.missing()) is not None:
            item = Item(MISSING, part.key, lack.sentence, command_for(part, plan.words))
            missing.setdefault(lack.short, item)
            lacking.add(part.key.rpartition(".")[0])
        elif part.kind == FILE:
            yield _file(part, plan.words)
    yield from missing.values()
    yield from _uncounted(plan.run)
    yield from _datasets(plan, lacking)


def _uncounted(run: RunConfig) -> Iterator[Item]:
    """Yield the sources whose classes nobody has counted yet; the first start does it then."""
    for source in run.data.sources if (run.data.train or {}).get("rare_class_sampling") else ():
        root, converter = source.get("data_root"), DATASETS.class_of(source).CONVERTER
        if Path(root or "").is_dir() and not any(f.exists() for f in statistics_files(root)):
            text = f"no statistics in '{root}': the first start counts the labels, for minutes"
            command = convert_command(converter, root) if converter else None
            yield Item(OK, RARE, text, command)


def _file(part: Part, words: str) -> Item:
    """Return whether a file can be what it should be: of weights, by their check sums."""
    path = Path(part.path)
    if not part.key.endswith(WEIGHTS) or not path.is_file():
        return Item(OK, part.key, f"'{part.path}'")
    fetch = command_for(part, words)
    try:
        for name in NAMED:
            if path_of(name) == path:
                checked_file(name)
    except ValueError as error:
        return Item(BROKEN, part.key, str(error), fetch)
    if damage := damage_of(path):
        text = f"expected weights in '{path}', got a file of which torch reads nothing: {damage}."
        return Item(BROKEN, part.key, f"{text} Delete it and copy it again.", fetch)
    return Item(OK, part.key, f"'{path}', {size_text(path.stat().st_size)}")


def _datasets(plan: Plan, lacking: set[str]) -> Iterator[Item]:
    """Yield what is there of the datasets whose folders are, and whether all of it fits."""
    opened: dict[str, Opened] = {}
    for name, role, section in sections_of(plan.run):
        if role in lacking or (role != VAL and not role.startswith("data.train")):
            continue
        part, problems = open_part(name, role, section, plan.run)
        for problem in problems:
            mark = BROKEN if problem.level == ERROR else WARNING
            yield from_sentence(mark, name, problem.sentence, plan.words)
        if part is not None:
            opened[name] = part
            yield _files_of(part, plan.words)
    scanned = Scanned(plan.cfg, plan.run, {name: Scan(one, []) for name, one in opened.items()})
    checks = [wrong_statistics, depth_of_two_recipes]
    if "uda" not in lacking:
        checks.append(crops_and_bank)
    for check in checks:
        for finding in check(scanned):
            mark = BROKEN if finding.level == ERROR else WARNING
            yield from_sentence(mark, finding.where, finding.sentence, plan.words)


def _files_of(part: Opened, words: str) -> Item:
    """Return how many images a dataset has, and that each has its label and its depth map."""
    dataset = part.dataset
    try:
        require_files(dataset)
        if not part.is_trained_on and dataset.ann_dir is not None:
            names = [info["ann"]["seg_map"] for info in dataset.img_infos]
            require_each(dataset, "label", dataset.ann_dir, names, dataset.remedy("labels"))
    except USER_ERRORS as error:
        if not is_for_user(error):
            raise
        return from_sentence(MISSING, part.name, str(error), words)
    found = [f"{len(dataset)} images in '{dataset.img_dir}'"]
    found += ["their labels"] if part.reads_labels else []
    found += [f"depth maps in '{dataset.dep_dir}'"] if dataset.dep_dir else []
    return Item(OK, part.name, ", ".join(found))
