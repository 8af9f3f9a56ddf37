"""tools/export_submission.py: what it writes, also as Cityscapes' own program reads it."""

import io
import re
import shlex
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import models_cfg
import numpy as np
import pytest
import tiny_run
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as their_evaluation
from cityscapesscripts.helpers.labels import trainId2label
from golden_init import blocky_labels, init_module
from PIL import Image

from mmseg.apis.submitting.submission import SERVED as kinds
from mmseg.datasets import CityscapesDataset
from mmseg.datasets.cityscapes import ID_NAMES
from mmseg.datasets.image_files import write_label
from mmseg.datasets.labels import CLASSES, PALETTE
from mmseg.evaluation import eval_metrics
from mmseg.models import build_segmentor
from tools import export_submission, predict
from tools import test as test_tool

HEIGHT, WIDTH = 30, 46
SERVED = {
    "cityscapes": ("leftImg8bit", "_leftImg8bit.png", (2048, 1024)),
    "acdc": ("rgb_anon", "_rgb_anon.png", (1920, 1080)),
    "dark_zurich": ("rgb_anon", "_rgb_anon.png", (1920, 1080)),
}
NAMES = [f"town/town_00000{number}_000019_leftImg8bit.png" for number in range(3)]
FLAT = [Path(name).name for name in NAMES]
VAL = ["cityscapes", "--split", "val", "--data-root", "data"]


def export(*words: str) -> None:
    assert export_submission.main(list(words)) == 0


def refused(capsys: Any, *words: str) -> str:
    """Return the sentence with which the command ends."""
    with pytest.raises(SystemExit) as end:
        export_submission.main(list(words))
    said = str(end.value) if end.value.code != 2 else capsys.readouterr().err
    assert "Traceback" not in said
    return said


def members(file: str | Path = "out.zip") -> dict[str, np.ndarray]:
    """Return the pictures of a submission, which have to be gray and of 8 bits."""
    found = {}
    with zipfile.ZipFile(file) as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
        for name in archive.namelist():
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                assert (picture.format, picture.mode) == ("PNG", "L")
                found[name] = np.array(picture)
    return found


def blocks(key: str, values: Iterable[int]) -> np.ndarray:
    return blocky_labels(key, HEIGHT, WIDTH, values, 6).astype(np.uint8)


