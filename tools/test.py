"""Evaluate a checkpoint, paint its predictions, or write files for a test server.

python tools/test.py CONFIG CHECKPOINT --eval mIoU --show-dir preds --opacity 1
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis import test_options  # noqa: E402
from mmseg.apis.test import run_test  # noqa: E402
from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.cli.run_options import add_trust_option  # noqa: E402
from mmseg.config import parse_options  # noqa: E402
from mmseg.system.launchers import LAUNCHERS  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", help="path of the config, with or without .py")
    parser.add_argument("checkpoint")
    parser.add_argument("--eval", nargs="+", metavar="METRIC", help="mIoU, mDice, mFscore")
    parser.add_argument(
        "--eval-model",
        choices=test_options.EVAL_MODELS,
        default="student",
        help="of a self-training run; both: what the teacher writes is called *_teacher",
    )
    parser.add_argument("--show-dir", help="folder for painted predictions")
    parser.add_argument(
        "--opacity", type=float, default=0.5, help="1 paints palette PNGs of train ids"
    )
    parser.add_argument("--out", metavar="FILE.pkl", help="write all label maps to one file")
    parser.add_argument("--format-only", action="store_true", help="write files for a test server")
    pairs = {"nargs": "+", "default": [], "metavar": "KEY=VALUE"}
    parser.add_argument("--eval-options", help="imgfile_prefix=FOLDER to_label_id=True", **pairs)
    parser.add_argument("--test-set", action="store_true", help="'test' in place of 'val' in paths")
    parser.add_argument("--aug-test", action="store_true", help="six sizes, each also mirrored")
    parser.add_argument(
        "--inference-mode",
        choices=test_options.INFERENCE_MODES,
        help="whole images or windows; by default what the config's test_cfg says",
    )
    parser.add_argument(
        "--hrda-out",
        choices=test_options.HRDA_OUTPUTS,
        help="of HRDA: the context (LR) or the details (HR) alone, or paint the attention (ATT)",
    )
    parser.add_argument("--cfg-options", **pairs)
    parser.add_argument("--work-dir", help="for results.json; by default the checkpoint's folder")
    add_trust_option(parser)
    parser.add_argument("--launcher", default="none", choices=LAUNCHERS)
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    values = vars(parser.parse_args(arguments))
    with user_errors(), trusting_files(values.pop("trust_checkpoint")):
        for key in ("eval_options", "cfg_options"):
            values[key] = parse_options(values[key])
        does_other_things = any(values[key] for key in ("format_only", "show_dir", "out"))
        does_other_things |= values["hrda_out"] == test_options.ATTENTION
        metrics = values.pop("eval") or ([] if does_other_things else ["mIoU"])
        run_test(test_options.TestOptions(metrics=metrics, **values))


if __name__ == "__main__":
    main()
