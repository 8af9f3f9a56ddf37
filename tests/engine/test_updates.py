"""When optimizers step, and what gradients go through before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from line_method import Line, NoCopies, Rivals, batches, make_trainer
from torch import nn

from mmseg.config.sections import PrecisionConfig
from mmseg.engine.checkpoint import CheckpointError, read_checkpoint
from mmseg.models.uda.base import StepOutput


class Quadratic(Line):
    """Its loss is (weight - 10·the batch's mean)², so that gradients depend on weight and batch."""

    def accumulate_gradients(self, batch: Any, iteration: int, draws: Any) -> StepOutput:
        output = StepOutput(scale_loss=self.scale_loss)
        distance = self.model.weight - 10 * batch["img"].mean()
        output.backward({"decode.loss_seg": distance.square().sum()})
        return output


def weights(trainer: Any, loader: Any) -> list[float]:
    """Return the student's weight after every iteration."""
    seen = []
    for batch in loader:
        trainer.step(batch)
        seen.append(trainer.method.model.weight.item())
    return seen


def with_sgd(trainer: Any) -> Any:
    """Let a plain gradient step of rate 0.1 (and no schedule) take the place of AdamW."""
    trainer.updates.optimizer = torch.optim.SGD(trainer.method.model.parameters(), lr=0.1)
    return trainer


def test_optimizers_step_after_every_kth_iteration_and_after_the_last(tmp_path: Path) -> None:
    """Batch t has the mean t/100 = target t/10; gradient 2(w - t/10); w starts at 0.

    First group (0, 1, 2): mean gradient 2(0 - 0.1) = -0.2, so w = 0.02. Second and last group
    (3, 4): mean gradient 2(0.02 - 0.35) = -0.66, so w = 0.086.
    """
    trainer = make_trainer(tmp_path, Quadratic(), cumulative_iters=3, max_iters=5)
    seen = weights(with_sgd(trainer), batches(0, 5))
    assert seen == pytest.approx([0, 0, 0.02, 0.02, 0.086], abs=1e-7)


def test_a_group_is_one_step_on_all_of_its_images(tmp_path: Path) -> None:
    """Two groups of two images against two steps on the mean loss of both; to float32's rounding.

    The mean of (w - a)² and (w - b)² has the gradient 2(w - (a + b)/2).
    """
    trainer = make_trainer(tmp_path, Quadratic(0.5), cumulative_iters=2, max_iters=4)
    seen = weights(with_sgd(trainer), batches(0, 4))
    weight = 0.5
    for first, targets in ((0, (0.0, 0.1)), (2, (0.2, 0.3))):
        assert seen[first] == pytest.approx(weight, rel=1e-6)
        weight -= 0.1 * 2 * (weight - sum(targets) / 2)
        assert seen[first + 1] == pytest.approx(weight, rel=1e-6)


def test_the_learning_rate_follows_iterations_not_steps(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Line(), cumulative_iters=4, max_iters=8)
    rates = []
    for batch in batches(0, 4):
        trainer.step(batch)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1 * (1 - t / 8) for t in range(4)])


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6])
def test_a_resumed_run_keeps_the_gradients_that_wait_for_their_step(
    tmp_path: Path, stop: int
) -> None:
    """Bit by bit, wherever a group of 3 of the 7 iterations is interrupted."""
    settings = {"max_iters": 7, "cumulative_iters": 3, "log_interval": 100}
    whole = make_trainer(tmp_path / "a", Quadratic(0.3), **settings)
    seen = weights(whole, batches(0, 7))
    first = make_trainer(tmp_path / "b", Quadratic(0.3), resume_interval=stop, **settings)
    first.run(batches(0, stop))
    content = read_checkpoint(tmp_path / "b/latest.pth")
    assert ("gradients" in content) == (stop % 3 != 0)
    second = make_trainer(tmp_path / "b", Quadratic(9.0), **settings)
    second.resume(tmp_path / "b/latest.pth")
    assert weights(second, batches(stop, 7)) == seen[stop:]
    assert str(second.content()["optimizer"]) == str(whole.content()["optimizer"])
    assert second.state.losses.means() == whole.state.losses.means()


def test_gradients_are_clipped_to_the_norm_of_the_config(tmp_path: Path) -> None:
    """The slope is 1 + a draw; its norm before clipping is logged without a copy to the host."""
    method = Line()
    trainer = make_trainer(tmp_path, method, grad_clip={"max_norm": 0.25, "norm_type": 2})
    trainer.step(batches(0, 1)[0])
    gradient = method.model.weight.grad
    assert gradient is not None
    assert float(gradient.norm()) == pytest.approx(0.25, rel=1e-4)
    slope = 1 + method.make_draws(0, 0, 3).random()
    assert trainer.state.losses.means()["grad_norm"] == pytest.approx(slope, rel=1e-6)


