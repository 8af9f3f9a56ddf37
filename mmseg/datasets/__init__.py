"""What a sample is: files -> samples -> batches."""

from mmseg.config.registry import DATASETS, PIPELINES
from mmseg.datasets.acdc import ACDCDataset
from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.crop_store import CropStore
from mmseg.datasets.custom import CustomDataset, build_dataset
from mmseg.datasets.dark_zurich import DarkZurichDataset
from mmseg.datasets.folder import FolderDataset
from mmseg.datasets.gta import GTADataset
from mmseg.datasets.loader import build_test_loader, build_train_loader, collate
from mmseg.datasets.short_names import short_name, unlabeled_classes_of
from mmseg.datasets.synthia import SynthiaDataset
from mmseg.datasets.uda_dataset import UDADataset

__all__ = [
    "DATASETS", "PIPELINES", "ACDCDataset", "CityscapesDataset", "CropStore", "CustomDataset",
    "DarkZurichDataset", "FolderDataset", "GTADataset", "SynthiaDataset", "UDADataset",
    "build_dataset", "build_test_loader", "build_train_loader", "collate", "short_name",
    "unlabeled_classes_of",
]  # fmt: skip
