"""Networks as forks of the family configure them are built with the right keys.

A base describes a network in the family's usual way; what a project changes stands in a config of
its own, which inherits from a list of bases. The keys are put together from the recorded ones of
the parts (goldens C4 and C5). Widths differ from the recorded ones, so only names are compared.
"""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from network_records import RECORDS, recorded_statistics

from mmseg.config import load_config
from mmseg.models import BACKBONES, build_segmentor
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

START = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
resnet = dict(
    type='ResNetV1c', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), dilations=(1, 1, 2, 4),
    strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False, style='pytorch',
    contract_dilation=True)
common = dict(
    dropout_ratio=0.1, num_classes=19, norm_cfg=norm_cfg, align_corners=False, loss_decode=loss)
last = dict(in_channels=2048, in_index=3, channels=512, **common)
pyramid = dict(in_channels=[256, 512, 1024, 2048], in_index=[0, 1, 2, 3], **common)
mit_pyramid = dict(in_channels=[64, 128, 320, 512], in_index=[0, 1, 2, 3], **common)
aux = dict(
    type='FCNHead', in_channels=1024, in_index=2, channels=256, num_convs=1, concat_input=False,
    dropout_ratio=0.1, num_classes=19, norm_cfg=norm_cfg, align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4))
"""
NETWORK = """
model = dict(
    type='EncoderDecoder', pretrained='open-mmlab://resnet50_v1c', backbone=resnet,
    decode_head=dict({head}), auxiliary_head=aux, train_cfg=dict(), test_cfg=dict(mode='whole'))
"""
MIT_NETWORK = """
model = dict(
    type='EncoderDecoder', pretrained='pretrained/mit_b2.pth',
    backbone=dict(type='mit_b2', style='pytorch'),
    decode_head=dict({head}), train_cfg=dict(), test_cfg=dict(mode='whole'))
"""
SEGFORMER = "type='SegFormerHead', channels=128, **mit_pyramid"
BASES = {
    "fcn": NETWORK.format(head="type='FCNHead', num_convs=2, concat_input=True, **last"),
    "psp": NETWORK.format(head="type='PSPHead', pool_scales=(1, 2, 3, 6), **last"),
    "deeplabv2": NETWORK.format(
        head="type='DLV2Head', in_channels=2048, in_index=3, dilations=(6, 12, 18, 24), "
        "num_classes=19, align_corners=False, init_cfg=dict(type='Normal', std=0.01, "
        "override=dict(name='aspp_modules')), loss_decode=loss"
    ).replace("auxiliary_head=aux", "auxiliary_head=None"),
    "deeplabv3": NETWORK.format(head="type='ASPPHead', dilations=(1, 12, 24, 36), **last"),
    "deeplabv3plus": NETWORK.format(
        head="type='DepthwiseSeparableASPPHead', dilations=(1, 12, 24, 36), c1_in_channels=256, "
        "c1_channels=48, **last"
    ),
    "danet": NETWORK.format(head="type='DAHead', pam_channels=64, **last"),
    "isanet": NETWORK.format(head="type='ISAHead', isa_channels=256, down_factor=(8, 8), **last"),
    "upernet": NETWORK.format(
        head="type='UPerHead', pool_scales=(1, 2, 3, 6), channels=512, **pyramid"
    ),
    "segformer": MIT_NETWORK.format(
        head=f"{SEGFORMER}, decoder_params=dict(embed_dim=768, conv_kernel_size=1)"
    ),
    "upernet_mit": MIT_NETWORK.format(head="type='UPerHead', channels=512, **mit_pyramid"),
}
OHEM = "sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100000)"
WEIGHTS = "class_weight=[0.8, 1.2] + [1.0] * 17"
CE = "type='CrossEntropyLoss'"
PLAIN_UPER = "_delete_=True, type='UPerHead', in_channels=[256, 512, 1024, 2048], channels=512"
TWO_AUX = """
aux = dict(type='FCNHead', num_convs=1, concat_input=False, num_classes=19,
           norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4))
model = dict(auxiliary_head=[dict(in_channels=1024, in_index=2, channels=256, **aux),
                             dict(in_channels=512, in_index=1, channels=128, **aux)])
