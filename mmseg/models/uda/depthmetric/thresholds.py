"""The decay of CDDA's similarity thresholds during training."""

# They fall every DECAY_INTERVAL iterations, from DECAY_START to DECAY_END inclusive.
DECAY_START, DECAY_END, DECAY_INTERVAL = 10_000, 39_000, 1_000


def decayed(threshold: float, decay: float, iteration: int) -> float:
    """Return the threshold at an iteration, a function of its number alone.

    Args:
        threshold: at the start of the training.
        decay: subtracted every 1,000 iterations from 10,000 to 39,000.
        iteration: counts from 0.

    >>> [decayed(0.75, 0.01, iteration) for iteration in (9_999, 10_000, 11_000)]
    [0.75, 0.74, 0.73]
    """
    falls = max(0, (min(iteration, DECAY_END) - DECAY_START) // DECAY_INTERVAL + 1)
    return threshold - falls * decay
