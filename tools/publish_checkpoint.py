"""Reduce a training checkpoint to one network's weights, in half precision, for sharing.

python tools/publish_checkpoint.py work_dirs/run/latest.pth pretrained/my_model.pth
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.cli.run_options import add_trust_option  # noqa: E402
from mmseg.engine import checkpoint as checkpoints  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep-precision", action="store_true", help="do not halve the weights")
    parser.add_argument(
        "--eval-model", choices=checkpoints.NETWORKS, default="student", help="the network to share"
    )
    add_trust_option(parser)
    options = parser.parse_args(arguments)
    with user_errors():
        with trusting_files(options.trust_checkpoint):
            checkpoint = checkpoints.read_checkpoint(options.checkpoint)
        tensors = checkpoint["state_dict"]
        state = checkpoints.network_state(tensors, options.eval_model, options.checkpoint)
        if not options.keep_precision:
            state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        meta = checkpoint.get("meta") or {}
        meta = {key: meta[key] for key in ("CLASSES", "PALETTE") if key in meta}
        checkpoints.write_checkpoint(options.out, {"meta": meta, "state_dict": state})
    print(f"{len(state)} tensors, {options.out.stat().st_size / 2**20:.1f} MB: {options.out}")


if __name__ == "__main__":
    main()
