"""What is there and what is wrong in the data of a config, found before any training."""

from mmseg.apis.data_check.check import CheckedData, check_data
from mmseg.apis.data_check.findings import KINDS, Finding
from mmseg.apis.data_check.report import as_json, as_text
from mmseg.apis.data_check.samples import draw_samples

__all__ = ["KINDS", "CheckedData", "Finding", "as_json", "as_text", "check_data", "draw_samples"]
