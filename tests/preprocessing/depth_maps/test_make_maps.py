"""Whole runs in this process: the maps, what is said, what is refused, what has no map."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from depth_runs import SIZES, assert_truncated, names, read_maps, run
from PIL import Image
from tiny_models import save_tiny_glpn

from mmseg.preprocessing.depth_maps.network import Network


def test_maps_are_those_of_a_plain_loop(made, images, plain, model):
    """Three sizes, gray, 16-bit and turned images, one at a time; 8-bit gray PNG files."""
    maps = read_maps(made)
    assert sorted(maps) == names(images) == sorted(plain)
    for name, levels in maps.items():
        assert_truncated(levels, plain[name])
        assert (levels.min(), levels.max()) == (0, 255)
        assert len(np.unique(levels)) > 100
        with Image.open(made / f"{name}.png") as picture:
            assert (picture.format, picture.mode) == ("PNG", "L")
    assert maps["b/turned"].shape == (50, 34)
    assert maps["b/deep"].shape == (48, 64)
    record = json.loads((made / "depth.json").read_text())
    assert (record["recipe"]["source"], record["recipe"]["quantity"]) == ("model", "inverse")
    assert record["details"]["model"] == str(model)


@pytest.mark.parametrize(("batch_size", "workers"), [(2, 0), (3, 2), (20, 1)])
def test_maps_of_batches_and_workers_are_those_of_a_plain_loop(
    batch_size, workers, images, model, plain, tmp_path, monkeypatch
):
    """Each image once, in batches of one size as large as they may be."""
    original, batches = Network.maps, []

    def maps(self, pixels, size):
        batches.append((len(pixels), size))
        return original(self, pixels, size)

    monkeypatch.setattr(Network, "maps", maps)
    out = tmp_path / "maps"
    summary = run(images, out, model=str(model), batch_size=batch_size, workers=workers)
    assert (summary.made, summary.existing, summary.failures) == (11, 0, [])
    ours = read_maps(out)
    assert sorted(ours) == sorted(plain)
    for name, values in plain.items():
        assert_truncated(ours[name], values)
    for size in SIZES:
        count = sum(values.shape == size for values in plain.values())
        sizes = [batch_size] * (count // batch_size)
        sizes += [count % batch_size] if count % batch_size else []
        assert [number for number, its in batches if its == size] == sizes


def test_maps_of_images_in_an_archive_are_those_of_the_folder(images, model, made, tmp_path):
    with zipfile.ZipFile(tmp_path / "street.zip", "w") as archive:
        for file in sorted(images.rglob("*")):
            archive.write(file, Path("images", file.relative_to(images)))
    run(Path(f"{tmp_path}/street.zip!/images"), tmp_path / "maps", model=str(model))
    ours, theirs = read_maps(tmp_path / "maps"), read_maps(made)
    assert sorted(ours) == sorted(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_corrupt_image_is_named_and_skipped_and_made_when_it_is_whole(
    images, model, made, tmp_path
):
    spoiled = Path(shutil.copytree(images, tmp_path / "images"))
    whole = (spoiled / "a/002.png").read_bytes()
    (spoiled / "a/002.png").write_bytes(whole[:-40])
    (spoiled / "b/007.png").write_bytes(b"")
    out, said = tmp_path / "maps", []
    summary = run(spoiled, out, said, model=str(model), batch_size=2, workers=2)
    assert (summary.made, len(summary.failures)) == (9, 2)
    assert any(f"'{spoiled}/a/002.png', got a broken file" in text for text in summary.failures)
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


def fixed_maps(levels: int = 0, bad_size: tuple[int, int] | None = None):
    """Return a stand-in for `Network.maps`: one level everywhere, not finite for one size."""

    def maps(self, pixels, size):
        is_finite = torch.tensor([size != bad_size] * len(pixels))
        return torch.full((len(pixels), *size), levels, dtype=torch.uint8), is_finite

    return maps


def test_prediction_that_is_not_finite_is_named_and_not_written(
    images, model, tmp_path, monkeypatch
):
    monkeypatch.setattr(Network, "maps", fixed_maps(bad_size=(40, 72)))
    for amp, advice in ((False, "network; check"), (True, "again without --amp, or check")):
        out = tmp_path / f"maps{amp}"
        summary = run(images, out, model=str(model), batch_size=2, amp=amp)
        assert (summary.made, len(summary.failures)) == (6, 5)
        for reason in summary.failures:
            assert "got NaN or infinity from the network; " in reason
            assert reason.endswith(f"{advice} the weights.")
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
    """The usual preview is replaced, and is no map; no other file is."""
    said: list[str] = []
    out, preview = tmp_path / "maps", tmp_path / "sheet.png"
    gray = tmp_path / "images"
    gray.mkdir()
    for number in range(3):
        Image.fromarray(np.full((20, 30, 3), 80 * number, np.uint8)).save(gray / f"{number}.png")
    monkeypatch.setattr(Network, "maps", fixed_maps())
    run(gray, out, said, model=str(model), preview=preview)
    assert said[-1] == f"Preview: {preview}"
    assert said[-2].startswith("Warning: 3 of 3 sampled depth maps")
    assert Image.open(preview).mode == "RGB"
    said.clear()
    usual = out / "depth_preview.png"
    for _ in range(2):
        run(gray, out, said, model=str(model), preview=usual)
        assert usual.is_file()
    assert said[-3].startswith("All 3 maps are")
    assert run(gray, out, model=str(model), preview=usual, overwrite=True).made == 3
    for wrong in (preview, gray, tmp_path / "x.jpg", out / "0.png", out / "9.gif"):
        with pytest.raises(ValueError, match=rf"a new file \*.png for --preview .* got '{wrong}'"):
            run(gray, out, model=str(model), preview=wrong)


FULL = [
    (torch.OutOfMemoryError("CUDA: nothing left.\nDetails"), "CUDA: nothing left"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 5 bytes."), "5 byt"),
]


@pytest.mark.parametrize(("error", "reason"), FULL)
def test_full_memory_is_a_sentence_that_names_what_may_help(
    error, reason, images, model, tmp_path, monkeypatch
):
    def fail(self, pixels, size):
        raise error

    monkeypatch.setattr(Network, "maps", fail)
    cases = [
        (2, False, "2 images", "with a smaller --batch-size"),
        (1, False, "1 image", "with --amp"),
        (1, True, "1 image", "on a device with more memory"),
    ]
    for batch_size, amp, count, advice in cases:
        message = rf"a batch of {count} of \d+x\d+ pixels to fit into .*{reason}.* start the same "
        with pytest.raises(ValueError, match=f"{message}command again to continue, {advice}."):
            run(images, tmp_path, model=str(model), batch_size=batch_size, amp=amp)


def test_other_errors_of_the_device_stay_what_they_are(images, model, tmp_path, monkeypatch):
    def fail(self, pixels, size):
        raise RuntimeError("a mistake of the program")

    monkeypatch.setattr(Network, "maps", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        run(images, tmp_path, model=str(model), workers=1)
