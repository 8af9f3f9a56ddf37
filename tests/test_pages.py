"""What README.md and docs/ say exists: commands, options, files, links, configs, boxes."""

import ast
import importlib
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from demo_project import ROOT, copy_repository
from script_parsers import parser_of
from test_structure import FLOORS

from mmseg.config import load_config
from mmseg.config.registry import HEADS
from mmseg.engine.trackers import TRACKERS

PATHS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in PATHS}
README, TRAINING = PAGES["README.md"], PAGES["docs/training.md"]
DEVELOPING, METHOD = PAGES["docs/developing.md"], PAGES["docs/method.md"]
DRAWING = ROOT / "docs/drawings/iteration.svg"
DEMO = "tests/test_commands.py: demo.sh"
REAL = "needs the real datasets; the same command runs on the demo's in tests/test_commands.py"
MAPS = "needs the datasets and weights; tests/preprocessing/depth_maps/test_whole_path.py"
ORIGINS = "tests/config/test_config_origins.py: the commands"
OWN_DATA = "tests/cli/test_new_dataset.py: test_the_worked_example_of_the_page_runs"
FOUNDATION = "tests/test_commands.py: test_cdda_on_a_foundation_backbone_runs_on_the_same_scenes"
STUB = "tests/test_stub_gpu.py: test_the_commands_say_what_they_measured"
SLURM = "needs SLURM; tests/test_launchers.py sets its variables"
# Every command of the pages, and where it is tried.
TRIED = {
    "sh demo.sh": DEMO,
    "python tools/make_demo_data.py --out data/demo": DEMO,
    "sh tests/run.sh": "it runs this test",
    "pip install -r requirements.txt": "tests/test_packaging.py: environment.sh",
    "pip install torch --index-url https://download.pytorch.org/whl/cpu": "needs a network",
    'pip install "cdda-seg[vfm]"': "tests/test_packaging.py: what the extra brings",
    "pip install -e .": "tests/test_installed_package.py: test_an_editable_install_…",
    "python tools/convert_datasets/gta.py data/gta --nproc 8": REAL,
    "python tools/convert_datasets/synthia.py data/synthia --nproc 8": REAL,
    "python tools/convert_datasets/cityscapes.py data/cityscapes --nproc 8": REAL,
    "python run_seg.py --config configs/cdda/gta2cs_cdda_daformer --dataset_name gta "
    "--source_preprocessed_path preprocessed/gta_daformer": REAL,
    "python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer": REAL,
    "python run_experiments.py --config configs/hrda/gtaHR2csHR_hrda": REAL,
    "python docs/model_zoo.py": "tests/test_model_zoo.py: test_page_is_what_the_script_writes",
    "sh test.sh work_dirs/local-basic/<run>": REAL,
    "sh test.sh RUN_DIR": "tests/engine/test_training_commands.py: test_test_sh_…",
    "python run_experiments.py --exp N": "tests/cli/test_series.py: test_what_can_run_…",
    "python run_experiments.py --exp 80 --dry-run": "tests/cli/test_series.py: test_a_dry_run_…",
    "python run_experiments.py --exp 80 --only 'gta*' --seeds 0 1 2": "tests/cli/test_series.py: "
    "test_options_choose_runs",
    "python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer --seeds 0 1 2": "tests/"
    "cli/test_series.py: test_a_config_with_seeds_is_a_series",
    "python tools/train.py CONFIG --work-dir DIR --seed 1 --cfg-options optimizer.lr=1e-4 "
    "--resume auto": "tests/test_commands.py: test_train_takes_folder_…",
    "python tools/train.py CONFIG --work-dir DIR --cfg-options uda.reference_quirks=True": "tests/"
    "models/uda/test_recorded_steps.py: what it computes",
    "python tools/test.py CONFIG CHECKPOINT --eval mIoU --show-dir DIR": DEMO,
    "python tools/print_config.py CONFIG": "tests/test_commands.py: test_print_config_…",
    "python tools/print_config.py configs/cdda/gta2cs_cdda_daformer": "tests/test_commands.py: "
    "test_print_config_…",
    "python tools/print_config.py CONFIG --origin": ORIGINS,
    "python tools/diff_config.py CONFIG OTHER": ORIGINS,
    "python tools/train.py CONFIG --work-dir DIR --cfg-options uda.alpha=0.9 "
    "'evaluation.metric=[mIoU,mDice]'": "tests/config/test_config_options.py: how it is read",
    "python tools/train.py CONFIG --work-dir DIR --cfg-options model.backbone.type=mit_b2 "
    "model.pretrained=pretrained/mit_b2.pth": "tests/models/test_fork_configs.py: such networks",
    "python tools/plot_curves.py RUN_DIR": DEMO,
    "python tools/check_data.py CONFIG --json FILE --picture FILE": "tests/cli/test_check_data.py: "
    "test_picture_has_eight_samples",
    "python tools/contact_sheet.py CONFIG --preds DIR --depth --out FILE": DEMO,
    "python tools/publish_checkpoint.py CHECKPOINT FILE": "tests/test_commands.py: published",
    "python tools/train.py work_dirs/local-basic/<run>/<run>.py --resume auto": "tests/engine/"
    "test_resume.py: the command that an interrupted run names",
    "torchrun --nproc_per_node 2 tools/train.py CONFIG --work-dir DIR "
    "--cfg-options data.samples_per_gpu=1": "tests/test_launchers.py: test_torchrun_starts_…",
    "accelerate launch --multi_gpu --num_processes 2 tools/train.py CONFIG --work-dir DIR": "it "
    "sets torchrun's variables; it was tried by hand, because it is not among the requirements",
    "srun --kill-on-bad-exit=1 python tools/train.py CONFIG --work-dir DIR --launcher slurm": SLURM,
    "srun --kill-on-bad-exit=1 python tools/train.py CONFIG --work-dir DIR --launcher slurm "
    "--resume auto": SLURM,
    '[ $? -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"': "needs SLURM; the status: "
    "tests/test_interruption.py",
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
    'python benchmarks/compare.py HEAD~1 . --only loading metric "DAFormer B0 256"': "tests/"
    "test_compare.py: the same, tiny",
    "python benchmarks/stub_gpu/report.py cdda/gta2cs_cdda_daformer --amp bf16 --picture "
    "--sites 20": STUB,
    "python benchmarks/stub_gpu/budgets.py --write": STUB,
    "python benchmarks/stub_gpu/peaks.py": STUB,
    "python benchmarks/interruptions.py --kills 100 --seed 0 --write": "tests/test_kills.py: its "
    "choice and its verdict, and the same on fewer kills; it takes half an hour",
    "python tools/new_dataset.py data/street data/photos --val data/test --out configs/mine": (
        "tests/cli/test_new_dataset.py: test_from_pictures_to_an_evaluated_network_without_python"
    ),
    "python tools/check_data.py configs/mine/daformer": OWN_DATA,
    "python run_experiments.py --config configs/mine/daformer": "tests/cli/test_new_dataset.py: "
    "test_all_configs_are_whole_and_say_what_was_found",
    "python tools/new_dataset.py data/demo/gta data/demo/cityscapes --classes classes.csv "
    "--model b0 --out configs/mine": OWN_DATA,
    "python tools/train.py configs/mine/daformer --work-dir work_dirs/mine": OWN_DATA,
    "python tools/test.py configs/mine/daformer work_dirs/mine/latest.pth --eval mIoU "
    "--show-dir preds": OWN_DATA,
    "python tools/train.py configs/mine/source_only --work-dir work_dirs/ten --cfg-options "
    "data.train.source.split=ten.txt data.train.rare_class_sampling=None runner.max_iters=200 "
    "log_config.img_interval=50": OWN_DATA,
    "python benchmarks/adaptation.py": "tests/test_commands.py: its report; it trains for hours",
    "properdocs build -f docs/site/properdocs.yml": "tests/test_site.py: all of it",
    "python tools/test.py CONFIG CHECKPOINT --eval mIoU": DEMO,
    "python run_experiments.py --config CONFIG": DEMO,
    "python run_experiments.py --config configs/mine/sum_head --startup-test": "tests/"
    "test_migrating.py: what it trains; tests/cli/test_series.py: the option",
    "python tools/train.py CONFIG --work-dir DIR --load-from CHECKPOINT": "tests/engine/"
    "test_family_checkpoints.py: test_a_run_starts_from_it",
    "python tools/train.py CONFIG --work-dir DIR --resume CHECKPOINT": "tests/test_migrating.py: "
    "test_head_and_method_of_the_page_train_and_both_ways_of_checkpoints_work",
    "python tools/doctor.py configs/cdda/gta2cs_cdda_daformer": "tests/cli/test_doctor.py: "
    "test_what_a_machine_has_is_said, with another config",
    "python tools/doctor.py CONFIG --json FILE": "tests/cli/test_doctor.py: "
    "test_a_config_with_everything_lacks_nothing",
    "python tools/analyze_logs.py RUN_DIR RUN_DIR --json FILE": "tests/cli/test_analyze_logs.py: "
    "test_the_numbers_are_those_of_the_logs",
    "python tools/analyze_logs.py work_dirs/local-basic/<run> work_dirs/local-basic/<other>": (
        "tests/cli/test_analyze_logs.py: test_the_numbers_are_those_of_the_logs"
    ),
    "python tools/get_param_count.py CONFIG --size 1024 2048": "tests/cli/test_get_param_count.py: "
    "test_the_command_counts_what_its_help_shows",
    "python tools/get_param_count.py configs/hrda/gtaHR2csHR_hrda": "tests/cli/"
    "test_get_param_count.py: test_the_command_counts_what_its_help_shows",
    "python tools/compare_runs.py work_dirs/local-basic --out comparison": "tests/cli/"
    "test_compare_runs.py: test_the_example_of_the_help_runs",
    "python tools/reproduce.py configs/hrda/gtaHR2csHR_hrda --seeds 0 1 2": "needs the real "
    "datasets; tests/cli/test_reproduce.py: the same on small pictures",
    "python tools/fetch_weights.py configs/cdda/gta2cs_cdda_daformer": "needs a network; from a "
    "server of this machine: tests/cli/test_fetch_weights.py: test_a_file_arrives_whole",
    "python tools/fetch_weights.py depth_anything_v2_small": "tests/cli/test_fetch_weights.py: "
    "test_depth_networks_are_fetched_into_one_folder",
    "python tools/fetch_weights.py configs/cdda/gta2cs_cdda_daformer --dry-run": "tests/cli/"
    "test_fetch_weights.py: test_a_published_config_says_what_it_needs",
    "python tools/fetch_weights.py configs/cdda/gta2cs_cdda_daformer --from DIR": "tests/cli/"
    "test_fetch_weights.py: test_without_a_network_files_come_from_a_folder",
    'pip install "cdda-seg[hub]"': "tests/test_hub.py: what it brings, and what is said without",
    "python tools/publish_checkpoint.py CHECKPOINT DIR/NAME.safetensors --license apache-2.0 "
    "--hub OWNER/NAME": "tests/test_publishing.py: test_a_folder_is_pushed_without_what_else_…",
    "pip install .": "tests/test_installed_package.py: test_the_whole_job_runs_…",
    "uv venv && uv pip install .": "the same wheel by another installer",
    "docker build --tag cdda-seg .": "tests/test_packaging.py: test_the_image_…",
    "torchrun --nproc_per_node 2 --no-python cdda-train CONFIG --work-dir DIR": "tests/"
    "test_installed_package.py: test_the_whole_job_runs_…",
    "python tools/export_submission.py cityscapes --checkpoint RUN_DIR --out submission.zip": (
        "tests/cli/test_export_submission.py: test_the_example_of_the_help_runs"
    ),
    "python tools/export_submission.py acdc --predictions DIR --out submission.zip": "tests/cli/"
    "test_export_submission.py: test_each_server_gets_its_ids_at_its_size",
    "python tools/export_submission.py cityscapes --validate submission.zip": "tests/cli/"
    "test_export_submission.py: test_the_example_of_the_help_runs",
    "python tools/predict.py photos --checkpoint work_dirs/local-basic/<run> --out labeled": (
        "tests/cli/test_predict.py: test_each_kind_of_output_is_what_the_network_says"
    ),
    "python tools/predict.py photos --checkpoint CHECKPOINT --config CONFIG --out labeled "
    "--save ids,color": "tests/cli/test_predict.py: test_student_and_teacher_and_checkpoints_…",
    "python tools/export.py work_dirs/local-basic/<run> --format onnx --out model.onnx": "tests/"
    "test_export.py: test_an_onnx_file_labels_an_image_with_onnxruntime_numpy_and_pil_alone",
    'pip install "cdda-seg[fast]"': "tests/datasets/test_plain_png.py: the same pixels without it",
    'pip install "cdda-seg[export]"': "tests/test_packaging.py: what the extra brings",
    "python run_seg.py --config configs/demo/cdda_vfm --num 500": FOUNDATION,
    "python run_experiments.py --config configs/demo/cdda_vfm": FOUNDATION,
    "python tools/fetch_weights.py configs/cdda/gtaHR2csHR_cdda_vfm_b": "needs a network; from a "
    "server of this machine: tests/cli/test_fetch_weights.py: test_a_file_arrives_whole",
    "python run_seg.py --config configs/cdda/gtaHR2csHR_cdda_vfm_b --dataset_name gta "
    "--source_preprocessed_path preprocessed/gta_vfm": REAL,
    "python run_experiments.py --config configs/cdda/gtaHR2csHR_cdda_vfm_b": REAL,
    "python run_experiments.py --config configs/cdda/gtaHR2csHR_cdda_vfm_l --cfg-options "
    "model.backbone.with_cp=True model.backbone.vit.with_cp=True": "needs the real datasets; "
    "tests/models/test_vit_adapter.py: what these keys compute",
    "python run_experiments.py --config configs/cdda/gtaHR2csHR_cdda_vfm_l --cfg-options n_gpus=1 "
    "data.samples_per_gpu=8 model.backbone.with_cp=True model.backbone.vit.with_cp=True": "needs "
    "the real datasets; tests/test_vfm_two_processes.py: one process equals two",
    "python tools/train.py configs/cdda/gta2cs_cdda_daformer --work-dir DIR --fit 8GB": "needs the "
    "real datasets; tests/engine/test_fitting.py: what it chooses",
    "python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer --amp bf16 --compile": (
        "needs the real datasets; tests/cli/test_switches.py, tests/engine/test_compilation.py"
    ),
    "python benchmarks/stub_gpu/peaks.py CONFIG": "needs torch with CUDA; "
    "tests/test_stub_gpu.py: the runtime that it measures on",
}
# The user's own folders: what lies there is not part of the repository.
USERS = ("data", "work_dirs", "preprocessed", "debug", "build", "RUN", "my_package", "configs/mine")
# These come with the user's downloads, not with the repository.
DOWNLOADS = {"pretrained/mit_b5.pth", "mit_b5.pth", "pretrained/sha256.json"}
DOWNLOADS |= {f"pretrained/dinov2_vit{size}14_pretrain.pth" for size in "sbl"}
CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SCRIPT = re.compile(r"(?:tools|benchmarks)/[\w/]+\.py|run_\w+\.py")


