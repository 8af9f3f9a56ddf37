"""How the workers of the preprocessing begin."""

import multiprocessing
from collections.abc import Iterator

import pytest


@pytest.fixture
def forks() -> Iterator[None]:
    """Let workers begin as copies of this process, with all that a test has changed in it.

    Since Python 3.14, and elsewhere than on Linux, they begin anew by default.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("workers cannot be copies of this process here")
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("fork", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)
