"""Runs side by side: one column for all seeds of a config, and one file to send."""

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
from made_runs import paint_predictions, write_record, write_run
from PIL import Image

from mmseg.apis.comparison.page import Lines, Page, Paragraph, Strong, Table
from mmseg.apis.comparison.published import published_like, published_numbers
from mmseg.config import load_config
from mmseg.datasets.labels import PALETTE
from tools import compare_runs

SERIES = Path("work_dirs/local-basic")
LOUD = {"optimizer": {"type": "AdamW", "lr": 0.5}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of `a`, one of `b`."""
    monkeypatch.chdir(tmp_path)
    write_run(SERIES, "a", 0, {4: 0.6, 8: 0.3})
    write_run(SERIES, "a", 1, {4: 0.2, 8: 0.4})
    write_run(SERIES, "b", 0, {4: 0.3, 8: 0.38}, **LOUD)
    return tmp_path


def report(*words: str) -> str:
    """Run the command, and return its report as Markdown."""
    given = [str(SERIES)] if not words or words[0].startswith("-") else []
    assert compare_runs.main([*given, *words, "--out", "out"]) == 0
    return Path("out/compare.md").read_text()


def row(text: str, name: str, table: str = "last") -> list[str]:
    """Return the cells of a row of the table of an iteration."""
    rows = text[text.index(f"| {table} |") :].splitlines()
    return next(line for line in rows if line.startswith(f"| {name} |")).split(" | ")[1:]


def test_seeds_are_one_column_of_mean_and_deviation(project: Path) -> None:
    """Last: (30 + 40) / 2 and √(25 + 25); best: (60 + 40) / 2 and √(100 + 100)."""
    text = report()
    assert "| last | a | b |" in text
    assert row(text, "mIoU") == ["35.00 ± 7.07", "**38.00** |"]
    assert row(text, "sky") == ["17.50 ± 3.54", "**19.00** |"]
    assert row(text, "mIoU", "best") == ["**50.00 ± 14.14**", "38.00 |"]
    assert "| a | 1 | 8 of 8 | 40.00 | 40.00 | 8 | work_dirs/local-basic/" in text


def test_differences_are_those_to_the_baseline(project: Path) -> None:
    text = report("--baseline", "b")
    assert row(text, "mIoU") == ["35.00 ± 7.07 (-3.00)", "**38.00** |"]
    assert "A line with - is in b only, one with + in the other" in text
    assert "A line with - is in a only" in report()


def test_what_is_not_the_same_config_is_another_column(project: Path) -> None:
    """Another rate, and a seed that was run twice."""
    write_run(SERIES, "a", 2, {8: 0.5}, **LOUD)
    write_run(Path("other"), "a", 0, {8: 0.7})
    text = report(str(SERIES), "other")
    assert "| last | a | a (2) | b | a (3) |" in text
    assert row(text, "mIoU") == ["35.00 ± 7.07", "50.00", "38.00", "**70.00** |"]
    assert "a (2) against a: 3 lines" in text and "+ optimizer.lr = 0.5" in text
    assert "a (3) against a: nothing" in text


def test_runs_that_are_not_finished_or_evaluated_are_named(project: Path) -> None:
    early, never = write_run(SERIES, "c", 0, {4: 0.9}), write_run(SERIES, "d", 0, {})
    text = report()
    assert f"Not finished: {early.as_posix()}. " in text
    assert f"left out of the tables: {never.as_posix()}." in text
    assert "| last | a | b | c |" in text
    assert row(text, "mIoU")[2] == "**90.00** |"


def test_a_folder_counts_once_however_it_is_given(project: Path) -> None:
    (project / "link").symlink_to(SERIES)
    assert "**3 runs**" in report("work_dirs", str(SERIES), "link", str(next(SERIES.iterdir())))


def test_records_say_what_differs_and_what_is_the_same(project: Path) -> None:
    assert "No run has a repro.json" in report()
    first, second, third = sorted(SERIES.iterdir())
    write_record(first)
    write_record(second, "2.10")
    write_record(third)
    text = report()
    assert "| versions.torch | 2.9; 2.10 | 2.9 |" in text
    assert "| versions.numpy | 2.4 |" in text
    assert "| files.load_from | 0123456789ab |" in text
    assert "secret" not in text
    third.joinpath("repro.json").write_text("[")
    assert "| repro.json | not recorded | cannot be read |" in report()


def test_predictions_stand_beside_image_and_label(project: Path) -> None:
    """Three images of 96x72; without the dataset, the predictions alone."""
    first, second, third = sorted(SERIES.iterdir())
    text = report()
    assert f"sh test.sh {first}\nsh test.sh {third}" in text and not Path("out/pre").exists()
    paint_predictions(second, 7)
    paint_predictions(third, 13, images=2)
    assert "## Predictions" not in report("--images", "0")
    text = report("--images", "2")
    assert "expected the images of CityscapesDataset" in text
    assert sheet() == [(7, 13)] * 2
    tiny_run.write_pictures(project / "data")
    text = report("--images", "2")
    assert "not shown" not in text and "2 of 2 images" in text
    assert sheet(first=2) == [(7, 13)] * 2
    for file in third.rglob("preds/town/*"):
        file.rename(file.with_name(f"other_{file.name}"))
    assert "are of different images" in report()


def sheet(first: int = 0) -> list[tuple[int, ...]]:
    """Return the classes at the centers of the cells, from a column on."""
    with Image.open("out/predictions.png") as picture:
        pixels = np.asarray(picture)
    step_x, step_y = 240 + 6, 180 + 22 + 6
    colors = [tuple(color) for color in PALETTE]
    return [
        tuple(
            colors.index(tuple(int(v) for v in pixels[y, x]))
            for x in range(120 + first * step_x, pixels.shape[1], step_x)
        )
        for y in range(110, pixels.shape[0], step_y)
    ]


def test_published_numbers_stand_beside_the_runs_of_their_config(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"paper": "Made up", "protocol": "last iteration", "mIoU": 41.5, "IoU": [37.5] * 19}
    put(monkeypatch, project, entry, tiny_run.config(Path("elsewhere"), runner={"max_iters": 8}))
    text = report()
    assert "| last | a | b | published: Made up |" in text
    assert row(text, "mIoU")[2:] == ["41.5 |"] and row(text, "road")[2:] == ["37.5 |"]
    assert "| best | a | b |\n" in text
    put(monkeypatch, project, entry, tiny_run.config(Path("elsewhere")), "other")
    assert "Made up" not in report()


def put(patch: pytest.MonkeyPatch, root: Path, entry: Any, cfg: Any, name: str = "tiny") -> None:
    """Make a config the only published one."""
    patch.setattr("mmseg.apis.comparison.published.root", lambda: root)
    tiny_run.write_config(root / f"configs/{name}.py", cfg)
    (root / "configs/published.json").write_text(json.dumps({f"configs/{name}": entry}))


def test_every_published_config_is_recognized() -> None:
    for config, numbers in published_numbers().items():
        cfg = load_config(config)
        assert published_like(cfg, cfg.n_gpus) == numbers
        assert len(numbers.iou) in ((0,) if "/vfm/" in config else (16, 19))


class Tags(HTMLParser):
    """Collects tags, the places that they load from, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.shown += data


NASTY = '<script src="http://x">alert(1)</script>|`**_[x](y)&amp;'


def test_the_html_loads_nothing_and_shows_what_configs_say_as_text(project: Path) -> None:
    write_run(SERIES, "c", 0, {8: 0.1}, title=NASTY, name_uda=NASTY)
    text = report()
    page = Tags(Path("out/compare.html").read_text())
    assert "script" not in page.tags
    assert page.loads and all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert page.shown.count(NASTY) > 4
    assert "url(" not in page.shown and "@import" not in page.shown
    for line in text.splitlines():
        is_of_config = line.startswith(("+ ", "- "))  # in a block of code
        assert is_of_config or "<script" not in line
    (head,) = re.findall(r"^\| last \|.*$", text, re.MULTILINE)
    assert len(re.findall(r"(?<!\\)\|", head)) == 5  # it adds no column


def test_blocks_become_what_they_are() -> None:
    blocks = [
        Paragraph("a*\nb"),
        Table("t", ["x", "y"], [["r", Strong("1")]]),
        Lines("l", ["```", "<"]),
    ]
    page = Page("p", blocks)
    assert page.markdown().endswith(
        "# p\n\na\\* b\n\n**t**\n\n| x | y |\n| :--- | ---: |\n| r | **1** |\n\n"
        "l\n\n````text\n```\n<\n````\n"
    )
    text = page.html(Path())
    assert '<tr><th scope="row">r</th><td><strong>1</strong></td></tr>' in text
    assert "<pre>```\n&lt;</pre>" in text


def test_thirty_runs_of_thirty_configs_are_compared(project: Path) -> None:
    for number in range(30):
        write_run(Path("many"), f"n{number:02}", 0, {8: number / 100}, marker=number)
    assert row(report("many"), "mIoU")[-1] == "**29.00** |"


def test_the_example_of_the_help_runs(project: Path, capsys: Any) -> None:
    (words,) = re.findall(r"^python tools/compare_runs.py (.*)$", str(compare_runs.__doc__), re.M)
    for _ in range(2):  # it replaces its own report
        assert compare_runs.main(shlex.split(words)) == 0
    files = [f"comparison/{name}" for name in ("compare.md", "compare.html", "curves.png")]
    assert capsys.readouterr().out.splitlines() == 2 * files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nowhere --out out", r"the work folder of a run, with a log .*, got 'nowhere'\. Give for"),
        (
            f"{SERIES} --out out --baseline c",
            r"--baseline with the name .*, got 'c'; known .* a, b",
        ),
        (f"{SERIES} empty --out out", r"one config, .* in 'empty', got none\. Keep the run's own"),
        (
            f"{SERIES} --out mine",
            r"a file to write that is new or made by this command, got 'mine/compare.md', which ",
        ),
    ],
)
def test_wrong_input_ends_with_a_sentence(words: str, message: str, project: Path) -> None:
    for name in ("empty/1.log.json", "mine/compare.md"):
        Path(name).parent.mkdir()
        Path(name).write_text("# Mine")
    with pytest.raises(SystemExit, match=f"^ConfigError: expected {message}"):
        compare_runs.main(words.split())
    assert not Path("out").exists() and Path("mine/compare.md").read_text() == "# Mine"
