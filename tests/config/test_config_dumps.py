"""A config that is written reads back to the same values, and is then written the same way."""

import collections
import enum
import functools
import math
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmseg.config import Config, ConfigDict, load_config
from mmseg.config.language.config_dict import stamp
from mmseg.system.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path for path in (ROOT / "configs").rglob("*.py") if "generated" not in path.parts)
NUMBERS = [0, -1, 7, True, False, 2**70, 10**5000, 0.1, -0.0, 1e-4, 1e300, math.inf, -math.inf]
TEXTS = [
    "", "mIoU", "it's", 'say "no"', "two\nlines\r\n", "\t\x00\x1b\x85\u2028", "ümläut 語 😀",
    "\ud800", "{{ fileBasename }}", "{{{{", "{{ $HOME }} and {{ _base_.a }}", "\\{{ x }}", "{",
    "# x", "1e-4", "12", "yes", "null", "2020-01-01", "=", "~", "a: b", "- a", " lead", "trail ",
    "<<", "word " * 60, "x" * 300, "\\n", "r'", "%", "!!str", "&a", "*a", "'''", '"""', ",", "[1",
    "--- ",
]  # fmt: skip
IN_PYTHON: list[Any] = [
    math.nan, 1 + 2j, complex(math.nan, -0.0), complex(-0.0, math.inf), b"", b"\x00'{{ a }}",
    range(3), range(5, 1, -2), ..., set(), {1, "a"}, frozenset([(1, 2)]), {frozenset(), math.inf},
    Path, ConfigDict, len, stamp, np.float32, enum.Enum.__class__, collections.OrderedDict,
    pickle.PickleBuffer, enum.IntFlag, functools.reduce,
]  # fmt: skip
KEYS = ["a", "a-b", "class", "é", "ﬁ", "3", "", "float", "globals", "set", "a b", "{{ x }}", "type"]
ODD_KEYS: list[Any] = [3, None, 1.5, True, (1, "a"), (), b"k", math.inf, frozenset([1])]


class Color(enum.Enum):
    RED = "red"
    CRIMSON = "red"


class Flags(enum.IntFlag):
    A = 1
    B = 2


