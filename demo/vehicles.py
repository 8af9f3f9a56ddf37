"""Cars, trucks, buses and trains: side profiles pulled out to their width.

A profile is a closed polygon of (length, height) in meters that goes up the rear, forward over the
roof and down the front; length 0 is the rear bumper, and the heading says where the front points.
"""

from dataclasses import dataclass

import numpy as np

from demo.camera import Array, Frame
from demo.materials import Palette
from demo.scene import Face, Material, Thing, disc, rectangle

EYE = np.array([0, 1.5, 0])
"""Where a typical camera is: decides which faces of a body look away."""

UP = np.array([0, 1.0, 0])


@dataclass(frozen=True)
class Pose:
    """Where something stands: its rear center on the road, and its heading (0: away from us)."""

    x: float
    z: float
    heading: float = 0.0

    @property
    def forward(self) -> Array:
        """Unit vector (3,) to the front."""
        return np.array([np.sin(self.heading), 0, np.cos(self.heading)])

    @property
    def right(self) -> Array:
        """Unit vector (3,) to the right-hand side."""
        return np.array([np.cos(self.heading), 0, -np.sin(self.heading)])

    def at(self, forward: float, right: float, up: float = 0.0) -> Array:
        """Return a world position (3,) given in the coordinates of the vehicle."""
        return np.array([self.x, 0, self.z]) + forward * self.forward + right * self.right + up * UP

    def advanced(self, forward: float) -> "Pose":
        """Return the pose of a part that begins `forward` meters ahead of the rear."""
        x, _, z = self.at(forward, 0)
        return Pose(float(x), float(z), self.heading)


@dataclass(frozen=True)
class Body:
    """A profile, its width, and what is painted on it.

    `strips` gives a material to single edges of the profile (edge i runs from point i to i + 1).
    `side` are (outline, material) on both flanks. `ends` are (edge, outline, material) on an edge,
    where s runs over the width from the left-hand side and t along the edge. `wheels` are (length,
    radius).
    """

    label: str
    profile: Array
    width: float
    paint: Material
    strips: dict[int, Material]
    side: list[tuple[Array, Material]]
    ends: list[tuple[int, Array, Material]]
    wheels: list[tuple[float, float]]


def extrude(body: Body, pose: Pose, tyre: Material, rim: Material) -> list[Face]:
    """Return the faces that a viewer at EYE sees, farthest first."""
    strips: list[tuple[float, list[Face]]] = []
    count = len(body.profile)
    for edge in range(count):
        frame, length = _strip_frame(body, pose, edge)
        if np.linalg.det([frame.s_axis, frame.t_axis, EYE - frame.origin]) >= 0:
            continue  # seen from inside
        paint = body.strips.get(edge, body.paint)
        faces = [Face(frame, rectangle(0, 0, body.width, length), paint, body.label)]
        faces += [Face(frame, shape, paint) for on, shape, paint in body.ends if on == edge]
        strips.append((float(frame.origin[2]), faces))
    ordered = [face for _, faces in sorted(strips, key=lambda s: -s[0]) for face in faces]
    return ordered + _flank(body, pose, tyre, rim)


def _strip_frame(body: Body, pose: Pose, edge: int) -> tuple[Frame, float]:
    """Return the plane of a profile's edge, s over the width, t along the edge."""
    start, end = body.profile[edge], body.profile[(edge + 1) % len(body.profile)]
    along = (end[0] - start[0]) * pose.forward + (end[1] - start[1]) * UP
    length = float(np.linalg.norm(along))
    origin = pose.at(start[0], -body.width / 2, start[1])
    return Frame(origin, pose.right, along / length), length


def _flank(body: Body, pose: Pose, tyre: Material, rim: Material) -> list[Face]:
    """Return the one flank that is seen, with windows and wheels."""
    sign = 1 if (EYE - pose.at(0, 0)) @ pose.right > 0 else -1
    if abs((EYE - pose.at(0, 0)) @ pose.right) < body.width / 2:
        return []
    frame = Frame(pose.at(0, sign * body.width / 2), pose.forward, UP)
    faces = [Face(frame, body.profile, body.paint, body.label)]
    faces += [Face(frame, shape, paint) for shape, paint in body.side]
    for position, radius in body.wheels:
        faces.append(Face(frame, disc(position, radius, radius, 10), tyre, body.label))
        faces.append(Face(frame, disc(position, radius, 0.55 * radius, 8), rim))
    return faces