def blocks(page: str, language: str) -> list[str]:
    return [body for name, body in CODE.findall(page) if name == language]


def inline(page: str) -> list[str]:
    """Return what stands in backticks outside of code blocks."""
    return [word.replace("\\|", "|") for word in re.findall(r"`([^`\n]+)`", CODE.sub("", page))]


def commands() -> list[str]:
    """Return every command of code blocks (`# or: …` too), tables and text, without comments."""
    lines = "\n".join(body for page in PAGES.values() for body in blocks(page, "shell"))
    lines = lines.replace("\\\n", " ").replace("# or: ", "\n").splitlines()
    for page in PAGES.values():
        lines += [word for word in inline(page) if re.match(r"(python|sh|pip|torchrun) ", word)]
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


def anchors(page: str) -> list[str]:
    """Return what links to the sections of a page end with."""
    titles = re.findall(r"^#+ (.*)$", CODE.sub("", page), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


@cache
def names_in(file: Path) -> set[str]:
    """Return the classes, functions, and `Class.method`s that a Python file defines."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{m.name}" for m in node.body if isinstance(m, ast.FunctionDef)}
    return names


def test_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) <= 150
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", README))
    assert linked == set(PAGES) - {"README.md"}
    assert "These four steps need the datasets; training at the published" in README


@pytest.mark.parametrize("page", [name for name in PAGES if name != "README.md"])
def test_a_page_opens_with_a_command(page: str) -> None:
    opening = re.match(r"# [^\n]+\n\n[^#|\n]+(\n[^#|\n]+)*:\n\n```shell\n", PAGES[page])
    assert opening, f"{page} does not open with one sentence and a command"


def test_every_command_is_tried_somewhere() -> None:
    """Who changes a command on a page says here where it is tried."""
    assert set(commands()) == set(TRIED)
    for place in TRIED.values():
        for file in re.findall(r"tests/[\w/]+\.py", place):
            text = (ROOT / file).read_text(encoding="utf-8")
            assert all(f"def {name}" in text for name in re.findall(r": (test_\w+)", place)), place


@pytest.mark.parametrize("command", [command for command in TRIED if SCRIPT.search(command)])
def test_every_command_is_one_that_its_script_understands(command: str) -> None:
    """By the script's own argument parser, also behind torchrun and the like."""
    script, *words = shlex.split(command[SCRIPT.search(command).start() :])  # pyright: ignore
    words = ["80" if word == "N" else word for word in words]
    try:
        parser_of(script).parse_args(words)
    except SystemExit:
        pytest.fail(f"{script} does not understand: {command}")
    configs = [word for word in words if word.startswith("configs/")]
    assert all(exists(config) for config in configs if not config.startswith(USERS))


@pytest.mark.parametrize("page", PAGES)
def test_every_option_in_the_text_belongs_to_a_script_of_the_page(page: str) -> None:
    """Those of tests/run.sh stand in a table of their own."""
    known = (ROOT / "tests/run.sh").read_text(encoding="utf-8").split()
    for script in set(SCRIPT.findall(PAGES[page])):
        known += [option for a in parser_of(script)._actions for option in a.option_strings]
    ours = [word for word in inline(PAGES[page]) if not re.match("docker |torchrun ", word)]
    named = {option for word in ours for option in re.findall(r"(?<!\S)--[a-z0-9_-]+", word)}
    assert not named - set(known)


def test_every_config_in_the_tables_exists() -> None:
    rows = re.findall(r"^\| `(configs/[^`]+)`", README, re.MULTILINE)
    assert len(rows) == 6
    configs = [config for row in rows for config in expand(row)]
    assert len(configs) == 12
    for config in configs:
        assert load_config(ROOT / config).runner.max_iters == 40000


def test_the_numbers_of_the_demo_are_the_measured_ones() -> None:
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    measured = re.search(r"^\| \*\*mIoU\*\* \| (.*) \|$", results, re.MULTILINE)
    stated = re.findall(r"^\| [^|]+ \| (\d+\.\d ± \d+\.\d) \|$", README, re.MULTILINE)
    assert measured
    assert stated == measured[1].split(" | ")


def test_every_path_in_the_text_exists() -> None:
    named = [word for page in PAGES.values() for text in inline(page) for word in text.split()]
    paths = {p for word in named for p in expand(word) if re.fullmatch(r"[\w./-]+", p)}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir()}
    ours = {p for p in paths if p.split("/")[0] in folders and not p.startswith(USERS)}
    assert len(ours) > 15
    assert not [p for p in sorted(ours - DOWNLOADS) if not exists(p)]
    files = {p for p in paths if re.fullmatch(r"[\w.]+\.(sh|py|txt|toml)", p)}
    assert {"demo.sh", "requirements.txt", "experiments.py"} <= files
    assert not [p for p in sorted(files) if not exists(p)]


