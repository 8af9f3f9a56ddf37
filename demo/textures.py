"""Texture tiles: small repeating pictures of grain (brightness, mean 1) and marks (0...1).

A tile is (TEXELS, TEXELS, 2) float32 and repeats in both directions. Rows are t (up or
forward), columns s.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

TEXELS = 128

Tile = NDArray[np.float32]


def _noise(
    rng: np.random.Generator, coarseness: float, stretch: float = 1.0
) -> NDArray[np.float32]:
    """Return periodic noise with standard deviation 1.

    `coarseness` is a blur radius in texels, `stretch` times as much along a row.
    """
    white = rng.standard_normal((TEXELS, TEXELS)).astype(np.float32)
    if coarseness > 0:
        white = np.tile(white, (3, 3))
        white = cv2.GaussianBlur(white, (0, 0), coarseness * stretch, sigmaY=coarseness)
        white = white[TEXELS:-TEXELS, TEXELS:-TEXELS]
    return (white - white.mean()) / white.std()


def _tile(grain: NDArray, mark: NDArray | None = None) -> Tile:
    mark = np.zeros_like(grain) if mark is None else mark
    return np.stack([np.clip(grain, 0.2, 1.8), np.clip(mark, 0, 1)], axis=-1).astype(np.float32)


def _plain(rng: np.random.Generator) -> Tile:
    return _tile(1 + 0.03 * _noise(rng, 4))


def _asphalt(rng: np.random.Generator) -> Tile:
    return _tile(1 + 0.06 * _noise(rng, 0.7) + 0.06 * _noise(rng, 12))


def _paving(rng: np.random.Generator) -> Tile:
    """2 x 2 slabs with dark joints."""
    tone = np.kron(1 + 0.07 * rng.standard_normal((2, 2)), np.ones((64, 64)))
    row, column = np.indices((TEXELS, TEXELS)) % 64
    joint = (row < 5) | (column < 5)
    return _tile(tone + 0.04 * _noise(rng, 1), joint)


def _grass(rng: np.random.Generator) -> Tile:
    blades = np.clip(_noise(rng, 1.0) - 0.8, 0, 1)
    return _tile(1 + 0.12 * _noise(rng, 1.5) + 0.1 * _noise(rng, 10), blades)


def _leaves(rng: np.random.Generator) -> Tile:
    """Clumps of light leaves with dark gaps."""
    gaps = np.clip(1.2 * _noise(rng, 3.0) - 0.7, 0, 1)
    return _tile(1 + 0.18 * _noise(rng, 2) + 0.14 * _noise(rng, 9), gaps)


def _brick(rng: np.random.Generator) -> Tile:
    """Eight courses of bricks in running bond."""
    row, column = np.indices((TEXELS, TEXELS))
    course = row // 16
    column = (column + 16 * (course % 2)) % TEXELS
    joint = (row % 16 < 3) | (column % 32 < 3)
    tone = rng.normal(1, 0.1, (8, 4))[course, column // 32]
    return _tile(tone, joint)


def _panels(rng: np.random.Generator) -> Tile:
    """Concrete panels with a vertical joint and stains that run down."""
    column = np.indices((TEXELS, TEXELS))[1]
    stains = _noise(rng, 6).mean(axis=0, keepdims=True)
    stains = np.repeat(stains / stains.std(), TEXELS, axis=0)
    return _tile(1 + 0.05 * stains + 0.05 * _noise(rng, 2), column < 4)


def _windows(rng: np.random.Generator, wide: float, tall: float) -> Tile:
    """Two bays by two storeys; every pane reflects differently."""
    row, column = np.indices((TEXELS, TEXELS))
    s, t = column % 64 / 64, row % 64 / 64
    pane = (np.abs(s - 0.5) < wide / 2) & (np.abs(t - 0.52) < tall / 2)
    cross = (np.abs(s - 0.5) < 0.02) | (np.abs(t - 0.6) < 0.02)
    sill = (np.abs(s - 0.5) < wide / 2 + 0.05) & (np.abs(t - 0.5 + tall / 2) < 0.04)
    glass = rng.uniform(0.65, 1, (2, 2))[row // 64, column // 64]
    grain = 1 + 0.03 * _noise(rng, 3) + 0.2 * sill
    return _tile(grain, pane * ~cross * glass)


def _clouds(rng: np.random.Generator) -> Tile:
    bank = 0.6 * _noise(rng, 7, stretch=2.5) + 0.25 * _noise(rng, 3, stretch=2)
    return _tile(np.ones((TEXELS, TEXELS)), np.clip(bank, 0, 1))


def _ribs(rng: np.random.Generator) -> Tile:
    """Vertical ribs of a corrugated sheet: the side of a truck's box."""
    column = np.indices((TEXELS, TEXELS))[1]
    return _tile(1 + 0.1 * np.sin(2 * np.pi * column / 16) + 0.02 * _noise(rng, 3))


def _cloth(rng: np.random.Generator) -> Tile:
    return _tile(1 + 0.08 * _noise(rng, 5))


MAKERS = {
    "plain": _plain,
    "asphalt": _asphalt,
    "paving": _paving,
    "grass": _grass,
    "leaves": _leaves,
    "brick": _brick,
    "panels": _panels,
    "windows": lambda rng: _windows(rng, 0.45, 0.6),
    "tall windows": lambda rng: _windows(rng, 0.4, 0.78),
    "ribbon windows": lambda rng: _windows(rng, 0.94, 0.5),
    "clouds": _clouds,
    "ribs": _ribs,
    "cloth": _cloth,
}

TILE_NUMBER = {name: number for number, name in enumerate(MAKERS)}


def make_atlas(rng: np.random.Generator, roughness: float = 1.0) -> NDArray[np.float32]:
    """Return all tiles (T, TEXELS, TEXELS, 2) in the order of TILE_NUMBER.

    `roughness` scales the contrast of the grain: 0 paints flat colors, 1 as drawn.
    """
    atlas = np.stack([maker(rng) for maker in MAKERS.values()])
    atlas[..., 0] = np.clip(1 + roughness * (atlas[..., 0] - 1), 0.2, 1.8)
    return atlas
