"""Tiny datasets on disk."""

from pathlib import Path

import pytest
from tiny_data import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.write()
    return made