def same(first: Any, second: Any) -> bool:
    """Compare values together with their types; nan equals nan, and 0.0 is not -0.0."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(map(repr, first)) == list(map(repr, second)) and all(
            same(a, b) for a, b in zip(first.values(), second.values(), strict=True)
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, set | frozenset):
        return sorted(map(repr, first)) == sorted(map(repr, second))
    if isinstance(first, float | complex):
        return repr(first) == repr(second)
    return first is second or first == second


def value(rng: random.Random, leaves: list[Any], keys: list[Any], depth: int = 0) -> Any:
    kind = rng.choice(["dict", "list", "tuple", "leaf", "leaf", "leaf"]) if depth < 4 else "leaf"
    if kind == "leaf":
        return rng.choice(leaves)
    size = rng.choice([0, 1, 1, 2, 5])
    items = [value(rng, leaves, keys, depth + 1) for _ in range(size)]
    items += items[:1] * rng.choice([0, 0, 1])  # one object in two places
    if kind == "dict":
        return dict(zip(rng.sample(keys, len(keys)), items, strict=False))
    return items if kind == "list" else tuple(items)


def random_config(seed: int, more: list[Any], odd_keys: list[Any]) -> dict[str, Any]:
    rng = random.Random(seed)
    leaves = [*NUMBERS, *TEXTS, *more, None]
    code = type, type(stamp)  # a file keeps it to itself at the top level
    config = {key: value(rng, leaves, KEYS + odd_keys) for key in rng.sample(KEYS, 5)}
    return {k: [v] if isinstance(v, code) else v for k, v in config.items()}


@pytest.mark.parametrize("seed", range(200))
def test_random_config_reads_back_and_is_written_the_same(seed: int, tmp_path: Path) -> None:
    original = random_config(seed, [*IN_PYTHON, Color.RED, Color.CRIMSON, Flags(3)], ODD_KEYS)
    text = Config(original).dump(tmp_path / "a.py")
    cfg = load_config(tmp_path / "a")
    assert same(cfg.to_dict(), original)
    assert cfg.dump() == text == cfg.text


def lists(value: Any) -> Any:
    """Return a value with lists in place of tuples."""
    if isinstance(value, dict):
        return {key: lists(item) for key, item in value.items()}
    return [lists(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(("suffix", "keys"), [(".json", []), (".yaml", [3, None, 1.5, True])])
def test_random_config_goes_through_json_and_yaml_with_lists_for_tuples(
    suffix: str, keys: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.NUMBERS", [n for n in NUMBERS if n != 10**5000])
    for seed in range(60):
        original = random_config(seed, [math.nan], keys)
        text = Config(original).dump(tmp_path / f"a{suffix}")
        cfg = load_config(tmp_path / "a")
        assert same(cfg.to_dict(), lists(original)), seed
        assert cfg.dump(tmp_path / f"b{suffix}") == text, seed


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_config_reads_back_and_is_written_the_same(file: Path, tmp_path: Path) -> None:
    cfg = load_config(file)
    text = cfg.dump(tmp_path / "a.py")
    again = load_config(tmp_path / "a.py")
    assert same(again.to_dict(), cfg.to_dict())
    assert again.pretty_text == text == cfg.pretty_text


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Path("a/b"), "a/b"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.longdouble(0.5), 0.5),
        (np.array([[1, 2]]), [[1, 2]]),
        ({"a": {np.int64(3): (Path("b"), np.float64(1))}}, {"a": {3: ("b", 1.0)}}),
        ({Path("a")}, {"a"}),
        (collections.OrderedDict(a=collections.defaultdict(int, b=1)), {"a": {"b": 1}}),
    ],
    ids=repr,
)
def test_paths_and_numpy_values_become_plain_ones(given: Any, kept: Any) -> None:
    cfg = Config({"x": given})
    cfg.y = given
    assert same(cfg.to_dict(), {"x": kept, "y": kept})
    assert same(Config.fromstring(cfg.dump(), ".py").to_dict(), cfg.to_dict())


def loop() -> list[Any]:
    items: list[Any] = [{}]
    items[0]["inner"] = items
    return items


@pytest.mark.parametrize(
    ("content", "suffix", "words"),
    [
        ({"a": [{"b": lambda: 0}]}, ".py", r"^a\.0\.b: expected a value that a file can hold"),
        ({"a": object()}, ".py", "^a: expected a value that a file can hold"),
        ({"a": same}, ".py", "^a: expected a value that is no code at the top level"),
        ({"_a": 1}, ".py", "without a leading underscore, got '_a'"),
        ({"a": {"b": Path}}, ".json", r"^a\.b: expected a value that JSON can hold"),
        ({"a": {"b": {1}}}, ".yml", r"^a\.b: expected a value that YAML can hold"),
        ({"a": {3: 1}}, ".json", r"^a\.3: expected a name as the key of a dictionary in JSON"),
        ({"a": {(3,): 1}}, ".yaml", "expected a name as the key of a dictionary in YAML"),
        ({"a": 1}, ".txt", r"ends in \.py, \.json, \.yaml, \.yml, got '\.txt'"),
    ],
)
def test_what_a_file_cannot_hold_is_named(
    content: dict[str, Any], suffix: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        Config(content).dump(tmp_path / f"out{suffix}")
    assert not list(tmp_path.iterdir())


def test_value_that_contains_itself_is_refused() -> None:
    for make in (Config, ConfigDict, lambda values: Config().update(values)):
        with pytest.raises(ConfigError, match="contains itself"):
            make({"a": loop()})


def test_order_of_a_set_does_not_depend_on_the_process() -> None:
    code = "from mmseg.config import Config; print(Config({'a': set('abcdefgh')}).dump())"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in "123"
    }
    assert len(texts) == 1
