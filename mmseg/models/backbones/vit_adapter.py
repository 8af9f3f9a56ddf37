"""ViT-Adapter (Chen et al. 2023): a plain ViT as a backbone of four levels.

Legend: B images, C channels of the ViT, H×W pixels of the network's input, n patches, m cells of
the maps of /8, /16 and /32.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from mmseg.config.registry import BACKBONES
from mmseg.config.values import Count, Pair, Section, Share, Text
from mmseg.models.backbones.adapter_layers import (
    STRIDES,
    Cells,
    ExchangeOptions,
    Interaction,
    SpatialPrior,
    draw_start_values,
)
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.backbones.timm_backbone import TIMMBackbone
from mmseg.models.layers import (
    SLOW_SYNC_BN,
    NormCfg,
    build_norm,
    hide_pixels,
    map_to_tokens,
    resize,
    size_of,
)
from mmseg.system.errors import ConfigError
from mmseg.system.vfm_names import LICENSE, adapter_names

INTERACTIONS = 4  # as many groups of blocks
EXTRA_EXTRACTORS = 2  # after the last one
WHERE_TO_GET = (
    "nothing is downloaded: fetch the weights of the adapter (python tools/fetch_weights.py "
    "vit_adapter_dinov2_base, or small, or large), or set pretrained_adapter=None to start from "
    "random weights"
)


@dataclass(frozen=True)
class AdapterSettings:
    """The keys of a ViTAdapter in a config."""

    vit: Annotated[Section, BACKBONES.checked]  # a TIMMBackbone with the weights of a plain ViT
    # Side or (rows, columns) that images are resized to, multiples of 32 and of the patch.
    inner_size: Count | Pair | None = 1120
    conv_inplane: Count = 64  # channels of the finest map of the prior
    n_points: Count = 4  # places that a head of an attention looks at per map
    deform_ratio: Share = 0.5  # share of C inside of the attentions
    cffn_ratio: Share = 0.25  # share of C inside of the FFNs
    norm_cfg: NormCfg = field(
        default_factory=lambda: SLOW_SYNC_BN
    )  # type='BN' for several processes without GPUs
    pretrained: Text | None = None  # file with the weights of the ViT
    pretrained_adapter: Text | None = None  # file with those of ViT and adapter, read after it
    freeze_vit: bool = False
    with_cp: bool = False  # recompute the exchanges in the backward pass; `vit` has its own key

    @property
    def input_size(self) -> tuple[int, int] | None:
        """What images are resized to, as (rows, columns)."""
        return None if self.inner_size is None else size_of(self.inner_size)


@BACKBONES.register()
class ViTAdapter(nn.Module):
    """A ViT, a small CNN beside it, and four exchanges between them; see `AdapterSettings`.

    The features are four maps of C channels at /4, /8, /16 and /32 of the resized image.
    """

    settings_class: ClassVar[type[AdapterSettings]] = AdapterSettings

    def __init__(self, vit: Section, **options: Any) -> None:
        super().__init__()
        self.settings = settings = AdapterSettings(vit, **options)
        self.vit = self._build_vit()
        channels = self.vit.feature_channels[-1]
        self.feature_channels = [channels] * 4
        exchange = ExchangeOptions(
            channels, settings.n_points, settings.deform_ratio, settings.cffn_ratio
        )
        self.level_embed = nn.Parameter(torch.randn(len(STRIDES), channels))
        self.spm = SpatialPrior(channels, settings.conv_inplane, settings.norm_cfg)
        extra = [0] * (INTERACTIONS - 1) + [EXTRA_EXTRACTORS]
        self.interactions: Any = nn.ModuleList(
            Interaction(exchange, n, settings.with_cp) for n in extra
        )
        self.up = nn.ConvTranspose2d(channels, channels, 2, 2)
        for part in (self.spm, self.interactions, self.up):
            draw_start_values(part)
        for level in range(1, 5):
            self.add_module(f"norm{level}", build_norm(settings.norm_cfg, channels)[1])

    def _build_vit(self) -> TIMMBackbone:
        """Build the ViT without its last norm, which the taps do not use."""
        cfg = dict(self.settings.vit)
        if self.settings.pretrained is not None:
            cfg = {"pretrained": self.settings.pretrained, **cfg}
        if self.settings.freeze_vit:
            cfg["freeze"] = True
        vit = BACKBONES.build(cfg)
        if not isinstance(vit, TIMMBackbone) or not vit.runs_blocks:
            raise ConfigError(
                "expected a TIMMBackbone with a plain ViT, such as vit_base_patch14_dinov2, as the "
                f"vit of a ViTAdapter, got {cfg.get('model_name', cfg['type'])}. Name such a ViT."
            )
        for key in ("inner_size", "out_indices"):
            if getattr(vit.settings, key) is not None:
                raise ConfigError(
                    f"expected {key} of a ViTAdapter beside its vit, got it inside. "
                    + ("Move it." if key == "inner_size" else "Drop it: the taps are fixed.")
                )
        if vit.settings.mask_token or vit.settings.final_norm:
            raise ConfigError(
                "expected a vit without mask_token and final_norm in a ViTAdapter, which hides "
                "pixels and does without the norm. Drop the key."
            )
        if (count := len(vit.network.blocks)) % INTERACTIONS:
            raise ConfigError(
                f"expected a vit with a multiple of {INTERACTIONS} blocks in a ViTAdapter, got "
                f"{count}. Choose another model_name."
            )
        vit.drop_norm()
        return vit

    def init_weights(self) -> None:
        """Load the files of weights; without them, start values stay."""
        self.vit.init_weights()
        if self.settings.pretrained_adapter is not None:
            path = self.settings.pretrained_adapter
            load_pretrained(self, path, WHERE_TO_GET, arrange=adapter_names)

    def weight_notes(self) -> list[str]:
        """Say which license the adapter's weights have, or that it has none."""
        path = self.settings.pretrained_adapter
        if path is not None:
            return [f"Adapter from {path}. {LICENSE}"]
        return [
            "The adapter of the ViT starts from random weights: without pretrained_adapter, this "
            "is another experiment than the published ones."
        ]

    def forward(self, img: Tensor, keep_mask: Tensor | None = None) -> list[Tensor]:
        """Map (B, 3, H', W') to four maps (B, C, h, w), finest first.

        Where `keep_mask` (B, 1, rows, columns) is 0 and not 1, the resized image is 0.
        """
        if self.settings.input_size is not None:
            img = resize(img, self.settings.input_size)
        self._check_size((img.shape[2], img.shape[3]))
        if keep_mask is not None:
            img = hide_pixels(img, keep_mask)
        finest, *maps = self.spm(img)
        tokens = self.vit.embed(img)
        cells = Cells.of(tokens.grid, [(m.shape[2], m.shape[3]) for m in maps], img.device)
        levels = zip(maps, self.level_embed, strict=True)
        sequence = torch.cat([map_to_tokens(m) + level for m, level in levels], dim=1)  # (B, m, C)
        per_group, taps = len(self.vit.network.blocks) // INTERACTIONS, []
        for i, interaction in enumerate(self.interactions):
            patches = interaction.inject(tokens.patches, sequence, cells)  # (B, n, C)
            tokens = tokens.with_patches(patches)
            tokens = self.vit.run_blocks(tokens, i * per_group, (i + 1) * per_group)
            taps.append(tokens.as_map())
            sequence = interaction.extract(sequence, tokens.patches, cells)
        maps = cells.split(sequence)
        return self._features([self.up(maps[0]) + finest, *maps], taps)

    def _features(self, maps: list[Tensor], taps: list[Tensor]) -> list[Tensor]:
        """Add to each map what the ViT saw after a group of its blocks, and normalize."""
        features = []
        for level, (x, tap) in enumerate(zip(maps, taps, strict=True), start=1):
            joined = x + resize(tap, (x.shape[2], x.shape[3]))
            features.append(self.get_submodule(f"norm{level}")(joined))
        return features

    def _check_size(self, size: tuple[int, int]) -> None:
        patch = self.vit.network.patch_embed.feat_ratio(as_scalar=False)
        steps = [math.lcm(STRIDES[-1], side) for side in patch]
        if any(side % step for side, step in zip(size, steps, strict=True)):
            raise ConfigError(
                f"expected images whose sides are multiples of {steps[0]} for a ViTAdapter with "
                f"{self.vit.settings.model_name}, got {size[0]}x{size[1]}. Set inner_size of the "
                "backbone to one, and images are resized."
            )
