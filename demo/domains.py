"""The three datasets as this demo draws them: camera, street, traffic, paints, light and lens.

GTA and SYNTHIA are the sources: clean renderings in the sun, one in warm, contrasty colors and
rich texture, the other flat, saturated and seen from higher up. Cityscapes is the target: an
overcast day, a camera close to the road behind the car's hood, haze, faded greenish colors, coarser
texture, blur, noise, other clothes and another mix of traffic. Streets, shapes and sizes are the
same everywhere: they are what a network can carry over.
"""

from dataclasses import dataclass, field

from demo.materials import LOOKS, Look, repaint

Range = tuple[float, float]


@dataclass(frozen=True)
class View:
    """Ranges from which a camera is drawn; lengths relative to the image's width or height."""

    focal: Range = (0.65, 0.8)  # of the width
    center: Range = (0.4, 0.6)  # of the width
    horizon: Range = (0.42, 0.52)  # of the height
    eye: Range = (1.4, 1.7)  # meters
    has_hood: bool = False


@dataclass(frozen=True)
class Light:
    """Sun, air, lens and sensor."""

    ambient: float = 0.62
    sun: float = 0.45
    shadow: float = 0.5  # brightness in the shadow of a thing
    shadow_reach: Range = (0.5, -0.25)  # (X, Z) of a shadow per meter of height
    shadow_blur: float = 0.8  # pixels of the finished picture
    haze_distance: float = 400.0  # meters after which 63 % of the color is haze
    haze: tuple[float, float, float] = (0.75, 0.84, 0.95)
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    contrast: float = 1.0
    exposure: Range = (0.95, 1.05)
    vignette: float = 0.0
    blur: float = 0.0  # pixels
    noise: float = 0.0  # standard deviation, 0...1
    roughness: float = 1.0  # contrast of all textures


@dataclass(frozen=True, eq=False)
class Domain:
    """One dataset. `traffic` is the mean number of each thing per image.

    `guests` are rare things, one or two of which every image is sure to show in turn, so that a
    small dataset has all of its classes. `absent` are labels that the dataset does not have:
    such things are not drawn, except lane markings, which count as road.
    """

    name: str
    number: int
    traffic: dict[str, float]
    guests: tuple[str, ...]
    frontages: dict[str, float]
    view: View = field(default_factory=View)
    light: Light = field(default_factory=Light)
    looks: dict[str, Look] = field(default_factory=lambda: LOOKS)
    absent: frozenset[str] = frozenset()


RARE = ("bus", "truck", "motorcycle", "wall", "rider", "fence", "bicycle", "motorcycle rider")

GTA = Domain(
    name="gta",
    number=1,
    traffic={
        "car": 3.0, "parked car": 3.5, "truck": 0.35, "bus": 0.2, "train": 0.15, "person": 5.0,
        "rider": 0.4, "motorcycle rider": 0.35, "bicycle": 0.6, "motorcycle": 0.6,
        "traffic light": 1.6, "traffic sign": 1.4, "lamp post": 2.5, "bollard": 1.5, "tree": 3.0,
        "bush": 1.0, "litter bin": 0.6, "guide sign": 0.25,
    },
    guests=(*RARE, "train"),
    frontages={"building": 0.46, "wall": 0.14, "fence": 0.16, "hedge": 0.06, "park": 0.2},
    view=View(eye=(1.4, 1.9), horizon=(0.44, 0.52)),
    light=Light(exposure=(0.85, 1.1)),
    absent=frozenset({"lane marking"}),
)  # fmt: skip

