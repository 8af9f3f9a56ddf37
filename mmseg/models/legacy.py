"""Names that older configs of the family used for its networks."""

from collections.abc import Mapping
from typing import Any

from mmseg.config.language.config_dict import ConfigDict, rebuild
from mmseg.config.registry import HEADS, SEGMENTORS

RENAMED = {
    "UniHead": "DAFormerHead",
    "MultiResEncoderDecoder": "HRDAEncoderDecoder",
    "MultiResAttentionWrapper": "HRDAHead",
}
NAMING_KEYS = ("type", "single_scale_head")  # what names a class
DROPPED = ("ema_drop_path_rate",)  # teachers never use stochastic depth


def with_present_names(section: Any) -> Any:
    """Return a copy of a config section with old names replaced by present ones.

    A class that a user has registered under an old name keeps it.

    >>> with_present_names({'type': 'UniHead', 'decoder_params': {'fusion': None, 'embed_dims': 8}})
    {'type': 'DAFormerHead', 'decoder_params': {'embed_dims': 8}}
    """
    if type(section) in (list, tuple):
        return type(section)(with_present_names(item) for item in section)
    if not isinstance(section, Mapping):
        return section
    values = {k: with_present_names(v) for k, v in section.items() if k not in DROPPED}
    for key in NAMING_KEYS:
        name = values.get(key)
        if not isinstance(name, str) or name not in RENAMED or name in HEADS or name in SEGMENTORS:
            continue
        values[key] = RENAMED[name]
        if name == "UniHead":
            parameters = values.get("decoder_params")
            layer = parameters.get("fusion_cfg") if isinstance(parameters, dict) else None
            for part in (values, parameters, layer):  # all are fresh copies
                if isinstance(part, dict):
                    part.pop("fusion", None)
    if isinstance(section, ConfigDict):  # keeps what errors name
        return rebuild(type(section), values, **vars(section.copy()))
    return values
