"""The experiments of the MIC paper, ids 80–85, as tables; `run_experiments.py --exp ID` runs one.

80 main results, 81 other methods and networks, 82 and 83 ablations of what is masked and who labels
it, 84 block size and mask ratio, 85 masking on labeled target data.
"""

from dataclasses import dataclass, replace
from typing import Any

from mmseg.system.errors import ConfigError

SEEDS = (0, 1, 2)
MODEL_FILES = {"daformer_sepaspp": "daformer_sepaspp_mitb5", "dlv2red": "deeplabv2red_r50-d8"}
SINGLE_SCALE_HEADS = {"daformer_sepaspp": "DAFormerHead", "dlv2red": "DLV2Head"}
BACKBONES = {
    "mitb5": {"pretrained": "pretrained/mit_b5.pth", "backbone": {"type": "mit_b5"}},
    "r101v1c": {"pretrained": "open-mmlab://resnet101_v1c", "backbone": {"depth": 101}},
}
LEARNING_RATES = {"adamw": 6e-5, "sgd": 0.0025}
MASK_MODES = {
    "sep": "separate",
    "spa": "separateaug",
    "sps": "separatesrc",
    "spsa": "separatesrcaug",
    "spt": "separatetrg",
    "spta": "separatetrgaug",
}
SHORT = (
    (".", ""),
    ("None", "N"),
    ("False", "F"),
    ("cityscapes", "cs"),
    ("synthia", "syn"),
    ("darkzurich", "dzur"),
)


@dataclass(frozen=True)
class Experiment:
    """One row of a table: what an experiment varies."""

    source: str = "gta"
    target: str = "cityscapes"
    uda: str = "dacs_a999_fdthings"
    has_rcs: bool = True  # rare class sampling
    margins: str = "cpl"  # untrusted margins: by rows (cpl), in the dataset (cpl2), none
    head: str = "daformer_sepaspp"
    backbone: str = "mitb5"
    is_hrda: bool = False
    optimizer: str = "adamw"
    mask_mode: str = "spta"
    mask_ratio: float = 0.7
    mask_block: int = 32
    mask_alpha: float | str = "same"
    mask_threshold: float | str | None = "same"

    @property
    def dataset_name(self) -> str:
        """`gta2cityscapes`, or `gtaHR2cityscapesHR_1024x1024` for HRDA."""
        if self.is_hrda:
            return f"{self.source}HR2{self.target}HR_1024x1024"
        return f"{self.source}2{self.target}"

    @property
    def decoder_name(self) -> str:
        """The head as names spell it."""
        return f"hrda1-512-0.1_{self.head}_sl" if self.is_hrda else self.head

    @property
    def uda_name(self) -> str:
        """The training method as names spell it."""
        name = self.uda
        if self.has_rcs:
            name += "_rcs0.01-2.0" if self.is_hrda else "_rcs0.01"
        name += f"_{self.margins}" if self.margins else ""
        name += f"_m{self.mask_block}-{self.mask_ratio}-"
        name += f"a{self.mask_alpha}-" if self.mask_alpha != "same" else ""
        name += f"p{self.mask_threshold}-" if self.mask_threshold != "same" else ""
        return name + self.mask_mode

    @property
    def optimizer_name(self) -> str:
        """The optimizer, and whether the head has a learning rate of its own."""
        return f"{self.optimizer}_{LEARNING_RATES[self.optimizer]}_pm{self.optimizer == 'adamw'}"

    def name(self, seed: int) -> str:
        """Return the name of one run."""
        name = f"{self.dataset_name}_{self.uda_name}_{self.decoder_name}_{self.backbone}_poly10warm"
        if self.optimizer == "sgd":
            name += f"_{self.optimizer_name}"
        for old, new in SHORT:
            name = name.replace(old, new)
        return f"{name}_s{seed}"


# HRDA trains on large crops, with larger blocks.
HRDA = Experiment(is_hrda=True, margins="cpl2", mask_block=64)
ACDC = replace(HRDA, source="cityscapes", target="acdc", margins="", mask_mode="sep")
PLAIN = Experiment(has_rcs=False, margins="")
DLV2 = Experiment(head="dlv2red", backbone="r101v1c")
PLAIN_DLV2 = replace(DLV2, has_rcs=False, margins="")

TABLES: dict[int, list[Experiment]] = {
    80: [HRDA, replace(HRDA, source="synthia"), ACDC, replace(ACDC, target="darkzurich")],
    81: [
        replace(PLAIN_DLV2, uda="advseg", optimizer="sgd"),
        replace(PLAIN_DLV2, uda="minent", optimizer="sgd"),
        replace(PLAIN_DLV2, uda="dacs"),
        DLV2,
        replace(HRDA, head="dlv2red", backbone="r101v1c"),
        Experiment(),
    ],
    82: [
        replace(HRDA, mask_mode="spsa"),
        replace(HRDA, mask_mode="spa"),
        replace(ACDC, mask_mode="sps"),
        replace(ACDC, mask_mode="spt"),
    ],
    83: [
        Experiment(mask_mode="spt"),
        Experiment(mask_ratio=0),
        Experiment(mask_alpha=0),
        Experiment(mask_threshold=None),
    ],
    84: [
        Experiment(mask_block=block, mask_ratio=ratio)
        for block in (16, 32, 64, 128)
        for ratio in (0.3, 0.5, 0.7, 0.9)
        if (block, ratio) != (32, 0.7)  # is part of 81
    ],
    85: [replace(PLAIN, source="cityscapes", uda="dacs_srconly", mask_mode="sps")],
}


