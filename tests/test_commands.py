"""The commands of the README, one after the other, on a small demo.

`demo.sh` runs as it is, in a copy of the repository, but its `python` is a script that makes
each step smaller. The other commands then work on what it left.
"""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from demo_project import NUM_CROPS, ROOT, SIZE, SMALLER, WHOLE_PYTHON, Demo
from PIL import Image

from mmseg.apis import inference_segmentor, init_segmentor
from mmseg.config import load_config
from mmseg.datasets.labels import CLASSES

CONFIG = "configs/demo/cdda_daformer"
OPTIONS = " ".join(SMALLER)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def published(demo: Demo) -> Path:
    """The student of the demo in half precision."""
    folder = demo.run_dir.relative_to(demo.root)
    text = demo.run(f"python tools/publish_checkpoint.py {folder}/latest.pth pretrained/mine.pth")
    assert re.search(r"tensors, \d\.\d MB: pretrained/mine.pth", text)
    return demo.root / "pretrained/mine.pth"


@cache
def picture(path: Path) -> tuple[str, tuple[int, int], np.ndarray]:
    """Return mode, (width, height) and content of a PNG file."""
    with Image.open(path) as image:
        return image.mode, image.size, np.asarray(image)


def test_demo_says_what_it_does_and_where_to_look(demo: Demo) -> None:
    assert re.findall(r"== (\d)/6", demo.output) == list("123456")
    run_dir = demo.run_dir.relative_to(demo.root)
    told = re.findall(rf"^  ({run_dir}/\S+) ", demo.output, re.MULTILINE)
    assert len(told) == 5
    assert all((demo.root / path).exists() for path in told)


def test_raw_data_becomes_labels_and_statistics(demo: Demo) -> None:
    data = demo.root / "data/demo"
    assert len(list((data / "gta/labels").glob("*_labelTrainIds.png"))) == 8
    assert len(list((data / "synthia/GT/LABELS").glob("*_labelTrainIds.png"))) == 4
    converted = [p.parts[-3] for p in data.rglob("*_gtFine_labelTrainIds.png")]
    assert sorted(set(converted)) == ["train", "val"]
    for name in ("gta", "synthia", "cityscapes"):
        statistics = json.loads((data / name / "sample_class_stats.json").read_text())
        assert all((demo.root / entry["file"]).is_file() for entry in statistics)
    assert len((data / "cityscapes/val.txt").read_text().splitlines()) == 2


def test_preprocessing_leaves_exactly_its_crops_and_their_bank(demo: Demo) -> None:
    assert re.search(
        rf"Writing {3 * NUM_CROPS + 1} files, about .*B, about .*: 6 crops", demo.output
    )
    folder = demo.root / "preprocessed/demo_gta"
    for part in ("images", "labels", "depth"):
        names = sorted(path.name for path in (folder / part).iterdir())
        assert names == [f"{i}.png" for i in range(NUM_CROPS)]
    bank = torch.load(folder / f"gta_{NUM_CROPS}_distribution.pth", weights_only=True)
    assert (bank.shape, bank.dtype) == ((NUM_CROPS, 19, 256), torch.float32)
    label, depth = (picture(folder / part / "4.png")[2] for part in ("labels", "depth"))
    assert bank[4, 0].sum() == (label == 0).sum()
    assert bank[4].sum(0)[int(depth[50, 60])] > 0


def test_a_run_has_its_name_its_configs_and_its_files(demo: Demo) -> None:
    name = demo.run_dir.name
    assert re.fullmatch(r"\d{6}_\d{4}_demo_cdda_daformer_[0-9a-f]{5}", name)
    child = demo.root / f"configs/generated/local-demo/{name}.py"
    assert "_base_ = ['../../demo/cdda_daformer.py']" in child.read_text()
    resolved = load_config(demo.run_dir / name)
    assert (resolved.name, resolved.work_dir) == (name, f"work_dirs/local-demo/{name}")
    assert {"_base_", "git_rev"} & set(resolved) == {"git_rev"}
    files = {path.name for path in demo.run_dir.iterdir()}
    assert {"iter_2.pth", "latest.pth", "best_mIoU_iter_2.pth", "results.json"} <= files
    assert {"curves.png", "predictions.png", "preds", "debug"} <= files


