"""Measures with the package of one revision, one call at a time, as its parent asks.

Each line of its input is a JSON list, which one line of JSON answers: ["make", name] builds a
measurement (false: it has no naive formulation), ["call"] makes it once: {part: CPU seconds}.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import mmseg  # before the measuring code, which would take that of its own checkout
from comparison.sizes import LOADING, METRIC, STEPS, Amount


def make(name: str, amount: Amount, is_naive: bool) -> Callable[[], dict[str, float]] | None:
    """Build a measurement; None if it has no naive formulation."""
    if name in STEPS:
        from comparison import steps

        return steps.make(STEPS[name], amount, is_naive)
    if name == METRIC:
        from comparison import metric

        return metric.make(amount, is_naive)
    from comparison import loading

    if name in LOADING:
        return loading.make(LOADING[name], amount, is_naive)
    return loading.make_crops(amount, is_naive)


def main() -> None:
    """Answer until the input ends."""
    package = Path(mmseg.__file__ or "").resolve().parent
    if package != Path.cwd() / "mmseg":
        raise SystemExit(f"expected the package of {Path.cwd()}, got {package}.")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed on the way is no answer
    amount, is_naive = Amount(**json.loads(sys.argv[1])), sys.argv[2] == "naive"
    call = None
    for line in sys.stdin:
        kind, *rest = json.loads(line)
        if kind == "make":
            call = None
            gc.collect()
            call = make(rest[0], amount, is_naive)
            answer = call is not None
        else:
            assert call is not None
            answer = call()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
