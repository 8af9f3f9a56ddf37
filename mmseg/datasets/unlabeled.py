"""Datasets that are trained on without their labels."""

import warnings
from collections.abc import Mapping
from typing import Any

from mmseg.config.checking import named
from mmseg.config.values import Section
from mmseg.datasets import pipelines

OWN_STEPS = frozenset(pipelines.__all__)
LABEL = "gt_semantic_seg"


def without_labels(section: Any) -> Any:
    """Return the section of a dataset with a pipeline that does not read labels.

    Of a list of sections, that is a list; a dataset stays as it is.
    Two kinds of pipelines stay as they are: those with steps of a user's own, which may need the
    labels, and those that read labels because a `RandomCrop` chooses its window by them.
    """
    if isinstance(section, list | tuple):
        return [without_labels(part) for part in section]
    if not isinstance(section, Mapping):
        return section
    steps = section.get("pipeline") or ()
    if not all(isinstance(step, Mapping) and step.get("type") in OWN_STEPS for step in steps):
        return section
    ratios = [s["cat_max_ratio"] for s in steps if s.get("cat_max_ratio", 1) < 1]
    if ratios and section.get("ann_dir") and any(s["type"] == "LoadAnnotations" for s in steps):
        return section
    if ratios:
        key = named(section, "pipeline", "the target")
        warnings.warn(
            f"{key}: cat_max_ratio={ratios[0]} of RandomCrop has no effect, because it tests the "
            "labels of a window, and there are none.",
            stacklevel=2,
        )
    kept = [_without_label(step) for step in steps if step["type"] != "LoadAnnotations"]
    return {**section, "pipeline": kept}


def _without_label(step: Section) -> dict[str, Any]:
    """Return a step that neither tests nor collects the label."""
    changed = {key: value for key, value in step.items() if key != "cat_max_ratio"}
    if step["type"] == "Collect":
        changed["keys"] = [key for key in step["keys"] if key != LABEL]
    return changed
