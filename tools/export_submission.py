"""Write and check an archive of label maps for the public test server of a dataset.

python tools/export_submission.py cityscapes --checkpoint work_dirs/run --out submission.zip
python tools/export_submission.py acdc --predictions preds --out submission.zip
python tools/export_submission.py cityscapes --validate submission.zip

The archive holds one 8-bit gray PNG for each image of the split, with the image's name and size:
label ids 0…33 for Cityscapes, train ids 0…18 for ACDC and Dark Zurich. There are no folders in it,
unless images in different folders have the same name. It is read back before it gets its name:
names, sizes, values, and the number of files have to be those of the images that are found, so look
at that number, too. Predictions are what `tools/test.py --test-set --show-dir DIR --opacity 1`
paints, or (--ids label) what its --format-only writes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.submitting.submission import SubmissionOptions, run_submission  # noqa: E402
from mmseg.cli.command import command, say  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


@command(SubmissionOptions, __doc__)
def main(options: SubmissionOptions) -> None:
    """Run the command."""
    with trusting_files(options.trust_checkpoint):
        run_submission(options, say=say)


if __name__ == "__main__":
    main()
