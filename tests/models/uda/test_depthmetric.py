"""The depth metric against the recorded reference, slow loops and answers worked by hand."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmseg.models.uda.depthmetric import (
    DepthMetric,
    depth_histogram,
    load_bank,
    soft_cross_entropy,
)
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.depthmetric.guidance import lower_excess, raw_labels
from mmseg.models.uda.depthmetric.reweighting import reweight, reweight_table

FOLDER = Path(__file__).parents[2] / "golden" / "D"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())


def dense(stored: Any, prefix: str) -> Tensor:
    """Rebuild an array stored as flat indices and values; float64 as all that is compared."""
    array = np.zeros(tuple(stored[f"{prefix}_shape"]))
    array.reshape(-1)[stored[f"{prefix}_idx"]] = stored[f"{prefix}_val"]
    return torch.from_numpy(array)


def bank_of(case: dict[str, Any]) -> Tensor:
    stored = np.load(FOLDER / f"{case['src']}.npz")
    return dense(stored, stored.files[0].rsplit("_", 1)[0])


def calls(case: dict[str, Any]) -> Any:
    """Yield (recorded scalars, prefix, inputs of the metric)."""
    stored = np.load(FOLDER / f"{case['name']}.npz")
    for number, call in enumerate(case["calls"]):
        key = f"c{number}"
        label = torch.from_numpy(stored[f"{key}_label"].astype(np.int64))
        confident = np.unpackbits(stored[f"{key}_large"])[: label.numel()].reshape(label.shape)
        inputs = {
            "label": label,
            "weight": torch.full(label.shape, call["pseudo_weight_in"], dtype=torch.float64),
            "confident": torch.from_numpy(confident.astype(bool)),
            "depth": torch.from_numpy(stored[f"{key}_depth"].astype(np.float32)),
            "iteration": call["local_iter"],
        }
        yield call, key, stored, inputs


def metric_of(case: dict[str, Any], **options: Any) -> DepthMetric:
    thresholds = {k: case[k] for k in ("reweight_threshold", "relabel_threshold")}
    decay = case["threshold_decay"]
    return DepthMetric(
        bank_of(case), case["dataset"], threshold_decay=decay, **thresholds, **options
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_released_behavior_equals_the_recorded_one(case: dict[str, Any]) -> None:
    """Decisions exactly, numbers to 1e-6."""
    metric = metric_of(case, reference_quirks=True)
    for call, key, stored, inputs in calls(case):
        match = metric(**inputs)
        np.testing.assert_allclose(match.weight, stored[f"{key}_weight"], rtol=0, atol=1e-6)
        assert match.source_index.tolist() == stored[f"{key}_src_img_idx"].tolist()
        assert bool(match.guidance_runs) == call["flag"]
        np.testing.assert_allclose(match.similarity, np.nan_to_num(call["total_mean"]), rtol=1e-6)
        if call["flag"]:
            check_soft_target(match, key, stored)


def check_soft_target(match: Any, key: str, stored: Any) -> None:
    """The recording holds one-hot plus guidance, before the one-hot entry is lowered."""
    batch, height, width = match.label.shape
    recorded = np.zeros((batch, height, width, 19))
    recorded.reshape(-1)[stored[f"{key}_onehot_idx"]] = stored[f"{key}_onehot_val"]
    is_one = match.label[:, None] == torch.arange(19).view(-1, 1, 1)
    raw = torch.where(is_one, 1.0, match.soft_label)
    np.testing.assert_allclose(raw, recorded.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)
    expected = stored[f"{key}_tgt_weight"].flatten()[:1]
    np.testing.assert_allclose(match.soft_weight.unique(), expected, rtol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_default_behavior_equals_the_repaired_recording(case: dict[str, Any]) -> None:
    """Golden `fixed_*`; with fractional depths our guidance may run where theirs does not."""
    metric = metric_of(case)
    for call, key, stored, inputs in calls(case):
        match = metric(**inputs)
        np.testing.assert_allclose(match.weight, stored[f"{key}_fixed_weight"], rtol=0, atol=1e-6)
        is_whole = bool((inputs["depth"] == inputs["depth"].trunc()).all())
        if is_whole or call["fixed_flag"]:
            assert bool(match.guidance_runs) == call["fixed_flag"]
        if match.soft_label is not None:
            sums = match.soft_label.sum(1)[inputs["label"] != 255]
            torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)


def test_similarities_equal_the_recorded_ones() -> None:
    case = next(c for c in CASES if c["name"] == "d03_gta_b2_mixed")
    for _, key, stored, inputs in calls(case):
        match = metric_of(case)(**inputs)
        expected = stored[f"{key}_most_simi"]
        np.testing.assert_allclose(match.class_similarity, expected, rtol=0, atol=1e-6)


def test_histograms_equal_the_recorded_ones() -> None:
    stored = np.load(FOLDER / "create_matrix.npz")
    for number in range(4):
        label, depth = (torch.from_numpy(stored[f"{k}{number}"]) for k in ("seg", "dep"))
        assert torch.equal(
            depth_histogram(label, depth), torch.from_numpy(stored[f"out{number}"]).float()
        )


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("quirks", [False, True])
def test_soft_cross_entropy_equals_the_recorded_one(number: int, quirks: bool) -> None:
    stored = np.load(FOLDER / "celoss.npz")
    logits = torch.from_numpy(stored[f"{number}_logits"]).double().requires_grad_()
    target = dense(stored, f"{number}_label")  # before the one-hot entry is lowered
    if target.shape[1] != 19:
        target = target.permute(0, 3, 1, 2)
    weight = torch.from_numpy(stored[f"{number}_weight"]).double()
    loss = soft_cross_entropy(logits, target, weight, quirks)
    loss.backward()
    suffix = "" if quirks else "_nobcast"
    np.testing.assert_allclose(loss.item(), stored[f"{number}_loss{suffix}"], rtol=1e-6)
    np.testing.assert_allclose(logits.grad, stored[f"{number}_grad{suffix}"], rtol=1e-5, atol=1e-9)


def test_histogram_equals_a_loop_and_leaves_its_inputs_alone() -> None:
    rng = np.random.default_rng(3)
    label = torch.from_numpy(rng.integers(0, 7, (2, 3, 5, 11)))
    label[label == 6] = 255
    depth = torch.from_numpy(rng.uniform(-10, 290, (2, 3, 5, 11)))
    before = (label.clone(), depth.clone())
    counts = depth_histogram(label, depth, num_classes=4)
    assert torch.equal(label, before[0])
    assert torch.equal(depth, before[1])
    expected = torch.zeros(2, 3, 4, 256)
    for i, j, y, x in np.ndindex(2, 3, 5, 11):
        c, b = int(label[i, j, y, x]), int(depth[i, j, y, x])
        if c < 4 and 0 <= b <= 255:
            expected[i, j, c, b] += 1
    assert torch.equal(counts, expected)


def test_histogram_of_bytes_counts_the_largest_bin() -> None:
    """A comparison of bytes with 256 would wrap around and count nothing."""
    label = torch.zeros(2, 3, dtype=torch.uint8)
    depth = torch.full((2, 3), 255, dtype=torch.uint8)
    assert depth_histogram(label, depth, 5)[0, 255] == 6


def sparse_counts(seed: int, *shape: int) -> Tensor:
    """Histograms of which most bins and some classes are empty; bins 0, 3, 6, … of all of them."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9000, (*shape, 256))
    counts *= rng.random(counts.shape) < 0.2
    counts *= rng.random((*shape, 1)) < 0.6
    counts[..., ::3] = 0
    return torch.from_numpy(counts).double()


