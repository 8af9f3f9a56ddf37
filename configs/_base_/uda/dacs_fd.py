"""Self-training with the feature distance on all pixels."""

_base_ = ["dacs.py"]

uda = dict(imnet_feature_dist_lambda=0.005)
