"""Train on the labeled source alone, with the data of self-training; MIC may mask its images."""

_base_ = ["dacs.py"]

uda = dict(source_only=True)
