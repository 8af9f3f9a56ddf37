"""Whole runs in this process: the maps, what is kept, what is refused, what is said."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from depth_runs import assert_truncated, names, read_maps, run
from PIL import Image
from tiny_models import save_tiny_glpn

from mmseg.preprocessing.depth_maps.network import Network
from mmseg.preprocessing.depth_maps.options import (
    choose_device,
    usual_batch_size,
    usual_workers,
)
from mmseg.preprocessing.depth_maps.scaling import Stored
from mmseg.preprocessing.depth_maps.summary import Summary, merge


def test_maps_are_those_of_a_plain_loop(made, images, plain):
    """Three sizes, gray, 16-bit and turned images, one at a time."""
    maps = read_maps(made)
    assert sorted(maps) == names(images) == sorted(plain)
    for name, levels in maps.items():
        assert_truncated(levels, plain[name])
        assert (levels.min(), levels.max()) == (0, 255)
        assert len(np.unique(levels)) > 100
    assert maps["b/turned"].shape == (50, 34)
    assert maps["b/deep"].shape == (48, 64)


def test_map_is_an_8_bit_gray_png(made):
    for path in made.rglob("*.png"):
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "L")


@pytest.mark.parametrize(("batch_size", "workers"), [(3, 2), (4, 0)])
def test_maps_of_batches_and_workers_are_those_of_a_plain_loop(
    batch_size, workers, images, model, plain, tmp_path
):
    out = tmp_path / "maps"
    summary = run(images, out, model=str(model), batch_size=batch_size, workers=workers)
    assert (summary.made, summary.existing, summary.failures) == (11, 0, [])
    maps = read_maps(out)
    assert sorted(maps) == sorted(plain)
    for name, values in plain.items():
        assert_truncated(maps[name], values)


def test_record_says_how_the_maps_were_made(made, model):
    record = json.loads((made / "depth.json").read_text())
    assert record["recipe"]["source"] == "model"
    assert record["recipe"]["quantity"] == "inverse"
    assert record["details"]["model"] == str(model)


def test_corrupt_image_is_named_and_skipped_and_made_when_it_is_whole(
    images, model, made, tmp_path
):
    spoiled = Path(shutil.copytree(images, tmp_path / "images"))
    whole = (spoiled / "a/002.png").read_bytes()
    (spoiled / "a/002.png").write_bytes(whole[:-40])
    (spoiled / "b/007.png").write_bytes(b"")
    out, said = tmp_path / "maps", []
    summary = run(spoiled, out, said, model=str(model), batch_size=2, workers=2)
    assert summary.made == 9
    assert len(summary.failures) == 2
    assert f"'{spoiled}/a/002.png', got a broken file" in summary.failures[0]
    start = said.index("No map could be made of 2 files:")
    assert said[start + 1 : start + 3] == [f"  {reason}" for reason in summary.failures]
    assert set(names(made)) - set(names(out)) == {"a/002", "b/007"}
    (spoiled / "a/002.png").write_bytes(whole)
    summary = run(spoiled, out, model=str(model))
    assert (summary.made, summary.existing, len(summary.failures)) == (1, 9, 1)
    assert (out / "a/002.png").read_bytes() == (made / "a/002.png").read_bytes()


@pytest.mark.parametrize("workers", [0, 1])
def test_image_that_cannot_be_resized_is_named(workers, images, model, tmp_path):
    """Its shorter side would become 28 pixels, the longer one more than OpenCV can hold."""
    folder = Path(shutil.copytree(images / "b", tmp_path / "images"))
    Image.fromarray(np.zeros((1, 60_000), np.uint8)).save(folder / "strip.png")
    rule = json.loads((model / "preprocessor_config.json").read_text())
    rule["size"] = {"height": 2**15, "width": 2**15}
    large = Path(shutil.copytree(model, tmp_path / "large"))
    (large / "preprocessor_config.json").write_text(json.dumps(rule))
    summary = run(folder / "strip.png", tmp_path / "maps", model=str(large), workers=workers)
    assert summary.made == 0
    (reason,) = summary.failures
    assert f"expected an image that can be resized at '{folder}/strip.png', got: " in reason


def test_prediction_that_is_not_finite_is_named_and_not_written(
    images, model, tmp_path, monkeypatch
):
    def maps(self, pixels, size):
        is_finite = torch.tensor([size != (40, 72)] * len(pixels))
        return Stored(torch.zeros(len(pixels), *size, dtype=torch.uint8), is_finite)

    monkeypatch.setattr(Network, "maps", maps)
    for amp, advice in ((False, "do check"), (True, "again without --amp, or check")):
        out = tmp_path / f"maps{amp}"
        summary = run(images, out, model=str(model), batch_size=2, amp=amp)
        assert (summary.made, len(summary.failures)) == (6, 5)
        for reason in summary.failures:
            assert "got NaN or infinity from the network; do" in reason
            assert reason.endswith(f" {advice} the weights.")
        assert "b/gray" not in names(out)


def test_at_most_20_failures_are_named(model, tmp_path):
    for number in range(23):
        (tmp_path / f"{number:02d}.png").write_bytes(b"no image")
    said: list[str] = []
    summary = run(tmp_path, tmp_path / "maps", said, model=str(model))
    assert len(summary.failures) == 23
    assert len(said) - said.index("No map could be made of 23 files:") == 22
    assert "'" + str(tmp_path / "19.png") in said[-2]
    assert said[-1] == "  … and 3 others."


def test_metric_models_are_inverted_and_said(images, tmp_path):
    model = save_tiny_glpn(tmp_path / "glpn")
    said: list[str] = []
    run(images / "a", tmp_path / "inverted", said, model=str(model))
    assert any("metric depth: inverted" in line for line in said)
    run(images / "a", tmp_path / "raw", model=str(model), quantity="inverse")
    inverted, raw = read_maps(tmp_path / "inverted"), read_maps(tmp_path / "raw")
    for name in raw:
        # What is nearer in one map is farther in the other.
        levels = np.unique(raw[name])
        assert len(levels) > 50
        for low, high in zip(levels, levels[1:]):  # noqa: B905
            assert inverted[name][raw[name] == low].min() >= inverted[name][raw[name] == high].max()
        assert inverted[name][raw[name] == 0].max() == 255


def test_preview_and_warnings_close_the_run(images, model, tmp_path, monkeypatch):
    said: list[str] = []
    out, preview = tmp_path / "maps", tmp_path / "sheet.png"
    gray = tmp_path / "images"
    gray.mkdir()
    for number in range(3):
        Image.fromarray(np.full((20, 30, 3), 80 * number, np.uint8)).save(gray / f"{number}.png")
    monkeypatch.setattr(
        Network,
        "maps",
        lambda self, pixels, size: Stored(
            torch.zeros(1, *size, dtype=torch.uint8), torch.ones(1, dtype=torch.bool)
        ),
    )
    run(gray, out, said, model=str(model), preview=preview)
    assert said[-1] == f"Preview: {preview}"
    assert said[-2].startswith("Warning: 3 of 3 sampled depth maps")
    assert Image.open(preview).mode == "RGB"
    said.clear()
    usual = out / "depth_preview.png"
    for _ in range(2):  # it is replaced, and is no map
        run(gray, out, said, model=str(model), preview=usual)
        assert usual.is_file()
    assert said[-3].startswith("All 3 maps are")
    with pytest.raises(ValueError, match=r"expected a new file for --preview, got '.*sheet.png'"):
        run(gray, out, model=str(model), preview=preview)
    with pytest.raises(ValueError, match=r"a new file for --preview, got '.*images', which is"):
        run(gray, out, model=str(model), preview=gray)
    with pytest.raises(ValueError, match=r"expected a file \*.png for --preview, got '.*x.jpg'"):
        run(gray, out, model=str(model), preview=tmp_path / "x.jpg")
    with pytest.raises(ValueError, match=r"another name for --preview than that of a map"):
        run(gray, out, model=str(model), preview=out / "0.png")


def test_existing_maps_are_converted(images, tmp_path):
    """Float, 16-bit and colored files; the last is named and skipped."""
    folder = tmp_path / "disparity"
    folder.mkdir()
    ramp = np.linspace(1, 9, 35, dtype=np.float32).reshape(5, 7)
    np.save(folder / "ramp_disparity.npy", ramp)
    deep = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1000
    Image.fromarray(deep).save(folder / "deep_disparity.png")
    colored = np.zeros((5, 7, 3), np.uint8)
    colored[1, 2] = 30, 40, 50
    Image.fromarray(colored).save(folder / "colored_disparity.png")
    for workers in (0, 2):
        out, said = tmp_path / f"maps{workers}", []
        summary = run(folder, out, said, workers=workers, preview=tmp_path / f"{workers}.png")
        assert (summary.made, summary.waiting_share) == (2, None)
        (reason,) = summary.failures
        assert "colored_disparity.png', got 3 channels" in reason
        maps = read_maps(out / "disparity")
        assert set(maps) == {"ramp_depth", "deep_depth"}
        expected = ((ramp - 1) / np.float32(8) * 255).astype(np.uint8)
        assert np.array_equal(maps["ramp_depth"], expected)
        assert maps["deep_depth"].ravel()[[0, 1, 34]].tolist() == [0, 0, 255]
        record = json.loads((out / "depth.json").read_text())
        assert record["recipe"]["source"] == "files"
        run(folder / "ramp_disparity.npy", out, said)
        assert said[-1] == f"All 1 maps are in {out} already, made from existing maps."
    with pytest.raises(ValueError, match=r"difference in quantity: 'inverse' and 'metric'"):
        run(folder, tmp_path / "maps0", quantity="metric")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"batch_size": 0}, "expected --batch-size of at least 1, got 0"),
        ({"workers": -1}, "expected --num-workers of at least 0, got -1"),
        ({"model": None, "amp": True}, "expected --amp for a network only"),
    ],
)
def test_choices_without_sense_are_refused(choices, message, images, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(images, tmp_path / "maps", **{"model": str(model), **choices})
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu7", "got --device gpu7: Invalid device string.*; do leave"), ("cuda:99", "cuda:99: ")],
)
def test_device_that_is_not_there_is_named(name, message):
    with pytest.raises(ValueError, match=message):
        choose_device(name, torch.device("cpu"))


def test_usual_device_batch_and_workers_are_those_of_the_machine():
    """A process takes the GPU of its rank, and its share of the cores."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    assert choose_device(None, gpu) == choose_device("cuda", gpu) == gpu
    assert choose_device("cpu", gpu) == cpu
    assert (usual_batch_size(cpu), usual_batch_size(gpu)) == (1, 8)
    assert usual_workers(cpu) == 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usual_workers(gpu) == usual_workers(None) == min(16, cores)
    assert usual_workers(gpu, processes=10 * cores) == 1


def test_summary_of_several_processes_adds_up_what_they_did_at_the_same_time():
    one = Summary(made=6, existing=5, failures=["a"], seconds=10.0, busy=9.0)
    two = Summary(made=8, existing=5, seconds=8.0, busy=4.5)
    whole = merge([one, two])
    assert (whole.made, whole.existing, whole.failures) == (14, 5, ["a"])
    assert whole.rate == 1.5  # (14 + 1) / 10
    assert whole.waiting_share == pytest.approx(1 - 13.5 / 18)
    assert whole.lines("DIR")[0] == (
        "Made 14 maps in DIR in 10 s (1.5 images/s); the device waited for data 25.0% of the "
        "time; 5 maps had been there already."
    )
    assert merge([Summary(), Summary()]).waiting_share is None
