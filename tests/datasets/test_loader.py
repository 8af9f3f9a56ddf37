"""Batches do not depend on workers, prefetching or where a run was interrupted."""

import multiprocessing
import time

import cv2
import numpy as np
import pytest
import torch
from patience import children_are_gone
from tiny_data import make_pipeline_test, train_pipeline, write_png
from torch.utils.data._utils.pin_memory import pin_memory

from mmseg.datasets import build_dataset, build_test_loader, build_train_loader
from mmseg.datasets import loader as loader_module
from mmseg.datasets.loader import collate, index_of

SAMPLING = {"min_pixels": 10, "class_temp": 0.1, "min_crop_ratio": 0.5}


def fingerprint(batch):
    names = [m["ori_filename"] for m in batch["img_metas"] + batch["target_img_metas"]]
    tensors = [v.double().sum().item() for v in batch.values() if isinstance(v, torch.Tensor)]
    return names, tensors


def batches(dataset, workers=0, start=0, stop=5, rank=0, world_size=1, size=2):
    loader = build_train_loader(dataset, size, workers, 7, start, stop, rank, world_size)
    return [fingerprint(batch) for batch in loader]


@pytest.mark.parametrize("sampling", [None, SAMPLING])
def test_samples_do_not_depend_on_the_number_of_workers(files, sampling):
    dataset = build_dataset(files.pairs(rare_class_sampling=sampling))
    alone = batches(dataset)
    assert len(alone) == 5
    assert len({str(b) for b in alone}) == 5
    assert batches(dataset, workers=1) == alone
    assert batches(dataset, workers=2) == alone


def test_restarted_run_gets_the_batches_it_would_have_had(files):
    dataset = build_dataset(files.pairs(rare_class_sampling=SAMPLING))
    assert batches(dataset, start=3) == batches(dataset)[3:]


def test_two_processes_share_the_samples_of_one(files):
    """Batches of 2 on two processes are the halves of batches of 4 on one."""
    dataset = build_dataset(files.pairs())
    first, second = (batches(dataset, rank=r, world_size=2, stop=3) for r in (0, 1))
    whole = batches(dataset, size=4, stop=3)
    for a, b, both in zip(first, second, whole, strict=True):
        assert a[0][:2] + b[0][:2] == both[0][:4]
        np.testing.assert_allclose(np.add(a[1], b[1]), both[1])


def test_an_epoch_visits_every_sample_once():
    for epoch in range(3):
        drawn = [index_of(epoch * 13 + i, 13, seed=5) for i in range(13)]
        assert sorted(drawn) == list(range(13))
    assert [index_of(n, 13, 5) for n in range(13)] != [index_of(n, 13, 6) for n in range(13)]


def test_index_of_a_large_data_set_is_drawn_alone():
    length = 74_000_000
    drawn = [index_of(n, length, seed=5) for n in range(400)]
    assert all(0 <= i < length for i in drawn)
    assert abs(np.mean(drawn) / length - 0.5) < 0.1
    assert drawn[17] == index_of(17, length, seed=5)


def test_batch_stacks_tensors_and_lists_meta(files):
    dataset = build_dataset(files.pairs())
    batch = next(iter(build_train_loader(dataset, 3, 0, 0, 0, 1)))
    assert batch["img"].shape == (3, 3, 18, 22)
    assert batch["gt_semantic_seg"].shape == (3, 1, 18, 22)
    assert batch["depth"].shape == batch["target_depth"].shape == (3, 18, 22)
    assert len(batch["img_metas"]) == len(batch["target_img_metas"]) == 3


def test_samples_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"one size in a batch, got \[\(3, 4\), \(3, 5\)\]"):
        collate([{"img": torch.zeros(3, 4)}, {"img": torch.zeros(3, 5)}])


@pytest.mark.parametrize("workers", [0, 1])
def test_crop_larger_than_some_images_without_pad_names_them(files, workers):
    """Images of 46x30 and 46x25 pixels under a crop of (28, 22)."""
    for kind in ("images/00001", "labels/00001_labelTrainIds", "depth_any/00001"):
        path = files.gta / f"{kind}.png"
        write_png(path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:25])
    steps = [s for s in train_pipeline((28, 22), scale=(46, 46)) if s["type"] != "Pad"]
    dataset = build_dataset(files.source(pipeline=steps))
    with pytest.raises(ValueError, match="samples of one size in a batch") as raised:
        list(build_train_loader(dataset, 4, workers, 7, 0, 1))
    message = str(raised.value)
    assert "got [(3, 25, 22), (3, 28, 22)]" in message
    assert f"'{files.gta}/images/00001.png' 22x25" in message
    assert f"'{files.gta}/images/00002.png' 22x28" in message
    assert "RandomCrop's crop_size" in message


@pytest.mark.parametrize("workers", [0, 2])
def test_test_images_are_shared_without_repeats(files, workers):
    config = files.target(pipeline=make_pipeline_test(img_ratios=[0.5, 1.0], flip=True))
    dataset = build_dataset(config, test_mode=True)
    seen = []
    for rank in range(2):
        for index, batch in build_test_loader(dataset, workers, rank, 2):
            seen.append((index, batch["img_metas"][0][0]["ori_filename"]))
            assert [tuple(i.shape) for i in batch["img"]] == (
                [(1, 3, 15, 23)] * 2 + [(1, 3, 30, 46)] * 2
            )
            assert [len(metas) for metas in batch["img_metas"]] == [1] * 4
    assert sorted(seen) == [(i, info["filename"]) for i, info in enumerate(dataset.img_infos)]


def test_pinning_keeps_the_tuples_of_the_meta_data(files, monkeypatch):
    """On a GPU machine batches pass through `pin_memory`; simulated here by a copy."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self.clone())
    loader = build_train_loader(build_dataset(files.pairs()), 2, 0, 0, 0, 1).loader
    packed = next(iter(loader))
    pinned = pin_memory(packed)
    assert fingerprint(pinned.content) == fingerprint(packed.content)
    assert pinned.content["img"] is not packed.content["img"]
    assert pinned.content["img_metas"][0]["ori_shape"] == (30, 46, 3)


@pytest.mark.gpu
def test_batches_are_pinned_on_a_gpu_machine(files):
    batch = next(iter(build_train_loader(build_dataset(files.pairs()), 2, 1, 0, 0, 1)))
    assert batch["img"].is_pinned()
    assert batch["img_metas"][0]["ori_shape"] == (30, 46, 3)


def test_error_in_a_worker_keeps_its_message(files):
    (files.gta / "images/00001.png").write_bytes(b"broken")
    dataset = build_dataset(files.source())
    with pytest.raises(ValueError, match="images/00001.png.*cannot be decoded"):
        list(build_train_loader(dataset, 2, 1, 0, 0, 4))


class _Broken:
    """Its third sample is a file that cannot be read; the others take their time."""

    def __len__(self) -> int:
        return 50

    def sample(self, index, rng):
        if index == 2:
            raise OSError("expected a good file, got a broken one")
        time.sleep(0.05)
        return {"img": torch.full((1, 2, 3), float(index))}


def test_workers_end_while_an_error_is_on_its_way(monkeypatch):
    """The error keeps the functions that it has left alive, but not the loader's workers."""
    monkeypatch.setattr(loader_module, "index_of", lambda number, length, seed: number)
    before = set(multiprocessing.active_children())
    batches = build_train_loader(_Broken(), 1, 2, seed=0, start_iteration=0, max_iters=50)
    with pytest.raises(OSError, match="got a broken one") as raised:
        for _ in batches:
            pass
    assert raised.value.__traceback__ is not None
    assert children_are_gone(but=before)
