"""The help of every command has examples, and each of them runs, here or where it says."""

import ast
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
import tiny_run
import torch
from demo_project import ROOT, run
from made_runs import write_run
from PIL import Image
from script_parsers import parser_of

from mmseg.config import load_config
from mmseg.datasets.labels import CLASSES, PALETTE

SCRIPTS = sorted(
    f.relative_to(ROOT).as_posix() for f in (*ROOT.glob("run_*.py"), *ROOT.glob("tools/**/*.py"))
)
COMMANDS = "tests/test_commands.py: "
SERIES = "tests/cli/test_series.py: "
MAPS = "tests/preprocessing/depth_maps/test_command.py: test_"
OWN = "tests/cli/test_new_dataset.py: test_from_pictures_to_an_evaluated_network_without_python"
# Examples that need more than small pictures, and what runs in their place.
ELSEWHERE = {
    "run_seg.py": COMMANDS + "test_preprocessing_leaves_exactly_its_crops_and_their_bank",
    "run_experiments.py": COMMANDS + "test_a_run_has_its_name_its_configs_and_its_files",
    "run_experiments.py --seeds": SERIES + "test_a_config_with_seeds_is_a_series",
    "run_experiments.py --exp": SERIES + "test_what_can_run_runs_and_the_rest_is_listed",
    "tools/train.py": COMMANDS + "test_train_takes_folder_seed_options_and_synthia",
    "tools/make_depth.py": MAPS
    + "signal_ends_the_run_soon_and_cleanly_and_the_same_command_goes_on",
    "tools/new_dataset.py": OWN,
    "tools/fetch_weights.py": "tests/cli/test_fetch_weights.py: test_a_file_arrives_whole",
    "tools/reproduce.py": "tests/cli/test_reproduce.py: "
    "test_the_report_holds_tables_hashes_curves_and_pseudo_labels",
    "tools/export.py": "tests/test_export.py: test_an_onnx_file_labels_an_image",
    "tools/export_submission.py": "tests/cli/test_export_submission.py: "
    "test_the_example_of_the_help_runs",
    "tools/make_demo_data.py": COMMANDS + "test_demo_says_what_it_does_and_where_to_look",
    "tools/publish_checkpoint.py --hub": "tests/test_publishing.py: test_a_folder_is_pushed",
    "tools/test.py": COMMANDS + "test_half_precision_is_enough_for_the_same_labels",
}
# Of what differs, and of what is missing.
STATUS = {"tools/diff_config.py": 1, "tools/doctor.py": 1, "tools/check_data.py": 1}


def examples(script: str) -> list[str]:
    """Return the commands in the help of a script."""
    text = parser_of(script).format_help().replace("\\\n", " ")
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if re.match(r"(python|torchrun) .*\.py\b", line)]


def place_of(script: str, example: str) -> str | None:
    """Return the test that runs something like an example, or None if it runs here."""
    places = {key: place for key, place in ELSEWHERE.items() if key.split()[0] == script}
    with_option = [p for key, p in places.items() if key.partition(" ")[2] in example.split()]
    return next(iter(with_option), places.get(script))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: datasets, runs, checkpoints, photos."""
    root = tmp_path_factory.mktemp("examples")
    few = "--source-images 4 --target-images 4 --size 96x64 --nproc 1"
    drawn = run(root, f"python {ROOT}/tools/make_demo_data.py --out data/demo {few}")
    assert drawn.status == 0, drawn.text
    for name in ("gta", "synthia", "cityscapes"):
        shutil.copytree(root / "data/demo" / name, root / "data" / name)
    content = torch.load(ROOT / "pretrained/demo_mit_b0_source.pth", weights_only=True)
    meta = {"CLASSES": CLASSES, "PALETTE": PALETTE}
    meta["config"] = load_config(ROOT / "configs/demo/cdda_daformer").dump()
    for folder in ("RUN", "work_dirs/RUN", "work_dirs/run"):
        (root / folder).mkdir(parents=True)
        torch.save({**content, "meta": meta}, root / folder / "latest.pth")
    run_folder = write_run(root / "work_dirs/local-basic", "a", 0, {8: 0.5})
    run_folder.rename(root / "work_dirs/local-basic/RUN")
    for image in root.glob("data/demo/cityscapes/leftImg8bit/val/*/*.png"):
        preds = root / "work_dirs/RUN/preds" / image.parent.name
        preds.mkdir(parents=True, exist_ok=True)
        Image.new("L", (96, 64)).save(preds / image.name)
    tiny_run.write_pictures(root / "tiny")
    shutil.copytree(root / "tiny/target/leftImg8bit/val", root / "photos")
    shutil.copytree(root / "tiny/target/gtFine/val", root / "photo_labels")
    (root / "trip/day").mkdir(parents=True)
    Image.new("RGB", (33, 21)).save(root / "trip/day/1.png")
    Image.new("RGB", (33, 21)).save(root / "a.jpg")
    with zipfile.ZipFile(root / "street.zip", "w") as archive:
        archive.write(root / "a.jpg", "b.jpg")
    torch.save({"state_dict": content["state_dict"]}, root / "mine.pth")
    (root / "configs/mine").mkdir(parents=True)
    (root / "configs/mine/cdda.py").write_text("_base_ = ['configs/demo/cdda_daformer.py']\n")
    return root


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_of_every_command_has_an_example(script: str) -> None:
    assert examples(script)


CASES = [(script, example) for script in SCRIPTS for example in examples(script)]


@pytest.mark.parametrize(("script", "example"), CASES, ids=[example for _, example in CASES])
def test_every_example_runs(script: str, example: str, material: Path) -> None:
    if place := place_of(script, example):
        file, name = place.split(": ")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert any(isinstance(n, ast.FunctionDef) and n.name.startswith(name) for n in tree.body)
        _, _, words = example.partition(script)
        parser_of(script).parse_args([w for w in shlex.split(words) if w[0] not in "[…"])
        return
    words = re.sub(r" \[.*?…\]", "", example).replace(script, f"{ROOT}/{script}", 1)
    outcome = run(material, words)
    assert outcome.status == STATUS.get(script, 0), outcome.text
