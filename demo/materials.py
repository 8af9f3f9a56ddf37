"""Colors of the street: which paints exist, and how one of them is drawn at random."""

from dataclasses import dataclass, replace

import numpy as np

from demo.scene import Color, Material


@dataclass(frozen=True)
class Look:
    """A family of materials: colors to choose from (0...255), and the texture on top."""

    colors: tuple[tuple[int, int, int], ...]
    mark: tuple[int, int, int] = (0, 0, 0)
    tiles: tuple[str, ...] = ("plain",)
    scale: float = 2.0  # meters per repetition of the tile
    spread: float = 0.06  # how much two draws of one color differ, as a share of it
    glow: float = 0.0


LOOKS: dict[str, Look] = {
    # ground and sky
    "sky": Look(((110, 170, 235),), (250, 250, 250), ("clouds",), 900.0, 0.03, glow=1.0),
    "road": Look(((92, 92, 98),), tiles=("asphalt",), scale=5.0),
    "marking": Look(((235, 235, 230),)),
    "sidewalk": Look(((188, 168, 158),), (120, 104, 98), ("paving",), 2.4),
    "curb": Look(((200, 195, 190),)),
    "terrain": Look(((150, 170, 70),), (90, 110, 35), ("grass",), 3.0),
    "gravel": Look(((130, 118, 105),), tiles=("asphalt",), scale=1.5),
    "rail": Look(((70, 72, 80),)),
    # what lines the street
    "building": Look(
        ((205, 172, 130), (186, 112, 88), (214, 206, 192), (172, 150, 140), (214, 180, 150)),
        (58, 74, 98),
        ("windows", "tall windows", "ribbon windows"),
        6.4,
        0.1,
    ),
    "roof": Look(((150, 70, 55), (90, 85, 90)), tiles=("ribs",), scale=1.5),
    "door": Look(((84, 56, 44), (50, 66, 60), (60, 60, 70))),
    "wall": Look(((126, 112, 104), (112, 108, 108)), (206, 196, 180), ("brick",), 3.2),
    "fence": Look(((164, 100, 50), (222, 212, 190))),
    "leaves": Look(((52, 118, 44), (70, 132, 48), (40, 100, 48)), (22, 56, 22), ("leaves",), 3.2),
    "trunk": Look(((96, 74, 54),), tiles=("ribs",), scale=0.6),
    # furniture
    "pole": Look(((142, 144, 148), (110, 112, 118))),
    "housing": Look(((34, 36, 36),)),
    "red light": Look(((255, 40, 30),), glow=1.0, spread=0.0),
    "amber light": Look(((255, 190, 30),), glow=1.0, spread=0.0),
    "green light": Look(((40, 240, 110),), glow=1.0, spread=0.0),
    "dark lens": Look(((60, 52, 50),)),
    "sign red": Look(((208, 30, 38),)),
    "sign blue": Look(((28, 74, 190),)),
    "sign yellow": Look(((246, 204, 40),)),
    "sign white": Look(((244, 244, 240),)),
    "bin": Look(((96, 104, 84), (120, 100, 60))),
    # people
    "skin": Look(((224, 172, 140), (150, 104, 80), (240, 196, 168)), spread=0.08),
    "hair": Look(((50, 38, 30), (120, 86, 50), (30, 30, 32))),
    "shirt": Look(
        ((196, 50, 60), (230, 224, 214), (60, 120, 190), (120, 66, 140))
        + ((70, 74, 86), (146, 130, 112)),
        tiles=("cloth",),
        scale=0.8,
        spread=0.15,
    ),
    "trousers": Look(((44, 54, 92), (38, 38, 44), (130, 112, 88)), tiles=("cloth",), scale=0.8),
    "vest": Look(((240, 110, 30), (210, 230, 40)), tiles=("cloth",), scale=0.8),
    "helmet": Look(((240, 240, 240), (220, 40, 40), (250, 210, 40))),
    # vehicles
    "car": Look(
        (
            (196, 34, 40),
            (228, 228, 230),
            (40, 84, 170),
            (44, 46, 52),
            (164, 168, 176),
            (90, 30, 40),
        ),
        spread=0.1,
    ),
    "glass": Look(((46, 60, 76),)),
    "tyre": Look(((28, 28, 30),)),
    "rim": Look(((170, 172, 176),)),
    "tail light": Look(((214, 26, 26),), glow=0.6),
    "head light": Look(((255, 250, 220),), glow=0.7),
    "plate": Look(((240, 236, 214),)),
    "bus": Look(((240, 184, 28), (236, 150, 30))),
    "truck box": Look(((236, 236, 232), (96, 150, 214)), tiles=("ribs",), scale=2.4),
    "truck cab": Look(((40, 92, 178), (200, 60, 40), (240, 240, 236))),
    "train": Look(((64, 176, 176), (96, 196, 190))),
    "train stripe": Look(((246, 246, 240),)),
    "motorcycle": Look(((206, 40, 44), (30, 34, 40), (50, 90, 190))),
    "engine": Look(((120, 122, 128),), tiles=("ribs",), scale=0.3),
    "bicycle": Look(((48, 190, 96), (60, 196, 220), (226, 66, 146))),
    "hood": Look(((38, 40, 46),)),
}


def repaint(**changes: dict) -> dict[str, Look]:
    """Return LOOKS with some fields of some looks replaced; `_` in a name stands for a space."""
    changed = {name.replace("_", " "): fields for name, fields in changes.items()}
    return LOOKS | {name: replace(LOOKS[name], **fields) for name, fields in changed.items()}


class Palette:
    """Draws materials for one image."""

    def __init__(self, looks: dict[str, Look], rng: np.random.Generator):
        self.looks = looks
        self.rng = rng

    def pick(self, name: str) -> Material:
        """Return a random member of a family of materials."""
        look = self.looks[name]
        color, tile = (self.rng.random(2) * (len(look.colors), len(look.tiles))).astype(int)
        brightness, *hue = look.spread * self.rng.standard_normal(4) * (1, 0.4, 0.4, 0.4)
        base = np.array(look.colors[color]) * (1 + brightness) * (1 + np.array(hue))
        return Material(
            color=_color(base),
            mark=(look.mark[0] / 255, look.mark[1] / 255, look.mark[2] / 255),
            tile=look.tiles[tile],
            scale=look.scale,
            glow=look.glow,
        )

    def pick_all(self, *names: str) -> list[Material]:
        """Return one random member of each family."""
        return [self.pick(name) for name in names]


def _color(values: np.ndarray) -> Color:
    red, green, blue = (min(max(value / 255, 0.0), 1.0) for value in values.tolist())
    return red, green, blue
