"""The drawn demo scenes with the pipeline of VFM-UDA, in crops of 192x192."""

from mmseg.config import inference_steps, short_side_steps

_base_ = ["uda_gta_to_cityscapes_demo.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = (192, 192)
_short_side = 192  # of the target; the source, which is 180 to its 160 rows, has the same scale
gta_train_pipeline = short_side_steps(216, crop_size, img_norm_cfg)
cityscapes_train_pipeline = short_side_steps(_short_side, crop_size, img_norm_cfg, labeled=False)
test_pipeline = inference_steps((384, _short_side), img_norm_cfg)
_evaluation = dict(test_short_side=_short_side, pipeline=test_pipeline)
data = dict(
    train=dict(
        source=dict(pipeline=gta_train_pipeline),
        target=dict(
            pipeline=cityscapes_train_pipeline,
            crop_pseudo_margins=[0.03, 0.08, 0.03, 0.03],  # the own car's hood is low here
        ),
        rare_class_sampling=dict(class_temp=0.05, min_crop_ratio=2.0, cat_max_ratio=0.75, tries=20),
    ),
    val=_evaluation,
    test=_evaluation,
)
