"""MinEnt and AdvSeg beyond the recorded steps (see test_recorded_steps)."""

import math
from typing import Any

import models_cfg
import pytest
import torch
import torch.nn.functional as F

from mmseg.engine import build_optimizer
from mmseg.models import build_train_model
from mmseg.models.uda.advseg import Discriminator
from mmseg.models.uda.minent import mean_entropy
from mmseg.system.errors import ConfigError

AUX = {
    "type": "FCNHead", "in_channels": 160, "in_index": 2, "channels": 6, "num_convs": 1,
    "concat_input": False, "num_classes": 19, "dropout_ratio": 0,
    "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 0.4},
}  # fmt: skip
OPTIMIZER = {"type": "SGD", "lr": 0.01}


def build(kind: str, auxiliary_head: Any = AUX, **uda: Any) -> Any:
    torch.manual_seed(3)
    model = {
        **models_cfg.daformer("mit_b0", 8, 8, dropout=0, drop_path=0),
        "auxiliary_head": auxiliary_head,
    }
    cfg = {"model": model, "uda": {"type": kind, **uda}, "runner": {"max_iters": 10}}
    method: Any = build_train_model(cfg)
    method.init_weights()
    return method.double()


def make_batch() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(4)
    image, target = torch.randn(2, 2, 3, 64, 96, generator=numbers).double()
    label = torch.randint(19, (2, 1, 64, 96), generator=numbers)
    return {"img": image, "gt_semantic_seg": label, "target_img": target}


def test_entropy_is_a_share_of_the_largest() -> None:
    """Two of C=3 classes at 1/2 each: log 2 / log 3; a certain pixel: 0; the mean of both."""
    logits = torch.log(torch.tensor([[0.5, 0.5, 1e-30], [1.0, 1e-30, 1e-30]]))  # (pixels, C)
    entropy = mean_entropy(logits.T[None, :, None].double())
    assert entropy.item() == pytest.approx(math.log(2) / math.log(3) / 2)


def test_each_output_is_aligned_with_its_weight() -> None:
    weights = {"lambda_ent": {"main": 0.5, "aux": 0.25}}
    plain, doubled = (
        build("MinEnt", **w).train_step(make_batch(), torch.optim.SGD([torch.zeros(1)], 0.1), 0)
        for w in (weights, {"lambda_ent": {"main": 0.5, "aux": 0.5}})
    )
    assert plain["ent.loss.main"] == doubled["ent.loss.main"] > 0
    assert doubled["ent.loss.aux"] == pytest.approx(2 * plain["ent.loss.aux"])


@pytest.mark.parametrize(("kind", "loss"), [("LS", F.mse_loss), ("Vanilla", None)])
def test_discriminators_learn_the_domains_and_the_student_to_deceive_them(
    kind: str, loss: Any
) -> None:
    loss = loss or F.binary_cross_entropy_with_logits
    method = build("AdvSeg", discriminator_type=kind)
    batch, optimizer = make_batch(), build_optimizer(method, OPTIMIZER)
    judges = dict(method.model_D.named_children())
    assert list(judges) == ["main", "aux"]
    expected = {}
    with torch.no_grad():
        for domain, image in (("src", batch["img"]), ("trg", batch["target_img"])):
            torch.manual_seed(method.make_draws(0).torch_seed())
            outputs = method.model.train_outputs(image)
            for name, key in (("main", "decode.logits"), ("aux", "aux.logits")):
                size = image.shape[2:]
                logits = F.interpolate(outputs[key], size, mode="bilinear")
                expected[domain, name] = judges[name](logits.softmax(1))
    logged = method.train_step(batch, optimizer, 0)
    for name, weight in (("main", 0.001), ("aux", 0.0002)):
        # Dropout and stochastic depth are off in this network, batch norm sees the same batches.
        target, source = expected["trg", name], expected["src", name]
        deceived = weight * loss(target, torch.zeros_like(target))
        assert logged[f"G_trg.loss.{name}"] == pytest.approx(deceived.item(), rel=1e-9)
        told = loss(source, torch.zeros_like(source)) / 2
        assert logged[f"D_src.loss.{name}"] == pytest.approx(told.item(), rel=1e-9)
        told = loss(target, torch.ones_like(target)) / 2
        assert logged[f"D_trg.loss.{name}"] == pytest.approx(told.item(), rel=1e-9)


def test_only_their_own_optimizers_train_the_discriminators() -> None:
    method = build("AdvSeg", lr_D=0.5, lr_D_min=0.1, lr_D_power=2.0)
    own = {id(p) for p in method.model_D.parameters()}
    assert not own & {id(p) for p in method.trainable_parameters()}
    optimizers = method.own_optimizers()
    held = [id(p) for o in optimizers.values() for g in o.param_groups for p in g["params"]]
    assert sorted(held) == sorted(own)
    assert all(o.defaults["betas"] == (0.9, 0.99) for o in optimizers.values())
    method.accumulate_gradients(make_batch(), 5, method.make_draws(5))
    rates = [group["lr"] for o in optimizers.values() for group in o.param_groups]
    assert rates == pytest.approx([0.4 * 0.5**2 + 0.1] * 2)
    assert all(p.requires_grad and p.grad is not None for p in method.model_D.parameters())


def test_the_adversarial_loss_gives_the_discriminators_no_gradient() -> None:
    method = build("AdvSeg")
    method.train_others = lambda *_: None
    method.accumulate_gradients(make_batch(), 0, method.make_draws(0))
    assert all(p.grad is None for p in method.model_D.parameters())


def test_discriminator_halves_five_times_and_refuses_what_is_smaller() -> None:
    judge = Discriminator(5)
    assert judge(torch.rand(2, 5, 32, 96)).shape == (2, 1, 1, 3)
    with pytest.raises(ConfigError, match="at least 32x32 pixels .*, got 40x31"):
        judge(torch.rand(2, 5, 31, 40))


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("MinEnt", {"lambda_ent": {"mian": 1}}, "mian.*main"),
        ("AdvSeg", {"lambda_adv_target": {"aux": -1}}, "aux.*-1"),
        ("AdvSeg", {"lr_D": 1e-3, "lr_D_min": 1e-2}, "at most uda.lr_D, 0.001"),
        ("AdvSeg", {"discriminator_type": "WGAN"}, "LS"),
        ("MinEnt", {"auxiliary_head": [AUX, AUX]}, "at most one auxiliary head .*, got 2"),
    ],
)
def test_wrong_settings_are_told(kind: str, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(kind, **changes)


def test_run_without_an_end_has_no_rate_for_discriminators() -> None:
    method = build("AdvSeg")
    method.max_iters = None
    with pytest.raises(ConfigError, match="Set runner.max_iters"):
        method.own_optimizers()
