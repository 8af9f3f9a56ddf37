"""tools/export.py: files that compute what the network does, without this program."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_run
import torch
from exported_networks import CLASSES, NETWORKS, PALETTE, network, save_checkpoint
from PIL import Image
from test_pages import PAGES, blocks

from mmseg.apis.exporting import export
from mmseg.apis.exporting.exported_network import PixelsToProbabilities
from mmseg.apis.predicting.segmenter import Segmenter, sample_of
from mmseg.models import HEADS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tools.export import main  # noqa: E402

SMALL = network({"type": "block_test_backbone"}, {"type": "export_test_head"})
SMALL["decode_head"] |= {"in_channels": 3, "channels": 3, "num_classes": 5}
EXAMPLE = blocks(PAGES["docs/predict.md"], "python")[-1]
PROGRAM = """
import numpy as np, torch
program = torch.export.load("model.pt2").module()
for name, pixels in np.load("inputs.npz").items():
    print(np.abs(program(torch.from_numpy(pixels)).numpy() - np.load("outputs.npz")[name]).max())
"""


@HEADS.register("export_test_head", force=True)
class Head(BaseDecodeHead):
    """Classifies the only feature; `trick` does something before."""

    trick: Any = staticmethod(lambda x: x)

    def forward(self, inputs: Any) -> Any:
        return self.cls_seg(self.trick(inputs[-1]))


def without(modules: list[str], code: str, folder: Path) -> str:
    """Run code in a process in which modules cannot be imported, and return what it prints."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
    words = [sys.executable, "-c", hidden + code]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(name: str, kind: str, folder: Path, *words: str) -> Path:
    """Export a network as the example of --help does, and return the file."""
    (folder / "run").mkdir(exist_ok=True)
    save_checkpoint(folder / "run/latest.pth", NETWORKS.get(name, SMALL))
    out = folder / {"onnx": "model.onnx", "program": "model.pt2"}[kind]
    main([str(folder / "run"), "--format", kind, "--out", str(out), *words])
    return out


def test_an_onnx_file_labels_an_image_with_onnxruntime_numpy_and_pil_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported("daformer", "onnx", tmp_path)
    assert re.search(
        r"uint8, RGB.*\n.*\n.*fit 96x72 pix.*\n.*at most \S+e-0[5-9]", capsys.readouterr().out
    )
    colors = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    picture = Image.fromarray(colors).resize((96, 72), Image.Resampling.NEAREST)
    picture.save(tmp_path / "street.png")
    without(["mmseg", "torch"], EXAMPLE, tmp_path)
    with Image.open(tmp_path / "labels.png") as labels:
        expected = Segmenter(tmp_path / "run", device="cpu")(tmp_path / "street.png")
        assert (np.asarray(labels) == expected.ids).mean() > 0.99
        assert (np.asarray(labels.convert("RGB")) == expected.colors).mean() > 0.99
    metadata = {one.key: one.value for one in onnx.load(out).metadata_props}
    assert json.loads(metadata["classes"]) == CLASSES
    assert json.loads(metadata["palette"]) == PALETTE
    assert metadata["size"] == "any"
    assert json.loads(metadata["steps_before"]) == ["Resize"]
    assert str(ROOT).encode() not in out.read_bytes()


def test_a_program_needs_torch_alone_and_takes_any_size(tmp_path: Path) -> None:
    out = exported("segformer", "program", tmp_path, "--input", "float32")
    shapes = [(1, 64, 64), (2, 65, 127), (3, 96, 100), (1, 131, 67), (2, 128, 129)]
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(0, 255, (n, 3, h, w)).astype(np.float32) for n, h, w in shapes]
    model = PixelsToProbabilities(Segmenter(tmp_path / "run", device="cpu").network)
    np.savez(tmp_path / "inputs.npz", *inputs)
    np.savez(tmp_path / "outputs.npz", *(model(torch.from_numpy(x)).numpy() for x in inputs))
    differences = without(["mmseg"], PROGRAM, tmp_path).split()
    assert len(differences) == 5
    assert max(map(float, differences)) < 1e-4
    assert str(ROOT).encode() not in out.read_bytes()


