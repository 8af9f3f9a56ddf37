"""The model card of published weights: what they are, how good, under which license, and usage."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.apis.publishing.machine_paths import without_machine
from mmseg.apis.test import results_name
from mmseg.datasets.joint import listed
from mmseg.engine.checkpoint_folder import iteration_of
from mmseg.engine.provenance import pretrained_files
from mmseg.evaluation.report import percent
from mmseg.system.weight_table import DINOV3, known_as

MARK = "library_name: cdda-seg"  # by which a card of this program is known again
LICENSE_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")
TEMPLATE = """---
{license}{mark}
pipeline_tag: image-segmentation
tags: [semantic-segmentation, domain-adaptation]
---

# {title}

A network for semantic segmentation, trained with the program CDDA (`cdda-seg`).

{facts}

## Use

```shell
python tools/predict.py IMAGES --checkpoint {address} --out DIR
```

## Results

{results}

## License

{licenses}
"""
CHOICES = ("hrda_out", "inference_mode", "aug_test")  # of a test, that change its results


@dataclass(frozen=True)
class Card:
    """What a model card says.

    `address` is how commands name the weights; `results` is an entry of `results.json`.
    """

    title: str
    address: str
    config: Mapping[str, Any]
    license: str | None = None
    network: str = "student"
    iteration: int | None = None
    results: Mapping[str, Any] | None = field(default=None)

    def text(self) -> str:
        """Return the card as Markdown, with what the hub reads on top."""
        stated = self.license or "The publisher has stated none: ask before you use these weights."
        return TEMPLATE.format(
            license=self._license_lines(),
            mark=MARK,
            title=self.title,
            facts="\n".join(f"* {name}: {value}" for name, value in self._facts()),
            address=self.address,
            results="\n".join(_result_lines(self.results)),
            licenses="\n".join([stated, *(f"\n* {note}" for note in self.origins())]),
        )

    def origins(self) -> list[str]:
        """Return a sentence for each file that the training started from, with its license."""
        return list(dict.fromkeys(_origins(self.config)))

    def _license_lines(self) -> str:
        if self.license is None:
            return ""
        if LICENSE_ID.fullmatch(self.license):
            return f"license: {self.license}\n"
        return f"license: other\nlicense_name: {json.dumps(self.license)}\n"

    def _facts(self) -> Iterator[tuple[str, str]]:
        model, uda = _section(self.config, "model"), _section(self.config, "uda")
        backbone = _section(model, "backbone")
        network = [model.get("type"), backbone.get("model_name") or backbone.get("type")]
        network.append(_section(model, "decode_head").get("type"))
        parts = {"matrix_path": "depth metric (CDDA)", "mask_mode": "masked images (MIC)"}
        parts |= {"vfm_feature_dist": "distance to a foundation model"}
        method = [uda.get("type") or "supervised", *(w for key, w in parts.items() if uda.get(key))]
        if uda.get("source_only"):
            method = ["source only"]
        train = _section(_section(self.config, "data"), "train")
        name = f"`{self.config.get('name') or 'unnamed'}`, see `config.py`"
        yield "Config", name if self.config else "unknown"
        yield "Network", ", ".join(str(part) for part in network if part) or "unknown"
        yield "Method", ", ".join(method) if self.config else "unknown"
        yield "Trained on", _types(train.get("source") or train)
        if train.get("target"):
            yield "Adapted to", f"{_types(train['target'])}, without its labels"
        yield (
            "Weights",
            f"the {self.network}"
            + (f" after {self.iteration} iterations" if self.iteration is not None else ""),
        )


def is_card(file: Path) -> bool:
    """Tell whether a file is a model card of this program."""
    return MARK.encode() in file.read_bytes().splitlines()


def results_of(
    source: Path, checkpoint: Mapping[str, Any], network: str
) -> Mapping[str, Any] | None:
    """Return the entry of the run's file of results that is about this network of a checkpoint."""
    file = source.with_name(results_name(network))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # there is none, or it is not ours
        return None
    records = [found, found.get("best")] if isinstance(found, dict) else []
    for record in records:
        if not isinstance(record, dict) or not isinstance(record.get("per_class"), dict):
            continue
        is_named = Path(str(record.get("checkpoint"))).name == source.name
        if is_named or record.get("iteration") == iteration_of(checkpoint):
            return record
    return None


def _result_lines(record: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a table of the IoU of each class, in percent."""
    if record is None:
        yield "Nobody has evaluated these weights."
        return
    choices = "".join(f", {key}={record[key]}" for key in CHOICES if key in record)
    split, images = without_machine(record.get("split")), record.get("num_images")
    yield f"On {images} images of `{split}`{choices}, before the weights were stored:\n"
    values = {name: value["IoU"] for name, value in record["per_class"].items()}
    yield from ("| class | IoU |", "|---|---|")
    for name, value in {**values, "**mIoU**": record.get("mIoU")}.items():
        yield f"| {name} | {'–' if value is None else percent([value])[0]} |"


def _origins(config: Mapping[str, Any]) -> Iterator[str]:
    for name in ("model", "uda"):
        for _, path in pretrained_files(_section(config, name), name):
            yield _origin(path)
    if config.get("load_from"):
        yield _origin(str(config["load_from"]))


def _origin(path: str) -> str:
    row = known_as(path)
    license = row.license if row else DINOV3 if "dinov3" in path.lower() else None
    name = row.name if row else path
    said = f"license: {license}" if license else "whose license is not known here"
    return f"Its training started from `{name}`, {said}."


def _types(sections: Any) -> str:
    names = [str(part.get("type")) for part in listed(sections) if isinstance(part, Mapping)]
    return ", ".join(name.removesuffix("Dataset") for name in names) or "unknown"


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, Mapping) else {}
