"""The loop: what happens when, what checkpoints hold, and that a resumed run is the same run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from line_method import Line, batches, make_trainer

from mmseg.engine.checkpoint import CheckpointError, read_checkpoint
from mmseg.engine.finite import require_finite
from mmseg.engine.trackers import build_trackers


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.is_file()}


def test_checkpoints_come_at_their_interval_and_after_the_last_iteration(tmp_path: Path) -> None:
    make_trainer(tmp_path, Line(), max_iters=5, checkpoint_interval=2).run(batches(0, 5))
    assert names(tmp_path) == {"iter_2.pth", "iter_4.pth", "iter_5.pth", "latest.pth"}
    assert read_checkpoint(tmp_path / "latest.pth")["iteration"] == 5


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, Line(), max_iters=5, checkpoint_interval=1, max_keep_checkpoints=2
    )
    trainer.run(batches(0, 5))
    assert names(tmp_path) == {"iter_4.pth", "iter_5.pth", "latest.pth"}


def test_a_checkpoint_holds_plain_values_and_no_frozen_network(tmp_path: Path) -> None:
    make_trainer(tmp_path, Line(), max_iters=2).run(batches(0, 2))
    content = read_checkpoint(tmp_path / "latest.pth")
    assert set(content) == {
        "meta", "state_dict", "optimizer", "schedule", "iteration", "seed", "progress", "losses",
        "world_size", "samples_per_gpu", "cumulative_iters",
    }  # fmt: skip
    assert set(content["state_dict"]) == {"model.weight", "ema_model.weight"}
    assert content["meta"]["CLASSES"] == ("low", "high")
    assert content["meta"]["config"] == "name = 'x'\n"
    assert (content["meta"]["iter"], content["seed"]) == (2, 3)


def test_two_and_four_iterations_equal_six(tmp_path: Path) -> None:
    """Bit by bit: student, teacher, optimizer, learning rates and seen batches."""
    whole, first, second = Line(), Line(), Line(weight=9.0)
    a = make_trainer(tmp_path / "a", whole)
    a.run(batches(0, 6))
    b = make_trainer(tmp_path / "b", first, checkpoint_interval=2)
    b.run(batches(0, 2))
    c = make_trainer(tmp_path / "c", second)
    c.resume(tmp_path / "b/latest.pth")
    c.run(batches(2, 6))
    assert first.seen + second.seen == whole.seen
    ours, theirs = c.content(), a.content()
    for key, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][key], value)
    assert str(ours["optimizer"]) == str(theirs["optimizer"])
    assert ours["iteration"] == theirs["iteration"] == 6


def test_the_best_checkpoint_is_replaced_only_by_a_strictly_better_one(tmp_path: Path) -> None:
    """The weight starts above all pixels and falls by about 0.1: it passes the threshold 0.5.

    With weight 0.5 … 0.65 all pixels are right; later ones are all called 1.
    """
    method = Line(weight=0.85)
    trainer = make_trainer(
        tmp_path, method, max_iters=12, evaluation_interval=1, checkpoint_interval=12
    )
    trainer.run(batches(0, 12))
    best = trainer.progress.best
    assert best is not None
    assert best["mIoU"] == 1.0
    found = [n for n in names(tmp_path) if n.startswith("best")]
    assert found == [f"best_mIoU_iter_{best['iteration']}.pth"] == [best["checkpoint"]]
    weight = read_checkpoint(tmp_path / found[0])["state_dict"]["model.weight"].item()
    assert 0.5 <= weight < 2 / 3
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["iteration"] == 12
    assert results["checkpoint"] == "iter_12.pth"
    assert results["num_images"] == 3
    assert results["mIoU"] < 1
    assert results["best"] == best
    resumed = make_trainer(tmp_path, Line(), max_iters=12, evaluation_interval=1)
    resumed.resume(tmp_path / "latest.pth")
    assert resumed.progress == trainer.progress


def test_records_go_to_the_log_and_to_json_lines(tmp_path: Path, caplog: Any) -> None:
    trainer = make_trainer(tmp_path, Line(), evaluation_interval=6)
    trainer.trackers = build_trackers(
        [{"type": "TextLoggerHook", "by_epoch": False}],
        str(tmp_path),
        "20300101_000000",
    )
    with caplog.at_level("INFO", "mmseg"):
        trainer.run(batches(0, 6))
    assert re.search(r"Iter \[4/6\]  lr: 5.000e-02, eta: \d+:\d\d:\d\d, ", caplog.text)
    lines = (tmp_path / "20300101_000000.log.json").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["mode"], r["iter"]) for r in records] == [("train", 4), ("train", 6), ("val", 6)]
    assert list(records[0]) == [
        "mode", "iter", "lr", "memory", "data_time", "time", "decode.loss_seg",
    ]  # fmt: skip
    assert records[0]["lr"] == pytest.approx(0.1 * (1 - 3 / 6))
    assert {"aAcc", "mIoU", "IoU.low"} <= set(records[2])


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path: Path) -> None:
    """It first occurs in the fourth iteration; the checkpoints of the second stay."""
    method = Line()
    method.bad_iteration = 3
    trainer = make_trainer(tmp_path, method, log_interval=100, checkpoint_interval=2)
    message = r"got decode\.loss_seg = nan at iteration 4; .* resume from '.*/iter_2\.pth'"
    with pytest.raises(FloatingPointError, match=message):
        trainer.run(batches(0, 6))
    assert names(tmp_path) == {"iter_2.pth", "latest.pth"}
    assert read_checkpoint(tmp_path / "latest.pth")["iteration"] == 2


def test_a_state_of_the_optimizer_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    """Its weight would never move again, and no run could continue from it."""
    trainer = make_trainer(tmp_path, Line())
    trainer.run(batches(0, 6))
    (state,) = trainer.optimizer.state.values()
    state["exp_avg_sq"].fill_(float("inf"))
    message = "expected finite states of the optimizer, got 1 of 3 .* the first state.0.exp_avg_sq"
    with pytest.raises(FloatingPointError, match=message):
        require_finite(trainer.method.model, trainer.updates, 6)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The loss of the fourth iteration is finite, the step after it goes along NaN gradients."""
    method = Line()
    method.bad_gradient_iteration = 3
    trainer = make_trainer(tmp_path, method, log_interval=100, checkpoint_interval=2)
    message = r"expected finite weights, got 1 of 1 tensors .* after iteration 4, the first weight"
    with pytest.raises(FloatingPointError, match=message):
        trainer.run(batches(0, 6))
    assert names(tmp_path) == {"iter_2.pth", "latest.pth"}


