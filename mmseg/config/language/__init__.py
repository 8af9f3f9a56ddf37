"""The config language: from files to a `Config`, and back."""

from mmseg.config.language.config import Config, find_config, load_config
from mmseg.config.language.config_dict import ConfigDict, unwrap
from mmseg.config.language.dumping import python_text
from mmseg.config.language.options_text import parse_options

__all__ = [
    "Config",
    "ConfigDict",
    "find_config",
    "load_config",
    "parse_options",
    "python_text",
    "unwrap",
]