def _end_wheels(body: Body, pose: Pose, tyre: Material) -> list[Face]:
    """Return the tyres under the rear and the front, which show below the bumper."""
    faces = []
    for position, radius in sorted(body.wheels, key=lambda w: -pose.at(w[0], 0)[2]):
        for side in (-1, 1):
            middle = side * (body.width / 2 - 0.14)
            frame = Frame(pose.at(position, middle), pose.right, UP)
            faces.append(Face(frame, rectangle(-0.12, 0, 0.12, radius), tyre, body.label))
    return faces


def _thing(bodies: list[tuple[Body, Pose]], palette: Palette) -> Thing:
    tyre, rim = palette.pick_all("tyre", "rim")
    bodies = sorted(bodies, key=lambda pair: -pair[1].at(pair[0].profile[:, 0].mean(), 0)[2])
    faces: list[Face] = []
    corners = []
    for body, pose in bodies:
        length, height = body.profile.max(axis=0)
        faces += _end_wheels(body, pose, tyre) + extrude(body, pose, tyre, rim)
        for forward in (0, length):
            corners += [pose.at(forward, side * body.width / 2)[[0, 2]] for side in (-1, 1)]
    footprint = np.array(corners)
    return Thing(faces, float(footprint[:, 1].min()), footprint, float(height))


def _rear_lights(palette: Palette, edge: int, width: float, height: float) -> list:
    light, plate = palette.pick_all("tail light", "plate")
    return [
        (edge, rectangle(0.06, height, 0.36, height + 0.16), light),
        (edge, rectangle(width - 0.36, height, width - 0.06, height + 0.16), light),
        (edge, rectangle(width / 2 - 0.26, height - 0.2, width / 2 + 0.26, height - 0.08), plate),
    ]


def _front_lights(palette: Palette, edge: int, width: float, top: float) -> list:
    """Lights on an edge that runs downwards: t counts from its top."""
    light, grille = palette.pick_all("head light", "housing")
    return [
        (edge, rectangle(0.5, top, width - 0.5, top + 0.22), grille),
        (edge, rectangle(0.08, top, 0.42, top + 0.17), light),
        (edge, rectangle(width - 0.42, top, width - 0.08, top + 0.17), light),
    ]


def car(pose: Pose, palette: Palette) -> Thing:
    """Draw a passenger car, 3.9 to 4.6 m long, 1.4 to 1.6 m high."""
    rng = palette.rng
    long, tall, width = rng.uniform(0.95, 1.12), rng.uniform(0.95, 1.08), 1.76
    is_estate = rng.random() < 0.4
    rear_window = (0.12, 0.55) if is_estate else (0.55, 1.05)
    profile = np.array(
        [(0, 0.3), (0, 0.92), (rear_window[0], 0.96), (rear_window[1], 1.46), (2.3, 1.48)]
        + [(3.05, 0.98), (4.05, 0.82), (4.12, 0.3)]
    )
    glass = palette.pick("glass")
    a, b = rear_window
    window = np.array([(a + 0.3, 1.0), (b + 0.12, 1.4), (2.22, 1.41), (2.85, 1.0)])
    pillar = rectangle(1.6, 1.0, 1.7, 1.42)
    size = np.array([long, tall])
    paint = palette.pick("car")
    body = Body(
        label="car",
        profile=profile * size,
        width=width,
        paint=paint,
        strips={2: glass, 4: glass},
        side=[(window * size, glass), (pillar * size, paint)],
        ends=_rear_lights(palette, 0, width, 0.36) + _front_lights(palette, 6, width, 0.08),
        wheels=[(0.75 * long, 0.33), (3.3 * long, 0.33)],
    )
    return _thing([(body, pose)], palette)


