"""Any network of timm as a backbone: ViTs (DINOv2, DINOv3, …) and networks of several scales.

Legend: B images, C channels, H×W pixels of the network's input, h×w patches, p prefix tokens (CLS,
registers).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mmseg.config.registry import BACKBONES
from mmseg.config.values import Count, Pair, Section, Text
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.backbones.timm_networks import (
    classifier_prefixes,
    make_network,
    timm_layout,
    where_to_get,
)
from mmseg.models.backbones.vit_positions import Rule, resize_positions
from mmseg.models.backbones.vit_tokens import ViTTokens, hide_patches, run_block
from mmseg.models.layers import hide_pixels, resize, size_of
from mmseg.system.errors import ConfigError
from mmseg.system.vfm_names import is_released, vit_names
from mmseg.system.weight_table import DINOV3

Size = tuple[int, int]
OFFSET_NAMES = re.compile(r"_patch14_dinov2(\.|$)")  # published without registers
RESIZE = "Set inner_size of the backbone, and images are resized."
SHARED = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")


@dataclass(frozen=True)
class TIMMSettings:
    """The keys of a TIMMBackbone in a config."""

    model_name: Text  # as timm calls it, such as 'vit_base_patch14_dinov2' or 'resnet50'
    # A file of weights, read by `init_weights`: timm's layout or that of the network's authors.
    pretrained: Text | bool | None = None
    checkpoint_path: str = ""  # mmsegmentation's second name of `pretrained`; only '' is accepted
    in_channels: Count = 3  # of the image
    inner_size: Count | Pair | None = None  # side or (rows, columns) that images are resized to
    # Which features, as timm counts them: blocks of a network of one scale, such as a ViT (the
    # default is the last), or levels of the others (all of them). -1 is the last.
    out_indices: Annotated[Sequence[int], Field(min_length=1)] | None = None
    # How a ViT's positions are resized, see `resize_positions`. The default is 'offset' for
    # DINOv2 without registers and 'antialias', timm's own, for every other network.
    pos_interpolation: Rule | None = None
    final_norm: bool = False  # apply a ViT's last norm to every feature
    mask_token: bool = False  # add a parameter (1, C) that stands for a masked patch of a ViT
    freeze: bool = False  # never train it: no gradients, always in eval mode
    with_cp: bool = False  # recompute activations in the backward pass: less memory, more time
    model_kwargs: Section = field(default_factory=dict)  # further arguments of timm's constructor

    def __post_init__(self) -> None:
        if self.pretrained is True:
            raise ConfigError(
                "expected the path of a file as `pretrained` of a TIMMBackbone, got True, and "
                "nothing is downloaded. Give the path of the file, e.g. "
                f"pretrained='pretrained/{self.model_name}.safetensors'."
            )
        if self.checkpoint_path:
            raise ConfigError(
                f"expected pretrained={self.checkpoint_path!r} as the file of a TIMMBackbone's "
                f"weights, got checkpoint_path={self.checkpoint_path!r}. Rename the key."
            )

    @property
    def input_size(self) -> Size | None:
        """What images are resized to, as (rows, columns)."""
        return None if self.inner_size is None else size_of(self.inner_size)


@BACKBONES.register(inert=("features_only",))
class TIMMBackbone(nn.Module):
    """A network of timm, whose parameters keep timm's names; `TIMMSettings` has its keys.

    `feature_channels` are the channels of its features, from the finest to the coarsest.

    The class has timm's network beside it and owns everything that is in it: both use the same
    dictionaries of parameters, buffers and modules.
    """

    settings_class: ClassVar[type[TIMMSettings]] = TIMMSettings

    def __init__(self, model_name: Text, **options: Any) -> None:
        super().__init__()
        self.settings = settings = TIMMSettings(model_name, **options)
        network = make_network(model_name, settings.in_channels, settings.model_kwargs)
        self.__dict__.update({name: network.__dict__[name] for name in SHARED})
        self._beside = (network,)  # in a tuple, torch does not see it
        parts = ("patch_embed", "blocks", "num_prefix_tokens")
        self.is_vit = all(hasattr(network, part) for part in parts)
        self.pos_rule = self._choose_rule()
        self.out_indices = self._choose_outputs()
        infos = list(network.feature_info)
        self.feature_channels = [int(infos[i]["num_chs"]) for i in self.out_indices]
        for key in ("final_norm", "mask_token"):
            is_able = self.runs_blocks if key == "mask_token" else self.is_vit
            if getattr(settings, key) and not is_able:
                kind = " as DINOv2 or DINOv3" if self.is_vit else ""
                raise ConfigError(
                    f"expected a ViT{kind} for {key}=True, got model_name={model_name!r}. Drop "
                    f"{key}."
                )
        if settings.mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, self.feature_channels[0]))
        if settings.with_cp and not self.runs_blocks:
            self._let_timm_recompute()
        self.requires_grad_(not settings.freeze)
        self.train()

    @property
    def network(self) -> Any:
        """The network as timm made it."""
        return self._beside[0]

    def _choose_rule(self) -> Rule:
        """Return how positions are resized; 'offset' needs a table and no embedding of timm's."""
        from timm.models.eva import Eva
        from timm.models.vision_transformer import VisionTransformer

        settings, network, kind = self.settings, self.network, type(self.network)
        run = getattr(kind, "forward_intermediates", None)
        is_plain = isinstance(network, VisionTransformer) and network.pos_embed is not None
        is_plain = is_plain and run is VisionTransformer.forward_intermediates
        self.is_rotary = isinstance(network, Eva) and run is Eva.forward_intermediates
        self.runs_blocks = is_plain or self.is_rotary  # here and not by timm, see `embed`
        is_own = is_plain and kind._pos_embed is VisionTransformer._pos_embed
        if settings.pos_interpolation == "offset" and not is_own:
            raise ConfigError(
                "expected a plain ViT with a table of positions for pos_interpolation='offset', "
                f"got model_name={settings.model_name!r}. Leave pos_interpolation out."
            )
        if settings.pos_interpolation is not None:
            return settings.pos_interpolation
        is_dinov2 = is_own and OFFSET_NAMES.search(settings.model_name)
        return "offset" if is_dinov2 and network.reg_token is None else "antialias"

    def _choose_outputs(self) -> list[int]:
        """Return the sorted numbers, from 0, of the blocks or levels whose features are wanted."""
        name, wanted = self.settings.model_name, self.settings.out_indices
        if not hasattr(self.network, "forward_intermediates"):
            raise ConfigError(
                f"expected a network with forward_intermediates, got model_name={name!r}, which "
                "has none in this version of timm. Install a newer timm, or choose another network."
            )
        strides = [info["reduction"] for info in self.network.feature_info]
        count = len(strides)
        if wanted is None:
            return [count - 1] if len(set(strides)) == 1 else list(range(count))
        if any(not -count <= i < count for i in wanted):
            raise ConfigError(
                f"expected out_indices of {name} between {-count} and {count - 1}, got "
                f"{tuple(wanted)}. Change them."
            )
        return sorted({i % count for i in wanted})

    def train(self, mode: bool = True) -> "TIMMBackbone":
        """Set the mode, of timm's network as well; a frozen one stays in eval mode."""
        super().train(mode and not self.settings.freeze)
        self.network.training = self.training
        return self

    def _let_timm_recompute(self) -> None:
        try:
            self.network.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise ConfigError(
                f"expected a network that can recompute its activations for with_cp=True, got "
                f"model_name={self.settings.model_name!r}. Drop with_cp."
            ) from error

    def drop_norm(self) -> None:
        """Do without a ViT's last norm, also in state dicts."""
        self.norm = self.network.norm = nn.Identity()

    def init_weights(self) -> None:
        """Load `pretrained`; without one, the random weights that timm drew stay."""
        if self.settings.pretrained:
            advice, ignored = where_to_get(self.network), classifier_prefixes(self.network)
            if "norm.weight" not in self.state_dict():
                ignored.append("norm.")
            load_pretrained(self, str(self.settings.pretrained), advice, ignored, self._arrange)

    def weight_notes(self) -> list[str]:
        """Say what binds whoever uses the weights."""
        is_bound = self.settings.pretrained and "dinov3" in self.settings.model_name
        return [f"License of {self.settings.pretrained}: {DINOV3}."] if is_bound else []

    def _arrange(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a file under our names; timm's files have no mask token."""
        if is_released(found):
            found = vit_names(found)
        arranged = dict(timm_layout(found, self.network, self.state_dict().keys() - {"mask_token"}))
        if self.settings.mask_token:
            arranged["mask_token"] = found.get("mask_token", self.mask_token.detach())
        return arranged

    def forward(self, img: Tensor, keep_mask: Tensor | None = None) -> list[Tensor]:
        """Map (B, 3, H, W) to the features (B, C_i, h_i, w_i) of `out_indices`, finest first.

        Where `keep_mask` (B, 1, m, n) is 0 and not 1, a network with a mask token sees it instead
        of the patch; m×n is the grid of patches. Others see pixels of 0 there, of the resized
        image and of blocks of any number.
        """
        if self.settings.input_size is not None:
            img = resize(img, self.settings.input_size)
        if keep_mask is not None and not self.settings.mask_token:
            img, keep_mask = hide_pixels(img, keep_mask), None
        if self.is_vit:
            self._check_patches((img.shape[2], img.shape[3]))
        if self.runs_blocks:
            return self._features_of_blocks(img, keep_mask)
        norm = {"norm": True} if self.settings.final_norm else {}
        options = {"indices": self.out_indices, "output_fmt": "NCHW", "intermediates_only": True}
        try:
            return list(self.network.forward_intermediates(img, **options, **norm))
        except AssertionError as error:
            raise ConfigError(
                f"expected images of a size that {self.settings.model_name} takes, got "
                f"{img.shape[2]}x{img.shape[3]}: {str(error).rstrip('.')}. {RESIZE}"
            ) from error

    def _check_patches(self, size: Size) -> None:
        """Raise `ConfigError` for images of which a ViT would see no whole number of patches."""
        patch = self.network.patch_embed.feat_ratio(as_scalar=False)
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ConfigError(
                f"expected images whose sides are multiples of {patch[0]} for "
                f"{self.settings.model_name}, got {size[0]}x{size[1]}. {RESIZE}"
            )

    def embed(self, img: Tensor, keep_mask: Tensor | None = None) -> ViTTokens:
        """Map (B, 3, H, W) to tokens with positions; `keep_mask` is (B, 1, h, w) of 0 and 1."""
        network, rotation = self.network, None
        patches = network.patch_embed(img)  # (B, h, w, C)
        if keep_mask is not None:
            patches = hide_patches(patches, keep_mask, self.mask_token)
        grid = (patches.shape[1], patches.shape[2])
        if self.is_rotary:
            tokens, rotation = network._pos_embed(patches)  # drops patches itself
        elif self.pos_rule == "antialias":
            tokens = network.patch_drop(network._pos_embed(patches))
        else:
            tokens = network.patch_drop(self._with_offset_positions(patches, grid))
        return ViTTokens(network.norm_pre(tokens), network.num_prefix_tokens, grid, rotation)

    def run_blocks(self, tokens: ViTTokens, start: int, stop: int) -> ViTTokens:
        """Run the blocks from `start` up to, without, `stop` (numbers from 0)."""
        for i in range(start, stop):
            tokens = run_block(self.network, i, tokens, self.settings.with_cp)
        return tokens

    def _with_offset_positions(self, patches: Tensor, grid: Size) -> Tensor:
        network = self.network
        prefix = [t for t in (network.cls_token, network.reg_token) if t is not None]
        prefix = [t.expand(patches.shape[0], -1, -1) for t in prefix]
        has_place = not network.no_embed_class  # the prefix tokens have positions, too
        count = network.num_prefix_tokens if has_place else 0
        table = resize_positions(network.pos_embed, grid, "offset", count)
        tokens = patches.flatten(1, 2)
        if has_place:
            return network.pos_drop(torch.cat([*prefix, tokens], dim=1) + table)
        return network.pos_drop(torch.cat([*prefix, tokens + table], dim=1))

    def _features_of_blocks(self, img: Tensor, keep_mask: Tensor | None) -> list[Tensor]:
        """Run a ViT up to the last wanted block."""
        tokens, done, features = self.embed(img, keep_mask), 0, []
        for i in self.out_indices:
            tokens, done = self.run_blocks(tokens, done, i + 1), i + 1
            norm = self.network.norm if self.settings.final_norm else nn.Identity()
            features.append(tokens.with_values(norm(tokens.values)).as_map())
        return features
