"""The mean of an observable, as it is computed, stored and shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ObservedMean:
    """The mean of one value under the posterior.

    Attributes:
        name: of the observable.
        index: the number of the value: the row, or the position in the result of a function.
        at_minimum: its value at w*.
        mean: its mean over the posterior.
        se: the standard error of that.
        r_hat: 1 if the chains agree; None for one chain or a fitted family.
    """

    name: str
    index: int
    at_minimum: float | None
    mean: float | None
    se: float | None
    r_hat: float | None
