"""Own images and labels: tables of classes, ids and colors, names that pair by themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_data import train_pipeline

from mmseg.apis.dataset_sections import class_names, classes_and_palette
from mmseg.config.sections import DataConfig
from mmseg.datasets import build_dataset, label_counts
from mmseg.datasets.class_statistics import ClassStatistics
from mmseg.datasets.class_table import read_class_table
from mmseg.system.errors import ConfigError

TABLE: list[dict[str, Any]] = [
    {"name": "sky", "color": [70, 130, 180], "id": 23},
    {"name": "ground", "color": [81, 0, 81], "id": [6, 7]},
    {"name": "house", "color": [70, 70, 70], "id": 300},
]
CSV = "name,id,r,g,b\nsky,23,70,130,180\nground,6;7,81,0,81\nhouse,300,70,70,70\n"
SIZE = (30, 46)
IDS = np.kron(np.array([[23, 6, 7], [6, 23, 255]]), np.ones((15, 16), int))[:, :46]
TRAIN_IDS = np.select([IDS == 23, (IDS == 6) | (IDS == 7)], [0, 1], 255)


def write(path: Path, array: np.ndarray, palette: bytes | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = image.convert("P")
        image.putpalette(palette)
    image.save(path)


def colored(train_ids: np.ndarray) -> np.ndarray:
    colors = np.zeros((256, 3), np.uint8)
    colors[:3] = [entry["color"] for entry in TABLE]
    return colors[train_ids]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two JPEG images in a folder of their own, without labels."""
    for name in ("a", "b"):
        write(tmp_path / f"images/x/{name}_rgb.jpg", np.full((*SIZE, 3), 90, np.uint8))
    return tmp_path


def build(root: Path, **options: Any) -> Any:
    section = {"type": "FolderDataset", "data_root": str(root), "img_dir": "images"}
    section |= {"ann_dir": "labels", "classes": TABLE, "pipeline": train_pipeline()}
    return build_dataset({**section, **options})


WAYS = {
    "gray": lambda path: write(path, IDS.astype(np.uint8)),
    "16 bits": lambda path: write(path, IDS.astype(np.uint16)),
    "palette": lambda path: write(path, IDS.astype(np.uint8), bytes(range(256)) * 3),
}


@pytest.mark.parametrize("way", WAYS)
def test_ids_become_train_ids(way: str, root: Path) -> None:
    for name in ("a", "b"):
        WAYS[way](root / f"labels/x/{name}_mask.png")
    dataset = build(root)
    assert dataset.CLASSES == ("sky", "ground", "house")
    assert [entry["color"] for entry in TABLE] == dataset.PALETTE
    assert [i["filename"] for i in dataset.img_infos] == ["x/a_rgb.jpg", "x/b_rgb.jpg"]
    assert np.array_equal(dataset.gt_label(1), TRAIN_IDS)
    assert dataset[0]["gt_semantic_seg"].shape == (1, 18, 22)


@pytest.mark.parametrize("is_palette", [False, True])
def test_colors_become_train_ids(is_palette: bool, root: Path) -> None:
    for name in ("a", "b"):
        if is_palette:
            palette = np.zeros((256, 3), np.uint8)
            palette[:3] = [entry["color"] for entry in TABLE]
            write(root / f"labels/x/{name}.png", TRAIN_IDS.astype(np.uint8), palette.tobytes())
        else:
            write(root / f"labels/x/{name}.png", colored(TRAIN_IDS))
    dataset = build(root, labels="colors")
    assert np.array_equal(dataset.gt_label(0), TRAIN_IDS)


