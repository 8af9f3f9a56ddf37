"""Draw one training iteration of CDDA as `iteration.svg` beside this file.

python docs/drawings/iteration.py

Every box carries the name of a class, function, or method, and links to the file that defines it.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

UDA = "mmseg/models/uda"
LEFT, WIDTH, HEIGHT, BOX_HEIGHT = 30, 930, 896, 56
# x and width of the boxes in a row: a phase and two, or three, that it uses; CDDA's columns.
TWO = ((70, 240), (326, 289), (631, 289))
THREE = ((70, 240), (326, 187), (530, 187), (733, 187))
FOUR = ((90, 187), (297, 187), (504, 187), (711, 187))
ROWS = dict.fromkeys((76, 164, 252, 728, 816), TWO) | dict.fromkeys((372, 444, 516), FOUR)
ROWS[640] = THREE
# Row (its y) | name | file, below UDA or else below the root | what it does | phase, trains
BOXES = """
76 | DACS._update_teachers | dacs.py | before anything else | phase
76 | Teacher.update | teacher.py | θ′ ← α θ′ + (1 − α) θ |
76 | MaskedConsistency.update_teacher | masking.py | a second teacher, if there is one |
164 | DACS._train_on_source | dacs.py | cross-entropy with the true labels | phase trains
164 | FeatureDistance | feature_distance.py | stay close to the features of ImageNet | trains
164 | downscale_label | feature_distance.py | where the things are |
252 | Teacher.label | teacher.py | the teacher looks at the target | phase
252 | PseudoLabel | teacher.py | label, confident pixels, weight w |
252 | trusted_pixels | margins.py | trust: 0 on margins and padding |
372 | CDDA.match | depthmetric/cdda.py | for each target image | phase
372 | DepthMetric | depthmetric/metric.py | best source crop m* |
372 | CDDA._guide | depthmetric/cdda.py | on the un-mixed target | phase trains
372 | CDDA._replace | depthmetric/cdda.py | what is mixed in | phase
444 | depth_histogram | depthmetric/histogram.py | pixels per class and depth |
444 | class_similarity | depthmetric/similarity.py | (cos_c + 1 − l1_c) / 2 |
444 | guidance_prior | depthmetric/guidance.py | missing classes: p_c(b) |
444 | Replacement | depthmetric/replacement.py | crop m* as the source |
516 | Bank | depthmetric/bank.py | of all M source crops |
516 | reweight | depthmetric/reweighting.py | weights by class similarity |
516 | soft_cross_entropy | depthmetric/guidance.py | with pixel weight 0.1·w | trains
640 | DACS._train_on_mix | dacs.py | cross-entropy on the mixed image | phase trains
640 | class_mask | mixing.py | half of the source's classes |
640 | paste | mixing.py | image, label, and weight |
640 | StrongAugmentation | mixing.py | color jitter and blur |
728 | MaskedConsistency | masking.py | only with a mask_mode (MIC) | phase
728 | MaskedConsistency.relabel | masking.py | by a second teacher, if there is one |
728 | MaskedConsistency.train_on | masking.py | predict the classes of hidden blocks | trains
816 | Updates.after | mmseg/engine/updates.py | the engine steps the optimizer | phase
816 | average_gradients | mmseg/system/gradient_averaging.py | mean over all processes |
"""
ARROWS = (  # from y, to y, what is handed over
    (132, 162, ""),
    (220, 250, ""),
    (308, 334, "pseudo-label, w, trust, depth of the target"),
    (588, 638, "re-weighted pseudo-label, source with the matched crops"),
    (696, 726, "pseudo-label and its weights"),
    (784, 814, "the sum of all gradients"),
)
STYLE = """
svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #8c959f; --box: #f6f8fa;
      --warm: #fff4d9; --warm-line: #bf8700; --panel: #eef5ff; --panel-line: #0969da; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --soft: #a3acb6; --line: #6e7681; --box: #161b22;
        --warm: #332708; --warm-line: #d29922; --panel: #0c1d33; --panel-line: #4493f8; } }
text { fill: var(--ink); font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.name { font: 600 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.note { fill: var(--soft); }
.title { font-size: 17px; font-weight: 600; }
.paper { fill: var(--paper); }
.panel { fill: var(--panel); stroke: var(--panel-line); stroke-width: 1.5; }
.box { fill: var(--box); stroke: var(--line); }
.phase { stroke-width: 2; }
.trains { fill: var(--warm); stroke: var(--warm-line); }
.arrow { stroke: var(--line); stroke-width: 1.5; fill: none; marker-end: url(#head); }
.head { fill: var(--line); }
a:hover .box { stroke: var(--ink); }
"""


class Box(NamedTuple):
    """A class, function, or method, where it is defined, and what it does."""

    name: str
    file: str  # from the root
    note: str = ""
    look: str = ""  # "phase", "trains" (adds gradients to the student), or both


def boxes() -> Iterator[tuple[Box, int, int, int]]:
    """Yield every box with its x, y, and width."""
    columns = {y: iter(places) for y, places in ROWS.items()}
    for line in BOXES.strip().splitlines():
        y, name, file, note, look = (part.strip() for part in line.split("|"))
        x, width = next(columns[int(y)])
        yield Box(name, file if "mmseg" in file else f"{UDA}/{file}", note, look), x, int(y), width


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return a line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def link(box: Box, content: str) -> str:
    """Return content that leads to the box's file, seen from this folder."""
    return f'<a href="../../{box.file}" data-name="{box.name}">{content}</a>'


def draw_box(box: Box, x: int, y: int, width: int) -> str:
    """Return a box with its name and note."""
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="6"'
    shape += f' class="{f"box {box.look}".strip()}"/>'
    lines = text(x + 12, y + 23, box.name, "name") + text(x + 12, y + 43, box.note, "note")
    return link(box, shape + lines)


def draw() -> str:
    """Return the whole drawing."""
    start = Box("DACS.accumulate_gradients", f"{UDA}/dacs.py")
    refine = Box("CDDA.refine", f"{UDA}/depthmetric/cdda.py")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{LEFT} 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>One training iteration of CDDA</title>",
        f"<style>{STYLE}</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0 8 4 0 8z" class="head"/></marker>',
        f'<rect x="{LEFT}" width="{WIDTH}" height="{HEIGHT}" rx="12" class="paper"/>',
        link(start, text(70, 34, start.name, "name title")),
        text(70, 56, "From top to bottom. Thick border: a phase. Thin: what it uses."),
        '<rect x="710" y="22" width="16" height="16" rx="3" class="box trains"/>',
        text(734, 35, "adds gradients to the student"),
        '<rect x="70" y="336" width="850" height="250" rx="10" class="panel"/>',
        link(refine, text(90, 359, refine.name, "name")),
        text(190, 359, "only with uda.matrix_path", "note"),
        *(f'<path d="M{x} 400 h18" class="arrow"/>' for x in (485, 692)),
        *(draw_box(*each) for each in boxes()),
    ]
    for top, bottom, words in ARROWS:
        parts.append(f'<path d="M190 {top} V{bottom}" class="arrow"/>')
        parts.append(text(206, (top + bottom) / 2 + 4, words, "note"))
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
