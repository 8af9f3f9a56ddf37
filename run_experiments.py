"""Train a config, or a series: all configs of an experiment, or a config with several seeds.

python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer
python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer --seeds 0 1 2
python run_experiments.py --exp 80 --dry-run
python run_experiments.py --exp 80

A series runs what can run, and the same command goes on with its first unfinished run.
"""

from mmseg.cli.command import command
from mmseg.cli.training import ExperimentOptions, experiment_command

main = command(ExperimentOptions, __doc__)(experiment_command)

if __name__ == "__main__":
    main()
