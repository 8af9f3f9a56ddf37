"""The texts of the configs that `tools/new_dataset.py` writes."""

DATA = '''\
"""The data of {name}: crops of {crop}x{crop}. Written by tools/new_dataset.py; change it freely."""

from mmseg.config import inference_steps, training_steps

{class_comment}
_classes = {classes}
# Of ImageNet, with which the backbones were trained.
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
{crop_comment}
crop_size = ({crop}, {crop})
{scale_comment}
_source_scale, _target_scale = {source_scale}, {target_scale}
# No class may fill more than three quarters of a source crop, if ten draws find one like that.
source_pipeline = training_steps(_source_scale, crop_size, img_norm_cfg, cat_max_ratio=0.75)
target_pipeline = training_steps(_target_scale, crop_size, img_norm_cfg, labeled=False)
test_pipeline = inference_steps(_target_scale, img_norm_cfg)
{evaluation_comment}
_evaluation_set = dict(
{evaluation}
)
data = dict(
    samples_per_gpu=2,  # of each domain, as published
    workers_per_gpu={workers},  # processes that read
    train=dict(
        type="UDADataset",
{depth_comment}
        source=dict(
{source}
        ),
        target=dict(
{target}
        ),
{sampling_comment}
        {sampling},
    ),
    {parts}
)
'''
DAFORMER = '''\
"""DAFormer on {name}: self-training; its siblings state what they change."""

_base_ = [
    "{bases}/default_runtime.py",
    "{bases}/models/{network}.py",
    "{bases}/uda/dacs_fd.py",
    "{bases}/schedules/{schedule}.py",
    "data.py",
]

seed = 0
model = dict(decode_head=dict(num_classes={count}))  # as many as in data.py
uda = dict(
{method}
    # Rows at the top and bottom of a target crop that are not trusted, such as the own car's hood.
    pseudo_weight_ignore_top=0,
    pseudo_weight_ignore_bottom=0,
)
{length}
name = "{name}_daformer"
exp = "{name}"
'''
LONG = """\
evaluation = dict(interval=4000)
checkpoint_config = dict(max_keep_ckpts=1)
"""
SHORT = """\
# A small network from random weights: everything can be tried within minutes. For real results,
# take what `--model b5` writes.
optimizer = dict(lr=1e-3)
log_config = dict(interval=10)
"""
LONG_METHOD = """\
    alpha=0.999,  # of the teacher: about the mean of the last 1000 students
    # The backbone must not forget what ImageNet taught it: here, on all pixels. As published for
    # street scenes, the distance is measured on the thing classes alone, such as car and person:
    # imnet_feature_dist_classes=[…] (train ids) and imnet_feature_dist_scale_min_ratio=0.75.
    imnet_feature_dist_lambda=0.005,\
"""
SHORT_METHOD = """\
    alpha=0.99,  # a teacher that follows within a few hundred iterations
    pseudo_threshold=0.9,
    imnet_feature_dist_lambda=0,  # there are no ImageNet weights to stay near\
"""
SOURCE_ONLY = '''\
"""The labeled source of {name} alone: what adaptation has to beat."""

_base_ = ["daformer.py"]

uda = dict(source_only=True, imnet_feature_dist_lambda=0)

name = "{name}_source_only"
'''
MIC = '''\
"""MIC on DAFormer on {name}: predict masked target images, too."""

_base_ = ["daformer.py"]

uda = dict(
    mask_mode="separatetrgaug",
    mask_lambda=1,
    # As published: 70 % are hidden, in blocks of an eighth of the crop.
    mask_generator=dict(type="block", mask_ratio=0.7, mask_block_size={block}),
)

name = "{name}_mic"
'''
CDDA = '''\
"""CDDA on DAFormer on {name}. Create its crops and bank with run_seg.py first."""
{cdda_note}
_base_ = ["daformer.py"]

_preprocessed = "preprocessed/{name}"
uda = dict(
    dataset="folder",  # the source is a FolderDataset
    # One crop per source image, at most 24,966 as published; run_seg.py takes the number from here.
    matrix_path=f"{{_preprocessed}}/folder_{num_crops}_distribution.pth",
    croped_images_path=f"{{_preprocessed}}/images",
    croped_labels_path=f"{{_preprocessed}}/labels",
    # Those of GTA, not tuned for these data. Above reweight_threshold, the similarity of a source
    # crop weights the pseudo-labels; above relabel_threshold, it guides classes. Try 0.3 to 0.7.
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.0025,
)

name = "{name}_cdda"
'''
CDDA_NOTE = """
# It needs depth maps of source and target, which are not there yet: tools/make_depth.py makes them.
"""
