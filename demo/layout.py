"""Where things stand: one random street with its traffic and the people on its sidewalks."""

import numpy as np

from demo import frontage, furniture, people, vehicles
from demo.camera import Camera
from demo.domains import Domain, Range
from demo.materials import Palette
from demo.scene import Scene
from demo.street import (
    LANE,
    PARKING,
    Street,
    draw_far_end,
    draw_frontage,
    draw_ground,
    draw_hood,
    draw_street,
)

FARTHEST = {
    "person": 18.0, "rider": 20.0, "motorcycle rider": 20.0, "bicycle": 15.0, "motorcycle": 15.0,
    "traffic light": 26.0, "traffic sign": 30.0,
}  # fmt: skip
"""Where small things end, in meters, so that most of them are large enough to be learned."""

AT_CURB = ("traffic light", "traffic sign", "guide sign", "lamp post", "bollard", "tree")
"""Things that stand beside each other along the curb, never in front of each other."""


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
    street = draw_street(domain, rng, has_track="train" in guests)
    palette = Palette(domain.looks, rng)
    scene.background = draw_ground(street, domain, palette)
    scene.background += draw_far_end(street, palette)
    for side in (-1, 1):
        forced = [name for name in ("wall", "fence") if name in guests]
        scene.background += draw_frontage(street, side, domain, palette, forced if side > 0 else [])
    arranger = _Arranger(street, palette, scene)
    for guest in sorted(guests):
        arranger.add_guest(guest)
    for name, mean in domain.traffic.items():
        for _ in range(rng.poisson(mean)):
            arranger.add(name)
    if domain.view.has_hood:
        scene.foreground = [draw_hood(scene.camera, palette)]
    return scene


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
            if self.add(name, (5.0, 13.0)):
                return

    def add(self, name: str, reach: Range | None = None) -> bool:
        """Add a thing of this kind at a random distance; False if there was no room."""
        reach = reach or (4.0, FARTHEST.get(name, 60.0))
        if name in ("car", "bus", "truck", "train"):
            return self._drive(name, reach)
        if name == "parked car":
            return self._park(reach)
        if name in ("rider", "motorcycle rider") or (name == "person" and self.rng.random() < 0.2):
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
        x = inner + self.rng.random() * (street.front(side) - side * 0.5 - inner)
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
