"""Write `model_zoo.md` beside this file, from the configs and `configs/published.json`.

python docs/model_zoo.py
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmseg.config import load_config  # noqa: E402
from mmseg.datasets.labels import CLASSES  # noqa: E402
from mmseg.evaluation.report import SYNTHIA_16  # noqa: E402

PAGE = Path(__file__).with_suffix(".md")
PUBLISHED = json.loads((ROOT / "configs/published.json").read_text())
# By folder of configs, in the order of the tables: what the method is called.
METHODS = {
    "source_only": "source only",
    "oracle": "oracle (supervised on the target)",
    "advseg": "AdvSeg",
    "minent": "MinEnt",
    "dacs": "DACS",
    "daformer": "DAFormer",
    "hrda": "HRDA",
    "mic": "MIC",
    "vfm": "VFM-UDA",
    "cdda": "CDDA",
}
PAIRS = {  # beginnings of file names
    "GTA → Cityscapes": ("gta2cs", "gtaHR2csHR", "cs_oracle", "csHR_oracle"),
    "SYNTHIA → Cityscapes": ("synthia2cs", "synthiaHR2csHR", "cs_oracle", "csHR_oracle"),
    "Cityscapes → ACDC": ("cs2acdc", "csHR2acdcHR"),
    "Cityscapes → Dark Zurich": ("cs2darkzurich", "csHR2darkzurichHR"),
}
NETWORKS = {
    "daformer_sepaspp_mitb5": "DAFormer, MiT-B5",
    "hrda1-512-0.1_daformer_sepaspp_sl_mitb5": "HRDA on DAFormer, MiT-B5",
    "dlv2red_r101v1c": "DeepLabV2, ResNet-101",
}
for _size in "sbl":
    NETWORKS[f"light_dinov2_{_size}"] = f"light head, DINOv2 ViT-{_size.upper()}"
    NETWORKS[f"adapter_pyramid_dinov2_{_size}"] = f"ViT-Adapter, DINOv2 ViT-{_size.upper()}"
UNKNOWN, NEW = "see the paper", "none: this combination is new"
# Peak memory and hours of a whole run of this program, by config, once somebody has measured them.
MEASURED: dict[str, str] = {}
START = """# Model zoo

Train any config of these tables:

```shell
python run_experiments.py --config configs/hrda/gtaHR2csHR_hrda
```

`python docs/model_zoo.py` makes this page, from the configs and `configs/published.json`. The
numbers are the papers' own; they have *not* been reproduced with this program yet. DAFormer, HRDA,
and MIC report the last iteration, the mean of three seeds; CDDA reports the best checkpoint on the
validation set. A run prints both. Those of VFM-UDA and VFM-UDA++ are of the released weights, by
their authors, who say that these were trained again and differ a little from the papers; there are
none of single classes. (An earlier page of theirs calls the network of the number for SYNTHIA
ViT-L.) Numbers for ACDC and Dark Zurich are published for their test splits, which only the test
servers can evaluate; on Dark Zurich, validation and test differ much.

People report, for the original programs: DAFormer 16 hours on an RTX 2080 Ti (9.7 GB), HRDA 32
hours on a Titan RTX (22.5 GB), MIC about two days (about 29 GB). Nothing has been measured with
this program on a GPU yet. The pages of the [data](data.md) and the
[weights](../pretrained/README.md) say where they come from. CDDA also needs [depth
maps](depth_maps.md) and [source crops](data.md#cut-the-source-crops); nothing else reads depth.
"""
HEAD = ["method", "config", "network", "crop", "published mIoU", "weights", "memory, hours"]


def configs() -> list[str]:
    """Return the configs of the tables, as paths without suffix."""
    files = (
        file for folder in METHODS for file in sorted((ROOT / "configs" / folder).glob("*.py"))
    )
    return [file.relative_to(ROOT).with_suffix("").as_posix() for file in files]


def page() -> str:
    """Return the text of the page."""
    return "\n".join([START, *tables(), *classes()])


def tables() -> Iterator[str]:
    """Yield a table for each pair of domains."""
    for title, prefixes in PAIRS.items():
        names = [c for c in configs() if Path(c).name.startswith(tuple(f"{p}_" for p in prefixes))]
        yield f"## {title}\n"
        yield from markdown(HEAD, [row(name) for name in names])


def row(name: str) -> list[str]:
    """Return the cells of a config."""
    cfg: Any = load_config(ROOT / name)
    method = METHODS[Path(name).parent.name]
    if method == "CDDA":
        method += " on " + Path(name).name.rpartition("_cdda_")[2].split("_")[0].upper()
        method = method.replace("DAFORMER", "DAFormer").replace(" on UDA", " on DAFormer")
        method = method.replace("VFM", "VFM-UDA++")
    if "vfmudapp" in name:
        method += "++"
    entry, scores = PUBLISHED.get(name, {}), []
    for key, label in (("mIoU", "{}"), ("mIoU16", "{} (16 classes)"), ("mIoU13", "{} (13)")):
        scores += [label.format(entry[key])] if key in entry else []
    published = f"{', '.join(scores)}; {entry['protocol']}" if scores else UNKNOWN
    published = NEW if "_cdda_vfm_" in name else published
    crop = "×".join(map(str, cfg.crop_size))
    cells = [method, f"`{name}`", NETWORKS[cfg.name_architecture], crop]
    return [*cells, published, f"`{cfg.model.pretrained}`", MEASURED.get(name, "not measured")]


def classes() -> Iterator[str]:
    """Yield the published IoU of every class, for both synthetic sources."""
    everything = tuple(range(len(CLASSES)))
    for title, key, kept in (("GTA", "mIoU", everything), ("SYNTHIA", "mIoU16", SYNTHIA_16)):
        entries = {name: PUBLISHED.get(name, {}) for name in configs()}
        found = [name for name, entry in entries.items() if key in entry and "IoU" in entry]
        columns = {row(name)[0]: PUBLISHED[name]["IoU"] for name in found}
        yield f"## Published IoU per class, {title} → Cityscapes\n"
        lines = [
            [CLASSES[c], *(str(values[i]) for values in columns.values())]
            for i, c in enumerate(kept)
        ]
        yield from markdown(["class", *columns], lines)


def markdown(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table, and an empty one."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
