"""Every option of every command: its help, values, spellings, and what it does when repeated."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

import pytest
from demo_project import ROOT, run

import run_seg
from mmseg.apis.publishing import PublishOptions
from mmseg.apis.submitting.submission import SubmissionOptions
from mmseg.apis.test_options import TestOptions
from mmseg.cli.converting import ConvertOptions
from mmseg.cli.depth_maps import UNKNOWN, DepthOptions
from mmseg.cli.new_dataset import NewDatasetOptions
from mmseg.cli.options import parse
from mmseg.cli.reproducing import ReproduceOptions
from mmseg.cli.training import ConfigRunOptions, ExperimentOptions
from mmseg.system.options import Option, options_of
from tools import (
    analyze_logs,
    check_data,
    compare_runs,
    contact_sheet,
    doctor,
    fetch_weights,
    get_param_count,
    make_demo_data,
    plot_curves,
    predict,
)

# The options of each script, words that it needs, and one of those that exclude each other.
COMMANDS: dict[str, tuple[type, list[str], list[str]]] = {
    "tools/train.py": (ConfigRunOptions, ["c"], []),
    "tools/test.py": (TestOptions, ["c", "k"], []),
    "run_experiments.py": (ExperimentOptions, [], ["--config", "c"]),
    "run_seg.py": (run_seg.SegOptions, [], []),
    "tools/make_depth.py": (DepthOptions, ["images", "--out", "o"], ["--model", "m"]),
    "tools/check_data.py": (check_data.Options, ["c"], []),
    "tools/compare_runs.py": (compare_runs.Options, ["r", "--out", "o"], []),
    "tools/reproduce.py": (ReproduceOptions, ["c"], []),
    "tools/contact_sheet.py": (contact_sheet.Options, ["c"], []),
    "tools/predict.py": (predict.Options, ["i", "--checkpoint", "c", "--out", "o"], []),
    "tools/plot_curves.py": (plot_curves.Options, ["r"], []),
    "tools/publish_checkpoint.py": (PublishOptions, ["a", "b.safetensors"], []),
    "tools/export_submission.py": (SubmissionOptions, ["acdc"], ["--validate", "f"]),
    "tools/fetch_weights.py": (fetch_weights.Options, [], []),
    "tools/make_demo_data.py": (make_demo_data.Options, [], []),
    "tools/new_dataset.py": (NewDatasetOptions, ["s", "t", "--out", "o"], []),
    "tools/doctor.py": (doctor.Options, ["c"], []),
    "tools/analyze_logs.py": (analyze_logs.Options, ["r"], []),
    "tools/get_param_count.py": (get_param_count.Options, ["c"], []),
    "tools/convert_datasets/gta.py": (ConvertOptions, ["data", "--gt-dir", "g"], []),
    "tools/convert_datasets/synthia.py": (ConvertOptions, ["data", "--gt-dir", "g"], []),
    "tools/convert_datasets/cityscapes.py": (ConvertOptions, ["data", "--gt-dir", "g"], []),
}
NAMED = [
    (script, one)
    for script, (kind, *_) in COMMANDS.items()
    for one in options_of(kind)
    if not one.positional
]


def name_of(value: object) -> str:
    return value.field if isinstance(value, Option) else str(value)


def chosen(script: str, one: Option, *words: str) -> Any:
    """Return the value of an option after the words, behind those that the script needs."""
    kind, needed, choice = COMMANDS[script]
    arguments = [*needed, *([] if one.one_of else choice), *words]
    return getattr(parse(kind, arguments, None), one.field)


def samples(one: Option) -> tuple[str, str]:
    """Return two words that an option takes."""
    if one.choices:
        return one.choices[0], one.choices[-1]
    if get_origin(one.hint) is Mapping:
        return "a=1", "b=x"
    if one.field == "size":
        return "8x6", "6x8"
    return ("1", "0.5") if "float" in str(one.hint) else ("1", "2")


def wrong_words(one: Option) -> Iterator[str]:
    """Yield words that an option refuses: not of its kind, out of its range, not among these."""
    if one.choices or get_origin(one.hint) is Mapping or re.search("int|float", str(one.hint)):
        yield "word"
    if re.search("G[et]", str(one.hint)):
        yield "-1"
    if "Le" in str(one.hint):
        yield "2"


@pytest.mark.parametrize("script", COMMANDS)
def test_help_names_every_option(script: str) -> None:
    done = run(ROOT, f"python {script} --help")
    assert done.status == 0
    for one in options_of(COMMANDS[script][0]):
        shown = [one.metavar or one.field] if one.positional else one.shown_names
        assert all(name in done.text for name in shown) == bool(one.help), one
    assert "SUPPRESS" not in done.text and "None" not in done.text


@pytest.mark.parametrize(("script", "one"), NAMED, ids=name_of)
def test_both_spellings_are_understood_and_repeated_ones_count(script: str, one: Option) -> None:
    name = one.shown_names[-1]
    spellings = [f"--{name[2:].replace(*swap)}" for swap in (("-", "_"), ("_", "-"))]
    if one.hint is bool:
        assert {chosen(script, one, spelling) for spelling in spellings} == {not one.default}
        return
    first, second = samples(one)
    both = chosen(script, one, spellings[0], first, f"{spellings[1]}={second}")
    if get_origin(one.hint) is Mapping:
        assert both == {"a": 1, "b": "x"}
    elif get_origin(one.hint) in (list, tuple):
        assert [str(value) for value in both] == [first, second]
    else:
        assert both == chosen(script, one, name, second) != chosen(script, one, name, first)


@pytest.mark.parametrize(("script", "one"), NAMED, ids=name_of)
def test_wrong_values_are_refused_by_name(script: str, one: Option, capsys: Any) -> None:
    for word in wrong_words(one):
        with pytest.raises(SystemExit, match="^2$"):
            chosen(script, one, f"{one.shown_names[-1]}={word}")
        last = capsys.readouterr().err.splitlines()[-1]
        assert re.search(rf"argument .*{one.shown_names[-1]}: expected .*, got '{word}'\.", last)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tools/train.py", "the following arguments are required: config"),
        ("tools/make_depth.py x --model small", "required: --out"),
        ("tools/train.py c --sed 1", "unrecognized arguments: --sed 1"),
        ("run_experiments.py --exp 80 --config c", "--config: not allowed with argument --exp"),
        ("tools/train.py c --seed", "argument --seed: expected one argument"),
        ("tools/train.py c --cfg-options a.b=1 a=2", "'a' and 'a.b'"),
        ("tools/make_demo_data.py --size 64", "--size: expected WIDTHxHEIGHT such as 320x160, got"),
    ],
)
def test_other_mistakes_end_with_the_usage(words: str, message: str) -> None:
    done = run(ROOT, f"python {words}")
    assert done.status == 2
    assert done.text.startswith("usage: ") and message in done.text


def test_the_names_of_the_original_are_understood(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    words = "c --resume-from r --load_from w --options a=1 --local-rank=1 --gpus 1 --gpu-ids 0"
    options = parse(ConfigRunOptions, words.split(), None)
    assert (options.resume, options.load_from, options.local_rank) == ("r", "w", 1)
    assert options.changes() == {"a": 1, "load_from": "w"}
    assert parse(TestOptions, ["c", "k", "--options", "b=2"], None).cfg_options == {"b": 2}
    assert capsys.readouterr().err == ""
    for words, advice in {
        "--gpus 4": "--gpus .*torchrun --nproc_per_node 4",
        "--gpu-ids 2 3": "--gpu-ids .*--nproc_per_node 2\n.*CUDA_VISIBLE_DEVICES=2,3 ",
        "--gpu-id 1": "--gpu-ids .*CUDA_VISIBLE_DEVICES=1 ",
    }.items():
        parse(ConfigRunOptions, ["c", *words.split()], None)
        assert re.search(f"warning: {advice}", capsys.readouterr().err)


def test_a_command_fills_in_what_depends_on_the_machine() -> None:
    options = parse(DepthOptions, ["i", "--out", "o", "--from-disparity"], None, **UNKNOWN)
    assert (options.batch_size, options.workers, options.device) == (None, None, None)
