"""The posterior's own value of an estimate, with its error and its source."""

from typing import NamedTuple


class Exact(NamedTuple):
    """The value of nbeta (E[L_n] - L_n(w*)) at some nbeta and gamma, or None with the reason.

    Attributes:
        value: the value.
        se: its standard error; None if it was computed rather than sampled.
        source: how it was found, or why it was not.
        word: what kind of value it is, in a word or two.
    """

    value: float | None
    se: float | None
    source: str
    word: str = "exact"


UNKNOWN = Exact(None, None, "none is attached")
