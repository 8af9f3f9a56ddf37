"""What is installed: the lists agree with each other and with the code, and suffice to run it."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from installed_package import FILES, FOLDERS

import mmseg
from mmseg.system import shipped

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
MODULE_OF = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
}  # others: the name itself
# Imported only when a config or a command asks for them; running needs none of them.
# `huggingface_hub` comes with transformers.
ON_REQUEST = {"wandb", "transformers", "huggingface_hub", "safetensors", "timm", "kornia_rs"}
ON_REQUEST |= {"onnx", "onnxscript", "onnxruntime", "google"}  # protobuf comes with onnx
OWN = {"mmseg", "demo", "tools", "experiments"}
BUILDS = {"setuptools"}  # setup.py only


def listed(key: str) -> list[str]:
    """Return a list of strings in pyproject.toml (Python 3.10 has no parser of its own)."""
    body = re.search(rf"^{key} = \[(.*?)\]$", PYPROJECT, re.DOTALL | re.MULTILINE)
    assert body, f"pyproject.toml has no list {key}"
    return re.findall(r'"([^"]+)"', body[1])


def required(part: int) -> dict[str, str]:
    """Return `{requirement: comment}` of part 0 (running) or 1 (testing) of requirements.txt."""
    lines = REQUIREMENTS.split("# Testing")[part].splitlines()[1:]
    entries = [line.partition("#") for line in lines if line.strip()]
    return {entry.strip(): reason.strip() for entry, _, reason in entries}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0].lower()


def third_party(folders: list[str]) -> set[str]:
    """Return the top-level modules that files below `folders` import and Python does not have."""
    found: set[str] = set()
    for path in [f for folder in folders for f in ROOT.glob(folder)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - OWN


def test_both_lists_of_requirements_are_one() -> None:
    assert list(required(0)) == listed("dependencies")
    assert list(required(1)) == listed("dev")


def test_every_requirement_has_a_floor_and_every_ceiling_a_reason() -> None:
    for requirement, reason in {**required(0), **required(1)}.items():
        assert ">=" in requirement, requirement
        if re.search(r"<|==|~=", requirement):
            assert len(reason) > 20, f"{requirement}: say in requirements.txt why not newer"


def test_the_program_imports_what_it_requires_and_nothing_else() -> None:
    needed = {MODULE_OF.get(name_of(r), name_of(r)) for r in required(0)}
    files = ["mmseg/**/*.py", "demo/**/*.py", "tools/**/*.py", "*.py"]
    assert third_party(files) - ON_REQUEST - BUILDS == needed


def test_name_version_and_floor_are_stated_once() -> None:
    assert 'name = "cdda-seg"' in PYPROJECT
    assert f'version = "{mmseg.__version__}"' in PYPROJECT
    floor = re.search(r'requires-python = ">=(\d+\.\d+)"', PYPROJECT)
    assert floor
    assert floor[1] == "3.10"
    assert f"Python {floor[1]} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f'pythonVersion = "{floor[1]}"' in PYPROJECT
    assert f'target-version = "py{floor[1].replace(".", "")}"' in PYPROJECT
    license_text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in license_text[:300]


def test_runs_without_what_only_tests_need() -> None:
    """The libraries of [dev] are hidden; networks come without plots."""
    hidden = [name_of(r).replace("-", "_") for r in required(1)] + ["wandb"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
import mmseg.models
assert "matplotlib" not in sys.modules
import importlib, pkgutil
for module in pkgutil.walk_packages(mmseg.__path__, "mmseg."):
    importlib.import_module(module.name)
import run_seg, run_experiments, tools.train, tools.test, tools.contact_sheet
import tools.check_data, tools.compare_runs, tools.reproduce
import tools.make_depth, tools.make_demo_data, tools.new_dataset, tools.export
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_running_requires_hides_no_module_of_python() -> None:
    """As the obsolete backport of `typing` does, with site-packages on PYTHONPATH."""
    todo, hidden, seen = [name_of(r) for r in required(0)], {}, set()
    while todo:
        if (name := todo.pop()) in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another system or an older Python
            continue
        top = {file.parts[0].removesuffix(".py") for file in found.files or []}
        if shadowed := top & set(sys.stdlib_module_names):
            hidden[name] = shadowed
        todo += [name_of(r) for r in found.requires or [] if "extra ==" not in r]
    assert len(seen) > len(required(0))
    assert not hidden


def test_the_image_is_built_from_what_installing_needs_by_nobody_with_rights() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == {*FOLDERS, *FILES}
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [step.partition(" ")[::2] for step in text.splitlines() if step and step[0] != "#"]
    assert [words for name, words in steps if name == "COPY"] == [". ."]
    arguments = dict(words.split("=") for name, words in steps if name == "ARG")
    assert all(listed(extra) for extra in arguments["EXTRAS"].split(","))
    used = {name for _, words in steps for name in re.findall(r"\$(\w+)", words)}
    assert used == set(arguments)
    (base,) = (words for name, words in steps if name == "FROM")
    assert tuple(map(int, re.findall(r"\d+", base))) >= (3, 10)
    names = [name for name, _ in steps]
    assert names.index("USER") < names.index("CMD")
    (command,) = (json.loads(words) for name, words in steps if name == "CMD")
    assert command[0] in shipped.programs()


def test_the_citation_is_whole_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == mmseg.__version__
    assert f'license = "{citation["license"]}"' in PYPROJECT
    titles = [paper["title"] for paper in citation["references"]]
    assert titles == ["CDDA", "DAFormer", "HRDA", "MIC"]
    for work in (citation, *citation["references"]):
        assert {"title", "authors", "type"} <= set(work)
        assert all(author.get("name") for author in work["authors"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for paper in citation["references"][1:]:
        assert f"{paper['title']} ({paper['conference']['name']})" in readme
        assert paper["conference"]["name"].endswith(str(paper["year"]))


def test_the_changelog_tells_of_this_version_after_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", text, re.MULTILINE)[:2] == ["Unreleased", mmseg.__version__]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_portable_settings_let_all_instruction_sets_and_threads_meet() -> None:
    """An orthogonal array: nine rows hold each pair of values of two columns once."""
    text = (ROOT / "tests/portable.sh").read_text(encoding="utf-8")
    (block,) = re.findall(r'^rows="((?:\w+ \w+ \w+ \d\n?){9})"', text, re.MULTILINE)
    columns = list(zip(*(row.split() for row in block.splitlines()), strict=True))
    assert columns[3].count("4") == 3
    for one, other in combinations(columns, 2):
        assert len(set(zip(one, other, strict=True))) == 9


def test_the_workflow_runs_the_scripts_of_the_readme_on_the_oldest_python() -> None:
    text = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert re.findall(r"run: (.*)", text) == [
        "sh tests/run.sh",
        "sh tests/run.sh ${{ matrix.option }}",
    ]
    script = (ROOT / "tests/run.sh").read_text(encoding="utf-8")
    options = re.search(r"option: \[(.*)\]", text)
    assert options and all(option in script for option in options[1].split(", "))
    floor = re.search(r'requires-python = ">=(.*)"', PYPROJECT)
    assert floor and f'"{floor[1]}"' in text


# tools/environment.sh with a `python` that notes what it is asked to do.

STUB = """#!/bin/sh
echo "$*" >> "{notes}"
case "$*" in
*"sys.exit(sys.version_info"*) exit {too_old} ;;
*"-m venv"*) /bin/mkdir -p .venv/bin && /bin/cp "$0" .venv/bin/python ;;
esac
"""


class Machine:
    """A folder with the repository's install script, and a PATH with one made-up Python."""

    def __init__(self, root: Path, too_old: int = 0) -> None:
        self.root, self.notes = root, root / "notes.txt"
        (root / "tools").mkdir()
        for name in ("environment.sh", "virtual_environment.sh"):
            shutil.copyfile(ROOT / "tools" / name, root / "tools" / name)
        (root / "requirements.txt").write_text("torch\n")
        (root / "bin").mkdir()
        for tool in ("cmp", "cp", "rm"):
            (root / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
        stub = root / "bin/python3"
        stub.write_text(STUB.format(notes=self.notes, too_old=too_old))
        stub.chmod(0o755)

    def source(self, **environment: str) -> tuple[int, str, list[str]]:
        """Return exit status, output and what Python was asked for."""
        self.notes.write_text("")
        done = subprocess.run(
            ["/bin/sh", "-c", "set -e; . tools/environment.sh; python the_job"],
            cwd=self.root,
            env={"PATH": f"{self.root}/bin", **environment},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr, list(self._jobs())

    def _jobs(self) -> Iterator[str]:
        for line in self.notes.read_text().splitlines():
            if "version_info" not in line and line != "--version":
                yield line


needs_sh = pytest.mark.skipif(not os.access("/usr/bin/cmp", os.X_OK), reason="needs /usr/bin/cmp")


@needs_sh
def test_a_fresh_machine_gets_an_environment_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    status, output, jobs = machine.source()
    assert status == 0, output
    assert "Creating a virtual environment in .venv" in output
    assert "Installing requirements.txt (about 5 GB" in output
    assert [job.split()[:3] for job in jobs[:2]] == [
        ["-m", "venv", ".venv"],
        ["-m", "pip", "install"],
    ]
    assert jobs[1].endswith("-r requirements.txt")
    assert jobs[2:] == ["the_job"]
    assert machine.source() == (0, "", ["the_job"])
    (tmp_path / "requirements.txt").write_text("torch\nnumpy\n")
    assert machine.source()[2][1:] == ["the_job"], "changed requirements are installed"


@needs_sh
def test_an_active_environment_is_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "bin/python").symlink_to("python3")
    (tmp_path / "mine").mkdir()
    status, output, jobs = machine.source(VIRTUAL_ENV=str(tmp_path / "mine"))
    assert status == 0, output
    assert f"Using the active virtual environment {tmp_path}/mine" in output
    assert [job.split()[1:2] for job in jobs] == [["pip"], []]
    assert not (tmp_path / ".venv").exists()


@needs_sh
def test_an_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    status, output, jobs = Machine(tmp_path, too_old=1).source()
    assert status == 1
    assert output.startswith("expected Python 3.10 or newer on PATH, found none; install one")
    assert jobs == []
