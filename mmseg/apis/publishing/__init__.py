"""Share one network of a checkpoint: a small file, or a folder with a model card for the hub."""

from mmseg.apis.publishing.publish import PublishOptions, publish

__all__ = ["PublishOptions", "publish"]
