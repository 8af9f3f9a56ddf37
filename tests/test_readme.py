"""What the README says exists: commands, options, files, links, configs."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from demo_project import ROOT, copy_repository, run

from mmseg.config import load_config
from mmseg.config.registry import HEADS

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = "tests/test_commands.py: demo.sh"
REAL = "needs the real datasets; the same command runs on the demo's in tests/test_commands.py"
MAPS = "needs the datasets and weights; tests/preprocessing/depth_maps/test_whole_path.py"
# Every command of the README, and where it is tried.
TRIED = {
    "sh demo.sh": DEMO,
    "sh tests/run.sh": "it runs this test",
    "pip install -r requirements.txt": "tests/test_packaging.py: environment.sh",
    "pip install -e .": "tests/test_packaging.py: test_the_package_installs_from_its_folder",
    "python tools/convert_datasets/gta.py data/gta --nproc 8": REAL,
    "python tools/convert_datasets/synthia.py data/synthia --nproc 8": REAL,
    "python tools/convert_datasets/cityscapes.py data/cityscapes --nproc 8": REAL,
    "python run_seg.py --config configs/cdda/gta2cs_cdda_daformer --dataset_name gta "
    "--source_preprocessed_path preprocessed/gta_daformer": REAL,
    "python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer": REAL,
    "sh test.sh work_dirs/local-basic/<run>": REAL,
    "sh test.sh RUN_DIR": "tests/engine/test_training_commands.py: test_test_sh_…",
    "python run_experiments.py --exp N": "tests/test_configs.py: the tables of experiments",
    "python tools/train.py CONFIG --work-dir DIR --seed 1 --cfg-options optimizer.lr=1e-4 "
    "--resume auto": "tests/test_commands.py: test_train_takes_folder_…",
    "python tools/test.py CONFIG CHECKPOINT --eval mIoU --show-dir DIR": DEMO,
    "python tools/print_config.py CONFIG": "tests/test_commands.py: test_print_config_…",
    "python tools/plot_curves.py RUN_DIR": DEMO,
    "python tools/contact_sheet.py CONFIG --preds DIR --depth --out FILE": DEMO,
    "python tools/publish_checkpoint.py CHECKPOINT FILE": "tests/test_commands.py: published",
    "python tools/train.py work_dirs/local-basic/<run>/<run>.py --resume auto": "tests/engine/"
    "test_resume.py: the command that an interrupted run names",
    "torchrun --nproc_per_node 2 tools/train.py CONFIG --work-dir DIR "
    "--cfg-options data.samples_per_gpu=1": "tests/test_launchers.py: test_torchrun_starts_…",
    "accelerate launch --multi_gpu --num_processes 2 tools/train.py CONFIG --work-dir DIR": "it "
    "sets torchrun's variables; it was tried by hand, because it is not among the requirements",
    "srun --kill-on-bad-exit=1 python tools/train.py CONFIG --work-dir DIR --launcher slurm": ""
    "needs SLURM; tests/test_launchers.py sets its variables",
    "python -m torch.distributed.launch --nproc_per_node 2 tools/train.py CONFIG "
    "--launcher pytorch": "tests/test_launchers.py: the old spelling's option and variables",
    "python tools/make_depth.py data/gta/images --out data/gta/depth_any --layout gta "
    "--model small": MAPS,
    "python tools/make_depth.py data/synthia/RGB --out data/synthia/depth_any --layout synthia "
    "--model small": MAPS,
    "python tools/make_depth.py data/cityscapes/leftImg8bit/train "
    "--out data/cityscapes/depth_any/train --layout cityscapes --model small": MAPS,
    "hf download depth-anything/Depth-Anything-V2-Small-hf --local-dir "
    "pretrained/Depth-Anything-V2-Small-hf": "fetches from the model hub",
    "torchrun --nproc_per_node 4 tools/make_depth.py data/gta/images --out data/gta/depth_any "
    "--model pretrained/Depth-Anything-V2-Small-hf --amp": "needs GPUs; two processes on a CPU: "
    "tests/preprocessing/depth_maps/test_command.py",
    "python benchmarks/gpu_acceptance.py --out acceptance --results benchmarks/RESULTS.md": "needs "
    "a GPU; the dry run: tests/test_gpu_acceptance.py",
    "python benchmarks/adaptation.py": "tests/test_commands.py: its report; it trains for hours",
}
# The user's own folders: what lies there is not part of the repository.
USERS = ("data", "work_dirs", "preprocessed", "debug", "RUN", "my_package")
# These come with the user's downloads, not with the repository.
DOWNLOADS = {"pretrained/mit_b5.pth", "mit_b5.pth"}


def blocks(language: str) -> list[str]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
    return [body for name, body in found if name == language]


def commands() -> list[str]:
    """Return every command of code blocks (`# or: …` too), tables and text, without comments."""
    lines = "\n".join(blocks("shell")).replace("\\\n", " ").replace("# or: ", "\n").splitlines()
    lines += re.findall(r"`((?:python|sh|pip) [^`]+)`", README)
    stripped = [" ".join(line.split("#")[0].split()) for line in lines]
    return list(dict.fromkeys(line for line in stripped if line))


def expand(path: str) -> list[str]:
    """Expand `{a,b}`.

    >>> expand("x/{a,b}.py")
    ['x/a.py', 'x/b.py']
    """
    choice = re.search(r"\{([^}]*)\}", path)
    if not choice:
        return [path]
    return [
        done
        for part in choice[1].split(",")
        for done in expand(path[: choice.start()] + part + path[choice.end() :])
    ]


def exists(path: str) -> bool:
    return (ROOT / path).exists() or (ROOT / f"{path}.py").exists()


def test_every_command_is_tried_somewhere() -> None:
    """Who changes a command in the README says here where it is tried."""
    assert set(commands()) == set(TRIED)
    for place in TRIED.values():
        file = place.partition(":")[0]
        assert not file.startswith("tests/") or (ROOT / file).is_file()
    assert (
        "These four steps need the datasets; training at the published size needs a GPU" in README
    )


PYTHON = [c for c in TRIED if re.match(r"python \w+(/\w+)*\.py", c) and "<" not in c]


@pytest.mark.parametrize("command", PYTHON)
def test_every_option_in_a_command_exists(command: str) -> None:
    script, *words = shlex.split(command)[1:]
    text = run(ROOT, f"python {script} --help").text
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{word}\b", text), f"{script} has no option {word}"
        elif word.startswith("configs/"):
            assert exists(word), word


def test_every_option_in_the_text_belongs_to_a_command_that_has_it() -> None:
    """Those of tests/run.sh stand in a table of their own; the others beside a Python script."""
    script = (ROOT / "tests/run.sh").read_text(encoding="utf-8")
    for option in ("--slow", "--portable", "--versions"):
        assert f"| `{option}` |" in README
        assert option in script
    text = run(ROOT, "python tools/test.py --help").text
    named = re.search(r"see `--help` for (.*?) \|", README)
    assert named
    assert all(option in text for option in re.findall(r"--[a-z-]+", named[1]))


def test_every_config_in_the_tables_exists() -> None:
    rows = re.findall(r"^\| `(configs/[^`]+)`", README, re.MULTILINE)
    assert len(rows) == 5
    configs = [config for row in rows for config in expand(row)]
    assert len(configs) == 9
    for config in configs:
        assert load_config(ROOT / config).runner.max_iters == 40000


def test_every_path_in_the_text_exists() -> None:
    without_code = re.sub(r"^ *```.*?^ *```", "", README, flags=re.DOTALL | re.MULTILINE)
    named = [word for text in re.findall(r"`([^`\n]+)`", without_code) for word in text.split()]
    paths = {p for word in named for p in expand(word) if re.fullmatch(r"[\w./-]+", p)}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir()}
    ours = {p for p in paths if p.split("/")[0] in folders and p.split("/")[0] not in USERS}
    assert len(ours) > 15
    assert not [p for p in sorted(ours - DOWNLOADS) if not exists(p)]
    files = {p for p in paths if re.fullmatch(r"[\w.]+\.(sh|py|txt|toml)", p)}
    assert {"demo.sh", "requirements.txt", "experiments.py"} <= files
    assert not [p for p in sorted(files) if not exists(p)]


def test_every_module_of_the_map_exists() -> None:
    (house,) = [b for b in blocks("") if "mmseg/config.py" in b]
    for line in house.splitlines():
        first, *others = re.split(r", ", re.split(r"  +", line)[0])
        for name in [first, *(f"mmseg/{other}" for other in others)]:
            assert exists(name), name


def test_every_module_named_beside_uda_exists() -> None:
    (line,) = [text for text in README.splitlines() if text.startswith("mmseg/models/uda/ ")]
    for name in re.findall(r"\b(dacs|depthmetric|teacher|mixing)\b", line):
        assert exists(f"mmseg/models/uda/{name}")


LINKS = list(dict.fromkeys(re.findall(r"\]\(([^)\s]+)\)", README)))


@pytest.mark.parametrize("link", [link for link in LINKS if "://" not in link])
def test_every_link_leads_somewhere(link: str) -> None:
    file, _, section = link.partition("#")
    assert not file or (ROOT / file).exists(), f"README links to {file}, which is not there"
    text = (ROOT / file).read_text(encoding="utf-8") if section and file else README
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
    assert not section or section in anchors


def test_sections_that_error_messages_name_exist() -> None:
    named = {
        section
        for file in (ROOT / "mmseg").rglob("*.py")
        for section in re.findall(r"README, section (\w+)", file.read_text(encoding="utf-8"))
    }
    assert "Data" in named
    assert all(f"\n## {section}\n" in README for section in named)


def test_the_example_of_an_own_head_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks("python")
    copy_repository(tmp_path)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/my_head.py").write_text(
        "from mmseg.models.decode_heads import DAFormerHead\n"
        "from mmseg.config.registry import HEADS\n\n\n"
        "@HEADS.register()\nclass MyHead(DAFormerHead):\n    pass\n"
    )
    (tmp_path / "mine.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    cfg = load_config("mine")
    assert cfg.model.decode_head.type == "MyHead"
    assert HEADS.get("MyHead") is importlib.import_module("my_package.my_head").MyHead
    assert cfg.uda.alpha == 0.999
    sys.modules.pop("my_package.my_head")


def test_the_log_config_line_of_the_readme_is_understood() -> None:
    from mmseg.engine.trackers import TRACKERS

    assert "`TensorboardLoggerHook`" in README
    assert "TensorboardLoggerHook" in TRACKERS
