"""The LLC as a curve: over gamma, which decides which coefficient is estimated, and over nbeta.

Over gamma an estimate is flat where it measures one coefficient; two flat stretches are two
coefficients of one point. Over nbeta exact sampling reads lambda - (m - 1) / log nbeta + o(1)
(Watanabe 2009). The next order is no smaller than the errors: the evidence is nbeta^-lambda times
a polynomial in log nbeta, whose constant c makes it lambda - (m - 1) / (log nbeta + c). So c is
fitted too, and lambda's error holds what is not known of it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.words import plus_minus

FLAT = 0.03
"""Largest drift of a plateau, beyond errors: a quarter of the gap between 7 and 8 at the
reduced-rank point whose local and global coefficients these are."""

SPAN = 10.0
"""Least ratio of gammas a plateau spans."""

LEAST_POINTS = 3
"""Fewest points of a plateau."""

NOISY = 0.05
"""Relative error above which a point can neither make nor break a plateau."""

MISFIT = 3.0
"""Chi-squared per degree of freedom above which the formula does not describe the points."""

UNKNOWN = 3.0
"""Standard deviation of c before any run: 2.25 for w0^2 w1^2 at gamma 1, -2.35 at gamma 10."""

_LEAST_LOG = 0.2
"""Part of the least log nbeta that log nbeta + c is held above."""


class Point(NamedTuple):
    """One run of a profile: its gamma or nbeta, its estimate, error and verdict."""

    x: float
    llc: float
    se: float
    verdict: Verdict = "ok"


class Plateau(NamedTuple):
    """A stretch over which the estimate is flat, with its weighted mean and error."""

    first: float
    last: float
    llc: float
    se: float


class GammaProfile(NamedTuple):
    """Points in order of gamma, the plateaus among them, and a sentence about them."""

    points: list[Point]
    plateaus: list[Plateau]
    note: str


class TemperatureFit(NamedTuple):
    """lambda - (m - 1) / (log nbeta + c), fitted by weighted least squares.

    Attributes:
        points: the runs used, in order of nbeta.
        llc: lambda, extrapolated to nbeta -> infinity; None where it cannot be fitted.
        llc_se: its standard error, widened by the misfit.
        multiplicity: m.
        multiplicity_se: its standard error.
        shift: c.
        chi2: of the fit.
        dof: its degrees of freedom.
        note: a sentence about the fit.
    """

    points: list[Point]
    llc: float | None
    llc_se: float | None
    multiplicity: float | None
    multiplicity_se: float | None
    shift: float
    chi2: float | None
    dof: int
    note: str

    def bias(self, log_nbeta: float) -> float | None:
        """Return -(m - 1) / (log nbeta + c)."""
        if self.multiplicity is None:
            return None
        return (1 - self.multiplicity) / (log_nbeta + self.shift)


def gamma_profile(points: Sequence[Point]) -> GammaProfile:
    """Find the plateaus of an estimate over gamma > 0.

    A plateau is a longest stretch of at least 3 runs over a decade whose estimates differ by at
    most 3 % of their mean plus twice the errors of the two that differ most. Failed runs are left
    out, and runs of a relative error above 5 % only interrupt.
    """
    ordered = sorted(point for point in points if point.x > 0 and point.verdict != "failed")
    plateaus, start = [], 0
    while start < len(ordered):
        stop = start
        while stop < len(ordered) and _flat(ordered[start : stop + 1]):
            stop += 1
        stretch = ordered[start:stop]
        if len(stretch) >= LEAST_POINTS and stretch[-1].x >= SPAN * stretch[0].x:
            plateaus.append(_plateau(stretch))
            start = stop
        else:
            start += 1
    return GammaProfile(ordered, plateaus, _gamma_note(ordered, plateaus))


def temperature_fit(points: Sequence[Point]) -> TemperatureFit:
    """Fit the estimates' dependence on nbeta > e; failed runs are left out."""
    usable = sorted(
        point for point in points if point.x > math.e and point.se > 0 and point.verdict != "failed"
    )
    if len({point.x for point in usable}) < 2:
        note = f"a fit over nbeta needs runs at 2 values of nbeta or more, here {len(usable)}"
        return TemperatureFit(usable, None, None, None, None, 0.0, None, 0, note)
    log = np.log([point.x for point in usable])
    y, se = (np.array([getattr(point, name) for point in usable]) for name in ("llc", "se"))

    def misses(at: np.ndarray) -> np.ndarray:
        llc, slope, shift = at
        return np.append((y - llc + slope / (log + shift)) / se, shift / UNKNOWN)

    line = np.stack([np.ones_like(log), -1 / log], axis=1) / se[:, None]
    start = [*np.linalg.lstsq(line, y / se)[0], 0.0]
    least = [-np.inf, -np.inf, (_LEAST_LOG - 1) * log.min()]
    found = least_squares(misses, start, bounds=(least, np.inf))
    llc, slope, shift = (float(value) for value in found.x)
    errors = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)))
    chi2, dof = 2 * float(found.cost), len(usable) - 2
    widen = math.sqrt(max(1.0, chi2 / dof)) if dof else 1.0
    llc_se, slope_se = (widen * float(error) for error in errors[:2])
    note = f"lambda = {plus_minus(llc, llc_se)}, m = {plus_minus(1 + slope, slope_se)}"
    if not dof:
        note += "; two temperatures determine the curve and leave nothing to test it"
    elif chi2 > MISFIT * dof:
        note += f"; chi2 = {chi2:.1f} for {dof} degrees of freedom: no fit, go to larger nbeta"
    return TemperatureFit(usable, llc, llc_se, 1 + slope, slope_se, shift, chi2, dof, note)


def _flat(stretch: Sequence[Point]) -> bool:
    if any(point.se > NOISY * abs(point.llc) for point in stretch):
        return False
    low, high = min(stretch, key=_value), max(stretch, key=_value)
    level = abs(sum(map(_value, stretch))) / len(stretch)
    return high.llc - low.llc <= FLAT * level + 2 * math.hypot(low.se, high.se)


def _value(point: Point) -> float:
    return point.llc


def _plateau(stretch: Sequence[Point]) -> Plateau:
    """Weigh by errors, none taken for smaller than the drift that is tolerated."""
    values = np.array([point.llc for point in stretch])
    errors = np.array([point.se for point in stretch])
    weights = 1 / (errors**2 + (FLAT * values / 2) ** 2)
    mean = float(np.sum(weights * values) / np.sum(weights))
    return Plateau(stretch[0].x, stretch[-1].x, mean, float(1 / math.sqrt(np.sum(weights))))


def _gamma_note(points: Sequence[Point], plateaus: Sequence[Plateau]) -> str:
    if len(points) < LEAST_POINTS or points[-1].x < SPAN * points[0].x:
        return f"a plateau takes {LEAST_POINTS} runs over a decade of gamma, here {len(points)}"
    if plateaus:
        values = " and ".join(
            f"{p.llc:.4g} (gamma {p.first:.3g} to {p.last:.3g})" for p in plateaus
        )
        if len(plateaus) == 1:
            return f"one plateau: {values}"
        return f"{len(plateaus)} plateaus: {values}; gamma decides which coefficient is estimated"
    if any(point.se > NOISY * abs(point.llc) for point in points):
        return f"no plateau: some errors are above {NOISY:.0%} of the estimate, draw more"
    return "no plateau: the estimate depends on gamma throughout"
