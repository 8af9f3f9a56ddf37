"""People and two-wheelers: flat figures on an upright plane, in meters.

Every function returns faces in the plane's coordinates: s to the right, t up from the ground.
"""

import numpy as np

from demo.camera import Array, Frame, upright_frame
from demo.materials import Palette
from demo.scene import Face, Material, Thing, bar, disc, rectangle, ring


def _painted(frame: Frame, label: str | None, parts: list[tuple[Array, Material]]) -> list[Face]:
    return [Face(frame, outline, material, label) for outline, material in parts]


def _thing(frame: Frame, faces: list[Face], half_width: float, height: float) -> Thing:
    x, _, z = frame.origin
    side = half_width * frame.s_axis[[0, 2]]
    across = np.array([-side[1], side[0]]) * 0.15 / half_width
    middle = np.array([x, z])
    footprint = np.array([middle + a * side + b * across for a in (-1, 1) for b in (-1, 1)])
    return Thing(faces, float(z), footprint, height)


def person(x: float, z: float, palette: Palette) -> Thing:
    """Draw a pedestrian of 1.5 to 1.9 m, walking or standing."""
    rng = palette.rng
    tall = rng.uniform(0.88, 1.06) * 1.75
    stride = rng.choice([0.03, 0.12, 0.2])
    swing = stride * rng.choice([-0.4, 0.4])
    skin, hair, shirt, trousers = palette.pick_all("skin", "hair", "shirt", "trousers")
    chest = [(-0.17, 0.8), (0.17, 0.8), (0.25, 1.42), (0.1, 1.5), (-0.1, 1.5), (-0.25, 1.42)]
    parts = [
        (bar((-0.07, 0.86), (-0.06 - stride, 0.0), 0.2), trousers),
        (bar((0.07, 0.86), (0.06 + stride, 0.0), 0.2), trousers),
        (bar((-0.22, 1.4), (-0.28 - swing, 0.82), 0.13), shirt),
        (bar((0.22, 1.4), (0.28 + swing, 0.82), 0.13), shirt),
        (np.array(chest), shirt),
        (disc(0, 1.62, 0.14, 9), skin),
        (disc(0.01, 1.69, 0.11, 8), hair),
    ]
    scale = tall / 1.75
    frame = upright_frame(x, z, rng.uniform(-0.5, 0.5))
    faces = _painted(frame, "person", [(outline * scale, paint) for outline, paint in parts])
    return _thing(frame, faces, 0.3, tall)


def _bicycle_side(frame: Frame, palette: Palette) -> list[Face]:
    """Draw a bicycle seen from the side, 1.75 m long; the ground shows through its wheels."""
    tyre, paint = palette.pick_all("tyre", "bicycle")
    rear, front, radius = (-0.53, 0.34), (0.53, 0.34), 0.34
    hull = np.array([rear, (-0.25, 0.92), (0.36, 0.95), front, (0.05, 0.28)])
    faces = [Face(frame, disc(*hub, radius), None, "bicycle") for hub in (rear, front)]
    faces.append(Face(frame, hull, None, "bicycle"))
    faces += [Face(frame, ring(*hub, radius, 0.1), tyre) for hub in (rear, front)]
    tubes = [(rear, (-0.18, 0.78)), ((-0.18, 0.78), (0.0, 0.3)), ((0.0, 0.3), (0.38, 0.8)),
             ((-0.18, 0.74), (0.36, 0.78)), (rear, (0.0, 0.3)), (front, (0.36, 0.98))]  # fmt: skip
    faces += [Face(frame, bar(a, b, 0.09), paint) for a, b in tubes]
    faces += [Face(frame, rectangle(-0.3, 0.84, -0.06, 0.9), tyre, "bicycle")]
    return [*faces, Face(frame, bar((0.3, 1.0), (0.46, 1.04), 0.06), tyre, "bicycle")]


def _bicycle_end(frame: Frame, palette: Palette) -> list[Face]:
    """Draw a bicycle seen from behind or from the front."""
    tyre, paint, lamp = palette.pick_all("tyre", "bicycle", "tail light")
    parts = [
        (rectangle(-0.07, 0, 0.07, 0.7), tyre),
        (rectangle(-0.1, 0.6, 0.1, 0.95), paint),
        (rectangle(-0.05, 0.62, 0.05, 0.72), lamp),
        (bar((-0.3, 1.0), (0.3, 1.0), 0.06), paint),
    ]
    return _painted(frame, "bicycle", parts)


