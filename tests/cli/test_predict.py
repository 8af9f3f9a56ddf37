"""`tools/predict.py` and `Segmenter`: images of people's own, labeled by a trained network."""

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
import torch
from golden_init import init_module
from PIL import Image

from mmseg.apis import Segmenter, inference_segmentor, init_segmentor, show_result_pyplot
from mmseg.apis.predicting.inputs import find_inputs
from mmseg.apis.predicting.loading import config_of
from mmseg.apis.predicting.predict import WRITERS
from mmseg.config import Config, load_config
from mmseg.datasets.image_files import read_color, read_label
from mmseg.datasets.labels import CLASSES, PALETTE
from mmseg.models import build_segmentor
from mmseg.system.errors import ConfigError
from mmseg.visualization.palettes import blend, colorize
from tools import predict
from tools import test as test_tool

SOURCE, VAL = "source/images", "target/leftImg8bit/val"
ONE = f"{SOURCE}/00001.png"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and a run whose checkpoint holds its config and two different networks."""
    root = tmp_path_factory.mktemp("predict")
    tiny_run.write_pictures(root)
    values = tiny_run.config(Path())
    tiny_run.write_config(root / "tiny.py", values)
    (root / "run").mkdir()
    student = init_module(build_segmentor(values["model"]), "student").state_dict()
    teacher = init_module(build_segmentor(values["model"]), "teacher").state_dict()
    state = {f"model.{key}": value for key, value in student.items()}
    state |= {f"ema_model.{key}": value for key, value in teacher.items()}
    meta = {"config": Config(values).dump(), "CLASSES": CLASSES, "PALETTE": PALETTE}
    torch.save({"meta": meta, "state_dict": state}, root / "run/latest.pth")
    torch.save({"state_dict": student}, root / "bare.pth")
    with zipfile.ZipFile(root / "street.zip", "w") as archive:
        for file in sorted((root / SOURCE).glob("*.png")):
            archive.write(file, f"images/{file.name}")
    return root


@pytest.fixture
def project(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(material, root)
    monkeypatch.chdir(root)
    return root


def run(*words: str, out: str = "labeled") -> int:
    given = () if "--checkpoint" in words else ("--checkpoint", "run")
    return predict.main([*words, *given, "--out", out])


def names(folder: str) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in Path(folder).rglob("*") if f.is_file())


def test_each_kind_of_output_is_what_the_network_says(project: Path, capsys: Any) -> None:
    assert run(SOURCE, "--save", ",".join(WRITERS)) == 0
    assert f"3 images labeled: labeled/{{{','.join(WRITERS)}}}" in capsys.readouterr().out
    files = [f"{kind}/0000{n}.png" for kind in sorted(WRITERS) for n in range(3)]
    assert names("labeled") == [re.sub(r"(npz/\d+)\.png", r"\1.npz", file) for file in files]
    model = init_segmentor("tiny", "run/latest.pth", "cpu")
    (ids,) = inference_segmentor(model, ONE)
    assert len(np.unique(ids)) > 3
    image = read_color(ONE)[..., ::-1]
    shown = {"ids": ids, "color": colorize(ids), "overlay": blend(image, ids)}
    for kind, expected in shown.items():
        assert np.array_equal(np.asarray(Image.open(f"labeled/{kind}/00001.png")), expected)
    npz = np.load("labeled/npz/00001.npz")
    assert np.array_equal(npz["ids"], ids)
    assert npz["probability"].shape == (19, *ids.shape)
    assert np.allclose(npz["probability"].astype(np.float32).sum(0), 1, atol=0.01)
    assert tuple(npz["classes"]) == CLASSES
    gray = np.asarray(Image.open("labeled/probability/00001.png"))
    assert np.abs(gray - 255 * npz["probability"].max(0).astype(np.float32)).max() < 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([ONE], ["00001"]),
        (["source/*/0000[12].png"], ["images/00001", "images/00002"]),
        (["**/town*19_left*"], [f"{VAL}/town/town_00000{n}_000019_leftImg8bit" for n in range(3)]),
        (["street.zip"], [f"images/0000{n}" for n in range(3)]),
        (["street.zip!/images"], [f"0000{n}" for n in range(3)]),
        (["street.zip!/images/00002.png", ONE], ["00001", "00002"]),
        (
            ["street.zip!/images", ONE, SOURCE],
            [f"images/0000{n}" for n in range(3)]
            + ["images_2/00001", "images_3/00000", "images_3/00002"],
        ),
    ],
)
def test_what_a_word_means_and_how_its_images_are_called(
    words: list[str], expected: list[str], project: Path
) -> None:
    shutil.rmtree("target/leftImg8bit/train")
    assert (
        sorted(Path(one.name).with_suffix("").as_posix() for one in find_inputs(words)) == expected
    )


def test_images_that_differ_in_the_suffix_alone_have_outputs_each(project: Path) -> None:
    Path("two").mkdir()
    for suffix in ("png", "jpg"):
        Image.new("RGB", (31, 17)).save(f"two/a.{suffix}")
    assert run("two", "two/a.jpg", "--save", "ids") == 0
    assert names("labeled") == ["ids/two/a.jpg.png", "ids/two/a.png.png"]


@pytest.mark.parametrize("size", [(1, 1), (3, 201), (150, 2)])
@pytest.mark.parametrize("options", [[], ["--max-side", "40"], ["--aug-test"]])
def test_images_of_any_size_have_labels_of_their_size(
    size: tuple[int, int], options: list[str], project: Path
) -> None:
    Image.effect_noise(size, 90).save("gray.png")
    assert run("gray.png", *options, "--save", "ids", "npz", "probability") == 0
    assert np.load("labeled/npz/gray.npz")["probability"].shape == (19, *size[::-1])
    for kind in ("ids", "probability"):
        assert Image.open(f"labeled/{kind}/gray.png").size == size


def test_less_is_looked_at_with_max_side(project: Path) -> None:
    found = Segmenter("run", device="cpu", max_side=48)(ONE)
    assert found.scores.shape == (19, 36, 48)
    assert found.ids.shape == found.confidence.shape == (72, 96)
    whole = Segmenter("run", device="cpu")(ONE).ids
    assert 0.3 < (found.ids == whole).mean() < 1


def test_an_image_that_cannot_be_read_stops_no_other(project: Path, capsys: Any) -> None:
    Path(SOURCE, "00001.png").write_bytes(b"no picture")
    assert run(SOURCE) == 1
    assert names("labeled/ids") == ["00000.png", "00002.png"]
    said = capsys.readouterr().out
    assert "2 images labeled" in said
    assert re.search(
        r"^Not labeled: source/images/00001.png: expected an image", said, re.MULTILINE
    )


def test_labels_at_hand_give_the_metrics_of_an_evaluation(project: Path, capsys: Any) -> None:
    assert run(VAL, "--labels", "target/gtFine/val", "--save", "ids") == 0
    assert "| traffic light |" in capsys.readouterr().out
    ours = json.loads(Path("labeled/results.json").read_text())
    test_tool.main(["tiny", "run/latest.pth", "--eval", "mIoU", "--work-dir", "tested"])
    theirs = json.loads(Path("tested/results.json").read_text())
    assert ours["num_images"] == 3
    assert {key: theirs[key] for key in ours} == ours


def test_student_and_teacher_and_checkpoints_without_a_config(project: Path) -> None:
    student, teacher = (Segmenter("run", device="cpu", network=n) for n in ("student", "teacher"))
    bare = Segmenter("bare.pth", "tiny", "cpu")
    assert np.array_equal(bare(ONE).scores, student(ONE).scores)
    assert not np.array_equal(teacher(ONE).scores, student(ONE).scores)
    shutil.copy("tiny.py", "run/tiny.py")
    shutil.copy("bare.pth", "run/best_mIoU_iter_7.pth")
    assert config_of("run").name == "tiny", "of the best checkpoint, and beside it"


def test_a_picture_is_the_same_in_every_form(project: Path, tmp_path: Path) -> None:
    segmenter, rgb = Segmenter("run", device="cpu"), np.asarray(Image.open(ONE).convert("RGB"))
    expected = segmenter(ONE)
    for image in (Path(ONE), rgb, Image.open(ONE), "street.zip!/images/00001.png"):
        assert np.array_equal(segmenter(image).scores, expected.scores)
    labels = inference_segmentor(segmenter.network, [ONE, rgb[..., ::-1], Image.open(ONE)])
    assert all(np.array_equal(label, expected.ids) for label in labels)
    assert np.array_equal(expected.colors, colorize(expected.ids, segmenter.palette))
    assert np.array_equal(expected.overlay(0.0), rgb)
    assert expected.probability.shape == (19, 72, 96)
    show_result_pyplot(segmenter.network, ONE, labels, title="One", out_file=tmp_path / "one.png")
    assert np.asarray(Image.open(tmp_path / "one.png")).std() > 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([ONE, "--save", "ids,colour"], "--save with ids, .*, got 'colour'; did you mean 'color'"),
        ([ONE, "--save", ","], "--save with ids, .*, got ''"),
        (["none"], "expected an image, a folder, an archive or a pattern, got 'none'"),
        (["run"], "expected images .* in 'run', got none among 1 files"),
        (["*.jpg"], r"expected images .* in '\*.jpg', got none among 0 files"),
        ([SOURCE, "--checkpoint", "source"], "expected best_mIoU_iter_N.pth or latest.pth in"),
        ([SOURCE, "--checkpoint", "none.pth"], "No checkpoint at 'none.pth'"),
        ([SOURCE, "--checkpoint", "bare.pth"], "expected the config of the checkpoint 'bare.pth'"),
        ([SOURCE, "--labels", "run"], "expected labels in 'run' with names like those"),
        ([SOURCE, "--labels", "ids"], "expected train ids below 19 or 255 in the label 'ids/00000"),
        ([SOURCE, "--labels", SOURCE], "expected one 8-bit channel"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    words: list[str], message: str, project: Path
) -> None:
    shutil.copytree("source/labels", "ids")
    for file in Path("ids").glob("*.png"):
        Image.fromarray(np.full_like(read_label(file), 19)).save(file)
    (project / "other.py").write_text("")  # a second config beside bare.pth
    with pytest.raises(SystemExit, match=message):
        run(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-side", "0"], "--max-side: expected"),
        (["--model", "ema"], "--model: expected student or teacher, got 'ema'"),
    ],
)
def test_wrong_options_end_with_what_was_expected(
    words: list[str], message: str, project: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit):
        run(ONE, *words)
    assert message in capsys.readouterr().err


# The text of a config in a checkpoint

OF_MMCV = """model = dict(
    type='A', sizes=(512, -1), head=dict(w=1e-4, names=['a', None]))
lr = dict(power=1.0, limit=float('inf'))
name = 'x'
"""


def test_the_config_in_a_checkpoint_of_the_family_is_read() -> None:
    cfg = Config.from_plain_text(OF_MMCV, "a.pth")
    assert cfg.model == {"type": "A", "sizes": (512, -1), "head": {"w": 1e-4, "names": ["a", None]}}
    assert cfg.lr.limit == float("inf")


def test_every_config_of_the_program_is_read_back_from_its_text() -> None:
    for name in ("demo/cdda_mic", "cdda/gta2cs_cdda_daformer", "hrda/gtaHR2csHR_hrda"):
        cfg = load_config(f"configs/{name}")
        assert Config.from_plain_text(cfg.dump(), name) == cfg


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "x = open('f')",
        "x = dict(**y)",
        "x = dict(1)",
        "x = [a]",
        "x += 1",
        "x = (",
        "f()",
    ],
)
def test_a_config_in_a_checkpoint_is_never_executed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^expected a config of plain values in a.pth, got"):
        Config.from_plain_text(text, "a.pth")