SYNTHIA = Domain(
    name="synthia",
    number=2,
    traffic={
        "car": 2.5, "parked car": 2.5, "bus": 0.35, "person": 6.0, "rider": 0.5,
        "motorcycle rider": 0.3, "bicycle": 0.4, "motorcycle": 0.3, "traffic light": 1.5,
        "traffic sign": 1.5, "lamp post": 3.0, "bollard": 1.5, "tree": 3.0, "bush": 1.5,
        "litter bin": 0.4, "guide sign": 0.2,
    },
    guests=tuple(name for name in RARE if name != "truck"),
    frontages={"building": 0.66, "wall": 0.12, "fence": 0.12, "hedge": 0.1},
    view=View(focal=(0.58, 0.75), horizon=(0.3, 0.46), eye=(2.0, 3.4), center=(0.3, 0.7)),
    light=Light(
        ambient=0.72, sun=0.38, shadow=0.62, shadow_reach=(-0.45, 0.2), haze_distance=900.0,
        saturation=1.25, exposure=(1.0, 1.1), roughness=0.35,
    ),
    looks=repaint(
        sky={"colors": ((120, 190, 250), (160, 205, 245))},
        road={"colors": ((112, 106, 104),)},
        sidewalk={"colors": ((206, 186, 150),), "mark": (150, 130, 100)},
        building={"colors": ((226, 196, 140), (200, 90, 70), (160, 180, 205), (236, 226, 200))},
        leaves={"colors": ((66, 146, 40), (90, 160, 60))},
        bus={"colors": ((250, 200, 40), (230, 60, 40))},
    ),
    absent=frozenset({"terrain", "truck", "train"}),
)  # fmt: skip

CITYSCAPES = Domain(
    name="cityscapes",
    number=3,
    traffic={
        "car": 2.5, "parked car": 5.0, "truck": 0.3, "bus": 0.25, "train": 0.2, "person": 6.0,
        "rider": 0.9, "motorcycle rider": 0.2, "bicycle": 1.4, "motorcycle": 0.4,
        "traffic light": 1.4, "traffic sign": 2.5, "lamp post": 1.5, "bollard": 2.5, "tree": 4.5,
        "bush": 1.5, "litter bin": 0.4, "guide sign": 0.05,
    },
    guests=(*RARE, "train"),
    frontages={"building": 0.5, "wall": 0.13, "fence": 0.16, "hedge": 0.07, "park": 0.16},
    view=View(focal=(0.7, 0.85), horizon=(0.4, 0.46), eye=(1.15, 1.3), has_hood=True),
    light=Light(
        ambient=0.86, sun=0.12, shadow=0.72, shadow_reach=(0.0, 0.06), shadow_blur=3.0,
        haze_distance=140.0, haze=(0.72, 0.76, 0.73), cast=(0.88, 1.0, 0.9), saturation=0.68,
        contrast=0.8, exposure=(0.78, 1.0), vignette=0.3, blur=0.5, noise=0.02, roughness=1.4,
    ),
    looks=repaint(
        sky={"colors": ((200, 214, 228), (180, 198, 216)), "mark": (236, 240, 242)},
        road={"colors": ((102, 102, 102), (92, 91, 92))},
        sidewalk={"colors": ((172, 160, 150), (180, 160, 146)), "scale": 1.8},
        building={
            "colors": ((190, 168, 136), (174, 164, 150), (190, 146, 114), (154, 126, 112)),
            "scale": 7.2,
        },
        terrain={"colors": ((120, 128, 70), (140, 126, 84)), "scale": 4.0},
        leaves={"colors": ((64, 112, 44), (84, 122, 52), (52, 96, 46)), "scale": 3.8},
        car={
            "colors": ((52, 54, 60), (150, 154, 160), (200, 204, 206), (40, 54, 96), (120, 40, 44))
        },
        bus={"colors": ((226, 176, 60), (206, 182, 120), (206, 130, 50))},
        train={"colors": ((70, 140, 140), (120, 150, 140)), "spread": 0.12},
        wall={"colors": ((118, 110, 98), (138, 132, 124)), "mark": (176, 170, 156), "scale": 4.0},
        fence={"colors": ((150, 112, 76), (120, 88, 60), (196, 188, 168))},
        bicycle={"colors": ((60, 150, 96), (70, 140, 160), (180, 70, 120), (70, 72, 76))},
        vest={"colors": ((214, 116, 50), (186, 196, 70))},
        shirt={"colors": ((58, 60, 72), (140, 60, 60), (182, 176, 160), (70, 90, 124))},
        trousers={"colors": ((50, 56, 76), (42, 42, 46), (92, 86, 78))},
    ),
    absent=frozenset({"lane marking"}),
)  # fmt: skip

DOMAINS = {domain.name: domain for domain in (GTA, SYNTHIA, CITYSCAPES)}