def test_bank_keeps_only_what_occurs() -> None:
    histograms = sparse_counts(1, 11, 5)
    histograms[4] = 0
    bank = Bank(histograms)
    assert len(bank.bins) == (histograms.sum((0, 1)) > 0).sum() <= 170  # 256 without every third
    assert [len(store) for store in bank.stores] == [(histograms.sum(2) > 0).sum() + 1]
    order = torch.tensor([7, 4, 0, 10, 7])
    assert torch.equal(bank.of_crops(order), histograms[order][:, :, bank.bins])
    assert not bank.state_dict()
    assert not list(bank.buffers())  # which processes would send to each other


@pytest.mark.parametrize("quirks", [False, True])
def test_no_device_but_the_cpu_is_asked_for_a_number(
    quirks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device has none: whoever reads it fails, as `read_decisions` does."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # does not know meta
    metric = DepthMetric(
        sparse_counts(7, 9, 6),
        reweight_threshold=0.1,
        relabel_threshold=0.1,
        reference_quirks=quirks,
    ).to("meta")
    shape = (2, 8, 8)
    match = metric(
        torch.zeros(shape, dtype=torch.int64, device="meta"), torch.ones(shape, device="meta"),
        torch.ones(shape, dtype=torch.bool, device="meta"), torch.ones(shape, device="meta"), 0,
    )  # fmt: skip
    assert match.guidance_table.shape == (2, 6, 256)
    assert match.make_raw_label().shape == (2, 6, 8, 8)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        match.read_decisions()


def test_reweight_touches_only_pixels_of_the_class() -> None:
    """By hand: class 0 is trusted (0.8), class 1 gets (0.36-0.1)/0.65 = 0.4, class 2 gets 0."""
    label = torch.tensor([[[0, 0, 1], [2, 3, 255]]])
    weight = torch.full((1, 2, 3), 0.7)
    confident = torch.tensor([[[True, False, True], [True, True, True]]])
    similarity = torch.tensor([[0.8, 0.36, 0.05, 0.9]])
    low = torch.tensor([0.1, 0.1, 0.1, -torch.inf])
    table = reweight_table(similarity, torch.tensor([[False]]), low)
    got = reweight(weight, label.clamp(max=4), confident, table)
    torch.testing.assert_close(got, torch.tensor([[[1.0, 0.7, 0.4], [0.0, 0.7, 0.7]]]))
    assert torch.equal(weight, torch.full((1, 2, 3), 0.7))
    kept = reweight_table(similarity, torch.tensor([[True]]), low)
    assert torch.equal(reweight(weight, label.clamp(max=4), confident, kept), weight)


def test_soft_labels_take_what_they_add_from_the_pseudo_label() -> None:
    """By hand: at depth 4 class 2 is expected with 0.3; the ignored pixel gets guidance only."""
    table = torch.zeros(1, 3, 256)
    table[0, 2, 4] = 0.3
    label = torch.tensor([[[0, 1, 255]]])
    got = lower_excess(raw_labels(label, torch.tensor([[[4.9, 5.0, 4.0]]]), table))[0, :, 0]
    torch.testing.assert_close(
        got.T, torch.tensor([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0], [0.0, 0.0, 0.3]])
    )


