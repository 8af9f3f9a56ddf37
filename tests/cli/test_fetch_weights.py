"""Weights arrive whole or not at all, from a server of this machine or from a folder."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from demo_project import ROOT
from golden_init import init_module
from hub_cache import HubCache

from mmseg.models import BACKBONES
from mmseg.system.weight_table import TABLE, WeightFile, Weights
from tools import fetch_weights

CONTENT = bytes(range(256)) * 911
SUM = hashlib.sha256(CONTENT).hexdigest()
MIT = {"type": "mit_b0", "pretrained": "elsewhere/mit_b0.pth"}


@dataclass
class Server:
    """What the server has, how it behaves, and which byte each request started from."""

    content: bytes = CONTENT
    version: str = "one"
    drop_after: int | None = None  # bytes of an answer
    knows_ranges: bool = True
    has_length: bool = True
    status: int | None = None
    address: str = ""
    starts: list[int] = field(default_factory=list)


@contextmanager
def serving(server: Server) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            if server.status is not None:
                self.send_error(server.status)
                return
            asked = self.headers.get("Range") if server.knows_ranges else None
            if self.headers.get("If-Range") != f'"{server.version}"':
                asked = None
            start = int(asked.split("=")[1].rstrip("-")) if asked else 0
            server.starts.append(start)
            rest = server.content[start:]
            self.send_response(416 if asked and not rest else 206 if asked else 200)
            if asked and not rest:
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
            if server.version:
                self.send_header("ETag", f'"{server.version}"')
            if server.has_length:
                self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: server.drop_after])

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.address = f"http://127.0.0.1:{http.server_port}/toy.pth"
        yield
        http.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with the weights `toy`, whose sum is published, and `new`, without one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    with serving(server):
        for name, known in (("toy", SUM[:8]), ("new", "")):
            file = WeightFile(f"{name}.pth", server.address, known)
            monkeypatch.setitem(TABLE, name, Weights(name, "Toy-1.0", (file,)))
        yield server


def fetch(*words: str) -> int:
    return fetch_weights.main(list(words))


def sums() -> dict[str, str]:
    return json.loads(Path("pretrained/sha256.json").read_text())


def names() -> list[str]:
    return sorted(path.name for path in Path("pretrained").iterdir())


BEHAVIORS = {
    "plain": ({}, [0]),
    "drops halfway": ({"drop_after": 150_000}, [0, 150_000]),
    "drops often": ({"drop_after": 70_000}, [0, 70_000, 140_000, 210_000]),
    "ignores ranges": ({"knows_ranges": False}, [0]),
    "no version": ({"version": ""}, [0]),
    "no length": ({"has_length": False}, [0]),
}


@pytest.mark.parametrize("case", BEHAVIORS)
def test_a_file_arrives_whole(
    case: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    behavior, starts = BEHAVIORS[case]
    vars(server).update(behavior)
    assert fetch("toy", "new") == 0
    assert Path("pretrained/toy.pth").read_bytes() == CONTENT
    assert server.starts == starts * 2
    assert sums() == {"new.pth": SUM, "toy.pth": SUM}
    assert names() == ["new.pth", "sha256.json", "toy.pth"]
    out = capsys.readouterr().out
    assert out.index("License of toy: Toy-1.0.") < out.index("| there |")
    assert fetch("toy", "new") == 0
    assert len(server.starts) == 2 * len(starts), "nothing is fetched again"


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_an_interrupted_download_goes_on(knows_ranges: bool, server: Server) -> None:
    """A server that sends nothing more ends the command; the next call needs only the rest."""
    server.drop_after = 100_000
    server.knows_ranges = False  # each attempt ends where the last one did
    with pytest.raises(SystemExit, match=r"^DownloadError: expected the whole of http.* 100000 by"):
        fetch("toy")
    assert not Path("pretrained/toy.pth").exists()
    (part,) = Path("pretrained").glob("toy.pth.*.part")
    assert part.read_bytes() == CONTENT[:100_000]
    server.drop_after, server.knows_ranges = None, knows_ranges
    assert fetch("toy") == 0
    assert server.starts[2:] == [100_000 * knows_ranges]
    assert Path("pretrained/toy.pth").read_bytes() == CONTENT
    assert names() == ["sha256.json", "toy.pth"]


def test_a_complete_part_is_not_fetched_again(server: Server) -> None:
    Path("pretrained").mkdir()
    Path("pretrained/new.pth.%22one%22.part").write_bytes(CONTENT)
    assert fetch("new") == 0
    assert server.starts == [len(CONTENT)]
    assert Path("pretrained/new.pth").read_bytes() == CONTENT


def test_two_versions_of_a_file_are_not_mixed(server: Server) -> None:
    Path("pretrained").mkdir()
    Path("pretrained/new.pth.%22old%22.part").write_bytes(b"old" * 99)
    assert fetch("new") == 0
    assert Path("pretrained/new.pth").read_bytes() == CONTENT
    assert names() == ["new.pth", "sha256.json"]


def test_another_file_than_published_or_first_fetched_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch("new") == 0
    server.content = CONTENT[1:]
    Path("pretrained/new.pth").unlink()
    for name, known in (("toy", SUM[:8]), ("new", SUM)):
        with pytest.raises(SystemExit, match=rf"expected {name} with the SHA-256 {known}.* Fetch"):
            fetch(name)
    assert names() == ["sha256.json"], "what is useless is gone"
    Path("pretrained/toy.pth").write_bytes(b"other")
    assert fetch("toy") == 1
    assert "'pretrained/toy.pth' has another SHA-256 than toy" in capsys.readouterr().out


def test_a_dry_run_only_says_what_is_missing(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch("toy", "--dry-run") == 1
    said = capsys.readouterr().out
    assert f"Download {server.address} to 'pretrained/toy.pth', whose SHA-256 begins wi" in said
    assert not Path("pretrained").exists() and not server.starts
    assert fetch() == 0
    said = capsys.readouterr().out
    assert all(name in said for name in TABLE) and "Toy-1.0" in said


def test_without_a_network_files_come_from_a_folder(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a machine that fetched them, say, whose list of sums is believed."""
    usb = Path("usb")
    usb.mkdir()
    assert fetch("toy", "new", "--from", "usb") == 1
    said = capsys.readouterr().out
    assert f"Missing: new. Download {server.address} to 'usb/new.pth'." in said
    assert f"to 'usb/toy.pth', whose SHA-256 begins with {SUM[:8]}." in said
    (usb / "sha256.json").write_text(json.dumps({"new.pth": SUM}))
    (usb / "toy.pth").write_bytes(CONTENT)
    (usb / "new.pth").write_bytes(b"cut off")
    with pytest.raises(SystemExit, match=f"new with the SHA-256 {SUM}, got .* in 'usb/new.pth'"):
        fetch("toy", "new", "--from", "usb")
    (usb / "new.pth").write_bytes(CONTENT)
    assert fetch("toy", "new", "--from", "usb") == 0
    assert sums() == {"new.pth": SUM, "toy.pth": SUM}
    assert not server.starts