def bus(pose: Pose, palette: Palette) -> Thing:
    """Draw a city bus, 9 to 12 m long, with a window band and a display above the screen."""
    length, height, width = palette.rng.uniform(9, 12), 3.1, 2.5
    profile = np.array(
        [(0, 0.35), (0, height), (length - 0.1, height), (length, 0.35)], dtype=float
    )
    paint, glass, display, dark = palette.pick_all("bus", "glass", "amber light", "housing")
    panes = [rectangle(s, 1.45, s + 1.15, 2.55) for s in np.arange(0.4, length - 1.4, 1.3)]
    doors = [rectangle(s, 0.4, s + 1.1, 2.5) for s in (length - 1.6, length * 0.45)]
    ends = [
        (0, rectangle(0.3, 1.2, width - 0.3, 2.2), glass),
        (2, rectangle(0.15, 0.6, width - 0.15, 1.9), glass),
        (2, rectangle(0.4, 0.12, width - 0.4, 0.42), dark),
        (2, rectangle(0.6, 0.18, width - 0.6, 0.36), display),
    ]
    ends += _rear_lights(palette, 0, width, 0.4) + _front_lights(palette, 2, width, 2.3)
    side = [(shape, glass) for shape in panes + doors]
    wheels = [(2.2, 0.5), (length - 2.6, 0.5)]
    return _thing([(Body("bus", profile, width, paint, {}, side, ends, wheels), pose)], palette)


def truck(pose: Pose, palette: Palette) -> Thing:
    """Draw a box truck: a tall ribbed box behind a cab of another color."""
    length, width = palette.rng.uniform(4.6, 6.5), 2.45
    top = palette.rng.uniform(3.1, 3.6)
    box = np.array([(0, 0.85), (0, top), (length, top), (length, 0.85)])
    cab = np.array([(0, 0.5), (0, 2.75), (1.3, 2.75), (1.85, 1.5), (2.0, 0.5)])
    paint, cab_paint, glass, dark = palette.pick_all("truck box", "truck cab", "glass", "housing")
    ends = [(0, rectangle(width / 2 - 0.03, 0.1, width / 2 + 0.03, top - 1), dark)]
    under = Body(
        label="truck",
        profile=np.array([(0.1, 0.45), (0.1, 0.85), (length, 0.85), (length, 0.45)]),
        width=2.1,
        paint=dark,
        strips={},
        side=[],
        ends=_rear_lights(palette, 0, 2.1, 0.12),
        wheels=[],
    )
    wheels = [(0.8, 0.5), (1.9, 0.5)]
    load = Body("truck", box, width, paint, {}, [], ends, wheels)
    window = np.array([(0.45, 1.6), (0.45, 2.45), (1.2, 2.45), (1.6, 1.6)])
    front = _front_lights(palette, 3, 2.3, 0.45)
    driver = Body("truck", cab, 2.3, cab_paint, {2: glass}, [(window, glass)], front, [(1.0, 0.48)])
    parts = [(under, pose), (driver, pose.advanced(length + 0.15)), (load, pose.advanced(0.01))]
    return _thing(parts, palette)


def train(pose: Pose, palette: Palette) -> Thing:
    """Draw a tram of two coaches: rounded ends, a long window band, a pale stripe."""
    coach, height, width = palette.rng.uniform(11, 14), 3.5, 2.6
    paint, stripe, glass, dark = palette.pick_all("train", "train stripe", "glass", "housing")
    profile = np.array(
        [(0.5, 0.2), (0, 1.2), (0.35, 2.7), (1.0, height), (coach - 1, height)]
        + [(coach - 0.35, 2.7), (coach, 1.2), (coach - 0.5, 0.2)]
    )
    side = [
        (rectangle(0.5, 0.2, coach - 0.5, 0.5), dark),
        (rectangle(0.1, 1.0, coach - 0.1, 1.3), stripe),
        (rectangle(0.5, 1.6, coach - 0.5, 2.7), glass),
    ]
    side += [(rectangle(s, 1.6, s + 0.12, 2.7), paint) for s in np.arange(2, coach - 1, 1.8)]
    ends = [
        (1, rectangle(0.25, 0.3, width - 0.25, 1.45), glass),
        (0, rectangle(0, 0.8, width, 1.05), stripe),
        (5, rectangle(0.25, 0.1, width - 0.25, 1.2), glass),
        (6, rectangle(0, 0.0, width, 0.25), stripe),
    ]
    ends += _front_lights(palette, 6, width, 0.4) + _rear_lights(palette, 0, width, 0.45)
    body = Body("train", profile, width, paint, {}, side, ends, [])
    return _thing([(body, pose), (body, pose.advanced(coach + 0.3))], palette)
