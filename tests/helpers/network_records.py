"""Recorded statistics of network outputs, and small helpers of the network tests.

Networks are filled and asked in float64, so that what a test compares does not depend on how a
processor rounds. The recordings are float32.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_init import arr, init_module
from torch import Tensor, nn

RECORDS = Path(__file__).parents[1] / "golden" / "C"
NOISE = {"rtol": 2e-5, "atol": 2e-5}  # float32 noise of a recorded forward pass; measured: 6e-6
EQUAL = {"rtol": 1e-10, "atol": 1e-10}  # of two ways to compute the same in float64


@cache
def recorded_statistics() -> dict[str, Any]:
    files = [RECORDS / name for name in ("stats.json", "C3_hrda.json", "C5_resnet.json")]
    return {key: value for file in files for key, value in json.loads(file.read_text()).items()}


@cache
def recorded_arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(RECORDS / name) as stored:
        return dict(stored)


def normal(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(arr(name, shape)).double()


def filled(network: nn.Module) -> Any:
    """Fill a network with the recorded weights."""
    return init_module(network).double()


def assert_matches_statistics(output: Tensor, key: str, noise: dict[str, float] = NOISE) -> None:
    """Compare shape, mean, spread, absolute sum, the first 64 and the last 8 values."""
    record = recorded_statistics()[key]
    assert list(output.shape) == record["shape"]
    values = output.detach().double().flatten().numpy()
    np.testing.assert_allclose(values[:64], record["first64"], **noise)
    np.testing.assert_allclose(values[-8:], record["last8"], **noise)
    np.testing.assert_allclose(np.abs(values).sum(), record["abs_sum"], rtol=noise["rtol"])
    np.testing.assert_allclose(values.mean(), record["mean"], **noise)
    np.testing.assert_allclose(values.std(), record["std"], **noise)


def keys_and_shapes(network: nn.Module) -> list[list[Any]]:
    return [[key, list(value.shape)] for key, value in network.state_dict().items()]