def generate_experiment_cfgs(experiment_id: int) -> list[dict[str, Any]]:
    """Return the configs of an experiment; their `_base_` files are relative to `configs/`."""
    if experiment_id not in TABLES:
        known = ", ".join(map(str, TABLES))
        raise ConfigError(f"expected an experiment among {known}, got {experiment_id}.")
    return [
        {
            "_base_": _bases(experiment),
            "gpu_model": _gpu_model(experiment),
            "n_gpus": 1,
            "seed": seed,
            "model": _model(experiment),
            "data": _data(experiment),
            "uda": _uda(experiment),
            "optimizer_config": None,
            "optimizer": _optimizer(experiment),
            "runner": {"type": "IterBasedRunner", "max_iters": 40000},
            "checkpoint_config": {"by_epoch": False, "interval": 40000, "max_keep_ckpts": 1},
            "evaluation": {"interval": 4000, "metric": "mIoU"},
            "name": experiment.name(seed),
            "exp": experiment_id,
            "name_dataset": experiment.dataset_name,
            "name_architecture": f"{experiment.decoder_name}_{experiment.backbone}",
            "name_encoder": experiment.backbone,
            "name_decoder": experiment.decoder_name,
            "name_uda": experiment.uda_name,
            "name_opt": f"{experiment.optimizer_name}_poly10warm_1x2_40k",
        }
        for experiment in TABLES[experiment_id]
        for seed in SEEDS
    ]


def _bases(experiment: Experiment) -> list[str]:
    size, crop = ("HR", 1024) if experiment.is_hrda else ("", 512)
    data = f"uda_{experiment.source}{size}_to_{experiment.target}{size}_{crop}x{crop}"
    return [
        "_base_/default_runtime.py",
        f"_base_/models/{MODEL_FILES[experiment.head]}.py",
        f"_base_/datasets/{data}.py",
        f"_base_/uda/{experiment.uda}.py",
        f"_base_/schedules/{experiment.optimizer}.py",
        "_base_/schedules/poly10warm.py",
    ]


def _gpu_model(experiment: Experiment) -> str:
    """Name a card with enough memory: HRDA and a second teacher need 24 GB."""
    has_second_teacher = (experiment.mask_alpha, experiment.mask_threshold) != ("same", "same")
    needs_24_gb = experiment.is_hrda or has_second_teacher
    return "NVIDIATITANRTX" if needs_24_gb else "NVIDIAGeForceRTX2080Ti"


def _model(experiment: Experiment) -> dict[str, Any]:
    model: dict[str, Any] = {**BACKBONES[experiment.backbone], "decode_head": {}}
    if not experiment.is_hrda:
        return model
    windows = {"stride": [512, 512], "crop_size": [1024, 1024]}
    return model | {
        "type": "HRDAEncoderDecoder",
        "decode_head": {
            "type": "HRDAHead",
            "single_scale_head": SINGLE_SCALE_HEADS[experiment.head],
            "attention_classwise": True,
            "hr_loss_weight": 0.1,
        },
        "scales": [1, 0.5],
        "hr_crop_size": (512, 512),
        "feature_scale": 0.5,
        "crop_coord_divisible": 8,
        "hr_slide_inference": True,
        "test_cfg": {**windows, "mode": "slide", "batched_slide": True},
    }


def _data(experiment: Experiment) -> dict[str, Any]:
    train: dict[str, Any] = {}
    if experiment.margins == "cpl2":
        train["target"] = {"crop_pseudo_margins": [30, 240, 30, 30]}
    if experiment.has_rcs:
        ratio = 2.0 if experiment.is_hrda else 0.5
        sampling = {"min_pixels": 3000, "class_temp": 0.01, "min_crop_ratio": ratio}
        train["rare_class_sampling"] = sampling
    return {"samples_per_gpu": 2, "workers_per_gpu": 1, "train": train}


def _uda(experiment: Experiment) -> dict[str, Any]:
    rows = {"pseudo_weight_ignore_top": 15, "pseudo_weight_ignore_bottom": 120}
    blocks = {"mask_ratio": experiment.mask_ratio, "mask_block_size": experiment.mask_block}
    return {
        **(rows if experiment.margins == "cpl" else {}),
        "mask_mode": MASK_MODES[experiment.mask_mode],
        "mask_alpha": experiment.mask_alpha,
        "mask_pseudo_threshold": experiment.mask_threshold,
        "mask_lambda": 1,
        "mask_generator": {"type": "block", **blocks, "_delete_": True},
    }


def _optimizer(experiment: Experiment) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if experiment.optimizer == "adamw":
        keys["head"] = {"lr_mult": 10.0}
    if experiment.backbone == "mitb5":
        keys |= {"pos_block": {"decay_mult": 0.0}, "norm": {"decay_mult": 0.0}}
    lr = LEARNING_RATES[experiment.optimizer]
    return {"lr": lr, "paramwise_cfg": {"custom_keys": keys}}
