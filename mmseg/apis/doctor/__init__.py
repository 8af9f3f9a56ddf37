"""One look at everything that a run needs on this machine."""

from mmseg.apis.doctor.examination import Examination, examine
from mmseg.apis.doctor.report import as_json, as_text

__all__ = ["Examination", "as_json", "as_text", "examine"]
