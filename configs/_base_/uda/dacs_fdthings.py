"""Self-training with the feature distance on the thing classes."""

_base_ = ["dacs_fd.py"]

uda = dict(
    imnet_feature_dist_classes=[6, 7, 11, 12, 13, 14, 15, 16, 17, 18],
    imnet_feature_dist_scale_min_ratio=0.75,
    imnet_feature_dist_scale_method="ratio",  # the only one
)
