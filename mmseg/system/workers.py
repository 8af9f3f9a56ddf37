"""How the workers of a loader come into being."""

import multiprocessing
from multiprocessing.context import BaseContext

from mmseg.system import processes
from mmseg.system.interruption import signals_held

PRELOADED = ["torch.utils.data", "cv2"]  # by the fork server, else by every worker anew


def worker_context() -> BaseContext | None:
    """Return the way to start the workers of a loader; None is multiprocessing's own way.

    A process of a group has threads of gloo, and each takes Python's locks to free the tensors of a
    collective that has just ended. A process forked in that moment waits for such a lock forever
    (Python before 3.12 does, and later ones warn against such a fork), and the run waits for its
    samples. So in a group the workers come from a server, which has no such threads.
    """
    if not processes.is_initialized() or multiprocessing.get_start_method() != "fork":
        return None
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # A signal to all processes of a job must end neither of them: with the server its workers end.
    # They inherit that signals are held. The tracker starts first: its start releases some of them.
    for start in (resource_tracker.ensure_running, forkserver.ensure_running):
        with signals_held():
            start()
    return context
