"""Loading files of others: what is understood, what is refused, and that nothing is executed."""

import collections
import logging
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crafted_files import (
    LEGACY,
    PLACES,
    TRICKS,
    OldNumpy,
    Runs,
    by_system,
    write_archive,
    write_tar,
)
from torch import nn

from mmseg.engine.checkpoint import CheckpointError, read_checkpoint
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.uda.depthmetric import load_bank
from mmseg.system.errors import ConfigError
from mmseg.system.safe_loading import (
    UnreadableFileError,
    UnsafeFileError,
    load_safely,
    trusting_files,
)
from mmseg.system.safe_types import STAND_INS, Inert

ROOT = Path(__file__).resolve().parents[1]
FORMATS = {"zip": {}, "legacy": LEGACY}
NAMED = {
    "by_system": f"{os.name}.system",
    "by_exec": "builtins.exec",
    "by_rebuilding": f"{os.name}.system",
    "by_parameter": f"{os.name}.system",
}


def load(path: Path) -> Any:
    return load_safely(path, "a file")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_crafted_file_executes_nothing_unless_it_is_trusted(
    form: str, trick: str, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the opt-in it does, which shows that the file would have."""
    path, marker = tmp_path / "crafted.pth", tmp_path / "executed"
    torch.save(PLACES[place](TRICKS[trick](marker)), path, **FORMATS[form])
    with pytest.raises(UnsafeFileError) as caught:
        load_safely(path, "a checkpoint")
    assert not marker.exists()
    message = str(caught.value)
    assert re.search(rf"holds the types? .*\b{re.escape(NAMED[trick])}\b", message)
    assert str(path) in message
    assert "--trust-checkpoint" in message
    assert not caplog.records
    with trusting_files(True):
        try:
            load_safely(path, "a checkpoint")
        except UnreadableFileError:
            assert trick == "by_rebuilding"  # it breaks off, but only after the call
    assert marker.exists()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.message
    marker.unlink()
    with pytest.raises(UnsafeFileError):
        load_safely(path, "a checkpoint")
    assert not marker.exists()


def test_checkpoints_weights_and_banks_of_strangers_are_refused(tmp_path: Path) -> None:
    """Each by its own way of loading; with the opt-in each is read as what it is."""
    path, marker = tmp_path / "gta_7_distribution.pth", tmp_path / "executed"
    weights = {**nn.Linear(2, 3).state_dict(), "head.note": by_system(marker)}
    bank = torch.ones(7, 19, 256)
    bank.note = by_system(marker)  # type: ignore[attr-defined]
    ways: list[tuple[Any, Any]] = [
        ({"state_dict": {}, "note": by_system(marker)}, lambda: read_checkpoint(path)),
        (weights, lambda: load_pretrained(nn.Linear(2, 3), path, "fetch it")),
        (nn.Parameter(bank, requires_grad=False), lambda: load_bank(path, "gta")),
    ]
    ways[2][0].note = by_system(marker)
    for content, load_it in ways:
        torch.save(content, path)
        with pytest.raises(UnsafeFileError, match=rf"'{path}', .*\.system"):
            load_it()
        assert not marker.exists()
        with trusting_files(True):
            load_it()
        assert marker.exists()
        marker.unlink()


def test_every_offending_type_is_named(tmp_path: Path) -> None:
    content = {
        "a": Path("x"),
        "b": nn.Linear(2, 3),
        "c": [Runs(os.getcwd), np.float64(1)],
        "d": collections.OrderedDict(e=torch.ones(2)),
    }
    found = r"\(it holds the types pathlib\.(_local\.)?PosixPath, posix\.getcwd, torch\.nn\."
    found += r"modules\.linear\.Linear\)"
    for options in ({}, LEGACY, {"pickle_protocol": 4}, {"pickle_protocol": 5, **LEGACY}):
        torch.save(content, tmp_path / "a.pth", **options)
        with pytest.raises(UnsafeFileError, match=found):
            load(tmp_path / "a.pth")


def test_very_many_types_are_counted_and_strange_names_made_harmless(tmp_path: Path) -> None:
    """A name with control characters could draw over the message in a terminal."""
    names = b"".join(b"cm\nname%02d\n0" % n for n in range(30)) + b"ca\n\x1b[2Jb\n."
    write_archive(tmp_path / "a.pth", b"\x80\x02" + names)
    with pytest.raises(UnsafeFileError) as caught:
        load(tmp_path / "a.pth")
    assert str(caught.value).isprintable()
    assert r"'a.\x1b[2Jb', m.name00, " in str(caught.value)
    assert "… (31 in all)" in str(caught.value)


HISTORY = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
GETATTR = b"c__builtin__\ngetattr\n"
TEXT = b"X\x04\x00\x00\x00mean"
PROGRAMS = {  # each uses names of the list only
    "call what getattr returns": (
        GETATTR + b"(" + HISTORY + TEXT + b"tR" + b"(" + TEXT + b"tR.",
        "Trying to call reduce for unrecognized function <mmseg.system.safe_types.Inert",
    ),
    "number of Python objects": (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00O8tR" + TEXT + b"tR.",
        "Can only make numbers of bytes",
    ),
    "array of Python objects": (
        b"cnumpy\nndarray\n)\x81(K\x01K\x03\x85cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R\x89"
        b"c_codecs\nencode\nX\x01\x00\x00\x00a\x85Rtb.",
        "Can only make dtypes of numbers and texts, but got 'O8'",
    ),
    "items of an object": (HISTORY + b")\x81" + TEXT + b"K\x01s.", "Can only SETITEM for dict"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_names_of_the_list_cannot_be_put_to_another_use(case: str, tmp_path: Path) -> None:
    program, message = PROGRAMS[case]
    write_archive(tmp_path / "a.pth", b"\x80\x02" + program)
    expected = (UnsafeFileError, UnreadableFileError) if "items" in case else UnsafeFileError
    with pytest.raises(expected) as caught:
        load(tmp_path / "a.pth")
    if isinstance(caught.value, UnsafeFileError):
        assert message in str(caught.value)


def test_programs_and_tar_files_are_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    program = b"\x80\x02c__torch__.torch.nn.modules.linear\nLinear\n."
    write_archive(tmp_path / "program.pth", program, "constants.pkl")
    with pytest.raises(UnsafeFileError, match=r"program\.pth', .*__torch__\..*Linear"):
        load(tmp_path / "program.pth")
    write_tar(tmp_path / "old.tar", by_system(marker))
    with pytest.raises(UnsafeFileError, match=r"Cannot use ``weights_only=True`` with .* \.tar"):
        load(tmp_path / "old.tar")
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(by_system(marker), protocol=4))
    with pytest.raises(UnsafeFileError, match="holds the type posix.system"):
        load(tmp_path / "raw.pkl")
    assert not marker.exists()


PLAIN: dict[str, Any] = {
    "best_score": np.float64(0.25),
    "half": np.float16(0.5),
    "int": np.int64(-7),
    "byte": np.uint8(200),
    "bool": np.bool_(True),
    "complex": np.complex64(1 + 2j),
    "text": np.str_("señal"),
    "dtype": np.dtype("float32"),
    "big end": np.dtype(">i2"),
    "dtypes": (1, [np.dtype("int8")]),
    "array": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6).reshape(3, 2)),
    "no rows": np.zeros((0, 3), np.float32),
    "mask": np.array([True, False]),
    "names": np.array(["a", "bc"]),
    "big": 1 << 70,
    "set": {1, 2},
    "ordered": collections.OrderedDict(a=1),
    "counter": collections.Counter("aab"),
    "bytes": b"a\xff",
    "version": torch.torch_version.TorchVersion("2.6.0"),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("numpy", ["old", "new"])
def test_plain_values_come_back_as_they_were(numpy: str, form: str, tmp_path: Path) -> None:
    module = {"pickle_module": OldNumpy} if numpy == "old" else {}
    torch.save({"meta": PLAIN}, tmp_path / "a.pth", **FORMATS[form], **module)  # type: ignore[arg-type]
    content = (tmp_path / "a.pth").read_bytes()
    name = b"numpy.core.multiarray" if numpy == "old" else b"numpy._core.multiarray"
    if np.__version__ >= "2":
        assert (b"numpy.core.multiarray" in content, name in content) == (numpy == "old", True)
    loaded = load(tmp_path / "a.pth")["meta"]
    assert list(loaded) == list(PLAIN)
    for key, value in PLAIN.items():
        kind = str if key == "version" else type(value)
        assert type(loaded[key]) is kind, key
        if isinstance(value, np.ndarray):
            assert loaded[key].dtype == value.dtype
            assert loaded[key].shape == value.shape
            loaded[key].setflags(write=True)
        assert np.array_equal(loaded[key], value) if kind is np.ndarray else loaded[key] == value


def test_containers_of_other_kinds_become_dictionaries_and_lists(tmp_path: Path) -> None:
    content = {
        "losses": collections.defaultdict(list, {"a": [1, np.float32(2)]}),
        "last": collections.deque([3, 4], maxlen=5),
        "none": collections.deque(),
    }
    torch.save(content, tmp_path / "a.pth")
    loaded = load(tmp_path / "a.pth")
    assert loaded == {"losses": {"a": [1, 2.0]}, "last": [3, 4], "none": []}
    assert type(loaded["losses"]) is collections.OrderedDict
    assert type(loaded["last"]) is list


def test_history_objects_of_other_programs_are_kept_but_can_do_nothing(tmp_path: Path) -> None:
    """As the programs write them: an object with arrays and with references to its own methods."""

    def pickled(value: Any) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    state = b"}(" + pickled("_log_history") + pickled(np.arange(3.0))
    methods = pickled("_statistics_methods") + b"}" + pickled("mean")
    methods += GETATTR + HISTORY + pickled("mean") + b"\x86R" + b"s"
    buffer = HISTORY + b")\x81" + state + methods + b"ub"
    config = b"cmmengine.config.config\nConfigDict\n}" + pickled("lr") + b"K\x07s\x85R"
    old = b"cmmcv.runner.log_buffer\nLogBuffer\n)\x81}" + pickled("val_history") + b"}sb"
    nested = b"caddict.addict\nDict\n)\x81" + pickled("a") + b"K\x05s}b"
    program = b"\x80\x02(" + buffer + config + old + nested + b"t."
    write_archive(tmp_path / "a.pth", program)
    history, options, log, addict = load(tmp_path / "a.pth")
    assert type(history) is type(log) is Inert
    assert np.array_equal(history.state["_log_history"], [0, 1, 2])
    method = history.state["_statistics_methods"]["mean"]
    assert type(method) is Inert
    assert method.arguments == (STAND_INS["mmengine.logging.history_buffer.HistoryBuffer"], "mean")
    assert not callable(method)
    assert log.state == {"val_history": {}}
    assert (options, addict) == ({"lr": 7}, {"a": 5})
    for stand_in in (history, log):
        public = [name for name in dir(stand_in) if not name.startswith("__")]
        assert public == ["arguments", "state"]
        assert not hasattr(stand_in, "__dict__")


def test_values_that_are_shared_or_contain_themselves_stay_so(tmp_path: Path) -> None:
    """Forty tuples, each of the one before twice, would be 2^40 values to visit."""
    pair: Any = (np.dtype("f8"),)
    for _ in range(40):
        pair = (pair, pair)
    ring: list[Any] = [np.float64(1)]
    ring.append(ring)
    torch.save({"ring": ring, "pair": pair}, tmp_path / "a.pth")
    loaded = load(tmp_path / "a.pth")
    assert loaded["ring"][1] is loaded["ring"]
    inner = loaded["pair"]
    while isinstance(inner, tuple) and len(inner) == 2:
        assert inner[0] is inner[1]
        inner = inner[0]
    assert inner == (np.dtype("f8"),)


def test_what_others_allow_is_neither_used_nor_forgotten(tmp_path: Path) -> None:
    """A library may have allowed numpy's own functions, and a class of its own."""
    own: Any = [Path, np.float64(0).__reduce__()[0], np.dtype]
    torch.save({"a": np.float64(0.5)}, tmp_path / "a.pth")
    torch.save({"a": Runs(Path, "x")}, tmp_path / "b.pth")
    before = set(torch.serialization.get_safe_globals())
    with torch.serialization.safe_globals(own):
        assert load(tmp_path / "a.pth") == {"a": 0.5}
        with pytest.raises(UnsafeFileError, match="pathlib"):
            load(tmp_path / "b.pth")
        assert set(torch.serialization.get_safe_globals()) == before | set(own)
    assert set(torch.serialization.get_safe_globals()) == before


def test_trust_ends_with_its_block_also_after_an_error(tmp_path: Path) -> None:
    torch.save(Runs(os.getcwd), tmp_path / "a.pth")

    def use_and_fail() -> None:
        with trusting_files(True):
            assert load(tmp_path / "a.pth") == str(Path.cwd())
            with trusting_files(False), pytest.raises(UnsafeFileError):
                load(tmp_path / "a.pth")
            assert load(tmp_path / "a.pth") == str(Path.cwd())
            raise KeyError

    with pytest.raises(KeyError):
        use_and_fail()
    with pytest.raises(UnsafeFileError):
        load(tmp_path / "a.pth")


def test_a_trusted_file_of_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.pth", b"\x80\x02cno_such_program\nThing\n)R.")
    with pytest.raises(UnsafeFileError, match=r"the type no_such_program\.Thing"):
        load(tmp_path / "a.pth")
    with (
        trusting_files(True),
        pytest.raises(CheckpointError, match=r"a\.pth.*\(No module named 'no_such_program'\)"),
    ):
        read_checkpoint(tmp_path / "a.pth")


