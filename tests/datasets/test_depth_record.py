"""`depth.json`: what is written is found again, and what differs is said."""

import json
import re
import zipfile
from pathlib import Path

import pytest

from mmseg.datasets.depth.record import (
    DepthRecord,
    find_record,
    read_record,
    recipe_differences,
    recipe_hash,
    record_warnings,
    recorded_model,
)

HASHES = ("ab" * 32, "ab" * 6 + "cd" * 26, "0f" * 32)  # the first two begin alike


def record(weights: str = HASHES[0], **details: object) -> DepthRecord:
    recipe = {"source": "model", "weights_sha256": weights, "input": {"shorter_side": 518}}
    return DepthRecord(recipe, {"model": "small", **details})


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """As JSON that other programs can read, in a folder that did not exist."""
    folder = tmp_path / "new/depth_any"
    written = record(model="modèle/Größe", revision=None, versions={"torch": "2.6"})
    written.write(folder)
    assert read_record(folder) == written
    assert [path.name for path in folder.iterdir()] == ["depth.json"]
    text = (folder / "depth.json").read_text(encoding="utf-8")
    assert json.loads(text)["recipe"]["weights_sha256"] == HASHES[0]
    assert text.endswith("}\n")
    record(HASHES[2]).write(folder)
    assert read_record(folder) == record(HASHES[2])


def test_what_is_no_plain_value_leaves_the_old_record_as_it_is(tmp_path: Path) -> None:
    record().write(tmp_path)
    for wrong in (DepthRecord({"a": Path("x")}, {}), DepthRecord({}, {"a": b"x"})):
        with pytest.raises(TypeError, match="type (PosixPath|bytes) is not JSON serializable"):
            wrong.write(tmp_path)
    assert read_record(tmp_path) == record()


