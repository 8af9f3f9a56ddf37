"""Where modules written for mmcv-full 1.3 and mmsegmentation 0.16 find what they import, today.

Only names that cannot be imported here stand in the table. docs/differences.md shows it.
"""

# What to use instead: a name to import, or words. Each with the names that it replaces.
REPLACED = {
    "mmseg.models.layers.ConvModule": ["mmcv.cnn.ConvModule"],
    "mmseg.models.layers.DepthwiseSeparableConvModule": ["mmcv.cnn.DepthwiseSeparableConvModule"],
    "mmseg.models.layers.build_norm": ["mmcv.cnn.build_norm_layer"],
    "mmseg.models.layers.build_activation": ["mmcv.cnn.build_activation_layer"],
    "mmseg.models.layers.DropPath": ["timm.models.layers.DropPath", "timm.layers.DropPath"],
    "mmseg.models.layers.cut": ["mmseg.models.segmentors.hrda_encoder_decoder.crop"],
    "torch.nn.Conv2d": ["mmcv.cnn.build_conv_layer"],
    "torch.nn.Upsample": ["mmcv.cnn.build_upsample_layer", "mmseg.ops.Upsample"],
    "torch.nn.init.constant_": ["mmcv.cnn.constant_init"],
    "torch.nn.init.normal_": ["mmcv.cnn.normal_init"],
    "torch.nn.init.xavier_normal_": ["mmcv.cnn.xavier_init"],
    "torch.nn.init.kaiming_normal_": ["mmcv.cnn.kaiming_init"],
    "torch.nn.init.trunc_normal_": [
        "mmcv.cnn.trunc_normal_init",
        "timm.models.layers.trunc_normal_",
        "timm.layers.trunc_normal_",
    ],
    "torch.nn.Module": ["mmcv.runner.BaseModule"],
    "torch.nn.ModuleList": ["mmcv.runner.ModuleList"],
    "torch.nn.Sequential": ["mmcv.runner.Sequential"],
    "torch.nn.SyncBatchNorm": ["mmcv.ops.SyncBatchNorm"],
    "no decorator (`amp` in the config sets the precision)": [
        "mmcv.runner.auto_fp16",
        "mmcv.runner.force_fp32",
    ],
    "mmseg.models.backbones.pretrained.load_pretrained": [
        "mmcv.runner.load_checkpoint",
        "mmcv.runner._load_checkpoint",
    ],
    "mmseg.system.processes.rank": ["mmcv.runner.get_dist_info"],
    "a training method (mmseg.models.uda.TrainingMethod) or a tracker of `log_config`": [
        "mmcv.runner.HOOKS",
        "mmcv.runner.Hook",
    ],
    "mmseg.engine.Trainer": ["mmcv.runner.IterBasedRunner", "mmcv.runner.build_runner"],
    "mmseg.engine.build_optimizer": ["mmcv.runner.build_optimizer"],
    "mmseg.engine.optimizer.OPTIMIZERS": ["mmcv.runner.OPTIMIZERS"],
    "mmseg.config.Config": ["mmcv.Config", "mmcv.utils.Config"],
    "mmseg.config.ConfigDict": ["mmcv.ConfigDict", "mmcv.utils.ConfigDict"],
    "mmseg.config.registry.Registry": ["mmcv.utils.Registry", "mmcv.utils.build_from_cfg"],
    "mmseg.engine.logs.get_logger": [
        "mmseg.utils.get_root_logger",
        "mmcv.utils.get_logger",
        "mmcv.utils.print_log",
    ],
    "mmseg.engine.provenance.version_lines": ["mmseg.utils.collect_env"],
    "the tensor itself": ["mmcv.parallel.DataContainer"],
    "the network itself": [
        "mmcv.parallel.MMDataParallel",
        "mmcv.parallel.MMDistributedDataParallel",
        "mmcv.parallel.is_module_wrapper",
        "mmseg.models.uda.uda_decorator.get_module",
    ],
    "mmseg.datasets.collate": ["mmcv.parallel.collate"],
    "mmseg.datasets.image_files.read_color": ["mmcv.imread"],
    "PyTorch, cv2 or mmseg.models.layers": ["mmcv"],
    "a comprehension ({f'{prefix}.{name}': value for name, value in losses.items()})": [
        "mmseg.core.add_prefix"
    ],
    "mmseg.evaluation.eval_metrics": ["mmseg.core.eval_metrics"],
    "mmseg.evaluation.intersect_and_union": ["mmseg.core.intersect_and_union"],
    "mmseg.evaluation.mean_iou": ["mmseg.core.mean_iou"],
    "mmseg.evaluation": ["mmseg.core.evaluation"],
    "CLASSES and PALETTE of the dataset's class": [
        "mmseg.core.get_classes",
        "mmseg.core.get_palette",
        "mmseg.core.evaluation.get_classes",
        "mmseg.core.evaluation.get_palette",
    ],
    "mmseg.models.losses.PIXEL_SAMPLERS": ["mmseg.core.build_pixel_sampler"],
    "mmseg.models.losses.OHEMPixelSampler": ["mmseg.core.OHEMPixelSampler"],
    "the registry of its kind, such as mmseg.models.HEADS": ["mmseg.models.builder.MODELS"],
    "mmseg.models.losses.reduce_loss": [
        "mmseg.models.losses.utils.reduce_loss",
        "mmseg.models.losses.utils.weight_reduce_loss",
        "mmseg.models.losses.utils.weighted_loss",
    ],
    "torch.tensor": ["mmseg.models.losses.utils.get_class_weight"],
    "mmseg.models.losses.cross_entropy": ["mmseg.models.losses.cross_entropy_loss"],
    "mmseg.models.decode_heads.aspp_layer.ASPPLayer": [
        "mmseg.models.decode_heads.daformer_head.ASPPWrapper"
    ],
    "mmseg.models.decode_heads.aspp_layer.aspp_branches": [
        "mmseg.models.decode_heads.aspp_head.ASPPModule",
        "mmseg.models.decode_heads.sep_aspp_head.DepthwiseSeparableASPPModule",
    ],
    "mmseg.models.decode_heads.isa_layer.ISALayer": ["mmseg.models.decode_heads.isa_head.ISALayer"],
    "mmseg.models.decode_heads.fusion_layers.MLP": ["mmseg.models.decode_heads.daformer_head.MLP"],
    "mmseg.models.decode_heads.build_fusion_layer": [
        "mmseg.models.decode_heads.daformer_head.build_layer"
    ],
    **{
        f"mmseg.models.backbones.mix_transformer.MitB{size}": [
            f"mmseg.models.backbones.mix_transformer.mit_b{size}"
        ]
        for size in range(6)
    },
    "mmseg.models.backbones.mix_transformer.EfficientAttention": [
        "mmseg.models.backbones.mix_transformer.Attention"
    ],
    "mmseg.models.backbones.mix_transformer.MixFFN": ["mmseg.models.backbones.mix_transformer.Mlp"],
    "mmseg.models.segmentors.EncoderDecoder": ["mmseg.models.segmentors.base.BaseSegmentor"],
    "mmseg.models.uda.TrainingMethod": ["mmseg.models.uda.uda_decorator.UDADecorator"],
    "mmseg.models.uda.teacher.Teacher": ["mmseg.models.uda.teacher_module.EMATeacher"],
    "mmseg.models.uda.masking.MaskedConsistency": [
        "mmseg.models.uda.masking_consistency_module.MaskingConsistencyModule"
    ],
    "mmseg.models.uda.masking.BlockMasks": [
        "mmseg.models.utils.masking_transforms.build_mask_generator"
    ],
    "mmseg.models.uda.mixing.StrongAugmentation": [
        "mmseg.models.utils.dacs_transforms.strong_transform"
    ],
    "mmseg.models.uda.mixing.class_mask": [
        "mmseg.models.utils.dacs_transforms.get_class_masks",
        "mmseg.models.utils.dacs_transforms.generate_class_mask",
    ],
    "mmseg.models.uda.mixing.paste": ["mmseg.models.utils.dacs_transforms.one_mix"],
    "mmseg.models.uda.mixing.color_jitter": ["mmseg.models.utils.dacs_transforms.color_jitter"],
    "mmseg.models.uda.mixing.gaussian_blur": ["mmseg.models.utils.dacs_transforms.gaussian_blur"],
    "mmseg.models.uda.mixing.Normalization": [
        "mmseg.models.utils.dacs_transforms.get_mean_std",
        "mmseg.models.utils.dacs_transforms.denorm",
        "mmseg.models.utils.dacs_transforms.denorm_",
        "mmseg.models.utils.dacs_transforms.renorm_",
    ],
    "mmseg.models.uda.StepOutput": ["mmseg.models.utils.visualization.subplotimg"],
    "mmseg.models.decode_heads.isa_layer.SelfAttentionBlock": [
        "mmseg.models.utils.SelfAttentionBlock"
    ],
    "mmseg.models.layers": ["mmseg.models.utils"],
    "mmseg.datasets.pipelines.reading": ["mmseg.datasets.pipelines.loading"],
    "mmseg.datasets.pipelines": ["mmseg.datasets.pipelines.transforms"],
    "mmseg.datasets.pipelines.formatting": ["mmseg.datasets.pipelines.formating"],
    "torch.from_numpy": ["mmseg.datasets.pipelines.formating.to_tensor"],
    "mmseg.datasets.build_train_loader": ["mmseg.datasets.builder.build_dataloader"],
    "one dataset that `split` lists all images of (samples repeat by themselves)": [
        "mmseg.datasets.ConcatDataset",
        "mmseg.datasets.RepeatDataset",
        "mmseg.datasets.dataset_wrappers",
    ],
    "mmseg.engine.set_random_seed": ["mmseg.apis.set_random_seed"],
    "mmseg.engine.predictions": ["mmseg.apis.single_gpu_test", "mmseg.apis.multi_gpu_test"],
}
NEW_PLACES = {old: new for new, names in REPLACED.items() for old in names}


def new_place(name: str) -> str | None:
    """Return what replaces an imported name, or else the module that it was in.

    >>> new_place("mmcv.cnn.ConvModule")
    'mmseg.models.layers.ConvModule'
    >>> new_place("mmseg.core.evaluation.metrics.f_score")
    'mmseg.evaluation'
    """
    parts = name.split(".")
    wholes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((NEW_PLACES[whole] for whole in wholes if whole in NEW_PLACES), None)