def test_hrda_with_windows_in_windows_is_exported_for_one_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported("hrda_of_blocks", "onnx", tmp_path)
    said = capsys.readouterr().out
    assert "The file is for images of 96x72 pixels alone: its windows are laid out for" in said
    (image,) = onnxruntime.InferenceSession(out).get_inputs()
    assert image.shape == ["batch", 3, 72, 96]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "program"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_family_is_exported(name: str, kind: str, tmp_path: Path) -> None:
    words = {"vit": ["--size", "70", "98"]}.get(name, [])
    assert exported(name, kind, tmp_path, *words).stat().st_size > 10_000


@pytest.mark.parametrize("norm", [{}, tiny_run.NORM, {**tiny_run.NORM, "to_rgb": False}])
def test_pixels_are_normalized_as_in_the_test_pipeline(norm: dict[str, Any]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    steps = [{"type": "ImageToTensor", "keys": ["img"]}]
    steps += [{"type": "Collect", "keys": ["img"], "meta_keys": []}]
    steps = [{"type": "Normalize", **norm}] * bool(norm) + steps
    fake = torch.nn.Module()
    fake.cfg = SimpleNamespace(filename="", get=lambda *_: {"test": {"pipeline": steps}})
    fake.inference = lambda image, metas, rescale: image
    seen = PixelsToProbabilities(fake)(torch.from_numpy(rgb.transpose(2, 0, 1)[None].copy()))
    expected = sample_of(steps, rgb[..., ::-1])["img"]
    torch.testing.assert_close(seen[0], expected.float(), rtol=1e-5, atol=1e-5)


def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    for kind in ("onnx", "program"):
        with pytest.raises(SystemExit, match=r"^ExportError: expected probabilities within .* Try"):
            exported("", kind, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_file_is_replaced_by_its_like_only(tmp_path: Path) -> None:
    for kind in ("onnx", "program"):
        out = exported("", kind, tmp_path)
        exported("", kind, tmp_path)
        out.write_text("mine")
        with pytest.raises(SystemExit, match="new or made by this command, got .* Choose another"):
            exported("", kind, tmp_path)


@pytest.mark.parametrize(
    ("trick", "kind", "words"),
    [
        (
            lambda x: x if x.sum() > 0 else -x,
            "program",
            r"torch\.export can trace.*test_export\.py",
        ),
        (
            torch.special.bessel_j0,
            "onnx",
            r"expected operations that ONNX has, got .*bessel_j0.*--f",
        ),
    ],
)
def test_an_operation_that_cannot_be_exported_is_named(
    trick: Any, kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Head, "trick", staticmethod(trick))
    with pytest.raises(SystemExit, match=words):
        exported("", kind, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


WRONG = {
    "no library": (["model.pth"], r'ImportError: .*pip install "cdda-seg\[export\]"'),
    "no checkpoint": (["none.pth"], r"none\.pth"),
    "no config": (["bare.pth"], r"ConfigError: expected the config of .* Name it: --config"),
    "no teacher": (["model.pth", "--eval-model", "teacher"], "CheckpointError: .*teacher"),
    "over the input": (["model.pth", "--out", "model.pth"], "apart from what the command reads"),
    "too small": (
        ["model.pth", "--size", "1", "40"],
        r"size that the network takes, got 1x40 .* --size H W\.",
    ),
    "windows, no scale": (["slide.pth"], r"no img_scale in data\.test\.pipeline\. Name it: --size"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_in_a_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, (words, sentence) = Path("model.pth"), WRONG[case]
    model = NETWORKS["hrda"] if case == "too small" else SMALL
    save_checkpoint(file, model)
    save_checkpoint(Path("bare.pth"), model, meta={})
    if case == "windows, no scale":
        monkeypatch.setattr(export, "usual_size", lambda network: None)
        save_checkpoint(Path("slide.pth"), NETWORKS["daformer_slide"])
    if case == "no library":
        monkeypatch.setitem(sys.modules, "onnxscript", None)
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=sentence):
        main(["--format", "onnx", "--out", "model.onnx", *words])
    assert not Path("model.onnx").exists()
    assert file.read_bytes() == before


def test_the_only_size_has_two_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["m.pth", "--format", "onnx", "--out", "m.onnx", "--size", "3"])
    assert "expected rows and columns as --size H W, got [3]" in capsys.readouterr().err
