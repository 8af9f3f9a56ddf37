"""The street itself: its cross-section, its surface, and what lines it."""

from dataclasses import dataclass, field

import numpy as np

from demo import frontage
from demo.camera import Camera, ground_frame, upright_frame
from demo.domains import Domain, Range
from demo.frontage import Stretch
from demo.materials import Palette
from demo.scene import Face, rectangle

HORIZON = 120.0
"""Where the street ends, in meters."""

LANE = 3.3
PARKING = 2.3


@dataclass
class Street:
    """The cross-section of a street: lateral positions in meters, camera at 0.

    `curbs` bound the road, parking included; `fronts` are where buildings stand; between them lie a
    strip of grass (may be 0 wide) and the sidewalk.
    """

    lanes: list[float]
    curbs: Range
    verges: Range
    fronts: Range
    has_parking: tuple[bool, bool]
    track: float | None
    busy: list[tuple[float, float, float]] = field(default_factory=list)  # (lane, near, far)

    def claim(self, lane: float, near: float, far: float) -> bool:
        """Reserve a piece of a lane; False if something is there already."""
        if any(lane == x and near < end and start < far for x, start, end in self.busy):
            return False
        self.busy.append((lane, near, far))
        return True

    def curb(self, side: int) -> float:
        """Return the curb on the left (-1) or right (1)."""
        return self.curbs[0] if side < 0 else self.curbs[1]

    def verge(self, side: int) -> float:
        """Return the width of the grass strip on one side."""
        return self.verges[0] if side < 0 else self.verges[1]

    def front(self, side: int) -> float:
        """Return where the buildings stand on one side."""
        return self.fronts[0] if side < 0 else self.fronts[1]


def draw_street(domain: Domain, rng: np.random.Generator, has_track: bool) -> Street:
    """Draw a cross-section; a track takes the place of the leftmost lane."""
    right_lanes, left_lanes = int(rng.random() < 0.3), 1 + int(rng.random() < 0.35)
    offset = rng.uniform(-0.4, 0.4)  # of the camera within its lane
    lanes = [offset + LANE * k for k in range(-left_lanes, right_lanes + 1)]
    track = lanes[0] if has_track else None
    parking = (bool(rng.random() < 0.6) and not has_track, bool(rng.random() < 0.6))
    left = lanes[0] - LANE / 2 - PARKING * parking[0]
    right = lanes[-1] + LANE / 2 + PARKING * parking[1]
    grass = np.where(rng.random(2) < 0.4, rng.uniform(1.0, 2.5, 2), 0.0)
    if "terrain" in domain.absent:
        grass[:] = 0
    walk = rng.uniform(2.5, 5.0, 2)
    return Street(
        lanes=lanes,
        curbs=(left, right),
        verges=(float(grass[0]), float(grass[1])),
        fronts=(float(left - grass[0] - walk[0]), float(right + grass[1] + walk[1])),
        has_parking=parking,
        track=track,
    )


def draw_ground(street: Street, domain: Domain, palette: Palette) -> list[Face]:
    """Draw the sky, then everything flat: open ground, sidewalks, grass, curbs, road, markings."""
    flat = ground_frame()
    sky = Face(
        upright_frame(0, 1000.0), rectangle(-3e3, -3e3, 3e3, 3e3), palette.pick("sky"), "sky"
    )

    def strip(x0: float, x1: float, name: str, label: str | None) -> Face:
        outline = rectangle(min(x0, x1), 0, max(x0, x1), HORIZON)
        return Face(flat, outline, palette.pick(name), label)

    beyond = "sidewalk" if "terrain" in domain.absent else "terrain"
    faces = [sky, strip(-200, 200, beyond, beyond), strip(*street.fronts, "sidewalk", "sidewalk")]
    for side in (-1, 1):
        curb, grass = street.curb(side), street.verge(side)
        if grass > 0:
            faces.append(strip(curb, curb + side * grass, "terrain", "terrain"))
        faces.append(strip(curb, curb + side * 0.18, "curb", None))
    faces.append(strip(*street.curbs, "road", "road"))
    return faces + _markings(street, palette) + _rails(street, palette)


