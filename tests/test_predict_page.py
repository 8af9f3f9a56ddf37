"""The examples of docs/predict.md run, and its notebook is the same example."""

import json
from pathlib import Path

import numpy as np
import pytest
from demo_project import ROOT
from PIL import Image
from test_pages import PAGES, blocks

EXAMPLE, FAMILIAR, _ = blocks(PAGES["docs/predict.md"], "python")


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a picture, the configs and the checkpoint."""
    for name in ("configs", "pretrained"):
        (tmp_path / name).symlink_to(ROOT / name)
    noise = np.random.default_rng(0).integers(0, 256, (45, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "street.png")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_the_example_says_and_writes_what_the_page_promises(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exec(EXAMPLE, {})
    shape, probability, road, *_ = capsys.readouterr().out.splitlines()
    assert (shape, probability) == ("(45, 80) uint8", "(19, 45, 80)")
    assert road.startswith("road: ")
    assert Image.open("overlay.png").size == Image.open("colors.png").size == (80, 45)


@pytest.mark.usefixtures("_here")
def test_the_functions_of_mmsegmentation_work() -> None:
    exec(FAMILIAR, {})
    assert Image.open("shown.png").size[0] > 500


def test_the_notebook_is_the_example_of_the_page() -> None:
    notebook = json.loads((ROOT / "docs/predict.ipynb").read_text(encoding="utf-8"))
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert "\n\n".join(code) == EXAMPLE.strip()