def test_clipping_sees_the_mean_over_the_group(tmp_path: Path) -> None:
    """Two gradients of about 1.5 have a mean below 2 and a sum above it."""
    method = Line()
    settings = {"cumulative_iters": 2, "grad_clip": {"max_norm": 2.0}}
    trainer = make_trainer(tmp_path, method, **settings)
    weights(trainer, batches(0, 2))
    slopes = [1 + t / 100 + method.make_draws(t, 0, 3).random() for t in (0, 1)]
    assert sum(slopes) > 2 > sum(slopes) / 2
    assert method.model.weight.grad.item() == pytest.approx(sum(slopes) / 2, rel=1e-6)


@pytest.mark.parametrize("precision", [PrecisionConfig(), PrecisionConfig("float16")])
def test_a_step_reads_nothing_from_the_device(tmp_path: Path, precision: PrecisionConfig) -> None:
    """With clipping, accumulation and scale; reading is for the log."""
    settings = {"cumulative_iters": 2, "grad_clip": {"max_norm": 1.0}, "precision": precision}
    trainer = make_trainer(tmp_path, Quadratic(0.5), **settings)
    with NoCopies():
        for batch in batches(0, 4):
            trainer.step(batch)
    assert trainer.method.model.weight.item() != 0.5


def test_own_optimizers_are_cleared_stepped_and_not_clipped(tmp_path: Path) -> None:
    """SGD with momentum 0.5 and rate 0.25 along -(1 + t/100): steps 0.25·1, 0.25·(0.5 + 1.01)."""
    method = Rivals()
    trainer = make_trainer(tmp_path, method, grad_clip={"max_norm": 0.01})
    trainer.step(batches(0, 1)[0])
    assert method.rival.weight.item() == pytest.approx(0.5 + 0.25)
    trainer.step(batches(1, 2)[0])
    assert method.rival.weight.item() == pytest.approx(0.75 + 0.25 * (0.5 + 1.01))


def test_own_optimizers_accumulate_too(tmp_path: Path) -> None:
    method = Rivals()
    trainer = make_trainer(tmp_path, method, cumulative_iters=2)
    trainer.step(batches(0, 1)[0])
    assert method.rival.weight.item() == 0.5
    trainer.step(batches(1, 2)[0])
    assert method.rival.weight.item() == pytest.approx(0.5 + 0.25 * (1 + 1.01) / 2)


def test_own_optimizers_are_saved_and_restored(tmp_path: Path) -> None:
    """The rival's momentum is what would be missing."""
    whole, first, second = Rivals(), Rivals(), Rivals(weight=9.0)
    make_trainer(tmp_path / "a", whole).run(batches(0, 6))
    make_trainer(tmp_path / "b", first, checkpoint_interval=2).run(batches(0, 2))
    resumed = make_trainer(tmp_path / "b", second)
    resumed.resume(tmp_path / "b/latest.pth")
    resumed.run(batches(2, 6))
    assert torch.equal(second.rival.weight, whole.rival.weight)
    ours, theirs = (m.rival_optimizer.state_dict()["state"] for m in (second, whole))
    assert torch.equal(ours[0]["momentum_buffer"], theirs[0]["momentum_buffer"])


def test_a_checkpoint_without_an_own_optimizer_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, Rivals(), max_iters=1).run(batches(0, 1))
    content = read_checkpoint(tmp_path / "latest.pth")
    del content["own_optimizers"]
    torch.save(content, tmp_path / "without.pth")
    message = (
        "expected the state of the optimizer 'rival' in the checkpoint .*without.pth.*got none"
    )
    with pytest.raises(CheckpointError, match=message):
        make_trainer(tmp_path, Rivals()).resume(tmp_path / "without.pth")


def test_all_gradients_are_shared_in_one_call_per_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the student and of the rival, at the end of a group only."""
    shared: list[list[nn.Parameter]] = []
    monkeypatch.setattr(
        "mmseg.engine.updates.average_gradients",
        lambda parameters: shared.append(list(parameters)),
    )
    method = Rivals()
    trainer = make_trainer(tmp_path, method, cumulative_iters=2, max_iters=3)
    weights(trainer, batches(0, 3))
    assert [[id(p) for p in call] for call in shared] == [
        [id(method.model.weight), id(method.rival.weight)]
    ] * 2


def test_train_step_of_a_method_moves_its_own_optimizers_too() -> None:
    from mmseg.models.uda.base import TrainingMethod

    method: Any = Rivals()
    optimizer = torch.optim.SGD(method.model.parameters(), lr=1.0)
    method.accumulate_gradients(batches(0, 1)[0], 0, method.make_draws(0))  # to be cleared
    logged = TrainingMethod.train_step(method, batches(0, 1)[0], optimizer, 0)
    assert set(logged) == {"decode.loss_seg", "loss.rival"}
    assert method.rival.weight.item() == pytest.approx(0.5 + 0.25)
    assert method.model.weight.item() == pytest.approx(-(1 + method.make_draws(0).random()))
