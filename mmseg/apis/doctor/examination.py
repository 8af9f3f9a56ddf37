"""Look at the machine and at a config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.apis.doctor.commands import words_of
from mmseg.apis.doctor.config_items import Plan, broken, config_items, read_plan
from mmseg.apis.doctor.gpus import gpu_items
from mmseg.apis.doctor.items import BAD, Item
from mmseg.apis.doctor.machine import machine_items, version_items
from mmseg.apis.doctor.needs import needs_of
from mmseg.config import Config, load_config


@dataclass(frozen=True)
class Examination:
    """Everything that was looked at, in the order of the report."""

    items: tuple[Item, ...]

    @property
    def status(self) -> int:
        """The exit status: 1 if something is missing or broken, else 0."""
        return int(any(item.mark in BAD for item in self.items))


def examine(config: str | None = None, changes: Mapping[str, Any] | None = None) -> Examination:
    """Look at this machine and, with a config, at everything that its training reads.

    `changes` are values of the config by dotted path. Nothing is written.
    """
    return Examination(tuple(_items(config, changes or {})))


def read_config(config: str, changes: Mapping[str, Any]) -> Config:
    """Return a config with changed values."""
    cfg = load_config(config)
    cfg.merge_options(changes)
    return cfg


def _items(config: str | None, changes: Mapping[str, Any]) -> Iterator[Item]:
    plan, needs = None if config is None else _plan(config, changes), None
    if isinstance(plan, Plan):
        needs = needs_of(plan.run, Path(str(plan.cfg.filename)), plan.parameters)
    yield from machine_items(needs)
    yield from version_items()
    yield from gpu_items(needs)
    if isinstance(plan, Plan):
        yield from config_items(plan)
    elif plan is not None:
        yield plan


def _plan(config: str, changes: Mapping[str, Any]) -> Plan | Item:
    try:
        cfg = read_config(config, changes)
    except (OSError, ValueError, ImportError) as error:
        return broken(error)
    return read_plan(cfg, words_of(config, changes))
