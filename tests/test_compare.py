"""`benchmarks/compare.py` measures two revisions and the naive formulation, here tiny."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import compare  # noqa: E402
import convolutions  # noqa: E402
from comparison import metric, naive_networks  # noqa: E402
from comparison.sizes import DAFORMER  # noqa: E402

from mmseg.config import load_config  # noqa: E402
from mmseg.models import build_segmentor  # noqa: E402
from mmseg.models.layers import convolution  # noqa: E402
from mmseg.models.uda.depthmetric import DepthMetric  # noqa: E402

has_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout of git")


@has_git
def test_a_revision_and_the_working_tree_are_measured_in_turns(tmp_path, capsys):
    """One of each kind; the naive formulation has no way to write crops."""
    names = ["DAFormer B0 256", "metric", "loading DAFormer", "run_seg"]
    file = tmp_path / "times.json"
    arguments = ["HEAD", ".", "--tiny", "--runs", "1", "--json", str(file), "--only", *names]
    compare.main(arguments)
    times = json.loads(file.read_text())
    everyone = {"A HEAD", "B .", "naive"}
    assert list(times) == names
    assert {part: set(who) for part, who in times[names[0]].items()} == {
        "step": everyone,
        "its passes": everyone,
    }
    assert set(times["metric"][""]) == set(times["loading DAFormer"][""]) == everyone
    assert set(times["run_seg"][""]) == {"A HEAD", "B ."}
    assert (
        min(s for parts in times.values() for t in parts.values() for s in sum(t.values(), [])) > 0
    )
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert [row.count("|") for row in rows] == [7] * 8  # 2 of the head, 3 of the step, 3 others
    assert "load" in lines[0]


@has_git
def test_what_cannot_be_measured_is_a_sentence():
    with pytest.raises(SystemExit, match=r"revision of git, got 'no-such': .*no-such"):
        compare.main(["no-such", ".", "--only", "metric"])
    with pytest.raises(SystemExit, match="expected parts of DAFormer B0 256, .*--only, got"):
        compare.main([".", ".", "--only", "speed"])


def test_the_table_shows_the_least_the_median_and_the_shares():
    times = {"step": {"A": [3.0, 2.0, 7.0], "B": [1.0, 4.0, 2.0], "naive": [8.0, 4.0, 4.0]}}
    times["its passes"] = {who: [value] for who, value in (("A", 1.0), ("B", 0.8), ("naive", 2.0))}
    assert compare.rows_of("x", times, ["A", "B", "naive"]) == [
        "| x, step | 2 (3) | 1 (2) | 4 (4) | 0.500 | 0.250 |",
        "| x, its passes | 1 (1) | 0.8 (0.8) | 2 (2) | 0.800 | 0.400 |",
        "| x, step / its passes | 2.000 | 1.250 | 2.000 | | |",
    ]


def plain_name(name: str) -> str:
    """Return what a weight of MiT is called in the plain one."""
    name = re.sub(
        r"^patch_embed(\d)\.(proj|norm)", lambda m: f"embeds.{int(m[1]) - 1}.{m[2]}", name
    )
    name = name.replace(".proj.", ".0.").replace(".norm.", ".1.") if "embeds" in name else name
    name = re.sub(r"^block(\d)", lambda m: f"stages.{int(m[1]) - 1}", name)
    name = re.sub(r"^norm(\d)", lambda m: f"norms.{int(m[1]) - 1}", name)
    return name.replace("mlp.", "").replace("dwconv.dwconv", "dwconv")


def test_the_plain_networks_compute_what_the_package_s_do():
    """With the same weights, in float64: they differ by less than 1e-10."""
    cfg = load_config(f"configs/{DAFORMER}")
    section = {**cfg.model.to_dict(), "pretrained": None, "backbone": {"type": "mit_b0"}}
    dims = [32, 64, 160, 256]
    section["decode_head"]["in_channels"] = dims
    usual = build_segmentor(section).double().eval()
    backbone = naive_networks.PlainMiT(dims).double().eval()
    weights = usual.backbone.state_dict()
    backbone.load_state_dict({plain_name(name): value for name, value in weights.items()})
    options = {k: v for k, v in section["decode_head"].items() if k != "type"}
    head = naive_networks.PlainDAFormerHead(**options).double().eval()
    own = usual.decode_head.state_dict()  # in the same order
    head.load_state_dict(dict(zip(head.state_dict(), own.values(), strict=True)))
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        features = usual.backbone(image)
        for plain, feature in zip(backbone(image), features, strict=True):
            torch.testing.assert_close(plain, feature, rtol=0, atol=1e-10)
        torch.testing.assert_close(head(features), usual.decode_head(features), rtol=0, atol=1e-10)


def test_the_loop_finds_the_crops_that_the_metric_finds():
    generator = torch.Generator().manual_seed(0)
    bank = torch.randint(0, 40, (23, 19, 256), generator=generator).float()
    bank *= torch.rand(23, 19, 1, generator=generator) < 0.6
    label = torch.randint(0, 9, (2, 13, 17), generator=generator)
    depth = torch.randint(0, 256, label.shape, generator=generator).float()
    found = metric.best_crops(label, depth, bank)
    judge = DepthMetric(bank, reweight_threshold=-1.0, relabel_threshold=2.0)
    ones = torch.ones_like(depth)
    match = judge(label, ones, ones.bool(), depth, 0)
    assert match.source_index.tolist() == found


def test_convolutions_are_timed_in_every_way(capsys, monkeypatch):
    """A row for each layer and map with three times; it sets bounds that are to be put back."""
    for name in convolutions.BOUNDS:
        monkeypatch.setattr(convolution, name, getattr(convolution, name))
    monkeypatch.setattr(convolutions, "WIDTHS", ((3, 5),))
    convolutions.main(["--runs", "1", "--sides", "4", "6"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 2 * (1 + len(convolutions.DILATIONS))
    assert all(float(cell) > 0 for row in rows for cell in row.split("|")[3:6])
