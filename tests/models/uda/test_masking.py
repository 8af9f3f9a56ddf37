"""Masked consistency: which images are masked, how, with whose labels, and what it trains."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import recorded_steps
import torch
from line_method import NoCopies
from recorded_steps import FixedDraws, bank_file, loader_batch, records
from torch import Tensor, nn

from mmseg.config.registry import UDA
from mmseg.engine.checkpoint import saved_state
from mmseg.models.uda import Augmentation, Draws
from mmseg.models.uda.base import Step, StepOutput, UDABatch
from mmseg.models.uda.masking import MaskedConsistency
from mmseg.models.uda.mixing import StrongAugmentation, color_jitter
from mmseg.models.uda.passes import StudentPasses
from mmseg.models.uda.settings import DACSSettings, MaskMode
from mmseg.models.uda.teacher import PseudoLabel
from mmseg.system.errors import ConfigError

BLOCKS = {"type": "block", "mask_ratio": 0.7, "mask_block_size": 8}
LARGE_BLOCKS = {"mask_lambda": 1, "mask_generator": {**BLOCKS, "mask_block_size": 32}}
HEIGHT, WIDTH = 24, 40


class Recorder(nn.Module):
    """A segmentor that only keeps what it was asked to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward_train(
        self, img: Tensor, metas: list[Any], label: Tensor, **options: Any
    ) -> dict[str, Tensor]:
        self.seen = SimpleNamespace(image=img, metas=metas, label=label, **options)
        names = ("decode.loss_seg", "decode.hr.loss_seg", "decode.acc_seg", "aux.loss_seg")
        return {name: self.weight * (2 + n) for n, name in enumerate(names)}


def settings(mode: str = "separatetrg", **changes: Any) -> DACSSettings:
    keys = {"mask_mode": mode, "mask_lambda": 1, "mask_generator": BLOCKS}
    return DACSSettings(**{**keys, **changes})


def masking(mode: str = "separatetrg", **changes: Any) -> MaskedConsistency:
    return MaskedConsistency(settings(mode, **changes), Recorder)


def batch(images: int = 2) -> UDABatch:
    """Images whose values are far from 0; source positive, target negative; labels 1… and 11…."""
    rng = np.random.default_rng(images)
    values = torch.from_numpy(rng.uniform(1, 2, (2, images, 3, HEIGHT, WIDTH)))
    numbers = torch.arange(images).view(-1, 1, 1)
    return UDABatch(
        image=values[0],
        metas=[{"filename": f"source {i}"} for i in range(images)],
        label=(1 + numbers[:, None]).expand(-1, 1, HEIGHT, WIDTH),
        target_image=-values[1],
        target_metas=[{"filename": f"target {i}"} for i in range(images)],
        target_depth=None,
        valid_pseudo_mask=None,
    )


def pseudo_label(images: int = 2) -> PseudoLabel:
    numbers = torch.arange(images).view(-1, 1, 1).expand(-1, HEIGHT, WIDTH)
    return PseudoLabel(11 + numbers, 0.3 + 0.1 * numbers, numbers > 0)


def train(mic: MaskedConsistency, images: int = 2, draws: Draws | None = None) -> Any:
    """Return what the student saw, and the output of the step."""
    student, output = Recorder(), StepOutput(pictures={})
    step = Step(batch(images), 0, Draws(3, 5) if draws is None else draws, output)
    mic.train_on(StudentPasses(student, step), pseudo_label(images))
    return SimpleNamespace(output=output, student=student, **vars(student.seen))


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bank_file(tmp_path_factory.mktemp("bank"))


# What is masked


@pytest.mark.parametrize("mode", get_args(MaskMode))
def test_masked_pixels_are_exactly_zero_and_the_others_as_they_were(mode: str) -> None:
    """Zero after normalization; without `aug` every other pixel keeps its value."""
    mic = masking(mode, color_jitter_probability=1.0)  # so that only the blur may change pixels
    seen = train(mic).image
    mask = Draws(3, 5).block_mask(2, HEIGHT, WIDTH, 0.7, 8)  # (2, 1, H, W)
    assert 0 < mask.mean() < 1
    assert torch.equal(seen == 0, (mask == 0).expand_as(seen))
    images = mic.select(batch(), pseudo_label()).image
    if not mode.endswith("aug"):
        assert torch.equal(seen, torch.where(mask > 0, images, 0.0))


