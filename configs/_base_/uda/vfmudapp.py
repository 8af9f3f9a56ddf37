"""VFM-UDA++'s self-training: strong jitter of the source, masked blocks, and a frozen ViT-L.

The student's coarsest features stay near those of that ViT, whatever the size of the student.
"""

_base_ = ["vfmuda.py"]

uda = dict(
    strong_source=True,
    mask_generator=dict(
        _delete_=True, type="block", mask_block_size=64, mask_ratio=0.7, at="inner"
    ),
    vfm_feature_dist=dict(
        model_name="vit_large_patch14_reg4_dinov2",
        pretrained="pretrained/dinov2_vitl14_reg4_pretrain.pth",
        size=406,
        weight_source=0.1,
        weight_target=0.1,
    ),
)