def test_the_house_is_the_tree() -> None:
    """Floors from the top down, with a blank line between them, and what else there is."""
    house, around = blocks(DEVELOPING, "")
    floors = house.split("\n\n")
    assert [set(re.findall(r"(?m)^mmseg/(\w+)/", floor)) for floor in floors] == list(FLOORS)
    listed = [line.partition("  ")[0] for line in (house + around).splitlines() if line.strip()]
    places = [place for line in listed for place in line.split(", ")]
    assert not [place for place in places if not exists(place)]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    folders = {f"{p.name}/" for p in ROOT.iterdir() if p.is_dir() and p.name[0] not in "._"}
    folders -= {f for f in folders if f.endswith(".egg-info/")}
    assert {f for f in folders if f not in ignored} - {"mmseg/"} <= set(places)


@pytest.mark.parametrize("folder", ["models", "models/uda"])
def test_every_module_named_in_the_house_exists(folder: str) -> None:
    (said,) = re.findall(rf"^mmseg/{folder}/ +(?:.*: )?(.*)$", DEVELOPING, re.MULTILINE)
    assert all(exists(f"mmseg/{folder}/{name}") for name in said.split(", "))


LINKS = [
    (name, link)
    for name, page in PAGES.items()
    for link in dict.fromkeys(re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page)))
    if "://" not in link
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_every_link_leads_somewhere(page: str, link: str) -> None:
    file, _, section = link.partition("#")
    target = ((ROOT / page).parent / file).resolve() if file else ROOT / page
    assert target.exists(), f"{page} links to {file}, which is not there"
    assert not section or section in anchors(target.read_text(encoding="utf-8"))


