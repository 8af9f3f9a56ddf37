"""The text of `--cfg-options`, and the values that it sets."""

from typing import Any

import pytest

from mmseg.config import Config, parse_options
from mmseg.system.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1", -1), ("1e-4", 1e-4), ("1.0", 1.0), ("'1e-4'", "1e-4"), ('"a,b"', "a,b"),
        ("", ""), ("word", "word"), ("two words", "two words"), ("it's", "it's"), ("x=y", "x=y"),
        ("None", None), ("none", None), ("null", None), ("True", True), ("true", True),
        ("false", False), ("[true,null]", [True, None]), ("data/a-b/", "data/a-b/"),
        ("https://a.b/c?d=e", "https://a.b/c?d=e"), ("runs/[a](b)", "runs/[a](b)"),
        ("1,2", (1, 2)), ("x,y", ["x", "y"]), ("x,1", ["x", 1]),
        ("[mIoU,mDice]", ["mIoU", "mDice"]),
        ("[a, b ,]", ["a", "b"]), ("[]", []), ("()", ()), ("{}", {}), ("(x)", "x"),
        ("(x,)", ("x",)),
        ("[(1,2),(x,y)]", [(1, 2), ("x", "y")]), ("(1,[x,(y,)])", (1, ["x", ("y",)])),
        ("['a,b',c]", ["a,b", "c"]), ("[it's,x]", ["it's", "x"]), ("['a]',b]", ["a]", "b"]),
        ("{'a': 1}", {"a": 1}), ("{'a': b, c: [d, 1]}", {"a": "b", "c": ["d", 1]}),
        ("[a/b.png,http://x:80/]", ["a/b.png", "http://x:80/"]),
    ],
)  # fmt: skip
def test_text_is_read_as_python_with_words(text: str, value: Any) -> None:
    (parsed,) = parse_options([f"a.b={text}"]).values()
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text", ["[1,2", "1,2]", "(x,[y)", "[a)]", "x)", "['a]", "[" * 2000 + "x" * 9]
)
def test_brackets_and_quotes_must_match(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a=VALUE with matching brackets and quotes"):
        parse_options([f"a={text}"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["seed"], "expected KEY=VALUE, got 'seed'"),
        (["=1"], "expected KEY=VALUE, got '=1'"),
        (["a.b=2", "a=1"], r"got 'a' and 'a\.b', which lies inside it"),
        (["a={b, c: 1}"], "expected NAME: VALUE in 'a', got 'b'"),
    ],
)
def test_options_that_make_no_sense_end_in_a_sentence(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_options(options)


def test_last_of_equal_options_wins() -> None:
    assert parse_options(["a=1", "ab=2", "a=3"]) == {"a": 3, "ab": 2}


def test_options_set_items_of_lists_and_tuples() -> None:
    cfg = Config({"a": [{"b": (1, (2, 3))}, [4, 5]], "c": ({"d": 6},)})
    items = cfg.a
    cfg.merge_from_dict({"a.0.b.1.0": 7, "a.1.0": {"e": 8}, "c.0.d": 9}, allow_list_keys=True)
    assert cfg.to_dict() == {"a": [{"b": (1, (7, 3))}, [{"e": 8}, 5]], "c": ({"d": 9},)}
    assert cfg.a is items
    assert cfg.a[0].origins["b"] == cfg.c[0].origins["d"] == "merge_from_dict"
    assert (cfg.a[1][0].path, cfg.c[0].path) == ("a.1.0", "c.0")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a.2", r"'a\.2', counted from 0, among 2 items, got '2'"),
        ("a.2.b", r"'a\.2', counted from 0, among 2 items, got '2'"),
        ("a.x", r"among 2 items, got 'x'"),
        ("a.-1", r"among 2 items, got '-1'"),
        ("a.0.b", r"'a\.0\.b' points into 1, which has no keys"),
        ("b.c", r"the config has no 'b'"),
    ],
)
def test_wrong_path_is_named(path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config({"a": [1, 2]}).merge_options({path: 3})