@pytest.mark.parametrize(
    ("labels", "array", "options", "message"),
    [
        (
            "ids",
            IDS.astype(np.uint16) + 1,
            {},
            r"table of classes in the label '.*', got 8, 24, 256",
        ),
        ("colors", colored(TRAIN_IDS) + np.uint8(1), {}, r"got \[\d+, \d+, \d+\]. Add it to"),
        ("colors", IDS.astype(np.uint16), {}, "colors of 8 bits .* got uint16. Set labels='ids'"),
    ],
)
def test_values_that_are_not_in_the_table_are_named(
    labels: str, array: np.ndarray, options: dict[str, Any], message: str, root: Path
) -> None:
    for name in ("a", "b"):
        write(root / f"labels/x/{name}.png", array)
    with pytest.raises(ValueError, match=message):
        build(root, labels=labels, **options).gt_label(0)
    if "Add it" in message or "table" in message:
        key = f"ignored_{labels}"
        label = build(root, labels=labels, **{key: "others"}).gt_label(0)
        assert set(np.unique(label)) <= {0, 1, 2, 255}


@pytest.mark.parametrize("suffix", [".json", ".csv", "inline"])
def test_a_table_is_a_file_or_a_list(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"classes{suffix}"
    file.write_text(CSV if suffix == ".csv" else json.dumps(TABLE))
    table = read_class_table(TABLE if suffix == "inline" else str(file))
    assert table.names == ("sky", "ground", "house")
    assert table.train_ids == {23: 0, 6: 1, 7: 1, 300: 2}
    assert table.colors == [entry["color"] for entry in TABLE]
    section = {"type": "FolderDataset", "classes": str(file)}
    assert class_names(section) == table.names
    data = DataConfig(val=section)
    assert classes_and_palette(data) == (table.names, table.colors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"nam": "sky"}]', "expected a name, .* as number 0"),
        ('[{"name": "sky", "id": -1}]', ".* number 0"),
        ('[{"name": "sky", "color": [1, 2]}]', ".* number 0"),
        ('{"name": "sky"}', "expected a list, got dict"),
        ("[]", "expected 1 to 255 classes, got 0"),
        ("[", "expected JSON or, as .csv, CSV"),
    ],
)
def test_wrong_tables_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ConfigError, match=f"t.json': {message}"):
        read_class_table(str(tmp_path / "t.json"))


def test_one_id_for_two_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 23 for 'sky' and 'other'"):
        _ = read_class_table([*TABLE, {"name": "other", "id": 23}]).train_ids


class TestCounts:
    """Rare-class statistics by themselves."""

    @pytest.fixture
    def dataset(self, root: Path) -> Any:
        for name in ("a", "b"):
            write(root / f"labels/x/{name}.png", IDS.astype(np.uint8))
        return build(root)

    def counted(self, dataset: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Tell whether the labels are counted, and check the counts."""
        calls = []
        count = label_counts._count
        with monkeypatch.context() as patch:
            patch.setattr(label_counts, "_count", lambda *a: calls.append(1) or count(*a))
            statistics = ClassStatistics(dataset)
        pixels = {"0": int((IDS == 23).sum()), "1": int(((IDS == 6) | (IDS == 7)).sum())}
        names = [info["ann"]["seg_map"] for info in dataset.img_infos]
        assert statistics.entries == [{**pixels, "file": name} for name in names]
        assert statistics.image_of == {name: i for i, name in enumerate(names)}
        assert statistics.by_class["1"] == [[name, pixels["1"]] for name in names]
        return bool(calls)

    def test_labels_are_counted_once_and_again_when_they_change(
        self, dataset: Any, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.counted(dataset, monkeypatch)
        assert len(list(root.glob("class_counts-*.json"))) == 1
        assert not self.counted(dataset, monkeypatch)
        file = root / "labels/x/a.png"
        write(file, IDS.astype(np.uint8))
        assert self.counted(dataset, monkeypatch)
        (place,) = root.glob("class_counts-*.json")
        place.write_text(place.read_text()[:50])  # cut off
        assert self.counted(dataset, monkeypatch)

    def test_read_only_data_are_left_alone(
        self, dataset: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

        def refuse(folder: Path) -> None:
            if Path(folder) == root:
                raise PermissionError(folder)

        monkeypatch.setattr(label_counts, "require_writable", refuse)
        assert self.counted(dataset, monkeypatch)
        assert not list(root.glob("class_counts-*.json"))
        assert len(list((tmp_path / "cache/cdda").iterdir())) == 1
        assert not self.counted(dataset, monkeypatch)
