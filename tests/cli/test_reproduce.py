"""A config with several seeds beside its published number: trained once, judged by one rule."""

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import small_runs
import tiny_run
import torch

from mmseg.apis.comparison.pseudo_labels import accuracy_of
from mmseg.apis.comparison.published import Published, changes
from mmseg.apis.comparison.verdict import band, judge
from mmseg.config import load_config
from mmseg.engine.trainer import Trainer
from mmseg.system.files import atomic_write
from tools import reproduce

CONFIG = "configs/tiny"
SMALL = {"checkpoint_config": {"by_epoch": False, "interval": 1}, "evaluation": {"interval": 1}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which two seeds of the published config are trained and reported."""
    root = tmp_path_factory.mktemp("trained")
    tiny_run.write_pictures(root / "data")
    tiny_run.write_config(root / f"{CONFIG}.py", config())
    publish(root, mIoU=99.0)
    with pytest.MonkeyPatch.context() as patch:
        enter(root, patch)
        words = re.findall(r"^python tools/reproduce.py \S+ (.*)$", str(reproduce.__doc__), re.M)
        assert reproduce.main([CONFIG, *words[0].split(), "--pseudo-labels", "1"]) == 0
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Second names of all its files, to spoil; what is written gets a file of its own."""
    root = Path(shutil.copytree(trained, tmp_path / "project", copy_function=os.link))
    enter(root, monkeypatch)
    return root


def config(**changes: Any) -> dict[str, Any]:
    """Return a config of a network that is trained within a second."""
    values = tiny_run.config(Path("data"), **SMALL, **changes)
    values["model"]["backbone"] = small_runs.SMALL_BACKBONE
    values["model"]["decode_head"]["in_channels"] = small_runs.SMALL_BACKBONE["embed_dims"]
    return values


def enter(root: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(root)
    patch.setattr("mmseg.apis.comparison.published.root", lambda: root)


def publish(root: Path, **numbers: Any) -> None:
    usual = {"paper": "Made up", "protocol": "last iteration, mean of 3 seeds", "IoU": [37.5] * 19}
    replace(root, {CONFIG: {**usual, **numbers}})


def replace(root: Path, published: dict[str, Any]) -> None:
    with atomic_write(root / "configs/published.json", "w") as file:
        json.dump(published, file)


def report(*words: str, seeds: str = "0 1 2") -> tuple[dict[str, Any], str]:
    """Report on what is trained; return the JSON and the Markdown."""
    given = [CONFIG, "--report-only", "--out", "out", "--seeds", *seeds.split(), *words]
    assert reproduce.main(given) == 0
    return json.loads(Path("out/reproduction.json").read_text()), Path(
        "out/reproduction.md"
    ).read_text()


def test_the_report_holds_tables_hashes_curves_and_pseudo_labels(project: Path) -> None:
    folder = Path("work_dirs/local-basic/reproduction_tiny")
    names = {file.name for file in folder.iterdir()}
    assert names == {"reproduction.md", "reproduction.html", "reproduction.json", "curves.png"}
    text = (folder / "reproduction.md").read_text()
    content = json.loads((folder / "reproduction.json").read_text())
    assert content["seeds"] == [0, 1, 2]
    assert "## Verdict: below" in text and content["verdict"]["word"] == "below"
    assert "| last | tiny | published: Made up |" in text
    assert re.search(r"^\| mIoU \| \d+\.\d+ ± \d+\.\d+ \| 99.0 \|$", text, re.MULTILINE)
    assert re.search(r"^\| road \| .* \| 37.5 \|$", text, re.MULTILINE)
    assert re.search(r"^\| versions.torch \| ", text, re.MULTILINE)
    measured = content["pseudo_labels"]["runs"]
    assert {seed: [one["iteration"] for one in found] for seed, found in measured.items()} == {
        "0": [1, 2], "1": [1, 2], "2": [1, 2]
    }  # fmt: skip
    assert len(re.findall(r"^\| [12] \| [012] \| 1 \| ", text, re.MULTILINE)) == 6
    assert len(content["recorded"]) == 3


def test_the_same_command_trains_only_what_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    steps, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *a: (steps.append(a[0].work_dir.name), step(*a)))
    reproduce.main([CONFIG, "--seeds", "0", "3", "1", "--pseudo-labels", "0"])
    assert len(steps) == 2 and all("tiny_s3" in name for name in steps)
    said = capsys.readouterr().out
    assert "Verdict: below. mIoU at the last iteration is " in said
    assert "reproduction_tiny/reproduction.html\n" in said


def test_what_is_published_decides_the_verdict(project: Path) -> None:
    content, text = report("--pseudo-labels", "0")
    own = content["results"]["last"]["means"]["mIoU"]
    publish(project, mIoU=round(100 * own["mean"], 2))
    content, text = report("--pseudo-labels", "0")
    assert content["verdict"]["word"] == "within" and "## Verdict: within" in text
    assert "Not measured: not asked for." in text
    low, high = content["verdict"]["facts"]["band"]
    # Student's t for two degrees of freedom, three seeds on both sides, and the rounding
    assert (high - low) / 2 == pytest.approx(4.303 * 100 * own["std"] * (2 / 3) ** 0.5 + 0.05, 1e-3)
    publish(project, mIoU=50.0, protocol="best checkpoint on val, seeds not stated")
    assert report("--pseudo-labels", "0")[0]["verdict"]["facts"]["iteration"] == "best"


@pytest.mark.parametrize(
    ("spoil", "seeds", "said"),
    [
        ("none", "0", "known for 1 seed; a spread needs 2"),
        ("unpublished", "0 1", "configs/published.json has no number for configs/tiny."),
        ("other", "0 1", "The runs do not compute what the number was published for; see below."),
    ],
)
def test_other_questions_are_not_comparable(
    spoil: str, seeds: str, said: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoil == "unpublished":
        replace(project, {})
    if spoil == "other":
        longer = config(runner={"max_iters": 40_000})
        monkeypatch.setattr("mmseg.apis.comparison.published._load", lambda _: longer)
    content, text = report("--pseudo-labels", "0", seeds=seeds)
    assert content["verdict"]["word"] == "not comparable" and said in text
    assert ("- runner.max_iters = 40000\n+ runner.max_iters = 2" in text) == (spoil == "other")


def test_seeds_without_a_finished_run_are_left_out(project: Path) -> None:
    (begun,) = Path("work_dirs/local-basic").glob("*tiny_s1*")
    (begun / "iter_2.pth").unlink()
    content, text = report("--pseudo-labels", "0", seeds="0 1 2 9")
    assert content["seeds"] == [0, 2] and "Not finished, and left out: seed 1, 9." in text


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("data/target/gtFine/train", "no labels of 'data/target/leftImg8bit/train' are at hand"),
        ("data/target/leftImg8bit/train", "expected the images of CityscapesDataset in 'data"),
        ("iter_*.pth", "no run has kept a checkpoint iter_N.pth"),
    ],
)
def test_pseudo_labels_that_cannot_be_measured_are_explained(
    spoil: str, said: str, project: Path
) -> None:
    for path in [*project.glob(spoil), *project.glob(f"work_dirs/local-basic/*tiny_s*/{spoil}")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if "pth" in spoil:
        for path in project.rglob("*.pth"):
            path.unlink()
    text = report(seeds="0 1")[1]
    assert f"Not measured: {said}" in text


def test_accuracy_counts_confident_pixels_apart() -> None:
    """Six pixels, one ignored: 3 of 5 right, 2 of 5 confident, 1 of these 2 right."""
    label = np.array([[0, 1, 1], [0, 0, 255]], np.uint8)
    class_1 = torch.tensor([[0.1, 0.6, 0.4], [0.9, 0.4, 0.9]])
    scores = torch.stack([1 - class_1, class_1])[None]  # (1, 2, 2, 3)
    model: Any = torch.nn.Linear(1, 1)
    model.inference = lambda image, metas: scores
    sample = {"img": [torch.zeros(3, 2, 3)], "img_metas": [{}]}

    class Dataset(SimpleNamespace):
        def __getitem__(self, index: int) -> Any:
            assert index == 4
            return sample

    dataset = Dataset(gt_label=lambda index: label, ignore_index=255)
    assert accuracy_of(model, dataset, [4], 0.8) == (3 / 5, 2 / 5, 1 / 2)
    assert accuracy_of(model, dataset, [4], 0.95) == (3 / 5, 0.0, None)


MIC = Published(
    "c", "p", "last iteration, mean of 3 seeds", {"mIoU": 75.9}, {}, (75.62, 76.03, 75.9)
)


def entry(*values: float) -> dict[str, Any]:
    results = {"means": {"mIoU": {"values": [value / 100 for value in values]}}}
    return {"last": results, "best": {"means": {}}}


@pytest.mark.parametrize(
    ("own", "word"),
    [
        ((75.3, 75.9, 76.2), "within"),
        ((74.9, 75.0, 75.1), "below"),
        ((76.7, 76.8, 76.9), "above"),
        ((75.9,), "not comparable"),
    ],
)
def test_published_seeds_make_the_band_narrower(own: tuple[float, ...], word: str) -> None:
    """Two seeds of 75.5 and 76.5: s² = (0.5 + 0.0873) / 3, t = 3.182, √(1/2 + 1/3) = 0.9129."""
    assert judge(MIC, entry(*own)).word == word
    assert band([75.5, 76.5], MIC) == pytest.approx(
        3.182 * (0.5873 / 3) ** 0.5 * 0.9129 + 0.05, 1e-3
    )


def test_what_decides_nothing_is_no_change(project: Path) -> None:
    cfg = load_config(CONFIG)
    published = Published(CONFIG, "p", "best checkpoint", {"mIoU": 1.0}, {})
    moved = {"data.train.source.data_root": "x", "data.workers_per_gpu": 3, "seed": 7}
    cfg.merge_options({**moved, "log_config.interval": 9, "data.samples_per_gpu": 1})
    assert not changes(cfg, published, processes=2)
    assert changes(cfg, published) == ["- images per step = 2", "+ images per step = 1"]
    cfg.merge_options({"evaluation.interval": 2, "data.samples_per_gpu": 2})
    assert changes(cfg, published) == ["- evaluation.interval = 1", "+ evaluation.interval = 2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("configs/tinny", "FileNotFoundError: No config file at 'configs/tinny'"),
        (f"{CONFIG} --report-only --seeds 8", r"ConfigError: expected a finished run .* --seeds 8"),
        (f"{CONFIG} --report-only --out data/source/images", "ConfigError: expected a folder of r"),
    ],
)
def test_wrong_input_ends_with_a_sentence(words: str, message: str, project: Path) -> None:
    with pytest.raises(SystemExit, match=f"^{message}"):
        reproduce.main(words.split())
