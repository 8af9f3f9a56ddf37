"""ResNet, with the stems and shortcuts of its V1c and V1d variants and with dilated stages.

Legend: N images, C channels, H×W pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg.config.registry import BACKBONES
from mmseg.config.values import Count, Counts, Indices, Text
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.backbones.residual_blocks import (
    BasicBlock,
    BlockOptions,
    Bottleneck,
    Place,
    ResidualBlock,
    conv3x3,
)
from mmseg.models.layers import NormCfg, build_norm
from mmseg.system.errors import ConfigError

Plan = tuple[type[ResidualBlock], tuple[int, ...]]  # kind of block, blocks per stage

WHERE_TO_GET = (
    "get the ImageNet weights of this network (torchvision's for ResNet, OpenMMLab's `*_v1c` and "
    "`*_v1d` for the variants), put the file there, or set model.pretrained=None to start from "
    "random weights"
)


@dataclass(frozen=True)
class ResNetSettings:
    """The keys of a ResNet in a config."""

    depth: Count
    in_channels: Count = 3  # of the image
    stem_channels: Annotated[int, Field(ge=2)] = 64
    base_channels: Count = 64  # width of the first stage's blocks
    num_stages: Annotated[int, Field(ge=1, le=4)] = 4  # how many of the four stages to build
    strides: Counts = (1, 2, 2, 2)  # per stage, like the dilations
    dilations: Counts = (1, 1, 1, 1)
    out_indices: Indices = (0, 1, 2, 3)  # the stages (from 0) whose features are returned
    # 'caffe': stride in a bottleneck's first 1×1 convolution instead of the 3×3
    style: Literal["pytorch", "caffe"] = "pytorch"
    deep_stem: bool = False  # three 3×3 convolutions instead of one 7×7
    avg_down: bool = False  # shortcuts average instead of skipping pixels
    # freeze the stem (0) and the first stages (1, 2, …); -1: nothing
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = -1
    norm_cfg: NormCfg = field(default_factory=lambda: {"type": "BN"})
    norm_eval: bool = False  # batch norms use and keep their running statistics in training
    multi_grid: Counts | None = None  # dilation of each block of the last stage
    contract_dilation: bool = False  # the first block of a dilated stage has half the dilation
    with_cp: bool = False  # recompute activations in the backward pass: less memory, more time
    zero_init_residual: bool = True  # blocks start as identities
    pretrained: Text | None = None  # file with ImageNet weights, read by `init_weights`

    def __post_init__(self) -> None:
        stages = self.num_stages
        for key in ("strides", "dilations"):
            values = tuple(getattr(self, key))
            _expect(len(values) == stages, key, f"one number for each of {stages} stages", values)
        outputs = tuple(self.out_indices)
        is_known = max(outputs) < stages
        _expect(is_known, "out_indices", f"stages between 0 and {stages - 1}", outputs)
        is_stage = self.frozen_stages <= stages
        _expect(is_stage, "frozen_stages", f"between -1 and {stages}", self.frozen_stages)

    def block_options(self) -> BlockOptions:
        """Return the settings that the blocks need."""
        return BlockOptions(self.norm_cfg, self.style == "caffe", self.avg_down, self.with_cp)

    def stage_dilations(self, stage: int, blocks: int) -> list[int]:
        """Return the dilation of every block of a stage (from 0).

        >>> ResNetSettings(50, dilations=(1, 1, 2, 4), contract_dilation=True).stage_dilations(3, 3)
        [2, 4, 4]
        """
        if self.multi_grid is not None and stage == self.num_stages - 1:
            grid = list(self.multi_grid)
            _expect(len(grid) == blocks, "multi_grid", f"{blocks} numbers, one per block", grid)
            return grid
        dilation = self.dilations[stage]
        is_contracted = self.contract_dilation and dilation > 1
        return [dilation // 2 if is_contracted else dilation] + [dilation] * (blocks - 1)


@dataclass(frozen=True)
class _V1cSettings(ResNetSettings):
    deep_stem: bool = True


@dataclass(frozen=True)
class _V1dSettings(_V1cSettings):
    avg_down: bool = True


@BACKBONES.register()
class ResNet(nn.Module):
    """A stem of stride 4, then up to four stages of residual blocks.

    `depth` is a key of `plans`; `ResNetSettings` describes the other keys.
    """

    settings_class: ClassVar[type[ResNetSettings]] = ResNetSettings
    plans: ClassVar[Mapping[int, Plan]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(self, depth: Count, **options: Any) -> None:
        super().__init__()
        if depth not in self.plans:
            known, kind = ", ".join(map(str, self.plans)), type(self).__name__
            raise ConfigError(f"expected a depth of {kind} among {known}, got {depth!r}.")
        self.settings = self.settings_class(depth, **options)
        self.norm_name = ""
        self._add_stem()
        self.stages = [f"layer{stage + 1}" for stage in range(self.settings.num_stages)]
        channels = self.settings.stem_channels
        for stage, name in enumerate(self.stages):
            self.add_module(name, self._build_stage(stage, channels))
            channels = self.settings.base_channels * 2**stage * self.plans[depth][0].expansion
        self._freeze()

    def _add_stem(self) -> None:
        """Add the layers before the max-pooling, under the names of published checkpoints."""
        settings, width = self.settings, self.settings.stem_channels
        if not settings.deep_stem:
            self.conv1 = nn.Conv2d(settings.in_channels, width, 7, 2, padding=3, bias=False)
            short_name, norm = build_norm(settings.norm_cfg, width)
            self.norm_name = f"{short_name}1"
            self.add_module(self.norm_name, norm)
            return
        self.stem = nn.Sequential()
        channels = (settings.in_channels, width // 2, width // 2, width)
        for i, stride in enumerate((2, 1, 1)):
            self.stem.append(conv3x3(channels[i], channels[i + 1], stride))
            self.stem.append(build_norm(settings.norm_cfg, channels[i + 1])[1])
            self.stem.append(nn.ReLU(inplace=True))

    def _build_stage(self, stage: int, in_channels: int) -> nn.Sequential:
        """Return the blocks of a stage (from 0); the first has the stage's stride."""
        settings = self.settings
        block, counts = self.plans[settings.depth]
        channels, stride = settings.base_channels * 2**stage, settings.strides[stage]
        blocks = nn.Sequential()
        for dilation in settings.stage_dilations(stage, counts[stage]):
            place = Place(in_channels, channels, stride, dilation)
            blocks.append(block(place, settings.block_options()))
            in_channels, stride = channels * block.expansion, 1
        return blocks

    def _stem_layers(self) -> list[nn.Module]:
        is_deep = self.settings.deep_stem
        return [self.stem] if is_deep else [self.conv1, self.get_submodule(self.norm_name)]

    def _freeze(self) -> None:
        """Keep the frozen parts in evaluation mode and their parameters without gradients."""
        frozen = self.settings.frozen_stages
        if frozen >= 0:
            for part in self._stem_layers() + list(map(self.get_submodule, self.stages[:frozen])):
                part.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "ResNet":
        """Set the mode, except for frozen parts and, with `norm_eval`, batch norms."""
        super().train(mode)
        self._freeze()
        if mode and self.settings.norm_eval:
            for module in filter(lambda m: isinstance(m, _BatchNorm), self.modules()):
                module.eval()
        return self

    def init_weights(self) -> None:
        """Load `pretrained`, or draw Kaiming-normal weights when there is none."""
        if self.settings.pretrained is not None:
            unused = [f"layer{stage}." for stage in range(self.settings.num_stages + 1, 5)]
            load_pretrained(self, self.settings.pretrained, WHERE_TO_GET, ["fc.", *unused])
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, ResidualBlock) and self.settings.zero_init_residual:
                for parameter in module.get_submodule(module.units[-1][1]).parameters():
                    nn.init.zeros_(parameter)  # weight and bias

    def forward(self, img: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to the features of `out_indices`, the finest at stride 4."""
        x = img
        for layer in self._stem_layers():
            x = layer(x)
        x = x if self.settings.deep_stem else F.relu(x, inplace=True)
        x = F.max_pool2d(x, 3, 2, padding=1)
        features = []
        for stage, name in enumerate(self.stages):
            x = self.get_submodule(name)(x)
            if stage in self.settings.out_indices:
                features.append(x)
        return features


@BACKBONES.register()
class ResNetV1c(ResNet):
    """ResNet whose stem is three 3×3 convolutions."""

    settings_class = _V1cSettings


@BACKBONES.register()
class ResNetV1d(ResNet):
    """ResNetV1c whose shortcuts average where they downsample."""

    settings_class = _V1dSettings


def _expect(is_fine: bool, key: str, expected: str, value: Any) -> None:
    if not is_fine:
        raise ConfigError(f"expected {key} of a ResNet to be {expected}, got {value!r}; change it.")
