"""MiT files of the model hub: a network of transformers and ours compute the same."""

import pytest
import torch
from network_records import EQUAL, filled, normal
from safetensors.torch import load_file

from mmseg.models import BACKBONES
from mmseg.models.backbones.hub_mit import with_our_names
from mmseg.system.errors import ConfigError

OURS = {
    "type": "MixVisionTransformer",
    "embed_dims": (8, 12, 20, 24),
    "num_heads": (1, 2, 5, 3),
    "depths": (1, 2, 1, 1),
    "mlp_ratios": (2, 3, 4, 1),
}


@pytest.fixture(scope="module")
def theirs():
    """A tiny network with a classifier, whose norms of blocks and stages have SegFormer's eps.

    transformers gives them 1e-5, SegFormer trained them with 1e-6; the other norms have 1e-5 in
    both.
    """
    from transformers import SegformerConfig, SegformerForImageClassification

    config = SegformerConfig(
        hidden_sizes=list(OURS["embed_dims"]),
        num_attention_heads=list(OURS["num_heads"]),
        depths=list(OURS["depths"]),
        mlp_ratios=list(OURS["mlp_ratios"]),
    )
    network = filled(SegformerForImageClassification(config)).eval()
    norms = {k: m for k, m in network.named_modules() if isinstance(m, torch.nn.LayerNorm)}
    assert {norm.eps for norm in norms.values()} == {1e-5}
    for name, norm in norms.items():
        if "patch_embeddings" not in name and "attention" not in name:
            norm.eps = 1e-6
    return network


def loaded(path, **changes):
    network = BACKBONES.build({**OURS, "pretrained": str(path), **changes}).double()
    network.init_weights()
    return network.eval()


def saved(theirs, kind, folder):
    """Save a network as the hub has it, or its state as it is in memory."""
    if kind == "memory":
        torch.save(theirs.state_dict(), folder / "state.pth")
        return folder / "state.pth"
    network = theirs.segformer if kind == "without classifier" else theirs
    network.save_pretrained(folder)
    if kind != "pytorch_model.bin":
        return folder / "model.safetensors"
    torch.save(load_file(folder / "model.safetensors"), folder / kind)
    return folder / kind


@pytest.mark.parametrize(
    "kind", ["model.safetensors", "pytorch_model.bin", "without classifier", "memory"]
)
def test_features_of_a_file_of_the_hub_equal_those_of_transformers(kind, theirs, tmp_path):
    network, image = loaded(saved(theirs, kind, tmp_path)), normal("image", 2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.segformer(image, output_hidden_states=True).hidden_states
        found = network(image)
    assert [list(f.shape) for f in found] == [
        [2, dim, 16 >> i, 24 >> i] for i, dim in enumerate(OURS["embed_dims"])
    ]
    torch.testing.assert_close(found, list(expected), **EQUAL)


def test_a_file_of_the_hub_for_another_size_is_an_error_that_names_our_keys(theirs, tmp_path):
    path = saved(theirs, "model.safetensors", tmp_path)
    with pytest.raises(ConfigError, match=r"unexpected keys block2\.1\."):
        loaded(path, depths=(1, 1, 1, 1))


def test_published_keys_become_those_of_mit_b0_and_others_stay():
    """The file's names as they have been on the hub since it exists."""
    with torch.device("meta"):
        state = BACKBONES.build({"type": "mit_b0"}).state_dict()
    files = {}
    for stage, heads in enumerate((8, 4, 2, 1)):
        encoder, layers = "segformer.encoder", ["attention.output.dense", "mlp.dense1"]
        layers += ["mlp.dense2", "mlp.dwconv.dwconv", "layer_norm_1", "layer_norm_2"]
        layers += [f"attention.self.{part}" for part in ("query", "key", "value")]
        layers += [f"attention.self.{part}" for part in ("sr", "layer_norm") if heads > 1]
        names = [f"{encoder}.block.{stage}.{b}.{layer}" for b in range(2) for layer in layers]
        names += [f"{encoder}.patch_embeddings.{stage}.{layer}" for layer in ("proj", "layer_norm")]
        names += [f"{encoder}.layer_norm.{stage}"]
        files |= {f"{name}.{kind}": torch.zeros(1) for name in names for kind in ("weight", "bias")}
    assert with_our_names(files).keys() == state.keys()
    others = {"decode_head.classifier.bias": torch.zeros(3), "block1.0.attn.q.bias": torch.ones(2)}
    assert with_our_names(others) == others
