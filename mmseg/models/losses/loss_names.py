"""Which of the values that a network returns in training are losses."""


def is_loss(name: str) -> bool:
    """Tell whether a value is trained on: its name contains `loss`, as in mmsegmentation.

    Everything else, such as an accuracy, is only logged.

    >>> [is_loss(name) for name in ("decode.hr.loss_seg", "decode.acc_seg", "ent.loss.main")]
    [True, False, True]
    """
    return "loss" in name
