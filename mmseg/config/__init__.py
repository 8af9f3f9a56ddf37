"""The config language, what a run reads, the registries, and the pipelines of configs."""

from mmseg.config.config_dict import ConfigDict
from mmseg.config.language import Config, find_config, load_config
from mmseg.config.options_text import parse_options
from mmseg.config.run_config import RunConfig, read_run
from mmseg.config.standard_pipelines import inference_steps, training_steps

__all__ = [
    "Config",
    "ConfigDict",
    "RunConfig",
    "find_config",
    "inference_steps",
    "load_config",
    "parse_options",
    "read_run",
    "training_steps",
]
