"""Cross-entropy and accuracy: recorded values and gradients (golden E1), and by hand."""

import json
import math

import numpy as np
import pytest
import torch

from mmseg.config.registry import LOSSES
from mmseg.models.losses import CrossEntropyLoss, accuracy, cross_entropy
from mmseg.system.errors import ConfigError


@pytest.fixture(scope="module")
def recorded(golden):
    with np.load(golden / "E" / "E.npz") as stored:
        arrays = {k: stored[k] for k in stored if k.startswith("E1_")}
    return arrays, json.loads((golden / "E" / "E.json").read_text())["E1"]


@pytest.fixture
def inputs(recorded):
    arrays = recorded[0]
    logits, label, weight = (
        torch.from_numpy(arrays[f"E1_{k}"]) for k in ("logits", "label", "weight")
    )
    return logits.double().requires_grad_(), label, weight.double()


@pytest.mark.parametrize("name", ["plain", "weight", "class_weight", "weight_lw0.4", "sum"])
def test_softmax_loss_and_its_gradient_equal_the_recorded_ones(name, recorded, inputs):
    arrays, values = recorded
    logits, label, weight = inputs
    options = {
        "class_weight": {"class_weight": arrays["E1_class_weight"].tolist()},
        "weight_lw0.4": {"loss_weight": 0.4},
        "sum": {"reduction": "sum"},
    }.get(name, {})
    loss = LOSSES.build({"type": "CrossEntropyLoss", "use_sigmoid": False, **options}).double()
    value = loss(logits, label, weight=weight if name.startswith("weight") else None)
    assert value.item() == pytest.approx(values[name], rel=1e-6)
    value.backward()
    gradient = logits.grad[:1, :, ::4, ::4]
    np.testing.assert_allclose(gradient, arrays[f"E1_grad_{name}"], rtol=1e-5, atol=1e-9)


def test_unreduced_loss_equals_the_recorded_one(recorded, inputs):
    logits, label, weight = inputs
    loss = CrossEntropyLoss(reduction="none")(logits, label, weight=weight)
    np.testing.assert_allclose(loss.detach(), recorded[0]["E1_none"], rtol=1e-6, atol=1e-6)


def test_sigmoid_loss_equals_the_recorded_one(recorded, inputs):
    logits, label, _ = inputs
    value = CrossEntropyLoss(use_sigmoid=True)(logits, label)
    assert value.item() == pytest.approx(recorded[1]["bce_ignore255"], rel=1e-6)


def test_accuracy_equals_the_recorded_one(recorded, inputs):
    logits, label, _ = inputs
    assert accuracy(logits, label).item() == pytest.approx(recorded[1]["accuracy_top1"])
    both = [value.item() for value in accuracy(logits, label, topk=(1, 5))]
    assert both == pytest.approx(recorded[1]["accuracy_top1_5"])


def test_mean_divides_by_all_pixels_ignored_ones_included():
    """Two of three pixels count, each with loss log 2: the mean is 2·log 2 / 3."""
    label = torch.tensor([[[0, 255, 1]]])
    value = cross_entropy(torch.zeros(1, 2, 1, 3), label)
    assert value.item() == pytest.approx(2 * math.log(2) / 3)


def test_pixel_weights_multiply_without_changing_the_divisor():
    """Weights 3, 1, 0 on losses log 2: the mean is 4·log 2 / 3."""
    weight = torch.tensor([[[3.0, 1.0, 0.0]]])
    value = cross_entropy(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 1]]]), weight)
    assert value.item() == pytest.approx(4 * math.log(2) / 3)


def test_avg_factor_replaces_the_divisor():
    value = cross_entropy(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 1]]]), avg_factor=6)
    assert value.item() == pytest.approx(math.log(2) / 2)


def test_a_label_map_without_any_valid_pixel_has_loss_and_gradient_zero():
    logits = torch.randn(1, 4, 2, 3, requires_grad=True)
    cross_entropy(logits, torch.full((1, 2, 3), 255)).backward()
    assert (logits.grad == 0).all()


