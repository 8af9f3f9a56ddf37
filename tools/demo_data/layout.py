"""Where things stand: one random street, from the road's surface to the people on the sidewalk."""

from dataclasses import dataclass, field

import numpy as np

from . import frontage, furniture, people, vehicles
from .camera import Camera, ground_frame, upright_frame
from .domains import Domain, Range
from .frontage import Stretch
from .materials import Palette
from .scene import Face, Scene, rectangle

HORIZON = 120.0
"""Where the street ends, in meters."""

AT_CURB = ("traffic light", "traffic sign", "guide sign", "lamp post", "bollard", "tree")
"""Things that stand beside each other along the curb, never in front of each other."""

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


def draw_camera(domain: Domain, size: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Draw a camera from the domain's ranges; `size` is (width, height)."""
    width, height = size
    view = domain.view
    return Camera(
        width=width,
        height=height,
        focal=width * rng.uniform(*view.focal),
        center=width * rng.uniform(*view.center),
        horizon=height * rng.uniform(*view.horizon),
        eye=rng.uniform(*view.eye),
    )


def draw_scene(
    domain: Domain, index: int, size: tuple[int, int], rng: np.random.Generator
) -> Scene:
    """Draw a street. Image `index` shows two of the domain's guests, in turn."""
    scene = Scene(draw_camera(domain, size, rng))
    count = len(domain.guests)
    guests = {domain.guests[index % count], domain.guests[(2 * index + 3) % count]}
    street = _draw_street(domain, rng, has_track="train" in guests)
    palette = Palette(domain.looks, rng)
    scene.background = _ground(street, domain, palette)
    scene.background += _end_of_street(street, palette)
    for side in (-1, 1):
        forced = [name for name in ("wall", "fence") if name in guests]
        scene.background += _frontage(street, side, domain, palette, forced if side > 0 else [])
    arranger = _Arranger(street, palette, scene)
    for guest in sorted(guests):
        arranger.add_guest(guest)
    for name, mean in domain.traffic.items():
        for _ in range(rng.poisson(mean)):
            arranger.add(name)
    if domain.view.has_hood:
        scene.foreground = [_hood(scene.camera, palette)]
    return scene


def _draw_street(domain: Domain, rng: np.random.Generator, has_track: bool) -> Street:
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


def _ground(street: Street, domain: Domain, palette: Palette) -> list[Face]:
    """Sky, then everything flat: plain ground, sidewalks, grass strips, curbs, road, markings."""
    flat = ground_frame()
    sky = Face(
        upright_frame(0, 1000.0), rectangle(-3e3, -3e3, 3e3, 3e3), palette.pick("sky"), "sky"
    )

    def strip(x0: float, x1: float, name: str, label: str | None) -> Face:
        outline = rectangle(x0, 0, x1, HORIZON)
        return Face(flat, outline, palette.pick(name), label)

    beyond = ("sidewalk", "sidewalk") if "terrain" in domain.absent else ("terrain", "terrain")
    faces = [sky, strip(-200, 200, *beyond)]
    faces.append(strip(street.fronts[0], street.fronts[1], "sidewalk", "sidewalk"))
    for side in (-1, 1):
        curb, grass = street.curb(side), street.verge(side)
        if grass > 0:
            faces.append(strip(*sorted((curb, curb + side * grass)), "terrain", "terrain"))
        faces.append(strip(*sorted((curb, curb + side * 0.18)), "curb", None))
    faces.append(strip(street.curbs[0], street.curbs[1], "road", "road"))
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


def _end_of_street(street: Street, palette: Palette) -> list[Face]:
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


def _frontage(
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


def _hood(camera: Camera, palette: Palette) -> Face:
    """The camera car's own hood along the lower image border, as far away as the ground there."""
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


class _Arranger:
    """Puts things into a street, looking for a free place for each."""

    def __init__(self, street: Street, palette: Palette, scene: Scene):
        self.street = street
        self.palette = palette
        self.rng = palette.rng
        self.things = scene.things
        self.camera = scene.camera

    def add_guest(self, name: str) -> None:
        """Add a rare thing close enough to be seen well."""
        if name in ("wall", "fence"):
            return  # part of the frontage
        for _ in range(8):
            if self.add(name, (6.0, 16.0)):
                return

    def add(self, name: str, reach: Range = (4.0, 60.0)) -> bool:
        """Add a thing of this kind at a random distance; False if there was no room."""
        if name in ("car", "bus", "truck", "train"):
            return self._drive(name, reach)
        if name == "parked car":
            return self._park(reach)
        if name in ("rider", "motorcycle rider") or (name == "person" and self.rng.random() < 0.12):
            return self._on_road(name, reach)
        return self._on_sidewalk(name, reach)

    def _distance(self, x: float, reach: Range) -> float:
        """Draw a distance at which something at lateral position `x` is in view."""
        near, far = reach
        room = self.camera.center if x < 0 else self.camera.width - self.camera.center
        near = min(max(near, abs(x) * self.camera.focal / room), 0.8 * far)
        # Uniform in 1/sqrt(distance) is between uniform in space and uniform in the image.
        return float(self.rng.uniform(far**-0.5, near**-0.5) ** -2)

    def _drive(self, name: str, reach: Range) -> bool:
        length = {"car": 4.6, "bus": 12.0, "truck": 9.0, "train": 30.0}[name]
        lanes = [x for x in self.street.lanes if x != self.street.track]
        if name == "train":
            lanes = [self.street.track if self.street.track is not None else lanes[0]]
        lane = lanes[self.rng.integers(len(lanes))]
        is_own = abs(lane) < LANE / 2
        z = max(self._distance(lane, reach), 7.0 if is_own else 4.0)
        if not self.street.claim(lane, z - 1, z + length + 1):
            return False
        comes_towards_us = lane < -LANE / 2
        pose = (
            vehicles.Pose(lane, z + length, np.pi) if comes_towards_us else vehicles.Pose(lane, z)
        )
        draw = getattr(vehicles, name)
        self.things.append(draw(pose, self.palette))
        return True

    def _park(self, reach: Range) -> bool:
        sides = [s for s, free in zip((-1, 1), self.street.has_parking, strict=True) if free]
        if not sides:
            return False
        side = sides[self.rng.integers(len(sides))]
        x = self.street.curb(side) - side * (PARKING / 2 - 0.05)
        z = self._distance(x, reach) - 2.5  # its middle
        z = 2.0 + 5.4 * max(0, round((z - 2.0) / 5.4)) + self.rng.uniform(0, 0.6)
        if not self.street.claim(x, z - 0.2, z + 4.7):
            return False
        heading = self.rng.normal(0, 0.02)
        pose = vehicles.Pose(x, z, heading)
        if side < 0 or self.rng.random() < 0.2:
            pose = vehicles.Pose(x, z + 4.5, np.pi + heading)
        self.things.append(vehicles.car(pose, self.palette))
        return True

    def _on_road(self, name: str, reach: Range) -> bool:
        lanes = [x for x in self.street.lanes if x != self.street.track]
        lane = lanes[self.rng.integers(len(lanes))]
        z = max(self._distance(lane, reach), 6.0)
        if not self.street.claim(lane, z - 1.2, z + 1.2):
            return False
        x = lane + self.rng.uniform(-1, 1)
        if name == "person":
            thing = people.person(x, z, self.palette)
        else:
            kind = "motorcycle" if name == "motorcycle rider" else "bicycle"
            thing = people.two_wheeler(x, z, self.palette, kind, is_ridden=True)
        self.things.append(thing)
        return True

    def _on_sidewalk(self, name: str, reach: Range) -> bool:
        side = -1 if self.rng.random() < 0.5 else 1
        street, palette = self.street, self.palette
        at_curb = street.curb(side) + side * (0.5 + 0.5 * street.verge(side))
        inner = street.curb(side) + side * (street.verge(side) + 0.6)
        x = self.rng.uniform(*sorted((inner, street.front(side) - side * 0.5)))
        z = self._distance(at_curb if name in AT_CURB else x, reach)
        draw = {
            "person": lambda: people.person(x, z, palette),
            "bicycle": lambda: people.two_wheeler(x, z, palette, "bicycle", False),
            "motorcycle": lambda: people.two_wheeler(x, z, palette, "motorcycle", False),
            "traffic light": lambda: furniture.traffic_light(at_curb, z, palette, -side),
            "traffic sign": lambda: furniture.traffic_sign(at_curb, z, palette),
            "guide sign": lambda: furniture.guide_sign(at_curb, max(z, 9), palette, -side),
            "lamp post": lambda: furniture.lamp_post(at_curb, z, palette, -side),
            "bollard": lambda: furniture.bollard(at_curb, z, palette),
            "tree": lambda: frontage.tree(at_curb, max(z, 7.0), palette, 0.9),
            "bush": lambda: frontage.bush(street.front(side) - side * 0.6, z, palette),
            "litter bin": lambda: furniture.litter_bin(x, z, palette),
        }  # fmt: skip
        if name in AT_CURB and not street.claim(at_curb, z - 0.7, z + 0.7):
            return False
        self.things.append(draw[name]())
        return True
