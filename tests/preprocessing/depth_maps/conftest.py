"""Images, tiny networks, and the maps that one of them makes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from depth_runs import plain_maps, run, write_images
from tiny_models import save_tiny_depth_anything


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("depth")


@pytest.fixture(scope="session")
def images(root) -> Path:
    return write_images(root / "images")


@pytest.fixture(scope="session")
def model(root) -> Path:
    return save_tiny_depth_anything(root / "tiny", seed=1)


@pytest.fixture(scope="session")
def other_model(root) -> Path:
    return save_tiny_depth_anything(root / "other", seed=2)


@pytest.fixture(scope="session")
def plain(images, model) -> dict[str, np.ndarray]:
    return plain_maps(images, model)


@pytest.fixture(scope="session")
def made(root, images, model) -> Path:
    """The maps of an undisturbed run, one image at a time."""
    run(images, root / "made", model=str(model))
    return root / "made"


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "maps"))