def test_a_block_is_hidden_in_all_colors_and_as_a_whole() -> None:
    seen = train(masking()).image
    blocks = (seen == 0).unflatten(3, (-1, 8)).unflatten(2, (-1, 8))  # (2, 3, 3, 8, 5, 8)
    shares = blocks.float().mean(dim=(1, 3, 5))  # (2, 3, 5) by block
    assert set(shares.unique().tolist()) == {0.0, 1.0}


def test_source_images_are_masked_with_their_labels_and_full_weight() -> None:
    seen = train(masking("separatesrc"))
    assert seen.seg_weight is None
    assert torch.equal(seen.label, batch().label)
    assert (seen.image >= 0).all()


def test_target_images_are_masked_with_pseudo_labels_and_their_weights() -> None:
    seen = train(masking("separatetrg"))
    assert torch.equal(seen.label[:, 0], pseudo_label().label)
    assert torch.equal(seen.seg_weight, pseudo_label().weight)
    assert (seen.image <= 0).all()


@pytest.mark.parametrize(("images", "half"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_separate_takes_the_first_half_of_source_and_target(images: int, half: int) -> None:
    seen = train(masking("separate"), images)
    assert seen.image.shape == (2 * half, 3, HEIGHT, WIDTH)
    expected = [1 + i for i in range(half)] + [11 + i for i in range(half)]
    assert seen.label[:, 0, 0, 0].tolist() == expected
    names = [f"{kind} {i}" for kind in ("source", "target") for i in range(half)]
    assert [meta["filename"] for meta in seen.metas] == names
    weights = torch.cat([torch.ones(half), 0.3 + 0.1 * torch.arange(half)])
    assert torch.equal(seen.seg_weight, weights.view(-1, 1, 1).expand(-1, HEIGHT, WIDTH))


def test_lambda_multiplies_the_main_loss_alone() -> None:
    """Losses 2, 3 and 5 (of heads) become 0.5·2 + 3 + 5, whose gradient is 9."""
    trained = train(masking(mask_lambda=0.5))
    logged = {key: value.item() for key, value in trained.output.losses.items()}
    assert logged == {
        "masked.decode.loss_seg": 1.0,
        "masked.decode.hr.loss_seg": 3.0,
        "masked.decode.acc_seg": 4.0,
        "masked.aux.loss_seg": 5.0,
    }
    assert trained.student.weight.grad.item() == 9.0


def test_lambda_multiplies_each_loss_of_a_head_without_a_main_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward_train = Recorder.forward_train

    def without_main(student: Recorder, *arguments: Any, **options: Any) -> dict[str, Any]:
        losses = forward_train(student, *arguments, **options)
        main = losses.pop("decode.loss_seg")
        return {**losses, "decode.pam.loss_seg": main}

    monkeypatch.setattr(Recorder, "forward_train", without_main)
    trained = train(masking(mask_lambda=0.5))
    losses = {k: v.item() for k, v in trained.output.losses.items() if k.endswith("loss_seg")}
    assert sorted(losses.values()) == [1.0, 1.5, 5.0]


# Augmentation


def fixed(drawn: Augmentation) -> Draws:
    """Return draws with a given augmentation; blocks are hidden as ever."""
    draws = Draws(3, 5)
    draws.augmentation = lambda: drawn
    return draws


def test_images_have_factors_of_their_own_but_one_order_and_one_sigma() -> None:
    drawn = Draws(1, 2).augmentation()
    factors = StrongAugmentation(0.2, 0.2, blur=True, is_shared=True).factors(drawn, 5)
    assert {(f.order, f.sigma) for f in factors} == {drawn.shared()}
    assert len({(f.brightness, f.contrast, f.saturation, f.hue) for f in factors}) == 5
    assert factors[3].hue == drawn.image(3, 0.2).hue
    shared = [Draws(1, t).augmentation().shared() for t in range(60)]
    assert len({order for order, _ in shared}) > 15
    assert all(0.15 <= sigma <= 1.15 for _, sigma in shared)


def test_masked_images_are_blurred_also_where_mixed_ones_are_not() -> None:
    plain = train(masking("separatetrg")).image
    for draw, changes in ((0.5, False), (0.51, True)):
        mic = masking("separatetrgaug", blur=False)
        seen = train(mic, draws=fixed(Augmentation(blur_draw=draw))).image
        assert torch.equal(seen, plain) != changes


def test_colors_change_when_the_draw_exceeds_the_probability() -> None:
    plain = train(masking("separatesrc")).image
    for draw, changes in ((0.2, False), (0.21, True)):
        drawn = Augmentation(jitter_draw=draw)
        seen = train(masking("separatesrcaug"), draws=fixed(drawn)).image
        assert torch.equal(seen, plain) != changes


def test_masked_images_are_jittered_in_the_shared_order() -> None:
    drawn = Augmentation(jitter_draw=0.9, entropy=(8,))
    mic = masking("separatesrcaug")
    seen = train(mic, draws=fixed(drawn)).image
    constants = batch().normalization()
    order, _ = drawn.shared()
    for index, image in enumerate(batch().image):
        own = drawn.image(index, 0.2)
        assert own.order != order
        jittered = color_jitter(constants.to_unit(image), replace(own, order=order))
        expected = constants.from_unit(jittered) * (seen[index] != 0)
        torch.testing.assert_close(seen[index], expected, rtol=0, atol=1e-10)


def test_masked_images_have_draws_of_their_own() -> None:
    """The second call gives other numbers, whether or not something was drawn in between."""
    draws = Draws(4, 2)
    first = draws.augmentation()
    draws.block_mask(1, 8, 8, 0.5, 4)
    second = draws.augmentation()
    assert first != second
    assert first == Draws(4, 2).augmentation()


# Teachers


def build(mode: str = "separatetrgaug", case: str = "mic_daformer_separate", **changes: Any) -> Any:
    return recorded_steps.build(records()[case], mask_mode=mode, **changes)


def test_a_shared_teacher_adds_nothing_to_the_state() -> None:
    assert not [key for key in build().state_dict() if key.startswith("mic.")]


def test_a_second_teacher_is_saved_under_its_own_name() -> None:
    uda = build(mask_alpha=0.9)
    keys = [key for key in saved_state(uda) if key.startswith("mic.")]
    assert keys == [f"mic.teacher.ema_model.{key}" for key in uda.model.state_dict()]


def test_second_teacher_never_learns_by_gradients_and_keeps_its_mode() -> None:
    uda = build(mask_pseudo_threshold=0.5, dropout=0.3)
    uda.eval()
    network = uda.mic.teacher.ema_model
    dropouts = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert dropouts
    assert norms
    for _ in (uda.eval(), uda.train()):
        assert not any(m.training for m in dropouts)
        assert all(m.training for m in norms)
    output = uda.accumulate_gradients(loader_batch(0), 0, uda.make_draws(0))
    assert output.losses["masked.decode.loss_seg"] > 0
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    trained = {id(p) for p in uda.trainable_parameters()}
    assert not trained & {id(p) for p in network.parameters()}


def test_second_teacher_follows_the_student_with_its_own_alpha() -> None:
    """Alpha 0 copies the student in every iteration; the first teacher lags behind."""
    uda = build("separatetrg", mask_alpha=0)
    for iteration in range(3):
        with torch.no_grad():
            for parameter in uda.model.parameters():
                parameter.add_(0.01)
        uda._update_teachers(iteration)
    students = list(uda.model.parameters())
    own = list(uda.mic.teacher.ema_model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(own, students, strict=True))
    first = list(uda.ema_model.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(first, students, strict=True))


class Certain(nn.Module):
    """A teacher's network whose best class has the probability 0.75 on half of the pixels."""

    def generate_pseudo_label(self, image: Tensor, metas: list[Any]) -> Tensor:
        logits = torch.zeros(len(image), 2, HEIGHT, WIDTH)
        logits[:, 1, :, : WIDTH // 2] = torch.tensor(3.0).log()
        return logits


@pytest.mark.parametrize(
    ("threshold", "share"), [(None, 1.0), (0.5, 1.0), (0.7, 0.5), (0.8, 0.0), ("same", 0.0)]
)
def test_second_teacher_weighs_by_its_own_threshold_and_keeps_the_margins(
    threshold: Any, share: float
) -> None:
    """Without a threshold every pixel counts fully, but never one of the margins."""
    keys = settings(mask_alpha=0.9, mask_pseudo_threshold=threshold)
    mic = MaskedConsistency(keys, Certain)
    step = Step(batch(3), 0, Draws(), StepOutput())
    trust = torch.ones(3, HEIGHT, WIDTH)
    trust[:, :5] = 0
    own = mic.relabel(step, pseudo_label(3), trust)
    assert torch.equal(own.weight, share * trust)
    assert own.label[:, :, : WIDTH // 2].unique().tolist() == [1]


def test_source_modes_need_no_second_teacher() -> None:
    mic = masking("separatesrc", mask_alpha=0.9)
    assert mic.teacher is None
    assert "no effect" in mic.describe()[-1]


# In a whole step


def test_masked_source_is_the_drawn_one_where_mixing_uses_a_matched_crop(bank_path: Path) -> None:
    entry = records()["cdda_daformer_lowthr"]
    uda = recorded_steps.build(entry, bank_path, mask_mode="separatesrc", **LARGE_BLOCKS)
    data = loader_batch(0)
    pictures = uda.accumulate_gradients(data, 0, FixedDraws()).pictures
    assert not torch.equal(pictures["matched_label"], data["gt_semantic_seg"][:, 0])
    assert torch.equal(pictures["masked_label"], data["gt_semantic_seg"][:, 0])
    kept = pictures["masked_image"] != 0
    assert torch.equal(pictures["masked_image"][kept], data["img"][kept])


def test_masked_targets_have_the_weights_that_mixing_uses(bank_path: Path) -> None:
    """Re-weighted by depth, margins 0: the same as on the pixels of the mixed image's target."""
    entry = records()["cdda_daformer_lowthr"]
    uda = recorded_steps.build(entry, bank_path, mask_mode="separatetrg", **LARGE_BLOCKS)
    seen: list[Tensor] = []
    forward_train = uda.model.forward_train

    def spy(*arguments: Any, **options: Any) -> Any:
        seen.append(options.get("seg_weight"))
        return forward_train(*arguments, **options)

    uda.model.forward_train = spy
    pictures = uda.accumulate_gradients(loader_batch(0), 0, FixedDraws()).pictures
    is_target = pictures["domain_mask"] == 0
    assert torch.equal(seen[2][is_target], pictures["mixed_weight"][is_target])
    assert len(seen[2].unique()) > 2


def test_details_are_drawn_for_source_guidance_mixed_and_masked_in_this_order(
    bank_path: Path,
) -> None:
    """Each forward pass of the student draws one box; teachers draw none."""
    entry = records()["cdda_hrda_syn"]
    uda = recorded_steps.build(entry, bank_path, mask_mode="separatetrgaug", **LARGE_BLOCKS)
    calls: list[str] = []
    events = {"forward_train": "loss", "train_logits": "guidance"}
    for name, event in events.items():
        inner = getattr(uda.model, name)

        def spy(*args: Any, inner: Any = inner, event: str = event, **options: Any) -> Any:
            calls.append(f"{event} {options['draws'].num_boxes}")
            return inner(*args, **options)

        setattr(uda.model, name, spy)
    draws = FixedDraws()
    output = uda.accumulate_gradients(loader_batch(0, has_valid_mask=True), 0, draws)
    assert calls == ["loss 0", "guidance 1", "loss 2", "loss 3"]
    assert draws.num_boxes == 4
    assert {"masked.decode.loss_seg", "masked.decode.hr.loss_seg"} <= output.losses.keys()


def test_a_step_reads_nothing_from_the_device() -> None:
    changes = {"color_jitter_probability": 0.0, "blur": True, "mask_alpha": 0.9, **LARGE_BLOCKS}
    uda = build("separateaug", case="hrda", **changes)
    with NoCopies():
        output = uda.accumulate_gradients(loader_batch(1), 1, uda.make_draws(1))
    assert len(output.losses) == 13


def test_inputs_are_not_changed() -> None:
    for mode in ("separateaug", "separatesrc"):
        uda, data = build(mode, mask_alpha=0.9), loader_batch(0)
        before = copy.deepcopy(data)
        uda.accumulate_gradients(data, 0, uda.make_draws(0))
        for key, value in data.items():
            assert not isinstance(value, Tensor) or torch.equal(value, before[key]), key


def test_a_step_is_a_function_of_seed_and_iteration() -> None:
    results = []
    for noise in (1, 2):
        uda = build("separatetrgaug", case="hrda", dropout=0.3, **LARGE_BLOCKS)
        torch.manual_seed(noise)
        draws = uda.make_draws(3, seed=5)
        output = uda.accumulate_gradients(loader_batch(0), 3, draws)
        results.append({key: value.item() for key, value in output.losses.items()})
    assert results[0] == results[1]


# What a config may say


def test_the_log_says_what_is_masked_and_who_labels() -> None:
    lines = build("separatesrcaug").describe()
    assert "MIC on DACS self-training of EncoderDecoder" in lines[0]
    assert "'separatesrcaug', 70% of blocks of 32 pixels hidden, labels of the source" in lines[1]
    assert "labels of the first teacher" in masking().describe()[0]
    line = masking(mask_pseudo_threshold=None).describe()[0]
    assert "its own teacher (alpha 0.99, threshold None)" in line
    assert "no weight" in masking(mask_lambda=0).describe()[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "separatetgt"}, "mask_mode.* got 'separatetgt'. Did you mean"),
        ({"mask_generator": None}, "needs uda.mask_generator"),
        ({"mask_generator": {**BLOCKS, "type": "blocks"}}, "did you mean 'block'"),
        ({"mask_generator": {**BLOCKS, "block_size": 3}}, "unknown key 'block_size'"),
        ({"mask_generator": {"type": "block", "mask_ratio": 0.5}}, "needs the key 'mask_block_s"),
        ({"mask_generator": {**BLOCKS, "mask_ratio": 70}}, "mask_ratio.*at most 1, got 70"),
        (
            {"mask_generator": {**BLOCKS, "mask_block_size": 0}},
            "mask_block_size.* at least 1, got 0",
        ),
        ({"mask_alpha": "sane"}, "mask_alpha.*'same' or a number, got 'sane'. Did you mean"),
        ({"mask_alpha": 1.5}, "got 1.5"),
        ({"mask_pseudo_threshold": "non"}, "mask_pseudo_threshold.*'same' or a number, got 'non'"),
        ({"mask_lambda": -1}, "mask_lambda.* at least 0, got -1"),
        ({"source_only": True}, "separatesrc, separatesrcaug with uda.source_only=True"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    mode, changes = changes.get("mode", "separatetrg"), dict(changes)
    changes.pop("mode", None)
    uda = {"type": "DACS", "mask_mode": mode, "mask_lambda": 1, "mask_generator": BLOCKS}
    with pytest.raises(ConfigError, match=message):
        UDA.check({**uda, **changes})
        DACSSettings(**{key: value for key, value in {**uda, **changes}.items() if key != "type"})


def test_blocks_larger_than_the_image_are_refused() -> None:
    blocks = {**BLOCKS, "mask_block_size": 64}
    with pytest.raises(ConfigError, match="at most as large as the crops of 40x24, got 64"):
        train(masking(mask_generator=blocks))