def test_a_config_loads_the_hubs_file_from_the_path_that_it_names(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `elsewhere/mit_b0.pth`, whose name tells which file is meant."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    theirs = transformers.SegformerModel(transformers.SegformerConfig()).state_dict()
    torch.save({f"segformer.{k}": v for k, v in theirs.items()}, "pytorch_model.bin")
    server.content = Path("pytorch_model.bin").read_bytes()
    file = WeightFile("mit_b0.pth", server.address)
    monkeypatch.setitem(TABLE, "mit_b0", Weights("mit_b0", "Toy-1.0", (file,)))
    Path("mine.py").write_text(f"model = dict(type='EncoderDecoder', backbone={MIT})\n")
    assert fetch("mine") == 0
    backbone = init_module(BACKBONES.build(MIT))
    backbone.init_weights()
    norm = next(value for key, value in theirs.items() if key.endswith("layer_norm.weight"))
    assert torch.equal(backbone.state_dict()["patch_embed1.norm.weight"], norm)


def test_a_config_says_all_weights_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hub = HubCache(tmp_path / "hub", monkeypatch)
    hub.add("me/there", "a.pth")
    Path("mine.py").write_text(
        "model = dict(type='X', pretrained='open-mmlab://resnet50_v1c', backbone=dict("
        "pretrained='hf://me/there', vit=dict(pretrained='pretrained/mit_b2.pth')))\n"
        "uda = dict(other=dict(pretrained='hf://me/gone'))\nload_from = 'my_own.pth'\n"
    )
    assert fetch("mine.py", "--dry-run") == 1
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [(name.strip(), state.strip()) for name, _, state in rows[1:]] == [
        ("open-mmlab://resnet50_v1c", "missing"),
        ("hf://me/there", "there, in the hub's cache"),
        ("mit_b2", "missing"),
        ("hf://me/gone", "missing"),
        ("my_own.pth", "missing, and not known here"),
    ]


WRONG = {
    "name": (["tooy"], r"hf://owner/name, or a config, got 'tooy'; did you mean 'toy'\?"),
    "config": (["configs/none.py"], r"No config file at 'configs/none.py'"),
    "folder": (["toy", "--from", "none"], r"expected a folder .* --from, got 'none'"),
    "hub": (["hf://toy"], r"expected hf://owner/name, .* got 'hf://toy'"),
    "sums": (["toy"], r"expected a table of SHA-256 sums in 'pretrained/sha256.json'"),
    "404": (["toy"], r"expected the file at http.*, got: 404 .* address may have changed"),
    "401": (["toy"], r"got: 401 .* wants you to log in and to accept a license first: .* --from"),
    "nobody": (["toy"], r"expected an answer from http.*, got: .* Check the connection"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_ends_in_a_sentence(
    case: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, message = WRONG[case]
    server.status = int(case) if case.isdigit() else None
    if case == "sums":
        Path("pretrained").mkdir()
        Path("pretrained/sha256.json").write_text("[1]")
    if case == "nobody":
        file = WeightFile("toy.pth", "http://127.0.0.1:1/toy.pth")
        monkeypatch.setitem(TABLE, "toy", Weights("toy", "Toy-1.0", (file,)))
    with pytest.raises(SystemExit, match=message) as end:
        fetch(*words)
    assert "\n" not in str(end.value)


def test_depth_networks_are_fetched_into_one_folder(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is what `tools/make_depth.py --model` takes."""
    name = "depth_anything_v2_small"
    files = tuple(WeightFile(file.path, server.address) for file in TABLE[name].files)
    monkeypatch.setitem(TABLE, name, Weights(name, "Toy-1.0", files))
    assert fetch(name) == 0
    found = sorted(path.name for path in TABLE[name].path.iterdir())
    assert found == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_a_published_config_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The examples of `--help`, as far as they need no network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "usb").mkdir()
    config = "configs/cdda/gta2cs_cdda_daformer"
    assert f"{config} --from usb --dry-run" in (fetch_weights.__doc__ or "")
    assert fetch(config, "--dry-run") == fetch(config, "--from", "usb", "--dry-run") == 1
    assert capsys.readouterr().out.count("License of mit_b5: NVIDIA Source Code License") == 2