def test_harmless_files_are_loaded_safely_even_when_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"a": np.float64(0.5)}, tmp_path / "a.pth")
    with trusting_files(True):
        assert load(tmp_path / "a.pth") == {"a": 0.5}
    assert not caplog.records


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_file_is_an_error_and_never_another(form: str, tmp_path: Path) -> None:
    """Cut off at, or with a wrong byte at, many places: the file's name and a reason, or a load.

    A wrong byte in the data of a tensor goes unnoticed here; the check sums tell (`resume`).
    """
    path = tmp_path / "a.pth"
    content = {"meta": {"s": np.float64(0.5)}, "state_dict": nn.Linear(3, 5).state_dict()}
    torch.save(content, path, **FORMATS[form])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in np.linspace(0, len(whole) - 1, 150).astype(int):
        changed = bytearray(whole)
        changed[place] = rng.integers(256)
        for data in (whole[:place], bytes(changed)):
            path.write_bytes(data)
            try:
                read_checkpoint(path)
            except (CheckpointError, UnsafeFileError) as error:
                assert str(path) in str(error)
                assert len(str(error)) < 700
                refused += 1
    assert refused > 150


def test_reasons_are_short(tmp_path: Path) -> None:
    """torch's own messages are pages of advice."""
    path = tmp_path / "a.pth"
    magic = pickle.dumps(119547037146038801333356, protocol=2)
    cases = {
        b"<html>": "Unsupported operand 60",
        b"": "it is empty",
        b"PK\x03\x04": "cut off or damaged",
        magic + struct.pack("<b", 2): "Unsupported operand 2",
    }
    for data, reason in cases.items():
        path.write_bytes(data)
        with pytest.raises(UnreadableFileError, match=reason) as caught:
            load(path)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigError, match=rf"{path}.*{reason}.*fetch the file again"):
            load_pretrained(nn.Linear(2, 3), path, "fetch it")
        with pytest.raises(ValueError, match=rf"{path}.*{reason}.*create it again with"):
            load_bank(path, "gta")


def test_only_one_module_loads_files_of_torch_and_none_unpickles() -> None:
    sources = [*(ROOT / "mmseg").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    sources += ROOT.glob("*.py")
    pattern = (
        r"torch\.load\(|pickle\.loads?\(|Unpickler\(|allow_pickle|jit\.load|weights_only=False"
    )
    using = {
        path.relative_to(ROOT).as_posix()
        for path in sources
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert using == {"mmseg/system/safe_loading.py"}
