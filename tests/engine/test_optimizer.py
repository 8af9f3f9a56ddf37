"""Learning-rate and decay multipliers per parameter, and the errors of the optimizer section."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmseg.config import Config
from mmseg.engine.optimizer import Multipliers, build_optimizer, multipliers
from mmseg.system.errors import ConfigError


class Owner(nn.Module):
    """A module whose parameters have the (dotted) names and nothing else."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        for name in names:
            module: nn.Module = self
            *parents, last = name.split(".")
            for part in parents:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_parameter(last, nn.Parameter(torch.zeros(1)))


class Method(Owner):
    """Trains its `model` only, as a self-training method does."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        return list(self.get_submodule("model").parameters())


def settings(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


CONFIGS = ["configs/cdda/gta2cs_cdda_daformer.py", "configs/cdda/gtaHR2csHR_cdda_mic.py"]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_parameter_has_the_multipliers_of_the_golden(golden: Path, config: str) -> None:
    facts = json.loads((golden / "F/optim.json").read_text())[config]
    names = [name for name, _, _ in facts["model_groups"]]
    owner = Method([f"{part}.{name}" for part in ("model", "ema_model") for name in names])
    optimizer = build_optimizer(owner, Config(facts["optimizer"]).copy())
    found = settings(optimizer, owner)
    assert len(found) == len(names)
    assert not any(name.startswith("ema_model") for name in found)
    for name, lr_mult, decay_mult in facts["model_groups"]:
        lr, decay = found[f"model.{name}"]
        assert lr == pytest.approx(6e-5 * lr_mult, rel=1e-12)
        assert decay == pytest.approx(0.01 * decay_mult, rel=1e-12)
    assert isinstance(optimizer, torch.optim.AdamW)
    for key, value in facts["defaults"].items():
        assert list(optimizer.defaults[key]) == value if key == "betas" else True


def test_the_longest_key_wins_then_the_alphabetical_one() -> None:
    rules = {"custom_keys": {"ab": {"lr_mult": 2.0}, "b": {"lr_mult": 3.0}, "bc": {"lr_mult": 5.0}}}
    assert multipliers("x.abc", nn.Module(), rules) == Multipliers(2.0, 1.0)
    assert multipliers("x.bcd", nn.Module(), rules) == Multipliers(5.0, 1.0)
    assert multipliers("x.b", nn.Module(), rules) == Multipliers(3.0, 1.0)


def test_rules_for_biases_norms_and_depthwise_convs_apply_where_no_key_matches() -> None:
    rules = {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0, "norm_decay_mult": 0.5}
    rules["dwconv_decay_mult"] = 0.25
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    assert multipliers("c.weight", nn.Conv2d(4, 6, 1), rules) == Multipliers(1.0, 1.0)
    assert multipliers("c.bias", nn.Conv2d(4, 6, 1), rules) == Multipliers(2.0, 0.0)
    assert multipliers("n.bias", nn.LayerNorm(4), rules) == Multipliers(1.0, 0.5)
    assert multipliers("d.bias", depthwise, rules) == Multipliers(2.0, 0.25)


def test_frozen_parameters_are_left_out() -> None:
    model = Owner(["a.weight", "b.weight"])
    model.get_parameter("b.weight").requires_grad_(False)
    assert set(settings(build_optimizer(model, {"type": "SGD", "lr": 0.1}), model)) == {"a.weight"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "AdamV"}, "unknown optimizer type 'AdamV'; did you mean 'Adam'"),
        ({"weight_decai": 0.1}, "unknown key 'weight_decai' in optimizer 'AdamW'; did you mean"),
        ({"paramwise_cfg": {"custom_key": {}}}, "'custom_key' .*; did you mean 'custom_keys'"),
        (
            {"paramwise_cfg": {"custom_keys": {"head": {"lr_mul": 2}}}},
            "'lr_mul' in .*custom_keys.head; did you mean 'lr_mult'",
        ),
        ({"constructor": "Layerwise"}, "constructor of optimizer 'AdamW': expected 'Default"),
    ],
)
def test_misspelt_keys_name_the_nearest(changes: dict[str, Any], message: str) -> None:
    cfg = Config({"type": "AdamW", "lr": 1e-3, **changes})
    with pytest.raises(ConfigError, match=message):
        build_optimizer(Owner(["a.weight"]), cfg)


def test_a_rate_must_be_given() -> None:
    with pytest.raises(ConfigError, match="needs the key 'lr'"):
        build_optimizer(Owner(["a.weight"]), {"type": "AdamW"})
