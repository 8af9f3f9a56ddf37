"""The config language, the registries, and the pipelines that configs are made of."""

from mmseg.config.config_dict import ConfigDict
from mmseg.config.language import Config, find_config, load_config
from mmseg.config.options_text import parse_options
from mmseg.config.standard_pipelines import inference_steps, training_steps

__all__ = [
    "Config",
    "ConfigDict",
    "find_config",
    "inference_steps",
    "load_config",
    "parse_options",
    "training_steps",
]