def _markings(street: Street, palette: Palette) -> list[Face]:
    """Dashes between lanes, lines along parked cars, sometimes a zebra crossing."""
    flat, paint = ground_frame(), palette.pick("marking")
    shapes = []
    start = palette.rng.uniform(0, 6)
    for x in np.array(street.lanes[:-1]) + LANE / 2:
        shapes += [rectangle(x - 0.08, z, x + 0.08, z + 3) for z in np.arange(start, 70, 6)]
    left, right = street.lanes[0] - LANE / 2, street.lanes[-1] + LANE / 2
    shapes += [rectangle(x - 0.07, 0, x + 0.07, HORIZON) for x in (left + 0.2, right - 0.2)]
    if palette.rng.random() < 0.3:
        z = palette.rng.uniform(7, 22)
        bars = np.arange(left + 0.4, right - 0.6, 1.0)
        shapes += [rectangle(x, z, x + 0.5, z + 3.0) for x in bars]
    return [Face(flat, shape, paint, "lane marking") for shape in shapes]


def _rails(street: Street, palette: Palette) -> list[Face]:
    if street.track is None:
        return []
    flat, x = ground_frame(), street.track
    bed = rectangle(x - 1.4, 0, x + 1.4, HORIZON)
    faces = [Face(flat, bed, palette.pick("gravel"), "rail track")]
    rail = palette.pick("rail")
    lines = [rectangle(x + d - 0.07, 0, x + d + 0.07, HORIZON) for d in (-0.72, 0.72)]
    return faces + [Face(flat, line, rail) for line in lines]


def draw_far_end(street: Street, palette: Palette) -> list[Face]:
    """Houses and trees across the far end."""
    rng = palette.rng
    faces = []
    x = -110.0
    while x < 110:
        wide = rng.uniform(10, 24)
        height = rng.uniform(6, 16)
        outline = rectangle(0, 0, wide, height)
        faces.append(Face(upright_frame(x, HORIZON), outline, palette.pick("building"), "building"))
        if rng.random() < 0.5:
            faces += frontage.tree(x, HORIZON - 5, palette, 1.5).faces
        x += wide
    return faces


def draw_frontage(
    street: Street, side: int, domain: Domain, palette: Palette, forced: list[str]
) -> list[Face]:
    """Line one side of the street, far to near; `forced` kinds come where one sees them well."""
    rng = palette.rng
    names = list(domain.frontages)
    weights = np.array([domain.frontages[name] for name in names])
    stretches: list[tuple[str, Stretch]] = []
    z = rng.uniform(0.5, 6)
    while z < HORIZON - 5:
        kind = names[rng.choice(len(names), p=weights / weights.sum())]
        if forced and z > 4:
            kind = forced.pop()
        length = min(float(rng.uniform(8, 22)), HORIZON - z)
        stretches.append((kind, Stretch(side, street.front(side), z, z + length)))
        z += length
    faces: list[Face] = []
    for kind, stretch in reversed(stretches):
        faces += _line(kind, stretch, domain, palette)
    return faces


def _line(kind: str, stretch: Stretch, domain: Domain, palette: Palette) -> list[Face]:
    """Return one stretch with what stands behind it."""
    rng = palette.rng
    if kind == "building":
        return frontage.building(stretch, palette, rng.uniform(5, 17))
    faces = [] if "terrain" in domain.absent else frontage.lawn(stretch, palette)
    behind = np.sort(rng.uniform(stretch.near, stretch.far, 1 + int(stretch.length / 6)))
    for z in behind[::-1]:
        x = stretch.x + stretch.side * rng.uniform(2.5, 9)
        faces += frontage.tree(x, z, palette, 1.1).faces
    drawers = {"wall": frontage.wall, "fence": frontage.fence, "hedge": frontage.hedge}
    return faces + (drawers[kind](stretch, palette) if kind in drawers else [])


def draw_hood(camera: Camera, palette: Palette) -> Face:
    """Draw the camera car's own hood along the lower border, as far away as the ground there."""
    z = camera.nearest_ground
    frame = upright_frame(0, z)
    columns = np.linspace(0, 1, 13)
    rise = camera.height * palette.rng.uniform(0.04, 0.07) * (0.45 + 0.55 * np.sin(np.pi * columns))
    u = columns * (camera.width - 1)
    v = camera.height - 1 - rise
    s = (np.concatenate([u, u[::-1]]) - camera.center) * z / camera.focal
    bottom = np.full_like(v, camera.height + 4)
    t = camera.eye - (np.concatenate([v, bottom]) - camera.horizon) * z / camera.focal
    return Face(frame, np.column_stack([s, t]), palette.pick("hood"), "ego vehicle")
