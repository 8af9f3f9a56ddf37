"""Reduce a training checkpoint to the student's weights, in half precision, for sharing.

python tools/publish_checkpoint.py work_dirs/run/latest.pth pretrained/my_model.pth
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from mmseg.apis.commands import user_errors  # noqa: E402
from mmseg.engine.checkpoint import read_checkpoint  # noqa: E402
from mmseg.files import atomic_write  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep-precision", action="store_true", help="do not halve the weights")
    options = parser.parse_args(arguments)
    with user_errors():
        checkpoint = read_checkpoint(options.checkpoint)
    state = {}
    for key, value in checkpoint["state_dict"].items():
        if not key.startswith("model."):
            continue
        is_halved = value.is_floating_point() and not options.keep_precision
        state[key.removeprefix("model.")] = value.half() if is_halved else value
    if not state:
        parser.error(f"'{options.checkpoint}' holds no student (keys starting with 'model.').")
    facts = checkpoint.get("meta") or {}
    meta = {key: facts[key] for key in ("CLASSES", "PALETTE") if key in facts}
    with atomic_write(options.out) as file:
        torch.save({"meta": meta, "state_dict": state}, file)
    print(f"{len(state)} tensors, {options.out.stat().st_size / 2**20:.1f} MB: {options.out}")


if __name__ == "__main__":
    main()
