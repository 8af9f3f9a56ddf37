"""Does the project compute correctly on this device? Recorded steps, curves, reads, bfloat16."""

import math
from itertools import accumulate, takewhile
from pathlib import Path

import curves
import torch
from acceptance.bench import Bench
from acceptance.device import allow_tf32, has_bfloat16, host_reads
from acceptance.steps import BF16, FP32, Mode, Steps
from recorded_steps import Tolerance, bank_file, build, check_steps, double_tolerances, records

from mmseg.config.sections import PrecisionConfig
from mmseg.engine.precision import Precision

# Of a float32 step from a recording in float32. On CPUs, the deviations are 4e-7, 3e-5, 2e-7 and no
# pixel, but much larger for the norms of single parameters in front of ReLUs near 0.
SINGLE = Tolerance(losses=2e-5, modules=1e-3, checksums=1e-5, pixels=2)
# Prefixes of the recorded cases that are repeated.
METHODS = ("source_only", "dacs", "daformer", "cdda", "hrda", "mic")
# How far a float32 curve may deviate from the recorded one, as a multiple of the CPU's deviation:
# both sum the same roundings in another order. Three instruction sets of one CPU differ by 1e-6 in
# the first iterations, and by 4e-3 in an iteration in which a pixel's best classes tie.
NOISE_FACTOR, TIE = 10.0, 1e-2
BF16_TOLERANCE = 0.05  # of the source loss; bfloat16 keeps 8 bits
READS = {"source_only": 0, "daformer": 0, "cdda_daformer": 1, "cdda_hrda": 1, "cdda_mic": 1}
DEMO_BANK = 200  # crops


def recorded(bench: Bench) -> None:
    """Repeat the first step of every recording, with TF32 off."""
    allow_tf32(False)
    bank = bank_file(bench.folder)
    for name, dtype in (("J", torch.float32), ("J", torch.float64), ("J2 float64", torch.float64)):
        cases = [case for method in METHODS for case in records(name) if case.startswith(method)]
        for case in cases[: bench.scale.recorded]:
            claim = f"the recorded step {case} ({name}), {dtype}"
            if bench.has_time(claim, seconds=3):
                with bench.trying(claim):
                    bench.record.check(claim, *_repeat(bench, bank, name, case, dtype))


def _repeat(bench: Bench, bank: Path, name: str, case: str, dtype: torch.dtype) -> tuple[bool, str]:
    """Return whether a step equals the recorded one, and the deviations."""
    quirks = {"reference_quirks": True} if name == "J" else {}
    tolerance = SINGLE if dtype is torch.float32 else double_tolerances(name, case)[0]
    entry = records(name)[case]
    method = build(entry, bank, device=bench.device, dtype=dtype, **quirks)
    try:
        (comparison,) = check_steps(method, entry, (tolerance,))
    except AssertionError as error:
        return False, str(error)
    found = comparison.largest.items()
    return True, ", ".join(f"{kind} {deviation:.1e}" for kind, (deviation, _) in found)


def curves_in_double(bench: Bench) -> None:
    """Compare training in float64 with the recorded curves, at the same tolerance everywhere."""
    allow_tf32(False)
    for name in curves.NAMES[: bench.scale.curves]:
        claim = f"the curve {name}, torch.float64"
        if bench.has_time(claim, seconds=8):
            with bench.trying(claim):
                found = _deviations(name, bench, bench.device, torch.float64)
                _compare(bench, claim, found, curves.TOLERANCES)


def curves_in_single(bench: Bench) -> None:
    """Compare training in float32 with the recorded curves, relative to the CPU's deviation."""
    allow_tf32(False)
    for name in curves.NAMES[: bench.scale.curves]:
        claim = f"the curve {name}, torch.float32"
        if bench.has_time(claim, seconds=15):
            with bench.trying(claim):
                noise = _deviations(name, bench, torch.device("cpu"), torch.float32)
                found = _deviations(name, bench, bench.device, torch.float32)
                alike = list(takewhile(lambda n: n <= TIE, noise))  # until a decision differs
                allowed = [max(NOISE_FACTOR * n, TIE) for n in accumulate(alike, max)]
                _compare(bench, claim, found[: len(alike)], allowed)


def _deviations(name: str, bench: Bench, device: torch.device, dtype: torch.dtype) -> list[float]:
    """Return the largest relative deviation of each iteration from the recording."""
    folder = bench.folder / f"curve_{name}_{device.type}_{dtype}"
    curve = curves.train_curve(name, folder, device, bench.scale.curve_iterations, dtype)
    return curves.largest_deviation(curve, curves.recorded(name))


def _compare(bench: Bench, claim: str, found: list[float], allowed: list[float] | tuple) -> None:
    if not found:
        bench.record.leave_out(claim, "the CPU's own float32 leaves the curve at the first step")
        return
    pairs = list(zip(found, allowed, strict=False))
    said = f"iteration 1: {found[0]:.1e} of {allowed[0]:.1e}, "
    said += f"iteration {len(found)}: {found[-1]:.1e} of {allowed[len(found) - 1]:.1e}"
    bench.record.check(claim, all(value <= limit for value, limit in pairs), said)


def reads(bench: Bench) -> None:
    """Count the places where a step waits for the device: one with CDDA, none without."""
    for config, expected in list(READS.items())[: bench.scale.methods]:
        claim = f"a step of {config} reads the device {expected} times"
        with bench.trying(claim):
            _count_reads(bench, config, claim, expected)


def _count_reads(bench: Bench, config: str, claim: str, expected: int) -> None:
    steps = Steps(bench, f"demo/{config}", DEMO_BANK)
    trainer = steps.trainer(FP32)
    for _ in range(bench.scale.warm_ups):
        trainer.step(steps.batch)
    places = host_reads(bench.device, lambda: trainer.step(steps.batch))
    if places is None:
        bench.record.leave_out(claim, "only a CUDA device counts them")
    else:
        bench.record.check(claim, len(places) == expected, f"{len(places)}: {places}")


def half_precision(bench: Bench) -> None:
    """Check that bfloat16 works on devices that have it and is refused on others."""
    if not has_bfloat16(bench.device):
        _expect_refusal(bench)
        return
    single, half = (_first_losses(bench, mode) for mode in (FP32, BF16))
    deviation = abs(half["decode.loss_seg"] / single["decode.loss_seg"] - 1)
    holds = deviation <= BF16_TOLERANCE and all(map(math.isfinite, half.values()))
    detail = f"the source loss differs by {deviation:.1e}, of {BF16_TOLERANCE}; terms: {len(half)}"
    bench.record.check("a step in bfloat16 is finite and close to float32", holds, detail)


def _first_losses(bench: Bench, mode: Mode) -> dict[str, float]:
    steps = Steps(bench, "demo/cdda_daformer", DEMO_BANK)
    trainer = steps.trainer(mode)
    trainer.step(steps.batch)
    return trainer.state.losses.means()


def _expect_refusal(bench: Bench) -> None:
    claim = "bfloat16 is refused on a GPU that lacks it, and the message names an alternative"
    try:
        Precision(PrecisionConfig("bfloat16"), bench.device)
    except ValueError as error:
        bench.record.check(claim, "float16" in str(error).replace("bfloat16", ""), str(error))
    else:
        bench.record.check(claim, False, "it was accepted")
