"""Whole networks: image → losses or label maps."""

from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.models.segmentors.hrda_encoder_decoder import HRDAEncoderDecoder, HRDAFeatures
from mmseg.models.segmentors.slide_inference import slide_logits, window_boxes, windows_per_call
from mmseg.models.segmentors.training_parts import Box, BoxDraws, FeatureView

__all__ = [
    "Box",
    "BoxDraws",
    "EncoderDecoder",
    "FeatureView",
    "HRDAEncoderDecoder",
    "HRDAFeatures",
    "slide_logits",
    "window_boxes",
    "windows_per_call",
]
