"""The LLC as a curve: over gamma, which decides which coefficient is estimated, and over nbeta.

As a function of gamma an estimate is flat where it measures one coefficient; two flat stretches
mean two coefficients at one point. As a function of nbeta the exact expectation is lambda - (m - 1)
/ log nbeta + o(1) (Watanabe 2009). The next order is not smaller than the errors: the evidence is
nbeta^-lambda times a polynomial in log nbeta, whose constant c leads to lambda - (m - 1) / (log
nbeta + c). Therefore c is fitted too, and the error of lambda includes its uncertainty.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.words import plus_minus

FLAT = 0.03
"""Largest relative drift within a plateau, beyond errors: a quarter of the gap between 7 and 8, the
global and the local coefficient of a reduced-rank example."""

SPAN = 10.0
"""Least ratio between the gammas at both ends of a plateau."""

LEAST_POINTS = 3
"""Fewest points in a plateau."""

NOISY = 0.05
"""Relative error above which a point is too noisy to be part of a plateau."""

MISFIT = 3.0
"""Chi-squared per degree of freedom above which the formula does not describe the points."""

UNKNOWN = 3.0
"""Prior standard deviation of c, which is 2.25 for w0^2 w1^2 at gamma 1, and -2.35 at gamma 10."""

_LEAST_LOG = 0.2
"""Lower limit of log nbeta + c, as a fraction of the smallest log nbeta."""


class Point(NamedTuple):
    """One run of a profile: its gamma or nbeta, its estimate, its error and its verdict."""

    x: float
    llc: float
    se: float
    verdict: Verdict = "ok"


class Plateau(NamedTuple):
    """A range of gamma in which the estimate is flat, with the weighted mean and its error."""

    first: float
    last: float
    llc: float
    se: float


class GammaProfile(NamedTuple):
    """The points in order of gamma, the plateaus, and a sentence that describes them."""

    points: list[Point]
    plateaus: list[Plateau]
    note: str


class TemperatureFit(NamedTuple):
    """lambda - (m - 1) / (log nbeta + c), fitted by weighted least squares.

    Attributes:
        points: the runs used, in order of nbeta.
        llc: lambda, extrapolated to nbeta -> infinity; None if it cannot be fitted.
        llc_se: its standard error, increased if the fit is poor.
        multiplicity: m.
        multiplicity_se: its standard error.
        shift: c.
        chi2: chi-squared of the fit.
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
    """Find the plateaus of an estimate as a function of gamma > 0.

    A plateau is a maximal sequence of at least 3 runs, over at least a decade of gamma, whose
    estimates differ by at most 3 % of their mean plus twice the errors of the two that differ most.
    Failed runs are ignored; runs with a relative error above 5 % end a plateau.
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
    """Fit the dependence of the estimates on nbeta > e, without failed runs."""
    usable = sorted(
        point
        for point in points
        if point.x > math.e and point.se > 0 and point.llc > 0 and point.verdict != "failed"
    )
    if len({point.x for point in usable}) < 2:
        note = (
            f"a fit over nbeta needs usable runs at 2 or more values of nbeta, here {len(usable)}"
        )
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
        note += "; two values of nbeta determine the curve, so the fit cannot be tested"
    elif chi2 > MISFIT * dof:
        note += f"; chi2 = {chi2:.1f} for {dof} degrees of freedom: the formula "
        note += "does not fit, use larger nbeta"
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
    """Average with weights from the errors, which are at least the drift that is tolerated."""
    values = np.array([point.llc for point in stretch])
    errors = np.array([point.se for point in stretch])
    weights = 1 / (errors**2 + (FLAT * values / 2) ** 2)
    mean = float(np.sum(weights * values) / np.sum(weights))
    return Plateau(stretch[0].x, stretch[-1].x, mean, float(1 / math.sqrt(np.sum(weights))))


def _gamma_note(points: Sequence[Point], plateaus: Sequence[Plateau]) -> str:
    if len(points) < LEAST_POINTS or points[-1].x < SPAN * points[0].x:
        return f"a plateau needs {LEAST_POINTS} runs over a decade of gamma, here {len(points)}"
    if plateaus:
        values = " and ".join(
            f"{p.llc:.4g} (gamma {p.first:.3g} to {p.last:.3g})" for p in plateaus
        )
        if len(plateaus) == 1:
            return f"one plateau: {values}"
        return f"{len(plateaus)} plateaus: {values}; gamma decides which coefficient is estimated"
    if any(point.se > NOISY * abs(point.llc) for point in points):
        return f"no plateau: some errors are above {NOISY:.0%} of the estimate, use more draws"
    return "no plateau: the estimate depends on gamma throughout"
