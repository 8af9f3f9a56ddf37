"""MiT weights in the layout of the model hub: nvidia/mit-b0 … nvidia/mit-b5, of transformers.

Files have the names that transformers gave at first; a network in memory has newer ones. Both end
in the same names here. Keys and values of the attention are two layers there and one here.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

OLD = re.compile(
    r"(?:segformer\.)?encoder\.(?P<part>patch_embeddings|block|layer_norm)"
    r"\.(?P<stage>\d+)\.(?P<rest>.+)"
)
NEW = re.compile(
    r"(?:segformer\.)?stages\.(?P<stage>\d+)"
    r"\.(?P<part>patch_embeddings|blocks|layer_norm)\.(?P<rest>.+)"
)
PARTS = {
    "patch_embeddings": "patch_embed",
    "block": "block",
    "blocks": "block",
    "layer_norm": "norm",
}
# Layers of an embedding or, after its number, of a block.
LAYERS = {
    "layer_norm": "norm",
    "layer_norm_1": "norm1",
    "layernorm_before": "norm1",
    "layer_norm_2": "norm2",
    "layernorm_after": "norm2",
    "attention.self.query": "attn.q",
    "attention.q_proj": "attn.q",
    "attention.self.key": "attn.k",
    "attention.k_proj": "attn.k",
    "attention.self.value": "attn.v",
    "attention.v_proj": "attn.v",
    "attention.self.sr": "attn.sr",
    "attention.sequence_reduction.sequence_reduction": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.sequence_reduction.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "mlp.dense1": "mlp.fc1",
    "mlp.dense2": "mlp.fc2",
}
REST = re.compile(r"(?P<number>\d+\.)?(?:(?P<layer>.+)\.)?(?P<value>\w+)")


def with_our_names(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of `MixVisionTransformer`; other names stay as they are.

    >>> list(with_our_names({"segformer.encoder.layer_norm.3.bias": torch.zeros(2)}))
    ['norm4.bias']
    """
    named = {_our_name(key): value for key, value in found.items()}
    for key in [key for key in named if ".attn.k." in key]:
        value = named.get(key.replace(".attn.k.", ".attn.v."))
        if value is not None:
            parts = [named.pop(key), named.pop(key.replace(".attn.k.", ".attn.v."))]
            named[key.replace(".attn.k.", ".attn.kv.")] = torch.cat(parts)
    return named


def _our_name(key: str) -> str:
    place = OLD.fullmatch(key) or NEW.fullmatch(key)
    rest = REST.fullmatch(place["rest"]) if place else None
    if place is None or rest is None:
        return key
    layer = LAYERS.get(rest["layer"], rest["layer"])
    inner = f"{layer}." if layer else ""
    number = rest["number"] or ""
    return f"{PARTS[place['part']]}{int(place['stage']) + 1}.{number}{inner}{rest['value']}"