def test_loss_takes_a_lowered_target_as_it_is() -> None:
    """`match.soft_label` is lowered already; the loss of it is the loss of the raw one."""
    rng = np.random.default_rng(8)
    label, depth = (torch.from_numpy(rng.integers(0, n, (2, 6, 9))) for n in (5, 256))
    table = torch.from_numpy(rng.uniform(0.1, 0.8, (2, 5, 256)))
    is_own = label[:, None] == torch.arange(5).view(-1, 1, 1)
    raw = raw_labels(label, depth, table).where(~is_own, 1.0)
    lowered = lower_excess(raw)
    assert (lowered != raw).sum() == label.numel()
    assert torch.equal(lower_excess(lowered), lowered)  # no entry of a pixel is 1 any more
    logits = torch.from_numpy(rng.standard_normal((2, 5, 6, 9)))
    weight = torch.from_numpy(rng.random((2, 6, 9)))
    losses = [soft_cross_entropy(logits, target, weight) for target in (raw, lowered)]
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("iteration", "falls"),
    [(0, 0), (9_999, 0), (10_000, 1), (10_999, 1), (11_000, 2), (39_000, 30), (90_000, 30)],
)
def test_thresholds_depend_on_the_iteration_alone(iteration: int, falls: int) -> None:
    metric = DepthMetric(
        torch.ones(2, 3, 256), reweight_threshold=0.5, relabel_threshold=0.4, threshold_decay=0.01
    )
    assert metric.thresholds(iteration) == pytest.approx((0.5 - falls * 0.01, 0.4 - falls * 0.01))


def test_entirely_ignored_image_gets_no_match_and_no_nan() -> None:
    metric = DepthMetric(torch.ones(4, 3, 256), reweight_threshold=-1, relabel_threshold=0.5)
    label = torch.full((2, 5, 7), 255)
    match = DepthMetric(torch.ones(4, 3, 256), reweight_threshold=0.1, relabel_threshold=0.1)(
        label, torch.rand(2, 5, 7), torch.ones(2, 5, 7).bool(), torch.zeros(2, 5, 7), 0
    )
    assert match.source_index.tolist() == [-1, -1]
    assert match.similarity.tolist() == [0, 0]
    assert not match.guidance_runs
    assert metric.num_crops == 4


def test_released_behavior_needs_square_crops() -> None:
    metric = DepthMetric(
        torch.ones(4, 3, 256), reweight_threshold=0, relabel_threshold=1, reference_quirks=True
    )
    shape = (2, 5, 7)
    with pytest.raises(ValueError, match="expected square crops .*, got 5×7"):
        metric(
            torch.zeros(shape).long(), torch.ones(shape), torch.ones(shape).bool(),
            torch.zeros(shape), 0,
        )  # fmt: skip


def test_missing_bank_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Create them with: python run_seg\.py.* gta "):
        load_bank(tmp_path / "gta_9_distribution.pth", "gta")


def test_bank_of_another_shape_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(4, 19, 100), tmp_path / "bank.pth")
    with pytest.raises(ValueError, match=r"expected a tensor .*got \(4, 19, 100\)"):
        load_bank(tmp_path / "bank.pth", "gta")


def test_unknown_source_dataset_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'citys'; did you mean 'cityscapes'"):
        DepthMetric(torch.ones(1, 2, 256), "citys", reweight_threshold=0, relabel_threshold=0)


@pytest.mark.parametrize(
    "source", [{"dataset": "SYNTHIA"}, {"dataset": "synthia"}, {"unlabeled_classes": (9, 14, 16)}]
)
def test_what_the_source_does_not_annotate_is_a_fact_of_its_class(source: dict[str, Any]) -> None:
    bank = torch.ones(2, 19, 256)
    metric = DepthMetric(bank, **source, reweight_threshold=0, relabel_threshold=0)
    assert metric.low.isinf().nonzero().flatten().tolist() == [9, 14, 16]
