"""Find out whether the samples of a batch have an effect on each other."""

from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm


def is_batch_independent(module: nn.Module) -> bool:
    """Tell whether what `module` makes of a sample stays the same in any batch.

    Then several batches can go through it as one, and their results can be split again. Random
    layers are no obstacle: they draw for every sample on its own.

    The rule: no part normalizes with statistics of the batch, or collects them. Such parts keep
    running statistics (`running_var`) and are in training mode, or have none to keep.

    >>> norm = nn.BatchNorm2d(3)
    >>> is_batch_independent(norm), is_batch_independent(norm.eval())
    (False, True)
    """
    return not any(_uses_batch(part) for part in module.modules())


def _uses_batch(part: nn.Module) -> bool:
    if not hasattr(part, "running_var"):
        return False
    keeps_some = part.running_var is not None
    if isinstance(part, _InstanceNorm):
        return keeps_some and part.training
    return part.training or not keeps_some
