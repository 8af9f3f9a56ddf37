"""Datasets in archives are those of the unpacked folders, bit for bit."""

import multiprocessing
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_data import Files, train_pipeline, write_png

from demo.datasets import demo_jobs, draw
from mmseg.datasets import build_dataset
from mmseg.datasets.image_files import files_below, picture_size, read_bytes
from mmseg.preprocessing.label_conversion import convert_cityscapes, convert_gta, convert_synthia
from mmseg.system import archives, outputs

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def pack(folder: Path, archive: Path, method: int = DEFLATED) -> Path:
    """Pack the files below a folder, named relative to the folder around it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


@pytest.fixture(params=[STORED, DEFLATED, "tar"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An archive with `top/a/1.bin`, `top/a/2.bin`, `top/b.bin` and what systems leave in it."""
    for name in ("a/1.bin", "a/2.bin", "b.bin", "a/.hidden"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 999)
    if request.param != "tar":
        return pack(tmp_path / "top", tmp_path / "packed.zip", request.param)
    with tarfile.open(tmp_path / "packed.tar", "w") as file:
        file.add(tmp_path / "top", "./top")
    return tmp_path / "packed.tar"


def test_an_archive_is_read_like_a_folder(archive: Path) -> None:
    top = Path(f"{archive}!/top")
    assert sorted(files_below(top)) == ["a/1.bin", "a/2.bin", "b.bin"]
    assert files_below(top / "a", "2.bin") == ["2.bin"]
    assert sorted(files_below(Path(f"{archive}!"))) == ["top/a/1.bin", "top/a/2.bin", "top/b.bin"]
    assert archives.has_folder(top) and archives.has_folder(top / "a")
    assert not archives.has_folder(top / "c") and not archives.has_file(top / "a")
    assert read_bytes(top / "a/1.bin", "a file") == b"a/1.bin" * 999
    assert archives.file_size(top / "b.bin") == 5 * 999
    with pytest.raises(
        FileNotFoundError, match=r"expected a file at '.*packed\.\w+!/top/c.bin', got"
    ):
        read_bytes(top / "c.bin", "a file")


def test_workers_that_are_forks_read_through_the_same_file(archive: Path) -> None:
    """A file's own position is shared between them, and must not be moved."""
    place = Path(f"{archive}!/top")
    read_bytes(place / "b.bin", "a file")
    names = ["a/1.bin", "a/2.bin", "b.bin"] * 40
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(archives.read, [place / name for name in names])
    assert found == [name.encode() * 999 for name in names]


def test_a_pattern_joins_archives(tmp_path: Path) -> None:
    for part in ("1", "2"):
        write_png(tmp_path / f"images/{part}.png", np.full((5, 7, 3), 90, np.uint8))
        pack(tmp_path / "images", tmp_path / f"0{part}_images.zip")
        (tmp_path / f"images/{part}.png").unlink()
    place = Path(f"{tmp_path}/*_images.zip!/images")
    assert files_below(place) == ["1.png", "2.png"]
    assert picture_size(place / "2.png") == (5, 7)
    assert [path.name for path in archives.archives_of(place)] == ["01_images.zip", "02_images.zip"]


