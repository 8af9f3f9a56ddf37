"""The config language, what a run reads, the registries, and the pipelines of configs."""

from mmseg.config.language import Config, ConfigDict, find_config, load_config, parse_options
from mmseg.config.run_config import RunConfig, read_run
from mmseg.config.standard_pipelines import inference_steps, short_side_steps, training_steps

__all__ = [
    "Config",
    "ConfigDict",
    "RunConfig",
    "find_config",
    "inference_steps",
    "load_config",
    "parse_options",
    "read_run",
    "short_side_steps",
    "training_steps",
]
