"""Predictions are consumed one by one: memory does not grow with the number of images."""

import gc
import pickle
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from line_method import Gradient, Threshold

from mmseg.apis.prediction_files import PredictionFiles
from mmseg.engine.evaluator import Evaluator
from mmseg.evaluation.confusion import ConfusionMatrix

SIZE = (60, 200)
MAP = SIZE[0] * SIZE[1]  # bytes of a label map


class Large(Gradient):
    """Images that are large enough to be seen in the memory."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.full((3, *SIZE), index % 5 / 5)
        return {"img": [image], "img_metas": [{"ori_shape": (*SIZE, 3)}]}

    def gt_label(self, index: int) -> np.ndarray:
        return np.full(SIZE, index % 2, np.uint8)


def peak_of(function: Callable[[], Any]) -> int:
    """Return the largest number of bytes that Python and numpy have had together."""
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:CUDA initialization")
def test_ten_times_the_images_need_the_same_memory() -> None:
    Evaluator(Large(3))(Threshold(0.5))  # what is only done once
    few, many = (peak_of(lambda n=n: Evaluator(Large(n))(Threshold(0.5))) for n in (20, 200))
    assert few > MAP
    assert many < few + MAP


def test_no_prediction_outlives_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """When an image has been counted, of all predictions at most the last one is left."""
    seen: list[weakref.ref[np.ndarray]] = []
    alive, matrices = [], []
    make = ConfusionMatrix.__init__

    def watched(matrix: ConfusionMatrix, *arguments: Any) -> None:
        matrices.append(matrix)
        make(matrix, *arguments)

    monkeypatch.setattr(ConfusionMatrix, "__init__", watched)

    def take(index: int, prediction: np.ndarray) -> None:
        del index
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(prediction))

    evaluation = Evaluator(Large(12))(Threshold(0.5), take)
    gc.collect()
    assert evaluation.record["num_images"] == len(seen) == 12
    assert max(alive) <= 1
    assert not any(ref() is not None for ref in seen)
    assert len(matrices) == 2  # of the only group of images and of the whole, whatever the images


def test_a_file_of_all_labels_is_written_with_one_of_them_in_memory(tmp_path: Path) -> None:
    """Until then they are kept compressed."""
    rng = np.random.default_rng(4)
    maps = [np.repeat(rng.integers(0, 19, (500, 4), np.uint8), 100, axis=1) for _ in range(60)]
    files = PredictionFiles(Large(60), out=str(tmp_path / "labels.pkl"))

    def write() -> None:
        for index in (*range(1, 60, 2), *range(0, 60, 2)):
            files.take(index, maps[index])
        files.finish()

    assert peak_of(write) < 0.15 * sum(label.nbytes for label in maps)
    labels = pickle.loads((tmp_path / "labels.pkl").read_bytes())
    assert type(labels) is list
    assert len(labels) == 60
    for label, expected in zip(labels, maps, strict=True):
        assert label.dtype == np.uint8
        assert label.flags.writeable
        assert np.array_equal(label, expected)
