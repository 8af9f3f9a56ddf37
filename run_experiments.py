"""Train a config, or all configs of an experiment, each under a new name.

python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer
python run_experiments.py --exp 80
"""

from mmseg.cli.command import command
from mmseg.cli.training import ExperimentOptions, experiment_command

main = command(ExperimentOptions, __doc__)(experiment_command)

if __name__ == "__main__":
    main()
