"""The networks of docs/networks.md are built, and every type that it names is registered."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mmseg.config import load_config
from mmseg.config.registry import Registry
from mmseg.models import BACKBONES, HEADS, LOSSES, NECKS, UDA, build_segmentor
from mmseg.models.losses.pixel_sampler import PIXEL_SAMPLERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LIKE_A_TYPE = re.compile(r"`(mit_b\d|[A-Z]\w+)`")


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_built(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text.replace('"configs/', f'"{ROOT.as_posix()}/configs/'))
    cfg = load_config(tmp_path / "mine")
    cfg.merge_options({"model.pretrained": None})
    with torch.device("meta"):
        network: Any = build_segmentor(cfg.model)
    if "TIMMBackbone" not in text:
        assert network.decode_head.sampler is not None
        assert list(network.auxiliary_heads()) == ["aux"]
    features = network.train_outputs(torch.zeros(2, 3, 64, 96, device="meta"))
    assert features["decode.logits"].shape[:2] == (2, 19)


def own_names(registry: Registry) -> set[str]:
    """Leave out what other tests have registered."""
    return {name for name in registry.names() if registry.get(name).__module__.startswith("mmseg.")}


def test_named_types_exist_and_every_part_is_named() -> None:
    _, parts, _ = PAGE.split("\n## ", 2)
    named = set(LIKE_A_TYPE.findall(parts))
    registries = (BACKBONES, HEADS, NECKS, LOSSES, PIXEL_SAMPLERS)
    known = {name for registry in registries for name in own_names(registry)}
    assert named <= known
    assert known - named - {"MixVisionTransformer"} <= {f"mit_b{i}" for i in range(1, 5)}
    methods = set(re.findall(r'type="(\w+)"', PAGE.split("## Training methods")[1]))
    assert methods == own_names(UDA) - {"Supervised"}
