"""What a network costs: worked by hand, and counted for every model that configs are made of."""

import json
from pathlib import Path
from typing import Any

import pytest
from demo_project import ROOT, run
from torch import Tensor, nn

from mmseg.apis.network_cost import bare_network, count_parts, network_cost
from mmseg.config import Config, load_config
from mmseg.config.registry import BACKBONES

BASES = sorted((ROOT / "configs/_base_/models").glob("*.py"))
RECORDED = json.loads((ROOT / "tests/golden/K/segmentor_keys.json").read_text())["configs"]
# What these leave to a child config.
OPEN = {"type": "mit_b5"}, {"embed_dim": 24, "conv_kernel_size": 1}


class OneConvolution(nn.Module):
    """A backbone of 3·5 kernels of 3x3, which may look at its values."""

    def __init__(self, pretrained: str | None = None, reads: bool = False) -> None:
        super().__init__()
        self.convolution, self.reads = nn.Conv2d(3, 5, 3, padding=1), reads

    def forward(self, image: Tensor) -> list[Tensor]:
        feature = self.convolution(image)
        return [feature * feature.mean().item()] if self.reads else [feature]


def config(monkeypatch: pytest.MonkeyPatch, reads: bool = False, **test_cfg: Any) -> Config:
    monkeypatch.setattr(BACKBONES, "_entries", dict(BACKBONES._entries))
    BACKBONES.register()(OneConvolution)
    head = {"type": "FCNHead", "in_channels": 5, "channels": 5, "num_classes": 7, "in_index": 0}
    head |= {"num_convs": 0, "concat_input": False}
    backbone = {"type": "OneConvolution", "reads": reads}
    model = {"type": "EncoderDecoder", "backbone": backbone, "decode_head": head}
    model |= {"auxiliary_head": [dict(head, num_classes=2)], "test_cfg": test_cfg}
    return Config({"model": model})


@pytest.mark.parametrize("reads", [False, True])
def test_the_cost_of_two_convolutions_is_the_one_worked_by_hand(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3·5·9 + 5 and 5·7 + 7 parameters; 2·3·5·9 and 2·5·7 operations per pixel, 16x24 of them.

    Windows of 16x24, 8 and 16 apart, lie in 3 rows and 3 columns on 30x50 pixels.
    """
    slide = {"mode": "slide", "crop_size": (16, 24), "stride": (8, 16)}
    cost = network_cost(config(monkeypatch, reads, **slide), (30, 50))
    assert [(part.name, part.parameters, part.flops) for part in cost.parts] == [
        ("backbone", 140, 270 * 16 * 24),
        ("decode_head", 42, 70 * 16 * 24),
        ("auxiliary_head", 12, 20 * 16 * 24),
    ]
    assert (cost.window, cost.windows, cost.parameters) == ((16, 24), 9, 194)
    assert cost.window_flops == 340 * 16 * 24
    assert cost.image_flops == 9 * 340 * 16 * 24
    assert cost.device == ("cpu" if reads else "meta")


def test_a_whole_image_is_one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = network_cost(config(monkeypatch, mode="whole"), (30, 50))
    assert (cost.window, cost.windows) == ((30, 50), 1)


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.stem)
def test_every_model_base_is_counted_without_values(base: Path) -> None:
    cfg = load_config(base)
    if cfg.model.backbone["type"] == "IMTRv21_5":
        cfg.model.backbone = OPEN[0]
        if cfg.model.decode_head.type == "SegFormerHead":
            cfg.model.decode_head.decoder_params = OPEN[1]
    cost = network_cost(cfg, (128, 192))
    recorded = RECORDED.get(base.relative_to(ROOT).as_posix(), {})
    assert cost.parameters == recorded.get("num_params", cost.parameters)
    assert cost.device == "meta"
    names = {part.name for part in cost.parts}
    assert names >= {"backbone", "decode_head"}
    assert all(part.flops > 0 or part.name == "neck" for part in cost.parts)
    assert ("decode_head.scale_attention" in names) == ("HRDA" in cfg.model.decode_head.type)


def test_a_cpu_counts_what_the_meta_device_counts() -> None:
    model = load_config(ROOT / "configs/demo/cdda_hrda").model
    window = (128, 192)
    assert count_parts(bare_network(model, device="cpu"), window) == count_parts(
        bare_network(model), window
    )


def test_the_command_counts_what_its_help_shows(tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    words = f"configs/demo/cdda_hrda --size 256 512 --json {file}"
    done = run(ROOT, f"python tools/get_param_count.py {words}")
    assert done.status == 0
    found = json.loads(file.read_text())
    assert found["image"] == [256, 512]
    assert found["image_flops"] == found["windows"] * found["window_flops"]
    assert sum(part["parameters"] for part in found["parts"]) == found["parameters"]
    assert f"an image of 512x256 takes {found['windows']}: " in done.text
    assert "decode_head.scale_attention" in done.text


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("configs/demo/none", "No config file at 'configs/demo/none'"),
        ("configs/_base_/models/segformer_b5", "expected a test pipeline with img_scale"),
        ("configs/_base_/models/segformer --size 64 96", "unknown backbone type 'IMTRv21_5'"),
        ("configs/demo/daformer --size 4", 2),
        ("configs/demo/daformer --size 0 8", 2),
        ("configs/demo/daformer --json README.md", "'README.md', which holds something else"),
    ],
)
def test_wrong_input_ends_in_a_sentence(words: str, status: object) -> None:
    done = run(ROOT, f"python tools/get_param_count.py {words}")
    assert done.status == status if isinstance(status, int) else status in str(done.status)
    assert "Traceback" not in done.text