def test_the_log_says_first_which_method_runs(demo: Demo) -> None:
    (log,) = (path for path in demo.run_dir.glob("2*.log"))
    lines = [line.split(" - ", 2)[-1] for line in log.read_text().splitlines()]
    assert lines[0].startswith("cdda-seg ")
    assert lines[2] == "Method: CDDA on DACS self-training of EncoderDecoder, behaving as described"
    assert lines[3].startswith(f"Depth statistics: {NUM_CROPS} source crops of gta (preprocessed/")
    assert "seed 0" in lines[4]
    assert lines[4] in demo.output, "the console says the same"


def test_every_iteration_is_one_line_of_json(demo: Demo) -> None:
    *training, validation = demo.records()
    assert [(r["mode"], r["iter"]) for r in training] == [("train", 1), ("train", 2)]
    for record in training:
        assert record["mix.decode.loss_seg"] > 0
        assert {"lr", "time", "data_time", "memory", "cdda.similarity"} <= set(record)
    assert (validation["mode"], validation["iter"]) == ("val", 2)
    assert {"mIoU", "IoU.traffic light"} <= set(validation)


def test_results_are_the_printed_table(demo: Demo) -> None:
    results = json.loads((demo.run_dir / "results.json").read_text())
    assert list(results["per_class"]) == list(CLASSES)
    known = [v["IoU"] for v in results["per_class"].values() if v["IoU"] is not None]
    assert results["mIoU"] == pytest.approx(np.mean(known), abs=1e-4)
    assert results["split"] == "data/demo/cityscapes/leftImg8bit/val"
    assert results["checkpoint"].endswith("best_mIoU_iter_2.pth")
    evaluation = demo.output[demo.output.index("5/6") :]
    assert "Split: data/demo/cityscapes/leftImg8bit/val, 2 images" in evaluation
    for name, value in results["per_class"].items():
        row = re.search(rf"\| +{name} +\| +([\d.]+|nan) +\|", evaluation)
        assert row, name
        assert row[1] == "nan" or float(row[1]) == pytest.approx(100 * value["IoU"], abs=0.006)
    mean = re.search(r"mIoU: ([\d.]+), IoU.road", evaluation)
    assert mean
    assert float(mean[1]) == pytest.approx(100 * results["mIoU"], abs=0.051)


def test_predictions_are_palette_pictures_of_the_images_size(demo: Demo) -> None:
    images = sorted((demo.root / "data/demo/cityscapes/leftImg8bit/val").rglob("*.png"))
    painted = sorted((demo.run_dir / "preds").rglob("*.png"))
    assert [p.parts[-2:] for p in painted] == [p.parts[-2:] for p in images]
    for path in painted:
        mode, size, label = picture(path)
        assert (mode, size) == ("P", SIZE)
        assert label.max() < 19
        with Image.open(path) as image:
            assert image.getpalette()[39:42] == [0, 0, 142], "cars are blue"


def test_panels_curves_and_sheet_can_be_looked_at(demo: Demo) -> None:
    panels = sorted(path.name for path in (demo.run_dir / "debug").iterdir())
    assert panels == ["000001_0.png", "000001_0_s.png", "000001_1.png", "000001_1_s.png"]
    wide = [demo.run_dir / "debug/000001_0.png", demo.run_dir / "predictions.png"]
    for path in [*wide, demo.run_dir / "curves.png"]:
        _, (width, height), pixels = picture(path)
        assert min(width, height) > 300
        assert pixels.std() > 20
    assert all(picture(path)[1][0] > 4 * 200 for path in wide)