def write_image(folder: Path, name: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(folder / name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Three images and, in `preds`, painted train ids, which are returned."""
    monkeypatch.chdir(tmp_path)
    ids = {}
    for name in NAMES:
        write_image(Path("data/leftImg8bit/val"), name)
        ids[name] = blocks(f"prediction:{name}", range(19))
        write_label(f"preds/{name}", ids[name], PALETTE)
    return ids


# What is written


def test_cityscapes_own_program_gives_our_iou(project: Mapping[str, np.ndarray]) -> None:
    """Its labels have all 34 ids; those of no class do not count, here as there."""
    rng = np.random.default_rng(3)
    export(*VAL, "--predictions", "preds", "--out", "out.zip")
    with zipfile.ZipFile("out.zip") as archive:
        archive.extractall("results")
    files = []
    for name in NAMES:
        label = Path("data/gtFine/val", name.replace("_leftImg8bit", "_gtFine_labelIds"))
        others = rng.integers(len(ID_NAMES), size=(HEIGHT, WIDTH))
        is_right = rng.random((HEIGHT, WIDTH)) < 0.7
        write_label(label, np.where(is_right, CityscapesDataset.to_label_id(project[name]), others))
        files.append(str(label))
    settings = SimpleNamespace(**vars(their_evaluation.args))
    settings.__dict__.update(predictionPath="results", predictionWalk=None, quiet=True)
    settings.__dict__.update(evalInstLevelScore=False, JSONOutput=False)
    found = [their_evaluation.getPrediction(settings, file) for file in files]
    theirs = their_evaluation.evaluateImgLists(found, files, settings)["classScores"]
    dataset = CityscapesDataset([], "leftImg8bit/val", "gtFine/val", data_root="data")
    labels = [dataset.gt_label(i) for i in range(3)]
    ours = eval_metrics([project[name] for name in NAMES], labels, 19)["IoU"]
    assert [theirs[trainId2label[i].name] for i in range(19)] == ours.tolist()
    assert 0 < min(ours) < max(ours) < 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny network on three pictures."""
    root = tmp_path_factory.mktemp("run")
    tiny_run.write_pictures(root)
    model = models_cfg.daformer("mit_b0", channels=16, embed=16)
    (root / "work_dirs/run").mkdir(parents=True)
    config = tiny_run.config(root, model=model)
    config["data"]["test"] = {**config["data"]["test"], "test_short_side": 50}  # of evaluations
    tiny_run.write_config(root / "work_dirs/run/tiny.py", config)
    state = init_module(build_segmentor(model)).state_dict()
    torch.save({"state_dict": state}, root / "work_dirs/run/latest.pth")
    return root


@pytest.mark.parametrize("more", [[], ["--aug-test"]])
def test_a_checkpoint_its_pictures_and_its_server_files_make_the_same_archive(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run / "work_dirs/run"
    files = [str(folder / name) for name in ("tiny.py", "latest.pth")]
    own = ["--show-dir", "preds", "--opacity", "1", "--work-dir", "log", "--format-only"]
    test_tool.main([*files, *own, "--eval-options", "imgfile_prefix=server", *more])
    val = ["cityscapes", "--split", "val"]
    export(*val, "--checkpoint", str(folder), "--out", "network.zip", *more)
    place = ["--data-root", str(run / "target"), "--out"]
    export(*val, "--predictions", "preds", *place, "preds.zip")
    export(*val, "--predictions", "server", "--ids", "label", *place, "server.zip")
    images = str(run / "target/leftImg8bit/val")
    predict.main([images, "--checkpoint", str(folder), "--out", "own", "--save", "ids", *more])
    export(*val, "--predictions", "own/ids", *place, "own.zip")
    archives = {Path(f"{n}.zip").read_bytes() for n in ("network", "preds", "server", "own")}
    assert len(archives) == 1
    found = members("network.zip")
    assert list(found) == FLAT
    assert {picture.shape for picture in found.values()} == {(tiny_run.HEIGHT, tiny_run.WIDTH)}


def test_the_example_of_the_help_runs(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """On test images of the size of the server, without labels, in the usual folder."""
    monkeypatch.chdir(run)
    config = tiny_run.config(Path("nowhere"), source="GTADataset")
    config["data"]["test"] = {**config["data"]["test"], "data_root": "data/cityscapes"}
    tiny_run.write_config(run / "work_dirs/run/tiny.py", config)
    write_image(run / "data/cityscapes/leftImg8bit/test", NAMES[0], SERVED["cityscapes"][2])
    for line in re.findall("^python .* cityscapes .*$", export_submission.__doc__ or "", re.M):
        export(*shlex.split(line)[2:])
    said = capsys.readouterr().out
    assert said.count("Images: data/cityscapes/leftImg8bit/test, 1\n") == 2
    assert "Network: student of work_dirs/run/latest.pth\n" in said
    assert "Wrote 1 PNG files of label ids 0…33, and read them back: submission.zip\n" in said
    assert said.endswith("1 PNG files of label ids 0…33, without a fault: submission.zip\n")
    assert members("submission.zip")[FLAT[0]].shape == (1024, 2048)


@pytest.mark.parametrize("given", ["train", "label"])
@pytest.mark.parametrize("dataset", SERVED)
def test_each_server_gets_its_ids_at_its_size(
    dataset: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archives of ACDC have the condition above the split."""
    monkeypatch.chdir(tmp_path)
    images, suffix, (width, height) = SERVED[dataset]
    part = "fog/test" if dataset == "acdc" else "test/night"
    write_image(Path(f"data/{dataset}/{images}/{part}/seq"), f"x{suffix}", (width, height))
    train = np.arange(height * width, dtype=np.int64).reshape(height, width) % 19
    label = np.array([trainId2label[i].id for i in range(19)])[train]
    write_label(f"preds/x{suffix}", train if given == "train" else label)
    export(dataset, "--predictions", "preds", "--ids", given, "--out", "out.zip")
    ((name, picture),) = members().items()
    assert name == f"x{suffix}"
    assert (picture == (label if dataset == "cityscapes" else train)).all()
    export(dataset, "--validate", "out.zip")


def test_label_ids_of_no_class_become_no_train_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(Path("data/acdc/rgb_anon/val"), "x_rgb_anon.png")
    write_label("preds/x_rgb_anon.png", np.full((HEIGHT, WIDTH), ID_NAMES.index("trailer")))
    words = ["acdc", "--split", "val", "--predictions", "preds", "--ids", "label", "--out", "o"]
    assert "1 with ids of no class ('x_rgb_anon.png'). Nothing" in refused(capsys, *words)


def test_images_of_one_name_keep_their_folders(project: object) -> None:
    write_image(Path("data/leftImg8bit/val/other"), FLAT[0])
    write_label(Path("preds/other", FLAT[0]), blocks("other", range(19)))
    export(*VAL, "--predictions", "preds", "--out", "out.zip")
    assert list(members()) == [f"other/{FLAT[0]}", *NAMES]


# What is refused


def picture(kind: str, size: tuple[int, int] = (WIDTH, HEIGHT), value: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new(kind, size, value).save(stream, format="PNG")
    return stream.getvalue()


# A fault of one picture: its name and bytes (None removes it), and what is said of it.
FAULTS: dict[str, tuple[str, bytes | None, str]] = {
    "missing": (NAMES[1], None, rf"1 missing \('{FLAT[1]}'\)"),
    "superfluous": ("more.png", picture("L"), r"1 of no image \('[preds/]*more.png'\)"),
    "twice": (f"x/{FLAT[0]}", picture("L"), rf"1 of the same name .* \('[preds/]*x/{FLAT[0]}'\)"),
    "size": (NAMES[0], picture("L", (5, 3)), r"1 of another size \(.* is 5x3, not 46x30\)"),
    "color": (NAMES[0], picture("RGB"), r"1 not of 8-bit ids \(.*\) \(.* is RGB\)"),
    "16 bits": (NAMES[0], picture("I;16"), r"1 not of 8-bit ids \(.*\) \(.* is I;16\)"),
    "value": (NAMES[0], picture("L", value=255), r"1 with ids above \d+ \(.* has 255\)"),
    "broken": (NAMES[0], picture("L")[:-20], "1 no PNG, or broken"),
    "text": (NAMES[0], b"no picture", "1 no PNG, or broken"),
    "checksum": (NAMES[0], picture("L").replace(b"IDAT", b"IDAt"), "1 no PNG, or broken"),
    "1 bit": (NAMES[0], picture("1"), r"1 not of 8-bit ids \(.*\) \(.* is 1\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("task", ["predictions", "validate"])
def test_a_wrong_picture_is_named_and_nothing_written(
    task: str, fault: str, project: object, capsys: Any
) -> None:
    name, data, said = FAULTS[fault]
    if data is None:
        Path("preds", name).unlink()
    else:
        Path("preds", name).parent.mkdir(exist_ok=True)
        Path("preds", name).write_bytes(data)
    words = [*VAL, "--predictions", "preds", "--out", "out.zip"]
    if task == "validate":
        zipped(Path("preds"), "own.zip")
        words = [*VAL, "--validate", "own.zip"]
    message = refused(capsys, *words)
    assert re.search(
        rf"^ConfigError: expected one .*PNG of \w+ ids .* got in '.*': {said}", message
    )
    assert re.search(r"(Nothing was written\.|Make the submission again\.)", message)
    assert not Path("out.zip").exists()


def zipped(folder: Path, file: str) -> None:
    """Zip predictions as people do, in their folder; palette PNGs of train ids become gray."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            data = path.read_bytes()
            if data.startswith(b"\x89PNG") and data[25] == 3:
                data = picture("L", value=7)
            archive.writestr(path.as_posix(), data)


def test_a_submission_that_others_zipped_may_have_folders(project: object, capsys: Any) -> None:
    zipped(Path("preds"), "own.zip")
    export(*VAL, "--validate", "own.zip")
    assert "3 PNG files of label ids 0…33, without a fault: own.zip" in capsys.readouterr().out
    with zipfile.ZipFile("own.zip", "a") as archive:
        archive.writestr("x/preds.txt", "")
        archive.write(f"preds/{NAMES[0]}", f"y/{FLAT[0]}")
        for number in range(5):
            archive.writestr(f"{number}.png", b"")
    said = refused(capsys, *VAL, "--validate", "own.zip")
    assert "6 of no image ('0.png', '1.png', '2.png', …); 1 of the same name" in said


def test_palettes_and_train_ids_are_not_what_cityscapes_takes(
    project: Mapping[str, np.ndarray], capsys: Any
) -> None:
    with zipfile.ZipFile("palette.zip", "w") as archive:
        for name in NAMES:
            archive.write(f"preds/{name}", Path(name).name)
    said = refused(capsys, *VAL, "--validate", "palette.zip")
    assert "3 not of 8-bit ids (L) ('" in said and "' is P" in said
    for name in NAMES:
        write_label(f"preds/{name}", project[name])
    shutil.make_archive("gray", "zip", "preds")
    for words in (["--validate", "gray.zip"], ["--predictions", "preds", "--ids", "label"]):
        out = ["--out", "out.zip"] if "--ids" in words else []
        said = refused(capsys, *VAL, *words, *out)
        assert ", got train ids: no value above 18, but 0, the label id of no class. " in said
    write_label(f"preds/{NAMES[0]}", np.full((HEIGHT, WIDTH), 33))
    said = refused(capsys, *VAL, "--predictions", "preds", "--out", "out.zip")
    assert "1 with ids above 18" in said and said.endswith(
        "If they hold label ids, add --ids label."
    )


def test_without_images_names_and_sizes_are_those_of_the_server(
    project: object, capsys: Any
) -> None:
    def save(*names: str, size: tuple[int, int] = SERVED["cityscapes"][2]) -> None:
        with zipfile.ZipFile("own.zip", "w") as archive:
            for name in names:
                archive.writestr(name, picture("L", size, 7))

    words = ["cityscapes", "--validate", "own.zip"]
    save(*FLAT)
    export(*words)
    said = capsys.readouterr().out
    assert "Not compared with the images, which are not in data/cityscapes/leftImg8bit/test" in said
    save()
    assert "1 missing ('*_leftImg8bit.png')" in refused(capsys, *words)
    save("x.png")
    assert "1 of no image ('x.png')" in refused(capsys, *words)
    save(FLAT[0], size=(4, 3))
    assert "is 4x3, not 2048x1024" in refused(capsys, *words)


def test_test_images_have_the_size_of_the_server(project: object, capsys: Any) -> None:
    write_image(Path("data/leftImg8bit/test"), NAMES[0])
    words = ["cityscapes", "--data-root", "data", "--predictions", "preds", "--out", "out.zip"]
    said = refused(capsys, *words)
    assert "expected images of 2048x1024, the size that the test server takes, got in" in said
    assert "1 of another size ('town_000000_000019_leftImg8bit.png' is 46x30). Use the" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gta", "--validate", "x"], "expected cityscapes or acdc or dark_zurich, got 'gta'"),
        (["cityscapes"], "one of the arguments --checkpoint --predictions --validate is required"),
        (["acdc", "--predictions", "p"], "expected a file to write, --out, got None"),
        (["acdc", "--validate", "x", "--out", "o"], "expected no --out with --validate, got 'o'"),
        ([*VAL, "--predictions", "p", "--out", "o", "--aug-test"], "expected --aug-test with --ch"),
        (
            [*VAL, "--predictions", "p", "--out", "o", "--config", "c"],
            "expected --config with --ch",
        ),
        ([*VAL, "--validate", "x", "--ids", "label"], "expected --ids with --predictions alone"),
        (["acdc", "--validate", "x", "--split", "val"], "images of ACDCDataset in 'data/acdc/rgb"),
        ([*VAL, "--validate", "none.zip"], "expected a submission at 'none.zip', got no such file"),
        ([*VAL, "--validate", "text"], "expected a submission as a zip file at 'text', got a brok"),
        ([*VAL, "--predictions", "none", "--out", "o"], "expected a folder of predictions at 'non"),
        ([*VAL, "--checkpoint", "none.pth", "--out", "o"], "none.pth"),
        ([*VAL, "--predictions", "preds", "--out", "text"], "which holds something else"),
    ],
)
def test_wrong_words_end_with_one_sentence(
    words: list[str], said: str, project: object, capsys: Any
) -> None:
    Path("text").write_text("no archive")
    assert said in refused(capsys, *words)
    assert not Path("o").exists()


def test_a_network_of_other_classes_or_without_a_teacher_is_refused(
    run: Path, project: object, capsys: Any
) -> None:
    words = [*VAL, "--out", "out.zip", "--checkpoint", str(run / "work_dirs/run")]
    assert "teacher" in refused(capsys, *words, "--eval-model", "teacher")
    model = models_cfg.daformer("mit_b0", channels=16, embed=16)
    model["decode_head"]["num_classes"] = 7
    values = tiny_run.config(Path("data"), model=model)
    for section in (values["data"]["test"], *values["data"]["train"].values()):
        if isinstance(section, dict):
            section["classes"] = list(CLASSES[:7])
    tiny_run.write_config(Path("seven/seven.py"), values)
    torch.save({"state_dict": build_segmentor(model).state_dict()}, "seven/latest.pth")
    said = refused(capsys, *words[:-1], "seven")
    assert "expected a network of the 19 classes of the test server, got 7: road, sidewalk" in said
    assert not Path("out.zip").exists()


def test_what_cannot_be_read_back_leaves_the_archive_of_before(
    project: object, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    words = [*VAL, "--predictions", "preds", "--out", "out.zip"]
    export(*words)
    before = Path("out.zip").read_bytes()
    monkeypatch.setattr("mmseg.apis.submitting.submission.encode_png", lambda ids: picture("RGB"))
    assert "got in 'out.zip': 3 not of 8-bit ids (L)" in refused(capsys, *words)
    assert Path("out.zip").read_bytes() == before
    assert not list(Path().glob(".*"))


def test_the_page_says_what_each_server_takes() -> None:
    page = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+), (\d+×\d+) \| `([^`]+)`", page, re.M)
    assert [row[0] for row in rows] == list(SERVED) == list(kinds)
    for name, ids, size, images in rows:
        rule = kinds[name].SERVER
        assert (ids.lower(), size) == (rule.ids, "{}×{}".format(*rule.size))
        assert images == f"data/{name}/{rule.images}/test"