BROKEN = {
    "empty": b"",
    "cut": b'{"recipe": {"source": "mod',
    "no text": b"\xff\xfe\x00",
    "list": b"[1]",
    "no recipe": b'{"details": {}}',
    "no details": b'{"recipe": {}}',
    "recipe of another kind": b'{"recipe": [], "details": {}}',
    "endless brackets": b"[" * 200_000,
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_record_is_named_with_its_remedy(case: str, tmp_path: Path) -> None:
    """The warning does not end the program, the other functions do."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/depth.json").write_bytes(BROKEN[case])
    message = rf"made in '{tmp_path}/a/depth\.json', got a broken file. Copy it again, or del"
    for read in (read_record, find_record):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a")
    assert recorded_model(tmp_path / "a") is None
    (warning,) = record_warnings(tmp_path / "b", tmp_path / "a")
    assert warning.startswith("It is unknown whether the depth maps of both domains belong")
    assert re.search(message, warning)


def test_a_record_is_found_beside_the_maps_or_one_folder_above_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = tmp_path / "depth_any/train"
    (maps / "ulm").mkdir(parents=True)
    assert find_record(maps) is None
    assert read_record(maps) is None
    record(HASHES[0]).write(tmp_path / "depth_any")
    assert find_record(maps) == find_record(tmp_path / "depth_any") == record(HASHES[0])
    assert find_record(maps / "ulm") is None
    assert read_record(maps) is None
    monkeypatch.chdir(maps)
    for name in (".", "../train", "../../depth_any"):
        assert find_record(name) == record(HASHES[0]), name
    record(HASHES[2]).write(maps)  # the nearer one counts
    assert find_record(maps) == find_record(".") == record(HASHES[2])


def test_a_record_is_found_in_the_archive_of_the_maps_or_beside_it(tmp_path: Path) -> None:
    record(HASHES[0]).write(tmp_path)
    for name, file in (("with", "depth.json"), ("without", "train/ulm.png")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
            packed.write(tmp_path / "depth.json", file)
    record(HASHES[2]).write(tmp_path)
    assert find_record(tmp_path / "with.zip!/train") == record(HASHES[0])
    assert find_record(tmp_path / "with.zip!") == record(HASHES[0])
    assert find_record(tmp_path / "without.zip!/train") is None
    assert find_record(tmp_path / "without.zip!") == record(HASHES[2])


def test_the_model_of_a_record_is_told_if_it_is_there(tmp_path: Path) -> None:
    assert recorded_model(tmp_path / "nothing") is None
    for model, expected in (("pretrained/large", "pretrained/large"), (None, None), (3, None)):
        record(model=model).write(tmp_path)
        assert recorded_model(tmp_path) == expected
    DepthRecord({"source": "drawn"}, {}).write(tmp_path)
    assert recorded_model(tmp_path) is None


def test_differences_are_sorted_and_dotted() -> None:
    """Nested keys have dots; a key that only one side has is named."""
    one = {"z": 1, "input": {"size": [518, 14], "mean": {"r": 0.5}}, "weights": HASHES[0]}
    other = {"z": 1, "input": {"size": [700, 14], "mean": {}}, "weights": HASHES[2], "amp": None}
    assert recipe_differences(one, other) == [
        "amp: nothing and None",
        "input.mean: nothing and {}",
        "input.mean.r: 0.5 and nothing",
        "input.size: [518, 14] and [700, 14]",
        f"weights: '{HASHES[0][:12]}…' and '{HASHES[2][:12]}…'",
    ]
    assert recipe_differences(one, dict(reversed(one.items()))) == []


def test_a_recipe_and_its_copy_from_the_disk_do_not_differ(tmp_path: Path) -> None:
    """JSON turns tuples into lists and keeps every digit of a number."""
    made = DepthRecord({"mean": (0.1 + 0.2, 1 / 3), "input": {"pair": (1, (2, 3))}}, {})
    made.write(tmp_path)
    found = read_record(tmp_path)
    assert found is not None
    assert recipe_differences(made.recipe, found.recipe) == []
    assert recipe_hash(made) == recipe_hash(found)
    assert recipe_differences({"mean": 0.1 + 0.2}, {"mean": 0.3}) == [
        "mean: 0.30000000000000004 and 0.3"
    ]


def test_the_hash_follows_the_recipe_alone() -> None:
    first = recipe_hash(record())
    assert isinstance(first, str)
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert recipe_hash(record(revision="other", model="base")) == first
    turned = DepthRecord(dict(reversed(record().recipe.items())), {})
    assert recipe_hash(turned) == first
    assert recipe_hash(record(HASHES[1])) != first
    assert recipe_hash(DepthRecord({}, {})) not in (None, first)
    assert recipe_hash(None) is None


def test_maps_of_one_recipe_or_of_none_give_no_warning(tmp_path: Path) -> None:
    """Neither do other details, nor data that is trained without depth."""
    source, target = tmp_path / "source", tmp_path / "target/train"
    target.mkdir(parents=True)
    assert record_warnings(source, target) == []
    record(model="small").write(source)
    record(model="depth-anything/…-Small-hf", revision="x").write(tmp_path / "target")
    assert record_warnings(source, target) == []
    record(HASHES[2]).write(target)
    assert record_warnings(source, None) == record_warnings(None, target) == []
    assert record_warnings(target, str(target)) == []


def test_maps_of_two_recipes_are_named_with_what_differs(tmp_path: Path) -> None:
    record(HASHES[0]).write(tmp_path / "source")
    record(HASHES[2]).write(tmp_path / "target")
    (warning,) = record_warnings(tmp_path / "source", str(tmp_path / "target"))
    assert warning == (
        f"The depth maps of source ('{tmp_path}/source') and target ('{tmp_path}/target') were "
        f"made differently: weights_sha256: '{HASHES[0][:12]}…' and '{HASHES[2][:12]}…'. CDDA "
        "compares the depth of both domains: make both with the same command "
        "(tools/make_depth.py) and model."
    )


@pytest.mark.parametrize(("known", "unknown"), [("source", "target"), ("target", "source")])
def test_a_record_of_one_domain_only_is_a_warning_that_says_which(
    known: str, unknown: str, tmp_path: Path
) -> None:
    record().write(tmp_path / known)
    (warning,) = record_warnings(tmp_path / "source", tmp_path / "target")
    assert f"those in '{tmp_path}/{known}' have a depth.json" in warning
    assert f"those in '{tmp_path}/{unknown}' have none" in warning
