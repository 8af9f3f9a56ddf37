"""Files in Python, YAML and JSON: what stands in for `{{ … }}`, and what is broken in them."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from mmseg.config import Config, find_config, load_config
from mmseg.system.errors import ConfigError

DEEP = 1500
BASE = "model = dict(head=dict(type='Net', sizes=(1, 2)), lr=0.5)\nname = 'run'\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".py", "_base_ = 'base.py'\nmodel = dict(lr=1e-4)\nday = '2020-01-01'"),
        (".yaml", "_base_: base.py\nmodel: {lr: 1e-4}\nday: 2020-01-01\n"),
        (".yml", "_base_: [base.py]\nmodel:\n  lr: .0001\nday: '2020-01-01'\n"),
        (".json", '{"_base_": "base.py", "model": {"lr": 1e-4}, "day": "2020-01-01"}'),
    ],
)
def test_every_format_inherits_from_every_other(suffix: str, text: str, tmp_path: Path) -> None:
    write(tmp_path, "base.py", BASE)
    write(tmp_path, f"child{suffix}", text)
    write(tmp_path, "grandchild.py", f"_base_ = ['child{suffix}']\nname = 'other'")
    write(tmp_path, "last.yaml", "_base_: grandchild.py\nmodel: {_delete_: true, a: [x, 1]}")
    cfg = load_config(tmp_path / "child")
    assert cfg.model.to_dict() == {"head": {"type": "Net", "sizes": (1, 2)}, "lr": 1e-4}
    assert cfg.day == "2020-01-01"
    assert load_config(tmp_path / "last").model == {"a": ["x", 1]}
    assert find_config(tmp_path / "child").suffix == suffix
    with pytest.raises(FileNotFoundError, match=rf"child\{suffix}"):
        find_config(tmp_path / "chlid.py")


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".json"])
@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ fileBasename }}", "child{suffix}"),
        ("{{fileBasenameNoExtension}}", "child"),
        ("a{{ fileExtname }}b", "a{suffix}b"),
        ("{{ fileDirname }}/x", "{folder}/x"),
        ("{{ $MINE }}/{{ $NONE:a:b }}", "it's/a:b"),
        ("{{ $NONE: }}", ""),
        ("{{ _base_.model.head }}", {"type": "Net", "sizes": (1, 2)}),
        ("{{ _base_.model.lr }}", 0.5),
        ("{{ _base_.model.head.sizes.1 }}", 2),
        ("runs/{{ _base_.name }}-{{ _base_.model.lr }}", "runs/run-0.5"),
    ],
)
def test_template_in_quotes(
    suffix: str, template: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "it's")
    write(tmp_path, "base.py", BASE)
    text = {
        ".py": f"_base_ = 'base.py'\na = [\"{template}\"]",
        ".yaml": f'_base_: base.py\na: ["{template}"]',
        ".json": f'{{"_base_": "base.py", "a": ["{template}"]}}',
    }[suffix]
    cfg = load_config(write(tmp_path, f"child{suffix}", text))
    if isinstance(expected, str):
        expected = expected.replace("{suffix}", suffix).replace("{folder}", str(tmp_path))
    assert cfg.to_dict()["a"] == [expected]


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        (".py", "a = {{ _base_.model.head }}", {"type": "Net", "sizes": (1, 2)}),
        (".py", "a = [{{_base_.model.lr}} * 2, {{ fileExtname }}]", [1.0, ".py"]),
        (".py", "a = {{ $SIZE }} + {{ $OTHER:2 }}", 5),
        (".py", "a = f'{{ fileBasename }}-{{x}}-{1}'", "child.py-{x}-1"),
        (".py", "# {{ unknown }}\na = '{' '{ unknown }}'", "{{ unknown }}"),
        (".py", "a = '{{}} {{ two words }}'", "{{}} {{ two words }}"),
        (".yaml", "a: {{ _base_.model.lr }}  # {{ _base_.name }}", 0.5),
        (".yaml", "# {{ unknown }}\na: {{ $SIZE }}", 3),
        (".json", '{"_base_": "base.py", "a": {{ $SIZE }}}', 3),
    ],
)
def test_template_without_quotes(
    suffix: str, text: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIZE", "3")
    write(tmp_path, "base.py", BASE)
    start = {".py": "_base_ = 'base.py'\n", ".yaml": "_base_: base.py\n", ".json": ""}[suffix]
    cfg = load_config(write(tmp_path, f"child{suffix}", start + text))
    assert cfg.to_dict()["a"] == expected


def test_value_of_a_base_is_a_copy(tmp_path: Path) -> None:
    write(tmp_path, "base.py", BASE)
    cfg = load_config(
        write(tmp_path, "child.py", "_base_ = 'base.py'\na = {{ _base_.model }}\na['lr'] = 2")
    )
    cfg.a.head.type = "Other"
    assert (cfg.a.lr, cfg.model.lr, cfg.model.head.type) == (2, 0.5, "Net")


def nested(opening: str, closing: str) -> str:
    return opening * DEEP + "1" + closing * DEEP


LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)
MERGED_LAUGHS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n + 1}: &a{n + 1}\n  <<: [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)
BROKEN = [
    # Python
    ("a.py", "a = 1\nb = (", r"a\.py:2: expected Python, got a mistake in it"),
    ("a.py", "a = 1\0", r"a\.py(:1)?: expected Python, got a mistake .* null bytes"),
    ("a.py", "a = 1\nb = c", r"a\.py:2: .* NameError: name 'c' is not defined\."),
    ("a.py", "import json\n\na = json.loads('{')", r"a\.py:3: .*JSONDecodeError"),
    ("a.py", "from json import nothing", r"a\.py:1: .* ImportError"),
    ("a.py", "\na = 1 / 0", r"a\.py:2: .* ZeroDivisionError"),
    ("a.py", "def f():\n    return f()\n\na = f()", r"a\.py:\d: .* RecursionError"),
    ("a.py", "import sys\nsys.exit()", r"a\.py:2: .* SystemExit"),
    ("a.py", "raise SystemExit(3)", r"a\.py:1: .* SystemExit: 3"),
    ("a.py", b"a = 1\nb = '\xff\xfe'", r"a\.py:2: expected text in UTF-8, got the byte 0xff"),
    ("a.py", "seed = 1\n_base_ = 5", r"a\.py:2: expected the name of a file .*, got 5"),
    ("a.py", "_base_ = ['a', 5]", r"a\.py:1: expected the name of a file .*, got \['a', 5\]"),
    ("a.py", "_base_ = '.'", r"a\.py: its _base_ '\.' is a folder"),
    ("a.py", "_base_ = 'a.py'", r"a\.py inherits from itself"),
    ("a.py", "a = " + nested("[", "]"), r"a\.py:1: expected Python, .*too many nested"),
    ("a.py", f"a = 1\nfor _ in range({DEEP}):\n    a = [a]", r"a\.py:3: expected at most 100"),
    ("a.py", "a = []\na.append(a)", r"a\.py:1: .* contains itself"),
    ("a.py", "a = " + "1 + " * 20_000 + "1", r"a\.py: expected at most"),
    ("a.py", "a = dict(b=dict(\n    _delete_=5))", r"a\.py:2: expected True or False for _delete_"),
    (
        "a.py",
        "a = 1\nb = '{{ fileBasenam }}'",
        r"a\.py:2: .*'fileBasenam'; did you .*fileBasename'",
    ),
    ("a.py", "b = {{ zzz }}", r"a\.py:1: .*'zzz'; known names are \$NAME"),
    ("a.py", "\nb = '{{ $NOT_SET }}'", r"a\.py:2: expected the environment variable 'NOT_SET'"),
    ("a.py", "b = {{ _base_.x.y }}", r"a\.py:1: the config has no '_base_\.x\.y'"),
    ("a.py", "custom_imports = dict(imports=[5])", r"a\.py:1: expected the names of modules"),
    ("a.py", "custom_imports = 5", r"a\.py:1: expected the names of modules, got 5"),
    # JSON
    ("a.json", '{"a":\n ', r"a\.json:2: expected JSON, got a mistake in it: Expecting value"),
    ("a.json", "", r"a\.json:1: expected JSON"),
    ("a.json", "[1, 2]", r"a\.json:1: expected names with values at the top level, got list"),
    ("a.json", '{"a": {"b": 1, "b": 2}}', r"a\.json: expected each key once, got 'b' twice"),
    ("a.json", '{"a": ' + nested("[", "]") + "}", r"a\.json.*: expected at most 100 levels"),
    ("a.json", '{"a": ' + "[" * 100_000, r"a\.json: expected at most 100 levels"),
    ("a.json", '{"a": 1,\n"b": "{{ zzz }}"}', r"a\.json:2: .*'zzz'"),
    ("a.json", '{"b": "{{ _base_.zzz }}"}', r"a\.json:1: the config has no '_base_\.zzz'"),
    ("a.json", '{"_base_": {"a": 1}}', r"a\.json:1: expected the name of a file"),
    ("a.json", b'{"a": "\xff"}', r"a\.json:1: expected text in UTF-8"),
    # YAML
    ("a.yaml", "a: 1\nb: [", r"a\.yaml:\d: expected YAML, got a mistake in it"),
    ("a.yaml", "", r"a\.yaml:1: expected names with values .* got NoneType"),
    ("a.yaml", "- 1", r"a\.yaml:1: expected names with values at the top level, got list"),
    ("a.yaml", "a: 1\nb: {c: 1,\n  c: 2}", r"a\.yaml:3: .* a second 'c'"),
    ("a.yaml", "a: " + nested("[", "]"), r"a\.yaml: expected at most 100 levels"),
    ("a.yaml", "a: " + "[" * 100_000, r"a\.yaml: expected at most 100 levels"),
    ("a.yaml", "a: &a [*a]", r"a\.yaml: .* contains itself"),
    ("a.yaml", LAUGHS, r"a\.yaml: expected at most 1000000 values"),
    ("a.yaml", "a: &a\n  <<: *a\n  b: 1\n1: 2", r"a\.yaml:4: expected a word as the name"),
    ("a.yaml", "a: !!python/object:os.system x", r"a\.yaml:1: .*could not determine a constructor"),
    ("a.yaml", "a: !!int x", r"a\.yaml: expected YAML"),
    ("a.yaml", "a: !!bool x", r"a\.yaml: expected YAML"),
    ("a.yaml", "a: !!timestamp x", r"a\.yaml: expected YAML"),
    ("a.yaml", "a: 1\n{}: 1", r"a\.yaml:2: .* unhashable key"),
    ("a.yaml", "a: 1\n---\nb: 2", r"a\.yaml:2: .* found another document"),
    ("a.yaml", "a: \x07", r"a\.yaml: expected YAML"),
    ("a.yaml", "a: {b: {_delete_: 5}}", r"a\.yaml:1: expected True or False for _delete_, got 5"),
]


@pytest.mark.parametrize(("name", "content", "words"), BROKEN, ids=lambda v: str(v)[:40])
def test_broken_file_ends_in_one_sentence(
    name: str, content: str | bytes, words: str, tmp_path: Path
) -> None:
    file = write(tmp_path, name, content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(file)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 500


def test_merges_of_merges_do_not_blow_up(tmp_path: Path) -> None:
    """PyYAML before 6.0.4 would make a list of 9**9 items of them, which is refused."""
    file = write(tmp_path, "a.yaml", MERGED_LAUGHS)
    with contextlib.suppress(ConfigError):
        assert load_config(file).a9 == {"x": 1}


def test_byte_order_mark_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    for name, text in (("a.py", "a = 'x'\r\nb = 2"), ("b.json", '{"a": "x",\r\n "b": 2}')):
        file = write(tmp_path, name, b"\xef\xbb\xbf" + text.encode())
        assert load_config(file) == {"a": "x", "b": 2}


def test_chain_of_bases_may_not_be_endless(tmp_path: Path) -> None:
    for number in range(200):
        write(tmp_path, f"c{number}.py", f"_base_ = 'c{number + 1}.py'")
    with pytest.raises(ConfigError, match="expected at most 30 files that inherit"):
        load_config(tmp_path / "c0.py")


def test_text_of_a_config_is_read_like_a_file(tmp_path: Path) -> None:
    for suffix, text in ((".py", "a = dict(b=1)"), (".json", json.dumps({"a": {"b": 1}}))):
        cfg = Config.fromstring(text, suffix)
        assert (cfg.a.b, cfg.text, cfg.filename) == (1, text, None)
    with pytest.raises(ConfigError, match=r"got '\.ini'"):
        Config.fromstring("", ".ini")