def test_sigmoid_loss_by_hand_with_class_weight():
    """Zero logits cost log 2 each; the positive entry of class 1 weighs 5: (1 + 5)·log 2 / 2."""
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[1.0, 5.0])
    value = loss(torch.zeros(1, 2, 1, 1), torch.tensor([[[1]]]))
    assert value.item() == pytest.approx(3 * math.log(2))


@pytest.mark.parametrize("use_sigmoid", [False, True])
@pytest.mark.parametrize("weights", [[2.0], [1.0, 2.0, 3.0]])
def test_as_many_class_weights_as_classes_are_needed(use_sigmoid, weights):
    """A single one would otherwise count for every class without a word."""
    loss = CrossEntropyLoss(use_sigmoid, class_weight=weights)
    with pytest.raises(ConfigError, match=rf"class_weight.*expected 2 .*, got {len(weights)}\. Ma"):
        loss(torch.zeros(1, 2, 3, 4), torch.zeros(1, 3, 4, dtype=torch.int64))


def test_accuracy_counts_ignored_pixels_as_wrong():
    """Predictions 1, 1, 0, 0 against 1, 0, 0, 255: two hits of four pixels."""
    prediction = torch.tensor([[0.0, 0, 9, 9], [1, 1, 0, 0]]).view(1, 2, 1, 4)
    assert accuracy(prediction, torch.tensor([[[1, 0, 0, 255]]])).item() == 50


def test_class_weights_move_with_the_module_but_stay_out_of_its_state():
    loss = CrossEntropyLoss(class_weight=[1.0, 2.0])
    assert loss.state_dict() == {}
    assert loss.double().class_weight.dtype == torch.float64


def test_a_label_that_is_no_class_raises_on_a_cpu():
    with pytest.raises(IndexError, match="out of bounds"):
        cross_entropy(torch.zeros(1, 4, 1, 1), torch.tensor([[[4]]]))


def test_weights_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"loss's \(2, 3, 5\) elements, got \(2, 1, 3, 5\)"):
        cross_entropy(
            torch.zeros(2, 4, 3, 5), torch.zeros(2, 3, 5, dtype=torch.int64), torch.ones(2, 1, 3, 5)
        )


def test_unknown_reduction_and_unknown_loss_suggest_the_nearest():
    with pytest.raises(ConfigError, match="reduction.* got 'men'. Did you mean 'mean'"):
        LOSSES.build({"type": "CrossEntropyLoss", "reduction": "men"})
    with pytest.raises(ConfigError, match="did you mean 'CrossEntropyLoss'"):
        LOSSES.build({"type": "CrossEntropy"})
    with pytest.raises(ConfigError, match="unknown key 'avg_non_ignored'"):
        LOSSES.build({"type": "CrossEntropyLoss", "avg_non_ignored": True})


def test_avg_factor_with_sum_is_an_error():
    with pytest.raises(ValueError, match="expected reduction 'mean' with avg_factor, got 'sum'"):
        CrossEntropyLoss(reduction="sum")(
            torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64), avg_factor=2.0
        )


def test_accuracy_rejects_unfitting_labels_and_too_large_topk():
    with pytest.raises(ValueError, match=r"expected labels of shape \(1, 3\), got \(1, 4\)"):
        accuracy(torch.zeros(1, 2, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="expected topk of at most 2 classes, got 5"):
        accuracy(torch.zeros(1, 2, 3), torch.zeros(1, 3), topk=5)


def test_mean_over_pixels_that_are_not_ignored_is_of_losses_without_weights():
    """Four pixels, one ignored: log(2) each. With weights, the mean is over all of them."""
    loss = LOSSES.build({"type": "CrossEntropyLoss", "avg_non_ignore": True})
    logits, label = torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [255, 1]]])
    assert loss(logits, label).item() == pytest.approx(math.log(2))
    assert loss(logits, label, torch.ones(1, 2, 2)).item() == pytest.approx(0.75 * math.log(2))
    assert loss(logits, torch.full_like(label, 255)).item() == 0
    assert loss(logits, label, reduction_override="sum").item() == pytest.approx(3 * math.log(2))
    with pytest.raises(ConfigError, match="use_sigmoid or with avg_non_ignore, got both"):
        LOSSES.build({"type": "CrossEntropyLoss", "avg_non_ignore": True, "use_sigmoid": True})
