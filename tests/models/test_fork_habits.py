"""Modules that people bring from their forks run, or learn where everything has its place now."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from demo_project import ROOT
from torch import Tensor

from mmseg.config import ConfigDict, load_config
from mmseg.config.language.custom_imports import import_custom_modules
from mmseg.config.language.new_places import NEW_PLACES, REPLACED
from mmseg.config.registry import UDA, Registry
from mmseg.datasets import build_dataset
from mmseg.datasets.pipelines import Compose
from mmseg.models import BACKBONES, HEADS, build_head, build_segmentor, build_train_model, legacy
from mmseg.models.decode_heads import BaseDecodeHead
from mmseg.models.layers import ConvModule
from mmseg.models.uda import DACS
from mmseg.ops import resize
from mmseg.system.errors import ConfigError, is_for_user

PATH = re.compile(r"\w+(\.\w+)+")  # what can be imported, unlike an advice in words
# Modules of forks start with these lines; they stay as they are.
UNCHANGED = """
from mmseg.apis import inference_segmentor, init_segmentor, train_segmentor
from mmseg.datasets import DATASETS, PIPELINES, CityscapesDataset, CustomDataset, build_dataset
from mmseg.datasets.builder import DATASETS, PIPELINES, build_dataset
from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.pipelines import Compose, LoadAnnotations, Resize
from mmseg.datasets.pipelines.compose import Compose
from mmseg.models import BACKBONES, HEADS, LOSSES, NECKS, SEGMENTORS, UDA
from mmseg.models import build_backbone, build_head, build_loss, build_segmentor, build_train_model
from mmseg.models.backbones import MixVisionTransformer, ResNetV1c
from mmseg.models.backbones.mix_transformer import MixVisionTransformer, OverlapPatchEmbed
from mmseg.models.builder import BACKBONES, HEADS, LOSSES, NECKS, SEGMENTORS, UDA
from mmseg.models.builder import build_backbone, build_head, build_loss, build_neck
from mmseg.models.builder import build_segmentor, build_train_model
from mmseg.models.decode_heads.daformer_head import DAFormerHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.hrda_head import HRDAHead
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.models.decode_heads.psp_head import PSPHead
from mmseg.models.decode_heads.uper_head import UPerHead
from mmseg.models.decode_heads.aspp_head import ASPPHead
from mmseg.models.decode_heads.sep_aspp_head import DepthwiseSeparableASPPHead
from mmseg.models.decode_heads.segformer_head import MLP, SegFormerHead
from mmseg.models.losses import CrossEntropyLoss, accuracy, cross_entropy
from mmseg.models.losses.accuracy import accuracy
from mmseg.models.segmentors import EncoderDecoder, HRDAEncoderDecoder
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.models.uda.dacs import DACS
from mmseg.ops import resize
"""
PARTS = """
import torch
import torch.nn as nn

from mmseg.datasets.builder import DATASETS, PIPELINES
from mmseg.datasets.custom import CustomDataset
from mmseg.models.builder import BACKBONES, HEADS, LOSSES
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.layers import ConvModule, DepthwiseSeparableConvModule
from mmseg.ops import resize


@BACKBONES.register_module()
class ForkPyramid(nn.Module):
    def __init__(self, widths, style='pytorch'):
        super().__init__()
        pairs = zip((3, *widths), widths)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)

    def init_weights(self, pretrained=None):
        pass

    def forward(self, x):
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return tuple(found)


@LOSSES.register_module()
class ForkLoss(nn.Module):
    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred, target, weight=None, ignore_index=255, **kwargs):
        each = nn.functional.cross_entropy(
            pred, target, reduction='none', ignore_index=ignore_index
        )
        return self.loss_weight * (each if weight is None else each * weight).mean()


@HEADS.register_module()
class ForkHead(BaseDecodeHead):
    def __init__(self, interpolate_mode='bilinear', **kwargs):
        super(ForkHead, self).__init__(input_transform='multiple_select', **kwargs)
        params = kwargs['decoder_params']
        width = params['embed_dims']
        options = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.mode = interpolate_mode
        self.embed = nn.ModuleList(
            ConvModule(in_channels, width, 1, **options) for in_channels in self.in_channels
        )
        self.mix = DepthwiseSeparableConvModule(
            width * len(self.in_index), self.channels, params['kernel'], padding=1,
            norm_cfg=self.norm_cfg, act_cfg=self.act_cfg,
        )

    def forward(self, inputs):
        levels = [layer(x) for layer, x in zip(self.embed, self._transform_inputs(inputs))]
        size = levels[0].size()[2:]
        levels = [
            resize(input=x, size=size, mode=self.mode, align_corners=self.align_corners)
            for x in levels
        ]
        return self.cls_seg(self.mix(torch.cat(levels, dim=1)))

    def forward_test(self, inputs, img_metas, test_cfg):
        return self.forward(inputs) * 2

    def losses(self, seg_logit, seg_label, seg_weight=None):
        loss = super().losses(seg_logit, seg_label, seg_weight)
        loss['loss_small'] = 0.5 * seg_logit.square().mean()
        return loss


