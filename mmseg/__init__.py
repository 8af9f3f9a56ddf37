"""cdda-seg: domain-adaptive semantic segmentation with CDDA, DAFormer, HRDA, and MIC."""

from pathlib import Path

from mmseg.system.shared_folder import refuse_shared_folder

__version__ = "0.1.0"

refuse_shared_folder(Path(__file__).parent)