def test_an_archive_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    place = Path(f"{tmp_path}/x.zip!/f")
    for content in (b"1", b"22"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
            file.writestr("f", content)
        assert archives.read(place) == content


def test_damage_is_named(tmp_path: Path) -> None:
    """A flipped bit of a stored file, an archive that is cut off, and one of another kind."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("f.bin", b"content" * 9)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"content", b"cOntent", 1))
    with pytest.raises(ValueError, match=r"intact file 'f.bin' in the archive .*checksum is wrong"):
        read_bytes(f"{path}!/f.bin", "a file")
    for content in (good[:-30], b"Rar!\x1a\x07\x00 and so on"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"expected a zip .* at '.*x.zip', got a broken file"):
            archives.has_file(f"{path}!/f.bin")


def in_archives(section: dict[str, Any], root: Path) -> dict[str, Any]:
    """Pack the folders of a dataset's section, and return it with the places in the archives."""
    packed = dict(section)
    for key in ("img_dir", "ann_dir", "dep_dir"):
        if section.get(key):
            folder = Path(section[key] if key == "dep_dir" else root / section[key])
            place = pack(folder, root / f"{key}.zip", STORED)
            prefix = f"{place}" if key == "dep_dir" else place.relative_to(root).as_posix()
            packed[key] = f"{prefix}!/{folder.name}"
    return packed


def test_samples_from_archives_equal_those_of_folders(files: Files) -> None:
    """Source with depth, and target; with the workers' own reading tried above."""
    for section, root in ((files.source(), files.gta), (files.target(), files.cityscapes)):
        plain = build_dataset(section)
        packed = build_dataset({**in_archives(section, root), "type": section["type"]})
        assert len(packed) == len(plain)
        for index in range(len(plain)):
            ours, theirs = packed[index], plain[index]
            assert ours.keys() == theirs.keys()
            for key, value in theirs.items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(ours[key], value), key


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's raw datasets, two images each."""
    root = tmp_path_factory.mktemp("drawn")
    for job in demo_jobs(root, 2, 2, (96, 64)):
        draw(job, seed=0)
    return root


RAW = {
    "GTADataset": ("gta", "images", "labels", "depth_any", convert_gta),
    "SynthiaDataset": ("synthia", "RGB", "GT/LABELS", "depth_any", convert_synthia),
    "CityscapesDataset": (
        "cityscapes", "leftImg8bit/train", "gtFine/train", "depth_any/train", convert_cityscapes,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", RAW)
def test_raw_labels_in_archives_are_mapped_as_the_converter_maps_them(
    kind: str, drawn: Path, tmp_path: Path
) -> None:
    name, *folders, convert = RAW[kind]
    root = Path(shutil.copytree(drawn / name, tmp_path / name))
    keys = ("img_dir", "ann_dir", "dep_dir")
    section: dict[str, Any] = dict(zip(keys, folders, strict=True))
    section |= {"type": kind, "data_root": str(root), "pipeline": train_pipeline()}
    section["dep_dir"] = str(root / section["dep_dir"])
    raw, in_zip = build_dataset(section), build_dataset(in_archives(section, root))
    convert(root, processes=1)
    converted = build_dataset(section)
    assert converted.label_format.suffix == type(converted).SEG_MAP_SUFFIX
    for dataset in (raw, in_zip):
        assert dataset.label_format.suffix != type(converted).SEG_MAP_SUFFIX
        for index in range(len(converted)):
            assert torch.equal(dataset[index]["img"], converted[index]["img"])
            assert np.array_equal(dataset.gt_label(index), converted.gt_label(index))
            ours, theirs = (d[index]["gt_semantic_seg"] for d in (dataset, converted))
            assert torch.equal(ours, theirs)
            assert torch.equal(dataset[index]["depth"], converted[index]["depth"])


@pytest.mark.parametrize("kind", RAW)
def test_archives_in_the_folder_of_a_dataset_count_as_unpacked(
    kind: str, drawn: Path, tmp_path: Path
) -> None:
    """As downloaded, with the keys of the usual configs; in SYNTHIA, a folder is around."""
    name, *folders, _ = RAW[kind]
    own = drawn / name
    section = {"type": kind, "pipeline": train_pipeline()}
    section |= dict(zip(("img_dir", "ann_dir"), folders[:2], strict=True))
    for top in {folder.split("/")[0] for folder in folders[:2]}:
        with zipfile.ZipFile(tmp_path / f"{top}_as_downloaded.zip", "w") as file:
            for path in sorted((own / top).rglob("*")):
                around = "RAND_CITYSCAPES/" if name == "synthia" else ""
                file.write(path, f"{around}{path.relative_to(own)}")
    plain, packed = (build_dataset({**section, "data_root": str(r)}) for r in (own, tmp_path))
    assert packed.img_infos == plain.img_infos
    assert all(np.array_equal(packed.gt_label(i), plain.gt_label(i)) for i in range(len(plain)))
    assert torch.equal(packed[0]["img"], plain[0]["img"])
    own = {**section, "data_root": str(tmp_path)}
    protected = outputs.data_folders(own)
    assert outputs.data_folders({"source": [own, {"img_dir": "b"}]}) == [*protected, Path("b")]
    assert {*archives.archives_of(packed.img_dir)} <= {*protected}