@PIPELINES.register_module()
class ForkInvert(object):
    def __call__(self, results):
        results['img'] = 255 - results['img']
        return results


@DATASETS.register_module()
class ForkDataset(CustomDataset):
    CLASSES = ('road', 'car', 'sky')
    PALETTE = [[1, 2, 3], [40, 50, 60], [7, 80, 9]]

    def __init__(self, **kwargs):
        super(ForkDataset, self).__init__(
            img_suffix='.png', seg_map_suffix='_label.png', split=None, **kwargs)
"""
CONFIG = """
custom_imports = dict(imports=['my_fork.parts'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ForkPyramid', widths=[4, 6, 10], style='pytorch'),
    decode_head=dict(
        type='ForkHead', in_channels=[4, 10], in_index=[0, 2], channels=12, num_classes=3,
        dropout_ratio=0.1, conv_cfg=None, norm_cfg=norm_cfg, align_corners=False,
        decoder_params=dict(embed_dims=8, kernel=3),
        loss_decode=dict(type='ForkLoss', loss_weight=2.0)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
data = dict(train=dict(
    type='ForkDataset', data_root='pictures', img_dir='img', ann_dir='ann',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
              dict(type='ForkInvert'), dict(type='RandomFlip', prob=0.0),
              dict(type='DefaultFormatBundle'),
              dict(type='Collect', keys=['img', 'gt_semantic_seg'])]))
"""
HEAD = {"in_channels": [3, 5], "in_index": [0, 1], "channels": 7, "num_classes": 4}


class AddingHead(BaseDecodeHead):
    def forward(self, inputs: Any) -> Tensor:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Work in a folder with a package of its own, which no other test sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    (tmp_path / "my_fork").mkdir()
    (tmp_path / "my_fork/__init__.py").write_text("")
    importlib.invalidate_caches()
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "my_fork":
            del sys.modules[name]


def importing(text: str, name: str = "my_fork.parts", **options: Any) -> None:
    """Import a module with this text as a config would that names it."""
    Path(*name.split(".")).with_suffix(".py").write_text(text)
    importlib.invalidate_caches()
    import_custom_modules(ConfigDict({"custom_imports": {"imports": [name], **options}}))


def refused(text: str, name: str = "my_fork.parts") -> str:
    with pytest.raises(ImportError) as info:
        importing(text, name)
    assert is_for_user(info.value)
    return str(info.value)


def can_import(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        found = importlib.import_module(module or name)
        return not module or hasattr(found, attribute)
    except ImportError:
        return False


@pytest.mark.parametrize("line", UNCHANGED.strip().splitlines())
def test_these_lines_of_forks_work_unchanged(line: str) -> None:
    importing(line)


@pytest.mark.parametrize(("old", "new"), NEW_PLACES.items())
def test_every_old_name_gets_a_new_place_that_exists(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the old one cannot be imported; timm may be installed here, but need not be."""
    module, _, name = old.rpartition(".")
    line = f"from {module} import {name}" if module else f"import {name}"
    for loaded in ["timm", *(name for name in sys.modules if name.startswith("timm."))]:
        monkeypatch.setitem(sys.modules, loaded, None)
    assert not can_import(old), "it needs no row"
    message = refused(f"import sys\n\n{line}\n")
    assert f"Use {new} instead of {old} (line 3)." in message
    assert "parts.py' imports what is not here" in message
    assert not PATH.fullmatch(new) or can_import(new)


def test_the_page_shows_the_whole_table() -> None:
    page = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
    for new, names in REPLACED.items():
        shown = f"`{new}`" if PATH.fullmatch(new) else new
        assert f"| {', '.join(f'`{name}`' for name in names)} | {shown} |\n" in page
    for line in UNCHANGED.strip().splitlines():
        assert f"`{line.split()[1]}`" in page


def test_one_message_names_all_lines_to_change() -> None:
    """Also relative ones and those in functions, but nothing that the file can do without."""
    message = refused(
        "from .heads import shared\n"
        "try:\n    from mmcv.cnn import ConvModule\nexcept ImportError:\n    pass\n"
        "from mmseg.core import add_prefix, build_pixel_sampler\n\n\n"
        "def late():\n    from mmcv.runner import force_fp32\n",
        "my_fork.heads",
    ).replace("\n", " ")
    assert "in custom_imports, got 'my_fork.heads'" in message
    for words in (
        "instead of mmseg.core.add_prefix (line 6)",
        "instead of mmseg.core.build_pixel_sampler (line 6)",
        "instead of mmcv.runner.force_fp32 (line 10)",
    ):
        assert words in message
    assert "ConvModule" not in message


def test_relative_imports_of_a_copied_file_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that lies among ours, as in a fork."""
    package = importlib.import_module("mmseg.models.decode_heads")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(Path.cwd() / "my_fork")])
    Path("my_fork/copied_head.py").write_text(
        "from ..builder import HEADS\nfrom .decode_head import BaseDecodeHead\n"
        "from ..losses.utils import weight_reduce_loss\n"
    )
    imports = {"imports": ["mmseg.models.decode_heads.copied_head"]}
    words = r"Use mmseg.models.losses.reduce_loss instead of mmseg.models.losses.utils.*\(line 3\)"
    with pytest.raises(ImportError, match=words):
        import_custom_modules(ConfigDict({"custom_imports": imports}))


def test_what_has_no_new_place_is_told_apart_from_a_missing_folder() -> None:
    message = refused("import sys\nfrom no_such_package import thing\n")
    assert re.search(
        r"line 2 of '.*parts\.py' fails \(No module named 'no_such_package'\)", message
    )
    cfg = ConfigDict({"custom_imports": {"imports": ["my_fork.not_written"]}})
    with pytest.raises(ImportError, match=r"got 'my_fork.not_written' .* folder on PYTHONPATH"):
        import_custom_modules(cfg)


def test_a_failed_import_that_is_allowed_is_a_warning_with_the_same_advice() -> None:
    with pytest.warns(UserWarning, match="torch.nn.Module instead of mmcv.runner.BaseModule"):
        importing("from mmcv.runner import BaseModule", allow_failed_imports=True)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    """Return the config of a project whose parts all come from a fork."""
    for value in vars(importlib.import_module("mmseg.config.registry")).values():
        if isinstance(value, Registry):  # the parts are gone afterwards
            monkeypatch.setattr(value, "_entries", dict(value._entries))
    Path("my_fork/parts.py").write_text(PARTS)
    Path("cfg.py").write_text(CONFIG)
    importlib.invalidate_caches()
    return load_config("cfg.py")


def test_head_backbone_and_loss_of_a_fork_learn_and_predict(forked: ConfigDict) -> None:
    torch.manual_seed(0)
    network: Any = build_segmentor(forked.model)
    network.init_weights()
    image, label = torch.rand(2, 3, 24, 32), torch.randint(0, 3, (2, 1, 24, 32))
    weight = torch.rand(2, 24, 32)
    values = network.forward_train(image, [{}, {}], label, seg_weight=weight)
    assert set(values) == {"decode.loss_seg", "decode.loss_small", "decode.acc_seg"}
    (values["decode.loss_seg"] + values["decode.loss_small"]).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert "decode_head.embed.0.bn.weight" in network.state_dict()
    network.eval()
    with torch.no_grad():
        logits = network.encode_decode(image)
        own = network.decode_head(network.extract_feat(image))
    assert torch.equal(logits, F.interpolate(2 * own, (24, 32), mode="bilinear"))


def test_dataset_and_step_of_a_fork_give_samples(forked: ConfigDict) -> None:
    for folder, name in (("img", "a.png"), ("ann", "a_label.png")):
        Path("pictures", folder).mkdir(parents=True)
        shape = (6, 9, 3) if folder == "img" else (6, 9)
        assert cv2.imwrite(f"pictures/{folder}/{name}", np.full(shape, 2, np.uint8))
    dataset = build_dataset(forked.data.train)
    sample = dataset[0]
    assert sample["img"].unique().tolist() == [253]
    assert (sample["gt_semantic_seg"].shape, dataset.CLASSES[2]) == ((1, 6, 9), "sky")


@pytest.mark.parametrize("options", [{"size": (5, 7)}, {"scale_factor": 3}, {"size": (4, 9)}])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resize_is_that_of_torch_with_its_defaults(options: dict[str, Any], mode: str) -> None:
    x = torch.rand(2, 3, 4, 6)
    given = {} if mode == "nearest" else {"mode": mode, "align_corners": True}
    expected = F.interpolate(x, **options, **given)
    assert torch.equal(resize(input=x, warning=False, **options, **given), expected)


@pytest.mark.parametrize("transform", [None, "multiple_select", "resize_concat"])
def test_inputs_come_as_forks_expect_them(transform: str | None) -> None:
    single = {"in_channels": 5, "in_index": 1} if transform is None else {}
    head = AddingHead(input_transform=transform, **{**HEAD, **single})  # pyright: ignore
    first, second = torch.rand(2, 3, 6, 8), torch.rand(2, 5, 4, 7)
    got: Any = head._transform_inputs([first, second])
    if transform == "multiple_select":
        assert [x.shape for x in got] == [first.shape, second.shape]
    else:
        assert got.shape == ((2, 5, 4, 7) if transform is None else (2, 8, 6, 8))


def test_losses_of_an_own_head_may_do_without_weights() -> None:
    class PlainHead(AddingHead):
        def forward(self, inputs: Any) -> Tensor:
            return self.cls_seg(inputs[0])

        def losses(self, seg_logit: Tensor, seg_label: Tensor) -> Any:  # pyright: ignore
            return {"loss_seg": seg_logit.mean()}

    head = PlainHead(3, 5, num_classes=4)
    label = torch.zeros(2, 1, 6, 8, dtype=torch.int64)
    values = head.forward_train([torch.rand(2, 5, 6, 8)], [{}, {}], label)
    assert set(values) == {"loss_seg"}


def test_a_head_keeps_what_it_is_given() -> None:
    given = {"conv_cfg": {"type": "Conv"}, "decoder_params": {"embed_dims": 9, "of_mine": "x"}}
    head = AddingHead(input_transform="multiple_select", **given, **HEAD)
    assert {name: getattr(head, name) for name in given} == given
    assert (head.in_channels, head.channels, head.num_classes) == ([3, 5], 7, 4)


def test_a_convolution_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"conv_cfg: expected .*'Conv2d'.*, got 'DCNv2'"):
        ConvModule(3, 5, 1, conv_cfg={"type": "DCNv2"})
    assert isinstance(ConvModule(3, 5, 1, conv_cfg={"type": "Conv2d"}).conv, torch.nn.Conv2d)
    monkeypatch.setattr(HEADS, "_entries", dict(HEADS._entries))
    HEADS.register()(AddingHead)
    section = {"type": "AddingHead", **HEAD, "input_transform": "multiple_select"}
    with pytest.raises(ValueError, match=r"conv_cfg.*got 'DCN'"):
        build_head({**section, "conv_cfg": {"type": "DCN"}})
    assert isinstance(build_head({**section, "conv_cfg": {"type": "Conv2d"}}), AddingHead)


def test_builders_understand_old_names() -> None:
    part: dict[str, Any] = {"type": "mlp"}
    names = {"embed_dims": 6, "embed_cfg": part, "embed_neck_cfg": part, "fusion_cfg": part}
    head = build_head({"type": "UniHead", **HEAD, "decoder_params": {"fusion": None, **names}})
    assert type(head).__name__ == legacy.RENAMED["UniHead"]
    assert "MixVisionTransformer" in BACKBONES


def test_a_step_that_changes_arrays_in_place_finds_them_as_read_in_every_draw() -> None:
    """Rare class sampling draws several crops of one image."""

    class InPlace:
        def __call__(self, results: Any) -> Any:
            results["img"] += 1
            return results

    steps = Compose([InPlace()])
    fixed = steps.fixed({"img": np.zeros((2, 3))})
    assert [steps.drawn(fixed)["img"].sum() for _ in range(3)] == [6, 6, 6]


def test_a_backbone_that_takes_no_pretrained_file_says_so(forked: ConfigDict) -> None:
    forked.model.pretrained = "pretrained/mine.pth"
    with pytest.raises(ConfigError, match=r"backbone that takes 'pretrained', .* got 'ForkPyra"):
        build_segmentor(forked.model)


def test_a_method_that_inherits_takes_the_keys_of_the_whole_line(forked: ConfigDict) -> None:
    """Those of its constructors, those of its settings, and those without effect."""

    @UDA.register_module()
    class ForkMethod(DACS):
        def __init__(self, of_mine: int = 3, **cfg: Any) -> None:
            super().__init__(**cfg)
            self.of_mine = of_mine

    section = {"type": "ForkMethod", "of_mine": 4, "alpha": 0.5, "print_grad_magnitude": False}
    method: Any = build_train_model({"model": forked.model, "uda": section})
    assert (method.of_mine, method.settings.alpha) == (4, 0.5)
    with pytest.raises(ConfigError, match="unknown key 'alfa' in training method 'ForkMethod'"):
        build_train_model({"model": forked.model, "uda": {"type": "ForkMethod", "alfa": 0.5}})
