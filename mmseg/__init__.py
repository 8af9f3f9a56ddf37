"""Domain-adaptive semantic segmentation: CDDA, DAFormer, HRDA and MIC."""

__version__ = "0.1.0"
