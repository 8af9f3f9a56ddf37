"""Whole networks: image → losses or label maps."""

from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.models.segmentors.hrda_encoder_decoder import HRDAEncoderDecoder
from mmseg.models.segmentors.slide_inference import slide_logits, window_boxes

__all__ = ["EncoderDecoder", "HRDAEncoderDecoder", "slide_logits", "window_boxes"]