def test_only_a_checkpoint_that_exists_is_recommended(tmp_path: Path) -> None:
    method = Line()
    method.bad_iteration = 0
    (tmp_path / "latest.pth").touch()  # of somebody else
    with pytest.raises(FloatingPointError, match=r"at iteration 1; .*, and start again\.$"):
        make_trainer(tmp_path, method, log_interval=1).run(batches(0, 6))


def test_latest_is_renewed_between_checkpoints(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Line(), checkpoint_interval=4, resume_interval=1)
    found = []
    trainer.run(watched(batches(0, 6), lambda: found.append(newest(tmp_path))))
    assert found == [None, 1, 2, 3, 4, 5]
    assert names(tmp_path) == {"iter_4.pth", "iter_6.pth", "latest.pth"}


def test_files_are_written_best_first_and_latest_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two of them leaves a checkpoint of this iteration, and the best one."""
    written: list[str] = []
    replace = Path.replace

    def note(self: Path, target: Path) -> Path:
        written.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    make_trainer(tmp_path, Line(0.6), max_iters=1, evaluation_interval=1).run(batches(0, 1))
    assert written == ["results.json", "best_mIoU_iter_1.pth", "iter_1.pth", "latest.pth"]


def newest(folder: Path) -> int | None:
    file = folder / "latest.pth"
    return read_checkpoint(file)["iteration"] if file.is_file() else None


def watched(loader: Any, look: Any) -> Any:
    for batch in loader:
        look()
        yield batch


def test_a_checkpoint_without_optimizer_cannot_be_resumed(tmp_path: Path) -> None:
    torch.save({"state_dict": Line().state_dict()}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="expected the optimizer's state .* load_from=PATH"):
        make_trainer(tmp_path, Line()).resume(tmp_path / "bare.pth")


def test_another_seed_than_the_interrupted_run_is_said(tmp_path: Path, caplog: Any) -> None:
    make_trainer(tmp_path, Line(), max_iters=2).run(batches(0, 2))
    make_trainer(tmp_path, Line(), seed=4).resume(tmp_path / "latest.pth")
    assert "was trained with seed 3; with seed 4" in caplog.text