def test_pages_that_error_messages_name_exist() -> None:
    for folder in ("mmseg", "tools", "demo"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            for page, section in re.findall(r"(docs/\w+\.md)(?:#([\w-]+))?", text):
                assert page in PAGES, f"{file} names {page}"
                assert not section or section in anchors(PAGES[page])
            for section in re.findall(r"README, section (\w+)", text):  # a page of that title
                assert PAGES[f"docs/{section.lower()}.md"].startswith(f"# {section}\n")


def boxes() -> list[tuple[str, str]]:
    """Return name and file of every box in the drawing."""
    tree = ElementTree.parse(DRAWING)
    space = "{http://www.w3.org/2000/svg}"
    links = list(tree.iter(f"{space}a"))
    for link in links:
        shown = next(t.text for t in link.iter(f"{space}text") if "name" in t.attrib["class"])
        assert shown == link.attrib["data-name"]
    return [(link.attrib["data-name"], link.attrib["href"]) for link in links]


@pytest.mark.parametrize(("name", "file"), boxes())
def test_every_box_is_called_as_what_its_file_defines(name: str, file: str) -> None:
    path = (DRAWING.parent / file).resolve()
    assert path.is_relative_to(ROOT)
    assert name in names_in(path)


def test_the_table_of_the_method_lists_every_box_and_its_file() -> None:
    rows = re.findall(r"^\| \w+ \| (.*) \| \[(mmseg/[^]]+)\]\((.*)\) \|$", METHOD, re.MULTILINE)
    assert all(f"../{shown}" == link for _, shown, link in rows)
    names = [(re.findall("`(.*?)`", cell), f"../{link}") for cell, _, link in rows]
    assert {(name, link) for each, link in names for name in each} == set(boxes())


def test_the_drawing_is_what_its_script_draws() -> None:
    script = runpy.run_path(str(DRAWING.with_suffix(".py")))
    assert script["draw"]() == DRAWING.read_text(encoding="utf-8")


def test_the_example_of_an_own_head_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks(DEVELOPING, "python")
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


def test_the_tracker_that_the_pages_name_is_understood() -> None:
    assert "`TensorboardLoggerHook`" in TRAINING
    assert "TensorboardLoggerHook" in TRACKERS
