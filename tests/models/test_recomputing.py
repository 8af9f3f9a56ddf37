"""`with_cp` recomputes a backbone's activations: less memory, the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_init import init_module
from torch import Tensor

from mmseg.config import load_config
from mmseg.engine.fitting import recomputing_keys
from mmseg.models import BACKBONES
from mmseg.models.builder import with_present_names

CONFIGS = sorted(Path(__file__).parents[2].glob("configs/[!_g]*/*.py"))
RANDOM = {
    "type": "MixVisionTransformer",
    "embed_dims": (4, 6, 10, 16),
    "num_heads": (1, 2, 5, 8),
    "depths": (2, 1, 3, 1),
    "drop_rate": 0.2,
    "attn_drop_rate": 0.3,
    "drop_path_rate": 0.4,
}


def trained(with_cp: bool) -> tuple[dict[str, Tensor], int]:
    """Return gradients and next random number of a step, and how many numbers it kept."""
    network: Any = init_module(BACKBONES.build({**RANDOM, "with_cp": with_cp})).train()
    weights, sizes = {p.data_ptr() for p in network.parameters()}, []

    def remember(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes.append(tensor.numel())
        return tensor

    torch.manual_seed(3)
    image = torch.rand(2, 3, 64, 96)
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        features = network(image)
    sum(f.square().mean() for f in features).backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    return {**gradients, "next": torch.rand(7)}, sum(sizes)


def test_mit_repeats_its_draws_and_keeps_fewer_activations() -> None:
    """Stochastic depth, and dropout of tokens and attention, are those of the first pass."""
    (plain, kept), (recomputed, fewer) = trained(False), trained(True)
    assert plain.keys() == recomputed.keys()
    assert [name for name in plain if not torch.equal(plain[name], recomputed[name])] == []
    assert fewer < kept / 3


def test_without_gradients_nothing_is_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("mmseg.models.backbones.mix_transformer.checkpoint", refuse)
    network = BACKBONES.build({**RANDOM, "with_cp": True}).train()
    with torch.no_grad():
        assert len(network(torch.rand(1, 3, 32, 64))) == 4


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_takes_the_keys_that_recompute(file: Path) -> None:
    cfg = load_config(file)
    keys = recomputing_keys(cfg)
    cfg.merge_options(dict.fromkeys(keys, True))
    backbone = with_present_names(cfg.model)["backbone"]
    BACKBONES.check(backbone)
    sections = [backbone, *([backbone["vit"]] if "vit" in backbone else [])]
    assert [section["with_cp"] for section in sections] == [True] * len(keys)