"""


def head(change: str) -> str:
    return f"model = dict(decode_head=dict({change}))"


def backbone(change: str, pretrained: str) -> str:
    return f"model = dict(pretrained={pretrained!r}, backbone=dict({change}))"


# name: (base, what the project changes, backbone, head, auxiliary heads)
FORKS = {
    "fcn": ("fcn", "", "r50v1c_d8", "FCNHead", 1),
    "fcn_101": ("fcn", backbone("depth=101", "open-mmlab://resnet101_v1c"), "r101v1c_d8",
                "FCNHead", 1),
    "fcn_18": ("fcn", "model = dict(backbone=dict(_delete_=True, type='ResNet', depth=18), "
               "decode_head=dict(in_channels=512, channels=128), auxiliary_head="
               "dict(in_channels=256, channels=64), pretrained='torchvision://resnet18')",
               "r18", "FCNHead", 1),
    "fcn_all_levels": ("fcn", head("input_transform='resize_concat', in_index=[0, 1, 2, 3], "
                       "in_channels=[256, 512, 1024, 2048]"), "r50v1c_d8",
                       "FCNHead_resize_concat", 1),
    "fcn_ohem": ("fcn", head(OHEM), "r50v1c_d8", "FCNHead", 1),
    "psp": ("psp", "", "r50v1c_d8", "PSPHead", 1),
    "psp_ohem": ("psp", head(OHEM), "r50v1c_d8", "PSPHead", 1),
    "psp_two_aux": ("psp", TWO_AUX, "r50v1c_d8", "PSPHead", 2),
    "psp_v1d": ("psp", backbone("type='ResNetV1d'", "open-mmlab://resnet50_v1d"), "r50v1d_d8",
                "PSPHead", 1),
    "deeplabv2": ("deeplabv2", "", "r50v1c_d8", "DLV2Head", 0),
    "deeplabv2_two": ("deeplabv2", head("dilations=(6, 12)"), "r50v1c_d8", "DLV2Head_red", 0),
    "deeplabv2_101_ohem": ("deeplabv2", f"{backbone('depth=101', 'open-mmlab://resnet101_v1c')}\n"
                           f"model['decode_head'] = dict({OHEM})", "r101v1c_d8", "DLV2Head", 0),
    "deeplabv3": ("deeplabv3", "", "r50v1c_d8", "ASPPHead", 1),
    "deeplabv3_weighted": ("deeplabv3", head(f"loss_decode=dict({WEIGHTS})"), "r50v1c_d8",
                           "ASPPHead", 1),
    "deeplabv3plus": ("deeplabv3plus", "", "r50v1c_d8", "DepthwiseSeparableASPPHead", 1),
    "deeplabv3plus_coarse": ("deeplabv3plus", head("c1_in_channels=0, c1_channels=0"), "r50v1c_d8",
                             "DepthwiseSeparableASPPHead_noc1", 1),
    "deeplabv3plus_next": ("deeplabv3plus", backbone("type='ResNeXt', groups=32, base_width=4",
                           "open-mmlab://resnext50_32x4d"), "x50_32",
                           "DepthwiseSeparableASPPHead", 1),
    "deeplabv3plus_nest": ("deeplabv3plus", backbone("type='ResNeSt', stem_channels=64, radix=2, "
                           "reduction_factor=4, avg_down_stride=True", "open-mmlab://resnest50"),
                           "s50", "DepthwiseSeparableASPPHead", 1),
    "danet": ("danet", "", "r50v1c_d8", "DAHead", 1),
    "danet_two_aux": ("danet", TWO_AUX, "r50v1c_d8", "DAHead", 2),
    "danet_sigmoid": ("danet", head(f"loss_decode=dict({CE}, use_sigmoid=True)"), "r50v1c_d8",
                      "DAHead", 1),
    "isanet": ("isanet", "", "r50v1c_d8", "ISAHead", 1),
    "upernet_50": ("upernet", "", "r50v1c_d8", "UPerHead", 1),
    "upernet_plain": ("upernet", head(f"{PLAIN_UPER}, in_index=[0, 1, 2, 3], num_classes=19, "
                      "norm_cfg=dict(type='BN')"), "r50v1c_d8", "UPerHead", 1),
    "segformer_b2": ("segformer", "", "mit_b2", "SegFormerHead_k1", 0),
    "segformer_b2_wide": ("segformer", head("decoder_params=dict(conv_kernel_size=3)"), "mit_b2",
                          "SegFormerHead_k3", 0),
    "upernet_mit": ("upernet_mit", "", "mit_b2", "UPerHead", 0),
    "deeplabv2_adapted": ("segformer", "model = dict(neck=dict(type='SegFormerAdapter', "
                          "scales=[4]), decode_head=dict(_delete_=True, type='DLV2Head', "
                          "in_channels=512, in_index=3, num_classes=19))", "mit_b2", "DLV2Head",
                          0),
}  # fmt: skip


@cache
def head_keys(name: str) -> list[str]:
    records = json.loads((RECORDS / "C4_heads.json").read_text())
    return [key for key, _ in records[name]["keys"]]


@cache
def backbone_keys(name: str) -> list[str]:
    if name in BACKBONES:  # MiT, whose keys are compared elsewhere
        with torch.device("meta"):
            return list(BACKBONES.build({"type": name}).state_dict())
    return [key for key, _ in recorded_statistics()[f"C5/{name}/keys"]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the bases of a project."""
    for name, text in BASES.items():
        file = tmp_path / f"_base_/models/{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(START + text)
    (tmp_path / "_base_/runtime.py").write_text("cudnn_benchmark = True\nresume_from = None\n")
    (tmp_path / "_base_/sgd.py").write_text("optimizer = dict(type='SGD', lr=0.01)\n")
    (tmp_path / "mine").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", list(FORKS))
def test_a_forks_network_has_the_keys_of_its_parts(name: str, project: Path) -> None:
    base, change, backbone_name, head_name, count = FORKS[name]
    bases = [f"../_base_/{file}.py" for file in (f"models/{base}", "runtime", "sgd")]
    (project / f"mine/{name}.py").write_text(f"_base_ = {bases}\n{change}\n")
    cfg = load_config(project / f"mine/{name}")
    with torch.device("meta"):
        network = build_segmentor(cfg.model)
    prefixes = {0: [], 1: ["auxiliary_head."], 2: ["auxiliary_head.0.", "auxiliary_head.1."]}
    parts = [("backbone.", backbone_keys(backbone_name)), ("decode_head.", head_keys(head_name))]
    parts += [(prefix, head_keys("FCNHead_1")) for prefix in prefixes[count]]
    assert list(network.state_dict()) == [prefix + key for prefix, keys in parts for key in keys]
    main = network.decode_head
    assert isinstance(main, BaseDecodeHead)
    assert (main.sampler is not None) == ("ohem" in name)
    with torch.device("meta"):
        image, label = torch.rand(2, 3, 64, 96), torch.zeros(2, 1, 64, 96, dtype=torch.int64)
        losses = network.forward_train(image, [{}] * 2, label)
    assert sum(key.startswith("aux") for key in losses) == 2 * count
