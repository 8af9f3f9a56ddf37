"""Copies between host and device that do not wait for the work that the device still has to do."""

import numpy as np
import torch
from torch import Tensor


def send(array: np.ndarray, device: torch.device | str) -> Tensor:
    """Copy an array to the device."""
    tensor, device = torch.from_numpy(array), torch.device(device)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # from other memory, the driver copies at once
    return tensor.to(device, non_blocking=True)


class HostCopy:
    """A tensor's values on their way to the host; work queued after this does not delay them."""

    def __init__(self, tensor: Tensor) -> None:
        self._values, self._is_here = tensor, None
        if tensor.device.type == "cuda":
            self._values = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._values.copy_(tensor, non_blocking=True)
            self._is_here = torch.cuda.Event()
            self._is_here.record()

    def wait(self) -> Tensor:
        """Return the values; waits until the device has computed them."""
        if self._is_here is not None:
            self._is_here.synchronize()
        return self._values
