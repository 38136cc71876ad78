"""How far the rounding of the losses of single rows can be seen in their mean."""

import numpy as np

_LAST_DIGITS = 4.0
"""Error of the loss of a row in units of its last digit: it is a difference of larger numbers."""


def error_of_mean(loss: float, n: int, dtype: str) -> float:
    """Return the standard error of a mean loss over n rows at one point, from their rounding.

    At another point the rows are rounded in another way, so that in a mean over draws it averages.
    """
    return _LAST_DIGITS * float(np.finfo(dtype).eps) * abs(loss) / n**0.5
