"""Limits of an axis on which no curve is cut off: each begins where it stays inside."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from lambda_hat_core.analysis.figures.style import ReferenceLine

Curve = Float[np.ndarray, " _"]

_NEAR = 2.0
"""Ends that are farther from the others than so many times their range do not set the limits."""


def limits(
    curves: Iterable[Curve], ends: Iterable[float], lines: Iterable[ReferenceLine]
) -> tuple[float, float]:
    """Return limits that contain the last two thirds of curves, other values, and references.

    Args:
        curves: those which settle; values that are not finite do not count.
        ends: values that are included if they are near the curves.
        lines: references, which are included if they are near the curves.
    """
    values = np.concatenate([curve[curve.size // 3 :] for curve in curves])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 0.02 * abs(high), 1e-12)
    others = [*ends, *(line.value for line in lines)]
    near = [x for x in others if low - _NEAR * room < x < high + _NEAR * room]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.12 * max(high - low, room)
    return low - margin, high + margin


def inside(curve: Curve, shown: tuple[float, float]) -> Curve:
    """Return a curve that begins after its last value outside the limits; before that it is nan."""
    outside = np.flatnonzero((curve < shown[0]) | (curve > shown[1]))
    first = outside[-1] + 1 if outside.size else 0
    return np.where(np.arange(curve.size) < first, np.nan, curve)
