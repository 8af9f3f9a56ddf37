"""Building from config sections, and the errors of misspelt ones."""

from pathlib import Path
from typing import Any

import pytest

from mmseg.config import load_config
from mmseg.config.registry import Registry
from mmseg.system.errors import ConfigError

SHAPES = Registry("shape")


class Base:
    def __init__(self, size: int, color: str = "red") -> None:
        self.size, self.color = size, color


@SHAPES.register("circle", inert=("style",))
class Circle(Base):
    def __init__(self, radius: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radius = radius


def test_keys_reach_the_base_class_and_inert_ones_are_dropped() -> None:
    shape = SHAPES.build({"type": "circle", "radius": 2, "style": "old"}, size=5, color=None)
    assert (shape.radius, shape.size, shape.color) == (2, 5, "red")


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown shape type 'circel'; did you mean 'circle'"):
        SHAPES.build({"type": "circel"})


def test_unknown_key_names_file_key_and_nearest(tmp_path: Path) -> None:
    (tmp_path / "cfg.py").write_text("shape = dict(type='circle', radius=1, size=2, colr='blue')")
    cfg = load_config(tmp_path / "cfg.py")
    with pytest.raises(ConfigError, match=r"cfg\.py:1: unknown key 'colr' .*did you mean 'color'"):
        SHAPES.build(cfg.shape)


def test_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="needs the key 'size'"):
        SHAPES.build({"type": "circle", "radius": 1})


def test_section_without_type_is_an_error() -> None:
    with pytest.raises(ConfigError, match="expected a dict with a 'type'"):
        SHAPES.build({"radius": 1})


def test_two_components_of_one_name_are_an_error() -> None:
    with pytest.raises(ConfigError, match="got 'circle', which exists already. Choose another"):
        SHAPES.register("circle")(Base)


def test_a_class_is_registered_in_every_spelling() -> None:
    registry = Registry("shape")

    @registry.register_module
    class Plain: ...

    @registry.register_module()
    class Called: ...

    registry.register_module(module=type("Given", (), {}))
    registry.register_module("renamed", module=type("Named", (), {}))
    assert registry.names() == ["Called", "Given", "Plain", "renamed"]
    assert (Plain, Called) == (registry.get("Plain"), registry.get("Called"))
