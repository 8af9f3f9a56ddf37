"""What is in a folder of maps already: kept, refused, or replaced; one folder has one recipe."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from depth_runs import contents, run
from PIL import Image

from mmseg.preprocessing.depth_maps import run as run_module
from mmseg.preprocessing.depth_maps.network import Network


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
    words = r" in .+ \(.+ images/s\); .+ of the time; 9 maps had been there already\."
    assert re.fullmatch(rf"Made 2 maps in {copy}{words}", said[-1])


def test_nothing_to_do_is_said_with_the_recorded_model_and_loads_none(
    copy, images, model, monkeypatch
):
    def load_network(*arguments):
        raise AssertionError("loaded")

    monkeypatch.setattr(run_module, "load_network", load_network)
    said: list[str] = []
    assert run(images, copy, said, model=str(model)).existing == 11
    assert said[1:] == [f"All 11 maps are in {copy} already, made with {model}."]
    run(images, copy, said, model="large")
    assert said[-1] == (
        "This command would make them with depth-anything/Depth-Anything-V2-Large-hf; that needs "
        "another --out, or --overwrite."
    )
    (copy / "depth.json").unlink()
    run(images, copy, said, model="large")
    assert said[-1].endswith(
        "already; how they were made is not known, because there is no depth.json."
    )


def test_maps_of_another_model_are_refused(copy, made, images, other_model):
    (copy / "a/000.png").unlink()
    before = contents(copy)
    message = (
        rf"'{copy}' to be made as this command makes them, got a difference in weights_sha256: "
        r"'[0-9a-f]{12}…' and '[0-9a-f]{12}…' \(there and here\); do choose another --out, or make "
    )
    with pytest.raises(ValueError, match=message):
        run(images, copy, model=str(other_model))
    assert contents(copy) == before


def test_maps_without_a_record_are_refused(copy, images, model):
    (copy / "a/000.png").unlink()
    (copy / "depth.json").unlink()
    before = contents(copy)
    with pytest.raises(ValueError, match=r"got 10 maps without it \(such as '.*a/001.png'\); do"):
        run(images, copy, model=str(model))
    assert contents(copy) == before


def test_maps_of_unknown_origin_beside_new_ones_are_refused(copy, images, model, tmp_path):
    """None of them is a map of this command, but training would read them together."""
    one = tmp_path / "a"
    one.mkdir()
    shutil.copy(images / "a/000.png", one / "new.png")
    (copy / "depth.json").unlink()
    with pytest.raises(ValueError, match="got 5 maps without it"):
        run(tmp_path / "a", copy / "a", model=str(model))
    assert not (copy / "a/new.png").exists()


@pytest.mark.parametrize("has_maps", [True, False])
def test_command_that_begins_while_another_loads_its_network_is_refused(
    has_maps, images, model, other_model, tmp_path, monkeypatch
):
    """The second one looks at the folder before the first one has written its record."""
    out, original = tmp_path / "maps", run_module.load_network

    def load_network(*arguments):
        monkeypatch.setattr(run_module, "load_network", original)
        run(images / "a", out, model=str(other_model))
        for path in [] if has_maps else out.rglob("*.png"):
            path.unlink()
        return original(*arguments)

    monkeypatch.setattr(run_module, "load_network", load_network)
    with pytest.raises(ValueError, match="a difference in weights_sha256"):
        run(images / "b", out, model=str(model))
    assert json.loads((out / "depth.json").read_text())["details"]["model"] == str(other_model)
    assert len(list(out.rglob("*.png"))) == (5 if has_maps else 0)


def test_local_network_that_did_not_make_the_maps_is_an_error_when_all_are_there(
    copy, images, model, other_model, tmp_path
):
    again = shutil.copytree(model, tmp_path / "again")
    said: list[str] = []
    run(images, copy, said, model=str(again))
    assert said[-1] == f"All 11 maps are in {copy} already, made with {model}."
    with pytest.raises(ValueError, match="got others: All 11 maps are in .* made with"):
        run(images, copy, model=str(other_model))


def test_record_in_an_inner_folder_is_not_contradicted(images, model, other_model, tmp_path):
    """Training believes the nearest one."""
    out = tmp_path / "outer"
    run(images / "a", out / "a", model=str(model))
    before = contents(out)
    with pytest.raises(ValueError, match=r"another one of other maps in '.*a/depth.json'"):
        run(images, out, model=str(other_model))
    assert contents(out) == before
    run(images, out, model=str(other_model), overwrite=True)
    assert not (out / "a/depth.json").exists()
    assert len(list(out.rglob("*.png"))) == 11


def test_overwrite_by_the_same_model_keeps_the_map_of_an_image_that_broke(
    copy, made, images, model, tmp_path
):
    broken = Path(shutil.copytree(images, tmp_path / "images"))
    (broken / "a/000.png").write_bytes(b"broken")
    assert len(run(broken, copy, model=str(model), overwrite=True).failures) == 1
    assert contents(copy) == contents(made)


def test_overwrite_deletes_no_labels(images, model, tmp_path):
    """A slip where labels are called as their images."""
    labels = tmp_path / "labels"
    labels.mkdir()
    for image in (images / "a").iterdir():
        label = Image.fromarray(np.full((3, 4), 7, np.uint8)).convert("P")
        label.save(labels / f"{image.stem}.png")
    before = contents(labels)
    with pytest.raises(
        ValueError, match="replace gray maps, got .* of the kind 'P' and of unknown"
    ):
        run(images / "a", labels, model=str(model), overwrite=True)
    assert contents(labels) == before


def test_overwrite_replaces_a_broken_record(copy, made, images, model):
    (copy / "depth.json").write_text("{")
    with pytest.raises(ValueError, match="depth.json"):
        (copy / "a/000.png").unlink()
        run(images, copy, model=str(model))
    run(images, copy, model=str(model), overwrite=True)
    assert contents(copy) == contents(made)


def test_record_of_a_run_that_made_no_map_is_replaced(images, model, other_model, made, tmp_path):
    out = tmp_path / "maps"
    out.mkdir()
    shutil.copy(made / "depth.json", out)
    run(images / "a", out, model=str(other_model))
    record = json.loads((out / "depth.json").read_text())
    assert record["details"]["model"] == str(other_model)


def test_folder_with_other_files_takes_maps(images, model, tmp_path):
    """As `--out data/own` beside `data/own/labels`."""
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "labels/1.png")
    assert run(images / "a", tmp_path, model=str(model)).made == 5


def test_overwrite_makes_the_maps_of_another_model(copy, made, images, other_model):
    run(images, copy, model=str(other_model), overwrite=True)
    old, new = contents(made), contents(copy)
    assert old.keys() == new.keys()
    assert all(old[name] != new[name] for name in old)


def test_overwrite_that_is_interrupted_goes_on_without_it(
    copy, images, other_model, tmp_path, monkeypatch
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
    assert contents(copy) == contents(tmp_path / "whole")


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
    kind = "made otherwise .weights_sha256" if has_record else "of unknown origin"
    with pytest.raises(ValueError, match=rf"got 6 that are {kind}.* and would stay, such as "):
        run(some, copy, model=str(other_model), overwrite=True)
    assert contents(copy) == before


def test_overwrite_of_some_maps_by_the_same_model_keeps_the_others(
    copy, made, images, model, tmp_path
):
    some = tmp_path / "some"
    shutil.copytree(images / "a", some / "a")
    for name in ("a/001.png", "b/006.png"):
        (copy / name).write_bytes(b"old")
    assert run(some, copy, model=str(model), overwrite=True).made == 5
    assert (copy / "b/006.png").read_bytes() == b"old"
    shutil.copy(made / "b/006.png", copy / "b")
    assert contents(copy) == contents(made)


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


def test_preview_is_none_of_the_maps(copy, images, model, other_model):
    run(images, copy, model=str(model), preview=copy / "depth_preview.png")
    assert run(images, copy, model=str(other_model), overwrite=True).made == 11
