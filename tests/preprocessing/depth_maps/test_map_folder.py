"""What is in a folder of maps already: kept, refused, or replaced; one folder has one recipe."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from depth_runs import contents, run
from PIL import Image

from mmseg.preprocessing.depth_maps import make_maps as make_maps_module
from mmseg.preprocessing.depth_maps.network import Network


def recorded_model(folder: Path) -> str:
    return json.loads((folder / "depth.json").read_text())["details"]["model"]


def test_missing_maps_alone_are_made(made, copy, images, model):
    before = set(copy.rglob("*.png"))
    for path in before:
        os.utime(path, (0, 0))
    gone = [copy / "a/001.png", copy / "b/turned.png"]
    for path in gone:
        path.unlink()
    said: list[str] = []
    summary = run(images, copy, said, model=str(model))
    assert (summary.made, summary.existing) == (2, 9)
    assert contents(copy) == contents(made)
    assert {path for path in before if path.stat().st_mtime > 0} == set(gone)
    assert f"9 of 11 maps are in {copy} already." in said
    assert said[-1] == f"Made 2 maps in {copy}."


def test_nothing_to_do_is_said_with_the_recorded_model_and_loads_none(
    copy, images, model, monkeypatch
):
    """What is said, too, is that another one needs another folder."""

    def load_network(*arguments):
        raise AssertionError("loaded")

    monkeypatch.setattr(make_maps_module, "load_network", load_network)
    advice = " To make them with large, choose another --out, or add --overwrite."
    for name, more in ((str(model), ""), ("large", advice)):
        said: list[str] = []
        assert run(images, copy, said, model=name).existing == 11
        start = f"All 11 maps are in {copy} already, made with {model} as inverse depth."
        assert said[1:] == [start + more]
    (copy / "depth.json").unlink()
    run(images, copy, said, model="large")
    assert said[-1].endswith("already; how they were made is not known: there is no depth.json.")


def test_a_complete_folder_of_another_local_network_is_refused(copy, images, other_model):
    with pytest.raises(ValueError, match="with the weights of '.*', got others: All 11 maps are"):
        run(images, copy, model=str(other_model))


@pytest.mark.parametrize("is_known", [True, False])
def test_maps_of_another_model_or_of_unknown_origin_are_refused(
    is_known, copy, images, model, other_model
):
    (copy / "a/000.png").unlink()
    message = (
        rf"'{copy}' to be made as this command makes them, got a difference in weights_sha256: "
        r"'[0-9a-f]{12}.*' and '[0-9a-f]{12}.*' \(there and here\); choose another --out, or make "
    )
    if not is_known:
        (copy / "depth.json").unlink()
        message = r"got 10 maps without it \(such as '.*a/001.png'\); choose"
    before = contents(copy)
    with pytest.raises(ValueError, match=message):
        run(images, copy, model=str(other_model if is_known else model))
    assert contents(copy) == before


def test_maps_of_unknown_origin_beside_new_ones_are_refused(copy, images, model, tmp_path):
    """None of them is a map of this command, but training would read them together."""
    one = tmp_path / "a"
    one.mkdir()
    shutil.copy(images / "a/000.png", one / "new.png")
    with pytest.raises(ValueError, match="got 5 maps without it"):
        run(one, copy / "a", model=str(model))
    assert not (copy / "a/new.png").exists()


@pytest.mark.parametrize("has_maps", [True, False])
def test_command_that_begins_while_another_loads_its_network_is_refused(
    has_maps, images, model, other_model, tmp_path, monkeypatch
):
    """The second one looks at the folder before the first one has written its record."""
    out, original = tmp_path / "maps", make_maps_module.load_network

    def load_network(*arguments):
        monkeypatch.setattr(make_maps_module, "load_network", original)
        run(images / "a", out, model=str(other_model))
        for path in [] if has_maps else out.rglob("*.png"):
            path.unlink()
        return original(*arguments)

    monkeypatch.setattr(make_maps_module, "load_network", load_network)
    with pytest.raises(ValueError, match="a difference in weights_sha256"):
        run(images / "b", out, model=str(model))
    assert recorded_model(out) == str(other_model)
    assert len(list(out.rglob("*.png"))) == (5 if has_maps else 0)


def test_overwrite_leaves_no_record_of_other_maps_in_an_inner_folder(
    images, model, other_model, tmp_path
):
    """Training believes the nearest one."""
    out = tmp_path / "outer"
    run(images / "a", out / "a", model=str(model))
    before = contents(out)
    with pytest.raises(ValueError, match="got 5 maps without it"):
        run(images, out, model=str(other_model))
    assert contents(out) == before
    run(images, out, model=str(other_model), overwrite=True)
    assert not (out / "a/depth.json").exists()
    assert len(list(out.rglob("*.png"))) == 11


def test_overwrite_by_the_same_model_keeps_other_maps_and_those_of_broken_images(
    copy, made, images, model, tmp_path
):
    some = tmp_path / "some"
    shutil.copytree(images / "a", some / "a")
    (some / "a/000.png").write_bytes(b"broken")
    for name in ("a/001.png", "b/006.png"):
        (copy / name).write_bytes(b"old")
    summary = run(some, copy, model=str(model), overwrite=True)
    assert (summary.made, len(summary.failures)) == (4, 1)
    assert (copy / "b/006.png").read_bytes() == b"old"
    shutil.copy(made / "b/006.png", copy / "b")
    assert contents(copy) == contents(made)


def test_overwrite_deletes_no_labels(images, model, tmp_path):
    """A slip where labels are called as their images."""
    labels = tmp_path / "labels"
    labels.mkdir()
    for image in (images / "a").iterdir():
        label = Image.fromarray(np.full((3, 4), 7, np.uint8)).convert("P")
        label.save(labels / f"{image.stem}.png")
    before = contents(labels)
    message = "replace gray maps, got .* of the kind 'P' and of unknown"
    with pytest.raises(ValueError, match=message):
        run(images / "a", labels, model=str(model), overwrite=True)
    assert contents(labels) == before


def test_overwrite_replaces_a_broken_record(copy, made, images, model):
    (copy / "depth.json").write_text("{")
    (copy / "a/000.png").unlink()
    with pytest.raises(ValueError, match="depth.json"):
        run(images, copy, model=str(model))
    run(images, copy, model=str(model), overwrite=True)
    assert contents(copy) == contents(made)


def test_record_of_a_run_that_made_no_map_is_replaced_with_overwrite(
    images, model, other_model, made, tmp_path
):
    out = tmp_path / "maps"
    out.mkdir()
    shutil.copy(made / "depth.json", out)
    with pytest.raises(ValueError, match="a difference in weights_sha256"):
        run(images / "a", out, model=str(other_model))
    run(images / "a", out, model=str(other_model), overwrite=True)
    assert recorded_model(out) == str(other_model)


def test_folder_with_other_files_takes_maps(images, model, tmp_path):
    """As `--out data/own` beside `data/own/labels`."""
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "labels/1.png")
    assert run(images / "a", tmp_path, model=str(model)).made == 5


def test_overwrite_that_is_interrupted_goes_on_without_it(
    copy, made, images, other_model, tmp_path, monkeypatch
):
    """The old maps are gone before the first new one is there."""
    original, calls = Network.maps, []

    def maps(self, pixels, size):
        calls.append(size)
        if len(calls) == 4:
            raise OSError("as if power failed")
        return original(self, pixels, size)

    with monkeypatch.context() as patch:
        patch.setattr(Network, "maps", maps)
        with pytest.raises(OSError, match="power"):
            run(images, copy, model=str(other_model), overwrite=True)
    assert len(list(copy.rglob("*.png"))) == 3
    assert run(images, copy, model=str(other_model)).existing == 3
    run(images, tmp_path / "whole", model=str(other_model))
    new, old = contents(copy), contents(made)
    assert new == contents(tmp_path / "whole")
    assert new.keys() == old.keys() and not any(old[name] == new[name] for name in old)


@pytest.mark.parametrize("has_record", [True, False])
def test_overwrite_is_refused_where_maps_of_another_kind_would_stay(
    has_record, copy, images, other_model, tmp_path
):
    """The command names the images of folder a; the maps of folder b are there too."""
    some = tmp_path / "some"
    shutil.copytree(images / "a", some / "a")
    if not has_record:
        (copy / "depth.json").unlink()
    before = contents(copy)
    kind = "another" if has_record else "unknown"
    with pytest.raises(ValueError, match=rf"got 6 of {kind} origin that would stay, such as "):
        run(some, copy, model=str(other_model), overwrite=True)
    assert contents(copy) == before


def test_temporary_files_of_killed_runs_are_removed_at_once(copy, images, other_model):
    """Also by a run that makes nothing: the disk may be full of them."""
    left = [copy / ".00000000-1-00000000.partial", copy / "b/.00000000-1-00000001.partial"]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 3600,) * 2)
    (copy / "a/000.png").unlink()
    with pytest.raises(ValueError, match="weights_sha256"):
        run(images, copy, model=str(other_model))
    assert not any(path.exists() for path in left)
