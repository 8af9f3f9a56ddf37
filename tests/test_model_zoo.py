"""The page of all configs says what the configs and the published numbers say."""

import importlib.util
import statistics
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def zoo() -> Any:
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("model_zoo", ROOT / "docs/model_zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_what_the_script_writes(zoo: Any) -> None:
    """Else run: python docs/model_zoo.py."""
    assert zoo.PAGE.read_text(encoding="utf-8") == zoo.page()


def test_page_has_every_config_in_a_table(zoo: Any) -> None:
    page = zoo.page()
    files = [p.relative_to(ROOT) for p in (ROOT / "configs").glob("*/*.py")]
    names = {p.with_suffix("").as_posix() for p in files if p.parent.name not in ("_base_", "demo")}
    assert names == set(zoo.configs())
    assert [name for name in names if f"`{name}`" not in page] == []
    assert set(zoo.PUBLISHED) <= names


def test_published_means_are_those_of_the_classes(zoo: Any) -> None:
    """To the rounding of the papers: 0.05 of each class, and 0.05 of the mean."""
    for entry in zoo.PUBLISHED.values():
        if (iou := entry.get("IoU")) is None:  # of VFM-UDA, only means are published
            continue
        assert entry.get("mIoU", entry.get("mIoU16")) == pytest.approx(
            statistics.mean(iou), abs=0.1
        )
        if "mIoU13" in entry:  # without wall, fence and pole
            thirteen = [*iou[:3], *iou[6:]]
            assert len(thirteen) == 13
            assert entry["mIoU13"] == pytest.approx(statistics.mean(thirteen), abs=0.1)
