"""Poles, traffic lights, traffic signs and bins."""

import numpy as np

from demo.camera import Array, Frame, upright_frame
from demo.materials import Palette
from demo.scene import Face, Thing, bar, disc, rectangle


def _thing(faces: list[Face], x: float, z: float, height: float, radius: float = 0.1) -> Thing:
    around = radius * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return Thing(faces, z, np.array([x, z]) + around, height)


def lamp_post(x: float, z: float, palette: Palette, towards: float) -> Thing:
    """Draw a street lamp of 6 to 8 m; its arm reaches towards the road (1: right, -1: left)."""
    height = palette.rng.uniform(6, 8)
    paint, lamp = palette.pick_all("pole", "sign white")
    frame = upright_frame(x, z)
    end = (towards * 1.6, height + 0.3)
    faces = [
        Face(frame, rectangle(-0.11, 0, 0.11, height), paint, "pole"),
        Face(frame, bar((0, height - 0.1), end, 0.14), paint, "pole"),
        Face(frame, bar((towards * 1.0, height + 0.1), end, 0.2), lamp, "pole"),
    ]
    return _thing(faces, x, z, height)


def bollard(x: float, z: float, palette: Palette) -> Thing:
    """Draw a plain post, 2.5 to 5 m high."""
    height = palette.rng.uniform(2.5, 5.0)
    faces = [
        Face(upright_frame(x, z), rectangle(-0.1, 0, 0.1, height), palette.pick("pole"), "pole")
    ]
    return _thing(faces, x, z, height)


def _lamps(frame: Frame, palette: Palette, s: float, bottom: float) -> list[Face]:
    """Draw a box of 0.5 m x 1.15 m with a pale rim and three lenses, one of them lit."""
    housing, rim, off = palette.pick_all("housing", "sign white", "dark lens")
    lit = int(palette.rng.integers(3))
    faces = [
        Face(
            frame, rectangle(s - 0.32, bottom - 0.08, s + 0.32, bottom + 1.23), rim, "traffic light"
        ),
        Face(frame, rectangle(s - 0.25, bottom, s + 0.25, bottom + 1.15), housing),
    ]
    for i, name in enumerate(("green light", "amber light", "red light")):
        lens = palette.pick(name) if i == lit else off
        faces.append(Face(frame, disc(s, bottom + 0.2 + 0.37 * i, 0.18, 10), lens))
    return faces


def traffic_light(x: float, z: float, palette: Palette, towards: float) -> Thing:
    """Draw a traffic light on its post; one in two also hangs over the road."""
    paint = palette.pick("pole")
    frame = upright_frame(x, z)
    has_arm = palette.rng.random() < 0.5
    height = 5.6 if has_arm else 3.4
    faces = [Face(frame, rectangle(-0.09, 0, 0.09, height), paint, "pole")]
    faces += _lamps(frame, palette, 0.0, 2.3)
    if has_arm:
        reach = towards * palette.rng.uniform(2.4, 3.6)
        faces.append(
            Face(frame, bar((0, height - 0.1), (reach, height - 0.1), 0.14), paint, "pole")
        )
        faces += _lamps(frame, palette, reach, height - 1.0)
    return _thing(faces, x, z, height)


TRIANGLE = np.array([(-0.5, -0.35), (0.5, -0.35), (0, 0.52)])
DIAMOND = np.array([(-0.5, 0), (0, -0.5), (0.5, 0), (0, 0.5)])


def _plates() -> list[list[tuple[Array, str]]]:
    """Return the designs of signs: outlines around (0, 0), largest first, each with its paint."""
    bar_outline = rectangle(-0.3, -0.09, 0.3, 0.09)
    return [
        [(disc(0, 0, 0.46, 14), "sign red"), (disc(0, 0, 0.31, 12), "sign white")],
        [(disc(0, 0, 0.46, 14), "sign red"), (bar_outline, "sign white")],
        [(disc(0, 0, 0.44, 14), "sign blue"), (bar_outline[:, ::-1], "sign white")],
        [(TRIANGLE, "sign red"), (TRIANGLE * 0.6, "sign white")],
        [(DIAMOND, "sign white"), (DIAMOND * 0.75, "sign yellow")],
        [(rectangle(-0.4, -0.4, 0.4, 0.4), "sign blue"), (TRIANGLE * 0.6, "sign white")],
    ]


def traffic_sign(x: float, z: float, palette: Palette) -> Thing:
    """Draw one or two plates of 0.9 m on a post, 2 m above the ground."""
    rng = palette.rng
    frame = upright_frame(x, z, rng.uniform(-0.25, 0.25))
    designs = _plates()
    heights = [2.5, 3.4] if rng.random() < 0.4 else [2.5]
    faces = [Face(frame, rectangle(-0.06, 0, 0.06, heights[-1]), palette.pick("pole"), "pole")]
    for middle in heights:
        design = designs[rng.integers(len(designs))]
        for i, (outline, paint) in enumerate(design):
            label = "traffic sign" if i == 0 else None
            faces.append(Face(frame, outline + (0, middle), palette.pick(paint), label))
    return _thing(faces, x, z, heights[-1] + 0.4)


def guide_sign(x: float, z: float, palette: Palette, towards: float) -> Thing:
    """Draw a large blue direction sign of 3 m x 1.5 m on two posts."""
    frame = upright_frame(x, z)
    pole, blue, white = palette.pick_all("pole", "sign blue", "sign white")
    left = 0.0 if towards > 0 else -3.0
    faces = [
        Face(frame, rectangle(left + s, 0, left + s + 0.12, 2.4), pole, "pole") for s in (0.4, 2.4)
    ]
    faces.append(Face(frame, rectangle(left, 2.2, left + 3.0, 3.7), blue, "traffic sign"))
    lines = [
        rectangle(left + 0.3, t, left + e, t + 0.2) for t, e in ((2.5, 2.0), (2.9, 2.6), (3.3, 1.6))
    ]
    faces += [Face(frame, line, white) for line in lines]
    return _thing(faces, x, z, 3.7)


def litter_bin(x: float, z: float, palette: Palette) -> Thing:
    """Draw a bin of 1 m: Cityscapes calls it static and does not train it."""
    dark, paint = palette.pick_all("housing", "bin")
    frame = upright_frame(x, z)
    faces = [
        Face(frame, rectangle(-0.3, 0, 0.3, 1.0), paint, "static"),
        Face(frame, rectangle(-0.34, 0.9, 0.34, 1.05), dark, "static"),
    ]
    return _thing(faces, x, z, 1.0, 0.3)
