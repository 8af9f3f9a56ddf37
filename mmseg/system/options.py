"""The options of commands: fields of dataclasses, described where they are used.

    @dataclass(frozen=True)
    class Options(LaunchOptions):
        num: Annotated[int, Field(ge=1)] = option(4, "rows of the sheet")

The annotation says which values are allowed. `mmseg.cli.options` turns such a class into the
command line of a program.
"""

import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mmseg.system.errors import ConfigError
from mmseg.system.findings import expected_of
from mmseg.system.launchers import LAUNCHERS

METADATA = "option"
OPT_IN = "--trust-checkpoint"
ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        field: of the dataclass.
        hint: annotation of the field. A bool is a switch, which turns its default around; a list,
            tuple or mapping collects values, also of an option that is repeated.
        default: of the field; `MISSING` if the option is required.
        help: without it, `--help` does not show the option.
        positional: whether it has no name on the command line.
        names: on the command line; that of the field if there are none.
        also: names that are understood as well, such as old ones.
        metavar: stands for the value in `--help`.
        choices: all values that are allowed.
        nargs: how many values there are, as in `argparse`.
        const: value of an option that is given without one; needs `nargs="?"`.
        one_of: of all options with the same word here, exactly one has to be given.
    """

    field: str
    hint: Any
    default: Any
    help: str = ""
    positional: bool = False
    names: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    nargs: str | None = None
    const: Any = None
    one_of: str | None = None

    @property
    def shown_names(self) -> tuple[str, ...]:
        """The names in `--help`; the last one is the long one."""
        return self.names or (f"--{self.field.replace('_', '-')}",)

    def check(self, value: Any, hint: Any = None) -> Any:
        """Return a value as its annotation says, or raise `ConfigError` with what was expected."""
        if self.choices and value is not None and value not in self.choices:
            raise ConfigError(f"expected {' or '.join(self.choices)}, got {value!r}.")
        try:
            return TypeAdapter(hint or self.hint, config=ANY_TYPE).validate_python(value)
        except ValidationError as error:
            found = error.errors()[0]
        if found["type"] == "value_error":  # of a function in the annotation
            raise ConfigError(str(found.get("ctx", {})["error"]))
        raise ConfigError(f"expected {expected_of(found)}, got {value!r}.")


def option(
    default: Any = MISSING, help: str = "", *, default_factory: Any = MISSING, **how: Any
) -> Any:
    """Return a dataclass field that is an option; `how` are attributes of `Option`."""
    how["help"] = help
    return field(default=default, default_factory=default_factory, metadata={METADATA: how})


def options_of(kind: type) -> Iterator[Option]:
    """Yield the options of a dataclass: first its own, then those of the groups it inherits."""
    hints = get_type_hints(kind, include_extras=True)
    known = {one.name: one for one in fields(kind)}
    names = (name for group in kind.__mro__ for name in inspect.get_annotations(group))
    for one in (known[name] for name in dict.fromkeys(names) if name in known):
        if METADATA in one.metadata:
            made = one.default_factory
            default = one.default if made is MISSING else made()
            yield Option(one.name, hints[one.name], default, **one.metadata[METADATA])


def check_values(options: Any) -> None:
    """Raise `ConfigError` for a value that the command line would refuse."""
    for one in options_of(type(options)):
        value = getattr(options, one.field)
        try:
            one.check(str(value) if isinstance(value, Path) else value)  # programs may give both
        except ConfigError as error:
            name = one.field if one.positional else one.shown_names[-1]
            raise ConfigError(f"{name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class CfgOptions:
    """The option that changes values of a config."""

    cfg_options: Mapping[str, Any] = option(
        default_factory=dict,
        help="values of the config to change, for example seed=1",
        also=("--options",),
        metavar="KEY=VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class ConfigOptions(CfgOptions):
    """A config, and values to change in it."""

    config: str = option(help="path of the config, with or without .py", positional=True)


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """The option of every command that loads checkpoints, banks or pretrained weights."""

    trust_checkpoint: bool = option(
        False,
        "unpickle files that could run any program; only for files that you trust",
        names=(OPT_IN,),
    )


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How the processes of a run are started."""

    launcher: str = option("none", "what starts the processes; slurm: srun", choices=LAUNCHERS)
    # torch.distributed.launch passes it in addition to the variable LOCAL_RANK.
    local_rank: int | None = option(None, names=("--local_rank",))
    # Of the original commands, which start no processes for them either.
    gpus: int | None = option(None)
    gpu_ids: list[int] = option(default_factory=list, also=("--gpu-id",))

    def warnings(self) -> list[str]:
        """Return what a person should know about options that have no effect."""
        count, ids = max(self.gpus or 1, len(self.gpu_ids)), ",".join(map(str, self.gpu_ids))
        lines = []
        if count > 1 and "WORLD_SIZE" not in os.environ:
            name = "--gpu-ids" if len(self.gpu_ids) > 1 else "--gpus"
            lines.append(
                f"{name} starts no processes; this one uses one GPU. For {count}, start the "
                f"command with: torchrun --nproc_per_node {count}"
            )
        if ids not in ("", "0") and "CUDA_VISIBLE_DEVICES" not in os.environ:
            lines.append(
                f"--gpu-ids chooses no GPUs. Set the variable CUDA_VISIBLE_DEVICES={ids} instead."
            )
        return lines
