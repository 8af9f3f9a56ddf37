"""Whether parts of a config that belong together agree."""

from mmseg.config.run_config import RunConfig
from mmseg.system import processes


def process_warnings(run: RunConfig) -> list[str]:
    """Say whether the run has another number of processes than `n_gpus`."""
    planned, found = run.num_processes, processes.world_size()
    if planned is None or planned == found:
        return []
    samples = run.data.samples_per_gpu
    return [
        f"The config is for n_gpus={planned}, but {found} process(es) run: a batch is "
        f"{found} x {samples} = {found * samples} images of each domain instead of "
        f"{planned * samples}. Learning rate and max_iters stay as in the config."
    ]


def check_agreement(run: RunConfig) -> None:
    """Raise `ConfigError` for values that contradict each other."""