def test_startup_test_trains_two_iterations_in_a_folder_of_its_own(demo: Demo) -> None:
    options = f"--startup-test --seed 3 --cfg-options {OPTIONS} data.workers_per_gpu=0"
    demo.run(f"python run_experiments.py --config {CONFIG}.py {options}")
    (folder,) = (demo.root / "work_dirs/local-demo-startup").iterdir()
    assert [r["iter"] for r in demo.records(folder)] == [1, 2]
    assert load_config(folder / folder.name).seed == 3
    assert (demo.root / f"configs/generated/local-demo-startup/{folder.name}.py").is_file()
    assert not (folder / "results.json").exists()


def test_train_takes_folder_seed_options_and_synthia(demo: Demo) -> None:
    """SYNTHIA as source: mIoU over 19, 16 and 13 classes."""
    source = "type=SynthiaDataset data_root=data/demo/synthia/ img_dir=RGB ann_dir=GT/LABELS"
    source += " dep_dir=data/demo/synthia/depth_any"
    options = [f"data.train.source.{option}" for option in source.split()]
    options += [*SMALLER[1:], "runner.max_iters=1", "data.workers_per_gpu=0"]
    changes = f"--seed 1 --cfg-options optimizer.lr=1e-3 {' '.join(options)}"
    command = (
        "python tools/train.py configs/demo/daformer.py --work-dir work_dirs/try --resume auto"
    )
    text = demo.run(f"{command} {changes}")
    folder = demo.root / "work_dirs/try"
    assert "Method: DACS self-training of EncoderDecoder, without depth" in text
    assert "work_dirs/try; seed 1;" in text
    results = json.loads((folder / "results.json").read_text())
    assert {"mIoU19", "mIoU16", "mIoU13"} <= set(results)
    assert re.search(r"mIoU19 +\| +mIoU16 +\| +mIoU13", text)
    assert load_config(folder / "daformer").optimizer.lr == 1e-3
    text = demo.run(f"{command} {changes}".replace("max_iters=1", "max_iters=2"))
    assert "Resumed from work_dirs/try/latest.pth after iteration 1." in text


@pytest.mark.parametrize("name", ["hrda", "mic"])
def test_hrda_and_mic_train_with_the_crops_of_the_demo(demo: Demo, name: str) -> None:
    command = f"python tools/train.py configs/demo/cdda_{name}.py --work-dir work_dirs/{name}"
    options = f"{OPTIONS} data.workers_per_gpu=0".replace("max_iters=2", "max_iters=1")
    text = demo.run(f"{command} --no-validate --cfg-options {options}")
    assert f"CDDA on {'MIC on ' if name == 'mic' else ''}DACS self-training of HRDA" in text
    folder = demo.root / f"work_dirs/{name}"
    (record,) = demo.records(folder)
    assert record["mix.decode.hr.loss_seg"] > 0
    assert ("masked.decode.hr.loss_seg" in record) == (name == "mic")
    _, (width, height), _ = picture(folder / "debug/000001_0_s.png")
    assert height > 1.5 * width, "seven rows in three or four columns"


def test_half_precision_is_enough_for_the_same_labels(demo: Demo, published: Path) -> None:
    assert published.stat().st_size < 0.2 * (demo.run_dir / "latest.pth").stat().st_size
    text = demo.run(f"python tools/test.py {CONFIG} pretrained/mine.pth --eval mIoU")
    assert "| traffic light |" in text
    tested = json.loads((demo.root / "pretrained/results.json").read_text())
    trained = json.loads((demo.run_dir / "results.json").read_text())
    assert tested["aAcc"] == pytest.approx(trained["aAcc"], abs=0.01)


def test_test_images_need_no_labels(demo: Demo, published: Path) -> None:
    folder = "--eval-options imgfile_prefix=work_dirs/server to_label_id=True"
    command = f"python tools/test.py {CONFIG} {published} --format-only --test-set {folder}"
    text = demo.run(f"{command} --work-dir work_dirs/server_log")
    assert "Split: data/demo/cityscapes/leftImg8bit/test, 6 images" in text
    files = sorted((demo.root / "work_dirs/server").glob("*_leftImg8bit.png"))
    assert len(files) == 6
    ids = set(np.unique([picture(file)[2] for file in files]))
    assert ids <= {7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33}


