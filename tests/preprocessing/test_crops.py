"""Preprocessing of a tiny source dataset: five images of 48x30 pixels, crops of 20x16."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import models_cfg
import numpy as np
import pytest
import torch
from PIL import Image

from mmseg.config import Config
from mmseg.datasets import build_dataset
from mmseg.datasets.crop_store import CropStore
from mmseg.preprocessing import count_bank, plan
from mmseg.preprocessing.choices import Options, read_crop_config
from mmseg.preprocessing.preprocess import preprocess
from mmseg.system.errors import ConfigError

ROOT = Path(__file__).parents[2]
NORM = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}
CROP = (16, 20)
NUM = 9


def pipeline(crop_size=CROP):
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "Resize", "img_scale": (60, 36)},
        {"type": "RandomCrop", "crop_size": crop_size, "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "Normalize", **NORM},
        {"type": "Pad", "size": crop_size, "pad_val": 0, "seg_pad_val": 255},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"]},
    ]


def make_dataset(root: Path) -> None:
    """Write images, labels, depth and the statistics that rare class sampling reads."""
    rng = np.random.default_rng(5)
    stats, by_class = [], {}
    for folder in ("images", "labels", "depth_any"):
        (root / folder).mkdir(parents=True)
    for i in range(5):
        label = rng.choice([0, 2, 10, 13, 255], size=(6, 8)).astype(np.uint8).repeat(5, 0)
        label = label.repeat(6, 1)  # (30, 48) in blocks of 5x6
        Image.fromarray(rng.integers(0, 256, (30, 48, 3), np.uint8)).save(root / f"images/{i}.png")
        name = root / f"labels/{i}_labelTrainIds.png"
        Image.fromarray(label).save(name)
        Image.fromarray(rng.integers(0, 256, (30, 48), np.uint8)).save(root / f"depth_any/{i}.png")
        counts = {str(c): int((label == c).sum()) for c in np.unique(label) if c != 255}
        stats.append({**counts, "file": str(name)})
        for c, n in counts.items():
            by_class.setdefault(c, []).append([str(name), n])
    (root / "sample_class_stats.json").write_text(json.dumps(stats))
    (root / "samples_with_class.json").write_text(json.dumps(by_class))
    (root / "sample_class_stats_dict.json").write_text(
        json.dumps({entry["file"]: entry for entry in stats})
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("gta")
    make_dataset(root)
    return root


@pytest.fixture
def cfg(data: Path) -> Config:
    side = {
        "type": "GTADataset",
        "data_root": str(data),
        "img_dir": "images",
        "ann_dir": "labels",
        "dep_dir": str(data / "depth_any"),
        "pipeline": pipeline(),
    }
    train = {
        "type": "UDADataset",
        "source": side,
        "target": {**side, "type": "GTADataset"},
        "rare_class_sampling": {"min_pixels": 20, "class_temp": 0.1, "min_crop_ratio": 0.5},
    }
    model = models_cfg.daformer("mit_b0", channels=16, embed=16)
    whole = {
        "model": {key: value for key, value in model.items() if key != "train_cfg"},
        "data": {"train": train},
        "uda": {"type": "DACS"},
        "runner": {"max_iters": 2},
        "optimizer": {"type": "AdamW", "lr": 1e-3},
    }
    return Config(whole, filename="tiny.py")


def run(cfg: Config, folder: Path, lines: list[str] | None = None, **options) -> Path | None:
    chosen = Options(**{"dataset_name": "gta", "folder": folder, "num": NUM, **options})
    return preprocess(cfg, chosen, say=(lines if lines is not None else []).append)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "crops"
    run(cfg.__wrapped__(data), folder)
    return folder


def test_a_bank_of_two_sources_holds_crops_of_both(cfg: Config, data: Path, tmp_path: Path) -> None:
    """The second is white. Without it, run_seg.py refuses to add other crops."""
    shutil.copytree(data, tmp_path / "bright")
    for file in (tmp_path / "bright/images").iterdir():
        Image.new("RGB", (48, 30), (255, 254, 253)).save(file)
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        (tmp_path / "bright" / name).unlink()  # its classes are counted
    one = cfg.data.train.source.to_dict()
    other = {
        **one,
        "data_root": str(tmp_path / "bright"),
        "dep_dir": str(tmp_path / "bright/depth_any"),
    }
    cfg.data.train["source"] = [{**one, "weight": 1.0}, {**other, "weight": 1.0}]
    cfg = Config(cfg.to_dict(), filename="tiny.py")
    bank = run(cfg, tmp_path / "crops", num=12)
    assert bank is not None
    assert len(torch.load(bank)) == 12
    images = [np.asarray(Image.open(f)) for f in (tmp_path / "crops/images").iterdir()]
    assert {bool(image.max() == image.min() + 2) for image in images} == {True, False}
    cfg.data.train["source"] = one
    with pytest.raises(ValueError, match="crops"):
        run(cfg, tmp_path / "crops", num=12)


def test_crops_read_back_are_the_training_tensors(cfg, made):
    dataset = build_dataset(cfg.data.train)
    store = CropStore(made / "images", made / "labels")
    for index in range(NUM):
        sample = dataset.source_sample(np.random.default_rng((0, index)))
        image, label = store.read(index)
        assert image.shape == (*CROP, 3)
        std = 1 / np.float64(NORM["std"]).reshape(1, -1)
        normalized = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32)
        normalized = cv2.multiply(cv2.subtract(normalized, np.float64([NORM["mean"]])), std)
        difference = normalized.transpose(2, 0, 1) - sample["img"].numpy()
        assert np.abs(difference).max() < 1e-5  # a gray level is 0.017
        assert np.array_equal(label, sample["gt_semantic_seg"].numpy().reshape(CROP))
        depth = np.asarray(Image.open(made / f"depth/{index}.png"))
        assert np.array_equal(depth, np.floor(sample["depth"].numpy()))


def test_files_are_numbered_from_0_and_hold_plain_gray_labels(made):
    for part, mode in (("images", "RGB"), ("labels", "L"), ("depth", "L")):
        names = {path.name for path in (made / part).iterdir()}
        assert names == {f"{i}.png" for i in range(NUM)}
        assert Image.open(made / part / "0.png").mode == mode


def test_bank_counts_the_written_files(made):
    """Against a loop over the pixels of crop 3, and the number of labeled pixels of all."""
    bank = torch.load(made / f"gta_{NUM}_distribution.pth", weights_only=True)
    assert (bank.shape, bank.dtype, bank.device.type) == ((NUM, 19, 256), torch.float32, "cpu")
    expected = np.zeros((19, 256))
    label, depth = (np.asarray(Image.open(made / f"{p}/3.png")) for p in ("labels", "depth"))
    for c, d in zip(label.ravel(), depth.ravel(), strict=True):
        if c != 255:
            expected[c, d] += 1
    assert np.array_equal(bank[3].numpy(), expected)
    labels = [np.asarray(Image.open(made / f"labels/{i}.png")) for i in range(NUM)]
    assert bank.sum((1, 2)).tolist() == [(label != 255).sum() for label in labels]


def test_number_of_workers_does_not_change_a_byte(cfg, made, tmp_path):
    run(cfg, tmp_path / "crops", workers=2)
    assert contents(tmp_path / "crops") == contents(made)


def test_interrupted_run_continues_and_gives_the_same_files(cfg, made, tmp_path):
    folder, lines = tmp_path / "crops", []
    run(cfg, folder, counts_bank=False)
    kept = (folder / "images/1.png").stat().st_mtime_ns
    for name in ("images/0.png", "labels/4.png", "depth/8.png"):
        (folder / name).unlink()
    run(cfg, folder, lines)
    assert contents(folder) == contents(made)
    assert (folder / "images/1.png").stat().st_mtime_ns == kept
    assert any(line.startswith("6 of 9 crops are in") for line in lines)


def test_crops_are_counted_as_they_are_drawn_and_read_again_only_after_a_restart(
    cfg, made, tmp_path, monkeypatch
):
    read, original = [], count_bank._read_and_count
    monkeypatch.setattr(
        count_bank, "_read_and_count", lambda *a: (read.append(a[2]), original(*a))[1]
    )
    run(cfg, tmp_path / "crops")
    assert not read
    for index in (2, 7):
        (tmp_path / f"crops/labels/{index}.png").unlink()
    run(cfg, tmp_path / "crops")
    assert read == [0, 1, 3, 4, 5, 6, 8]
    assert contents(tmp_path / "crops") == contents(made)


def test_large_bank_is_counted_on_disk(cfg, made, tmp_path, monkeypatch):
    files, from_file = [], torch.from_file
    monkeypatch.setattr(count_bank, "LARGEST_IN_MEMORY", NUM * 19 * 256 * 4 - 1)
    monkeypatch.setattr(
        torch, "from_file", lambda *a, **o: (files.append(a), from_file(*a, **o))[1]
    )
    run(cfg, tmp_path / "crops")
    assert len(files) == 1
    assert contents(tmp_path / "crops") == contents(made)


def test_another_seed_gives_other_crops(cfg, made, tmp_path):
    run(cfg, tmp_path / "crops", seed=1, counts_bank=False)
    assert not (tmp_path / "crops" / f"gta_{NUM}_distribution.pth").exists()
    other, first = contents(tmp_path / "crops"), contents(made)
    assert sum(other[f"images/{i}.png"] != first[f"images/{i}.png"] for i in range(NUM)) > NUM - 2


def test_bank_alone_is_counted_from_the_crops_on_disk(cfg, made, tmp_path):
    """Also of crops that came without settings, as those of the original program do."""
    folder = tmp_path / "crops"
    for name, data in contents(made).items():
        if name.endswith(".png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    written = run(cfg, folder, draws_crops=False)
    assert written == folder / f"gta_{NUM}_distribution.pth"
    first = torch.load(made / written.name, weights_only=True)
    assert torch.equal(torch.load(written, weights_only=True), first)


def test_padded_pixels_get_the_mean_color_and_the_pad_labels(cfg, tmp_path):
    cfg.data.train.source.pipeline = pipeline(crop_size=(50, 20))
    cfg.data.train.pop("rare_class_sampling")
    run(cfg, tmp_path, num=1)
    read = [np.asarray(Image.open(tmp_path / f"{p}/0.png")) for p in ("images", "labels", "depth")]
    assert read[0].shape == (50, 20, 3)
    assert (read[0][40:] == [124, 116, 104]).all()  # RGB
    assert (read[1][40:] == 255).all()
    assert (read[2][40:] == 255).all()
    bank = torch.load(tmp_path / "gta_1_distribution.pth", weights_only=True)
    assert bank.sum() == (read[1] != 255).sum()


def test_run_says_beforehand_how_many_files_how_much_disk_and_how_long(cfg, tmp_path):
    lines: list[str] = []
    run(cfg, tmp_path / "crops", lines)
    announced = next(line for line in lines if line.startswith("Writing"))
    assert f"Writing {3 * NUM + 1} files, about " in announced
    assert " s to " in announced


def test_announced_disk_space_is_what_is_used(cfg, tmp_path):
    """In blocks of the usual size."""
    ahead = plan.estimate(build_dataset(cfg.data.train), 0, NUM, (NUM, 19), workers=0)
    run(cfg, tmp_path / "crops")
    blocks = [-(-path.stat().st_size // 4096) for path in (tmp_path / "crops").rglob("*.*")]
    assert ahead.bytes == pytest.approx(4096 * sum(blocks), rel=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws_crops": False, "counts_bank": False}, "both --not_get_images and --not_get_dis"),
        (
            {"dataset_name": "gta5", "num": None},
            "expected --dataset_name gta or synthia, got 'gta5",
        ),
        ({"num": 0}, "--num: expected a number of at least 1, got 0"),
    ],
)
def test_impossible_options_are_named(cfg, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(cfg, tmp_path, **options)


def test_missing_depth_folder_says_what_to_set(cfg, tmp_path):
    cfg.data.train.source.pop("dep_dir")
    with pytest.raises(ConfigError, match=r"tiny\.py: expected data\.train\.source\.dep_dir"):
        run(cfg, tmp_path)
    cfg.data.train = cfg.data.train.source
    with pytest.raises(ConfigError, match=r"expected data\.train to be a UDADataset"):
        run(cfg, tmp_path)


def test_dataset_of_another_name_than_the_config_is_an_error(cfg, tmp_path):
    cfg.uda = {"dataset": "synthia"}
    with pytest.raises(ValueError, match=r"expected --dataset_name synthia for tiny\.py"):
        run(cfg, tmp_path)
    assert run(cfg, tmp_path / "crops", dataset_name=None, num=1).name.startswith("synthia_1_")


def with_paths(cfg: Config, folder: Path, **changes: str) -> Config:
    """Let the config read the crops and the bank in a folder."""
    paths = {f"croped_{part}_path": str(folder / part) for part in ("images", "labels")}
    bank = str(folder / f"gta_{NUM}_distribution.pth")
    cfg.uda = {"dataset": "GTA", "matrix_path": bank, **paths, **changes}
    return cfg


def test_the_config_chooses_what_the_command_line_leaves_open(cfg, made, tmp_path):
    """Name, folder and number; without a bank in the config, those of the default config."""
    with_paths(cfg, tmp_path / "crops")
    bank = run(cfg, None, dataset_name=None, num=None)
    assert bank == tmp_path / f"crops/gta_{NUM}_distribution.pth"
    assert contents(bank.parent) == contents(made)
    usual = Options().completed(read_crop_config(Config({**cfg, "uda": None})))
    assert usual.bank_file == Path("preprocessed/gta_daformer/gta_24966_distribution.pth")


@pytest.mark.parametrize(
    "key", ["matrix_path", "croped_images_path", "croped_labels_path", "number"]
)
def test_a_config_that_reads_other_files_than_are_written_is_refused(cfg, tmp_path, key):
    folder = tmp_path / "crops"
    changes = {} if key == "number" else {key: "elsewhere/gta_9_distribution.pth"}
    with_paths(cfg, folder, **changes)
    named = "matrix_path" if key == "number" else key
    number = NUM + 1 if key == "number" else NUM
    message = rf"tiny\.py: expected uda\.{named} to be '{folder}/.*or --num"
    with pytest.raises(ConfigError, match=message):
        run(cfg, folder, num=number)
    assert not folder.exists()


def test_paths_that_the_method_does_not_use_need_not_agree(cfg, tmp_path):
    with_paths(cfg, tmp_path / "elsewhere", source_only=True)
    assert run(cfg, tmp_path / "crops", num=1)


def test_the_bank_counts_the_classes_of_the_network(cfg, tmp_path):
    cfg["model"] = {"decode_head": {"num_classes": 23}}
    assert torch.load(run(cfg, tmp_path / "crops")).shape == (NUM, 23, 256)


def test_missing_crops_name_the_first_index_and_the_command(cfg, made, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        run(cfg, made, num=NUM + 3, draws_crops=False)
    assert "3 are missing, the first is number 9." in str(error.value)
    command = "python run_seg.py --config tiny.py --dataset_name gta --source_preprocessed_path"
    assert f"{command} {made} --num 12 --seed 0" in str(error.value)


@pytest.mark.parametrize(
    ("options", "key"), [({"seed": 1}, "seed = 1"), ({"num": NUM - 1}, "num = 8")]
)
def test_folder_with_other_settings_is_refused(cfg, made, options, key):
    with pytest.raises(ValueError, match=rf"to hold crops with {key}.*choose another"):
        run(cfg, made, **options)


def test_folder_made_with_another_source_config_or_dataset_is_refused(cfg, made, tmp_path):
    cfg.data.train.source.pipeline[4]["prob"] = 0.25
    with pytest.raises(ValueError, match="to hold crops with source = "):
        run(cfg, made)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got crops without preprocessing\.json\. Delete them"):
        run(cfg, tmp_path)


def test_target_side_of_the_config_does_not_matter(cfg, made):
    before = contents(made)
    cfg.data.train.target.pipeline[4]["prob"] = 0.25
    run(cfg, made)
    assert contents(made) == before


def test_full_disk_is_noticed_before_anything_is_written(cfg, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"of free disk space at .*crops, got 1 kB"):
        run(cfg, tmp_path / "crops")
    assert not (tmp_path / "crops").exists()


def test_command_passes_its_arguments_on(cfg, tmp_path, monkeypatch, capsys):
    cfg.dump(tmp_path / "tiny.py")
    file = Path(__file__).parents[2] / "run_seg.py"
    spec = importlib.util.spec_from_file_location("run_seg", file)
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    defaults = command.SegOptions()
    assert defaults.config == "configs/cdda/gta2cs_cdda_daformer"
    assert (defaults.dataset_name, defaults.folder, defaults.num) == (None, None, None)
    arguments = f"--config {tmp_path}/tiny --source_preprocessed_path {tmp_path}/out --num 2"
    arguments += " --num-workers 0 --seed 4 --cfg-options data.train.source.pipeline.4.prob=0.0"
    command.main(arguments.split())
    assert (tmp_path / "out/gta_2_distribution.pth").is_file()
    assert "Writing 7 files" in capsys.readouterr().out


def test_command_refuses_before_it_draws_what_training_would_refuse(cfg, tmp_path):
    """The whole check of a training; here of its method."""
    cfg.uda = {"type": "DACS", "imnet_feature_dist_lambda": 0.1}
    cfg.dump(tmp_path / "tiny.py")
    words = f"--config {tmp_path}/tiny --source_preprocessed_path {tmp_path}/out --num 2"
    command = [sys.executable, str(ROOT / "run_seg.py"), *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode not in (0, None)
    assert "imnet_feature_dist_lambda: expected 0 without pretrained" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
