"""VFM-UDA++ on the demo scenes and a tiny ViT, on a CPU and without a download.

It starts from random weights, and the frozen network has random weights, too: it shows what runs,
not what it is worth. Start from vfm_source_only.py with --cfg-options load_from=….
"""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/vfm_tiny_demo.py",
    "../_base_/datasets/uda_gtaVFM_to_cityscapes_demo.py",
    "../_base_/uda/vfmudapp.py",
    "../_base_/schedules/adamw_layerdecay_40k.py",
]

seed = 0
log_config = dict(interval=10, img_interval=100)
uda = dict(
    alpha=0.99,  # a teacher that follows within the demo's few hundred iterations
    pseudo_threshold=0.9,
    vfm_feature_dist=dict(
        model_name="vit_small_patch14_reg4_dinov2",
        model_kwargs=dict(embed_dim=64, depth=2, num_heads=1, img_size=112, init_values=1.0),
        pretrained=None,
        allows_random=True,
        size=112,
    ),
)
# Nothing is trained yet, so all learns alike.
optimizer = dict(lr=5e-4, paramwise_cfg=dict(layer_decay=1.0, backbone_lr_mult=1.0))
lr_config = dict(warmup_iters=50)
amp = None
n_gpus = 1
runner = dict(max_iters=300)
checkpoint_config = dict(interval=150, max_keep_ckpts=1)
evaluation = dict(interval=150)

name = "demo_vfmudapp"
exp = "demo"
name_dataset = "demo_gta2cityscapes_192x192"
name_architecture = "adapter_pyramid_vit_tiny"
name_encoder = "vit_tiny"
name_decoder = "pyramid"
name_uda = "vfmudapp_a99_rcs0.05-2.0_cpl2_m64-0.7-spta"
name_opt = "adamw_5e-04_root_warmup-linear_1x2_300"