def test_a_published_network_labels_an_image_from_python(
    demo: Demo, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo.root)
    model = init_segmentor(CONFIG, published, device="cpu")
    (label,) = inference_segmentor(model, "data/demo/gta/images/00001.png")
    assert label.shape == SIZE[::-1]
    assert model.CLASSES == CLASSES


def test_print_config_and_contact_sheet_take_any_part_of_a_config(demo: Demo) -> None:
    text = demo.run(f"python tools/print_config.py {CONFIG} --cfg-options uda.alpha=0.5")
    assert "'alpha': 0.5" in text
    assert "'max_iters': " in text, "inherited"
    command = f"python tools/contact_sheet.py {CONFIG} --split train.source --depth --num 2"
    assert demo.run(f"{command} --out sheet.png") == "sheet.png\n"
    assert picture(demo.root / "sheet.png")[1][0] > 3 * 320


def test_report_of_adaptation_shows_mean_and_spread(demo: Demo) -> None:
    """Results of made-up runs: mIoU 0.1, 0.2, 0.3 (0.4, 0.5) for the seeds of two methods."""
    for method, seeds in (("source_only", 3), ("cdda_as_released", 5)):
        for seed in range(seeds):
            folder = demo.root / f"work_dirs/adaptation/{method}_7_s{seed}"
            folder.mkdir(parents=True)
            result = {"iteration": 7, "num_images": 2, "mIoU": 0.1 * (seed + 1)}
            result["per_class"] = {"road": {"IoU": 0.5}, "train": {"IoU": None}}
            result["best"] = {"mIoU": 0.4}
            (folder / "results.json").write_text(json.dumps(result))
    own = (ROOT / "benchmarks/RESULTS.md").read_bytes()
    methods = "'source only' 'CDDA as released'"
    demo.run(f"python benchmarks/adaptation.py --report-only --iterations 7 --methods {methods}")
    assert (ROOT / "benchmarks/RESULTS.md").read_bytes() == own, "that of the copy is written"
    report = (demo.root / "benchmarks/RESULTS.md").read_text()
    assert "| seeds | 3 | 5 |" in report
    assert "| **mIoU** | 20.0 ± 10.0 | 30.0 ± 15.8 |" in report
    assert "| best mIoU | 40.0 ± 0.0 | 40.0 ± 0.0 |" in report
    assert "| road | 50.0 ± 0.0 | 50.0 ± 0.0 |" in report


@pytest.mark.slow
def test_the_whole_demo_improves_on_its_start(tmp_path: Path) -> None:
    start = ROOT / "pretrained/demo_mit_b0_source.pth"
    if not start.is_file():
        pytest.skip("needs the demo's source-trained checkpoint")
    (tmp_path / "pretrained").mkdir()
    shutil.copy(start, tmp_path / "pretrained")
    demo = Demo(tmp_path, WHOLE_PYTHON)
    best = json.loads((demo.run_dir / "results.json").read_text())
    demo.run(f"python tools/test.py {CONFIG} pretrained/{start.name} --eval mIoU")
    before = json.loads((tmp_path / "pretrained/results.json").read_text())
    assert best["mIoU"] > before["mIoU"]


def test_cdda_on_a_foundation_backbone_runs_on_the_same_scenes(demo: Demo) -> None:
    pytest.importorskip("timm", reason="the extra [vfm] is not installed")
    config = "configs/demo/cdda_vfm"
    bank = f"uda.matrix_path=preprocessed/demo_gta_vfm/gta_{NUM_CROPS}_distribution.pth"
    options = f"--cfg-options {bank} {' '.join(SMALLER[1:])} data.workers_per_gpu=0"
    demo.run(f"python run_seg.py --config {config} --num {NUM_CROPS} --num-workers 0 {options}")
    demo.run(f"python run_experiments.py --config {config} {options}")
    (run_dir,) = (demo.root / "work_dirs/local-demo").glob("*_demo_cdda_vfm_*")
    *training, _ = demo.records(run_dir)
    assert [r["iter"] for r in training] == [1, 2]
    assert all(r["tgt.loss_vfm_feat_dist"] > 0 for r in training)