def _motorcycle_side(frame: Frame, palette: Palette) -> list[Face]:
    """Draw a motorcycle seen from the side, 2.1 m long: fat wheels, engine, tank, seat, exhaust."""
    tyre, paint, engine, dark = palette.pick_all("tyre", "motorcycle", "engine", "housing")
    parts = [
        (disc(-0.7, 0.32, 0.32), tyre),
        (disc(0.72, 0.32, 0.32), tyre),
        (disc(-0.7, 0.32, 0.15, 8), engine),
        (disc(0.72, 0.32, 0.15, 8), engine),
        (rectangle(-0.35, 0.2, 0.35, 0.66), engine),
        (bar((-0.95, 0.34), (0.1, 0.28), 0.12), dark),
        (np.array([(-1.0, 0.86), (-0.9, 0.7), (0.05, 0.62), (0.0, 0.86)]), dark),
        (np.array([(-0.05, 0.64), (0.42, 0.6), (0.5, 0.95), (0.2, 1.06), (-0.05, 0.9)]), paint),
        (bar((0.45, 0.98), (0.74, 0.34), 0.1), engine),
        (np.array([(0.4, 0.8), (0.75, 0.85), (0.62, 1.15), (0.48, 1.22)]), paint),
        (bar((0.28, 1.1), (0.48, 1.14), 0.07), dark),
    ]
    return _painted(frame, "motorcycle", parts)


def _motorcycle_end(frame: Frame, palette: Palette) -> list[Face]:
    """Draw a motorcycle seen from behind."""
    tyre, paint, lamp, plate, dark = palette.pick_all(
        "tyre", "motorcycle", "tail light", "plate", "housing"
    )
    parts = [
        (rectangle(-0.1, 0, 0.1, 0.65), tyre),
        (np.array([(-0.26, 0.5), (0.26, 0.5), (0.2, 0.95), (-0.2, 0.95)]), paint),
        (rectangle(-0.32, 0.4, -0.2, 0.6), dark),
        (rectangle(-0.14, 0.74, 0.14, 0.84), lamp),
        (rectangle(-0.1, 0.54, 0.1, 0.66), plate),
        (bar((-0.42, 1.1), (0.42, 1.1), 0.08), dark),
    ]
    return _painted(frame, "motorcycle", parts)


def _rider_side(frame: Frame, palette: Palette, seat: float, with_vest: bool) -> list[Face]:
    """Draw someone leaning forward to the handlebar, seat at height `seat`."""
    skin, helmet, trousers = palette.pick_all("skin", "helmet", "trousers")
    shirt = palette.pick("vest" if with_vest else "shirt")
    shell = np.array([(0.05, 0.82), (0.35, 0.82), (0.3, 0.97), (0.1, 0.97)]) + (0, seat)
    hip, shoulder = (-0.2, seat + 0.08), (0.1, seat + 0.62)
    parts = [
        (bar(hip, (0.2, seat - 0.12), 0.19), trousers),
        (bar((0.2, seat - 0.08), (0.06, seat - 0.6), 0.15), trousers),
        (bar((hip[0], hip[1] - 0.1), shoulder, 0.32), shirt),
        (bar(shoulder, (0.4, seat + 0.26), 0.11), shirt),
        (disc(0.2, seat + 0.8, 0.12, 9), skin),
        (shell, helmet),
    ]
    return _painted(frame, "rider", parts)


def _rider_end(frame: Frame, palette: Palette, seat: float, with_vest: bool) -> list[Face]:
    """Draw someone on a seat, seen from behind: knees apart, arms out to the handlebar."""
    helmet, trousers = palette.pick_all("helmet", "trousers")
    shirt = palette.pick("vest" if with_vest else "shirt")
    parts = [
        (bar((-0.14, seat + 0.1), (-0.2, seat - 0.62), 0.16), trousers),
        (bar((0.14, seat + 0.1), (0.2, seat - 0.62), 0.16), trousers),
        (bar((-0.22, seat + 0.6), (-0.36, seat + 0.2), 0.12), shirt),
        (bar((0.22, seat + 0.6), (0.36, seat + 0.2), 0.12), shirt),
        (np.array([(-0.2, seat), (0.2, seat), (0.27, seat + 0.62), (-0.27, seat + 0.62)]), shirt),
        (disc(0, seat + 0.82, 0.15, 9), helmet),
    ]
    return _painted(frame, "rider", parts)


def two_wheeler(x: float, z: float, palette: Palette, kind: str, is_ridden: bool) -> Thing:
    """Draw a bicycle or motorcycle (`kind`), ridden or not, from the side or from behind."""
    rng = palette.rng
    from_side = rng.random() < 0.75
    turn = rng.uniform(-0.6, 0.6) + np.pi * rng.integers(2) if from_side else rng.uniform(-0.3, 0.3)
    frame = upright_frame(x, z, turn)
    machine = {
        ("bicycle", True): _bicycle_side,
        ("bicycle", False): _bicycle_end,
        ("motorcycle", True): _motorcycle_side,
        ("motorcycle", False): _motorcycle_end,
    }[kind, from_side]
    faces = machine(frame, palette)
    seat = 0.95 if kind == "bicycle" else 0.86
    if is_ridden:
        draw = _rider_side if from_side else _rider_end
        faces += draw(frame, palette, seat, kind == "motorcycle" or rng.random() < 0.7)
    half = 0.9 if from_side else 0.35
    return _thing(frame, faces, half, 1.75 if is_ridden else 1.05)
