"""Reduce a training checkpoint to one network's weights, in half precision, for sharing.

python tools/publish_checkpoint.py work_dirs/run/latest.pth pretrained/my_model.pth
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command  # noqa: E402
from mmseg.engine import checkpoint as checkpoints  # noqa: E402
from mmseg.system.options import TrustOptions, option  # noqa: E402
from mmseg.system.outputs import check_output_file  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


@dataclass(frozen=True)
class Options(TrustOptions):
    """The choices of the command line."""

    checkpoint: Path = option(help="of a training", positional=True)
    out: Path = option(help="file to write", positional=True)
    keep_precision: bool = option(False, "do not halve the weights")
    eval_model: str = option("student", "the network to share", choices=checkpoints.NETWORKS)


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    check_output_file(options.out, [options.checkpoint])
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
