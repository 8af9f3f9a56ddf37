"""How CDDA's similarity thresholds fall while a training goes on."""

# They fall at every DECAY_INTERVAL-th iteration from the first to the last of these.
DECAY_START, DECAY_END, DECAY_INTERVAL = 10_000, 39_000, 1_000


def decayed(threshold: float, decay: float, iteration: int) -> float:
    """Return the threshold in force at an iteration, a function of its number alone.

    Args:
        threshold: at the start.
        decay: what it loses at every 1,000th iteration from 10,000 to 39,000.
        iteration: counts from 0.

    >>> [decayed(0.75, 0.01, iteration) for iteration in (9_999, 10_000, 11_000)]
    [0.75, 0.74, 0.73]
    """
    falls = max(0, (min(iteration, DECAY_END) - DECAY_START) // DECAY_INTERVAL + 1)
    return threshold - falls * decay
