r"""The LLC along training: a smooth curve through estimates with errors, and its stage boundaries.

The curve is the natural cubic spline f that minimises
    sum_i (y_i - f(t_i))^2 / se_i^2 + a int f''(t)^2 dt
(Reinsch 1967) over t = log step, or log(1 + step / s) where step 0 is among them, with s the first
step after it. As the errors are known, a is the one with the least chi^2 + 2 (degrees of freedom),
an unbiased estimate of the risk (Mallows 1973).

A stage boundary is a zero of d f / d log t. Splines overshoot at steps, so two things are asked of
one. The estimates themselves turn there (`turns`), which a curve without a turn passes in at most
5 % of all cases, whatever its shape; and at least 90 % of the curves through y* = f + se xi, each
smoothed anew, have it. Its interval is the central 90 % of those, extended to the estimates before
and after the one that is next to it: a curve that bends between them could turn anywhere there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh

from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.turns import Kind, Turn, certain_turns

LEAST_POINTS = 5
"""Fewest estimates through which a curve is drawn."""

REPLICATES = 400
"""Curves of the bootstrap. The share of them that have a boundary is then known to 1.5 %."""

FOUND = 0.9
"""Least share of the replicates that have a boundary for it to be stated."""

_SMOOTHINGS = 48
_FINE = 400
"""Places at which the curve is given."""


class CurvePoint(NamedTuple):
    """The estimate at one step of training; llc and se are None if there is none."""

    step: int | float
    llc: float | None
    se: float | None
    verdict: Verdict = "ok"


class Boundary(NamedTuple):
    """A step at which the LLC stops rising or falling.

    Attributes:
        step: where.
        lo: lower end of the central 90 % interval.
        hi: upper end.
        kind: whether the LLC is largest or smallest there.
        share: of the bootstrap's curves that have it.
    """

    step: int | float
    lo: float
    hi: float
    kind: Kind
    share: float


class Curve(NamedTuple):
    """A smooth curve through the estimates.

    Attributes:
        points: all estimates, by step.
        steps: where the curve is given.
        llc: the curve; empty if there are too few estimates.
        lo: lower end of its pointwise 90 % band.
        hi: upper end.
        boundaries: those that the errors allow.
        chi2: sum of the squared distances of the estimates, in units of their errors.
        dof: degrees of freedom of the curve.
        note: what was found, in a sentence.
    """

    points: tuple[CurvePoint, ...]
    steps: Float[np.ndarray, " m"]
    llc: Float[np.ndarray, " m"]
    lo: Float[np.ndarray, " m"]
    hi: Float[np.ndarray, " m"]
    boundaries: tuple[Boundary, ...]
    chi2: float | None
    dof: float | None
    note: str


def llc_curve(points: Sequence[CurvePoint], *, seed: int = 0) -> Curve:
    """Return the curve through the estimates, and the stage boundaries that their errors allow.

    Estimates that failed, or have no error, take no part in it.

    Args:
        points: estimates at different steps, with errors that are independent.
        seed: of the bootstrap.
    """
    ordered = tuple(sorted(points, key=lambda point: point.step))
    used = [p for p in ordered if p.verdict != "failed" and p.llc is not None and p.se]
    steps = np.array([p.step for p in used], float)
    if len(used) < LEAST_POINTS or len(np.unique(steps)) < len(used):
        nothing = np.zeros(0)
        note = f"{len(used)} estimates with errors; a curve needs {LEAST_POINTS} at different steps"
        return Curve(ordered, nothing, nothing, nothing, nothing, (), None, None, note)
    scale = _Scale(steps)
    llc, se = (np.array([getattr(p, name) for p in used], float) for name in ("llc", "se"))
    smoother = _Smoother(scale.to_t(steps), se)
    fitted, dof = smoother.smooth(llc[:, None])
    noise = np.random.default_rng(seed).normal(size=(len(used), REPLICATES))
    replicas, _ = smoother.smooth(fitted + se[:, None] * noise)
    fine = np.linspace(smoother.t[0], smoother.t[-1], _FINE)
    curves = smoother.at(replicas, fine)
    low, high = np.quantile(curves, (0.05, 0.95), axis=1)
    mean = smoother.at(fitted, fine)[:, 0]
    turns = certain_turns(llc, se, noise)
    boundaries = [_boundary(turn, smoother.t, fine, mean, curves, scale) for turn in turns]
    boundaries = tuple(boundary for boundary in boundaries if boundary is not None)
    chi2 = float(np.sum(((llc - fitted[:, 0]) / se) ** 2))
    return Curve(
        ordered,
        scale.to_step(fine),
        mean,
        low,
        high,
        boundaries,
        chi2,
        float(dof[0]),
        _note(boundaries),
    )


class _Scale:
    """Steps as places on the axis of the curve."""

    def __init__(self, steps: Float[np.ndarray, " n"]):
        self._first = float(steps[steps > 0][0]) if steps[0] <= 0 else 0.0

    def to_t(self, steps: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.log1p(steps / self._first) if self._first else np.log(steps)

    def to_step(self, t: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return self._first * np.expm1(t) if self._first else np.exp(t)


class _Smoother:
    """Smoothing splines with fixed places and errors, for many sets of values at once."""

    def __init__(self, t: Float[np.ndarray, " n"], se: Float[np.ndarray, " n"]):
        self.t = t
        h, n = np.diff(t), len(t)
        second = np.zeros((n, n - 2))
        inside = np.arange(n - 2)
        second[inside, inside] = 1 / h[:-1]
        second[inside + 1, inside] = -1 / h[:-1] - 1 / h[1:]
        second[inside + 2, inside] = 1 / h[1:]
        gram = np.diag((h[:-1] + h[1:]) / 3) + np.diag(h[1:-1] / 6, 1) + np.diag(h[1:-1] / 6, -1)
        roughness = second @ np.linalg.solve(gram, second.T)
        # In this basis both terms are diagonal, for every a. The two straight lines are not rough.
        rough, self._basis = eigh(roughness, np.diag(1 / se**2))
        rough[:2] = 0.0
        self._weights = 1 / se**2
        amounts = np.geomspace(1e-3 / rough[-1], 1e4 / rough[2], _SMOOTHINGS)
        self._kept = 1 / (1 + amounts[:, None] * rough)

    def smooth(
        self, values: Float[np.ndarray, "n r"]
    ) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " r"]]:
        """Return the curve at the places for each column, and its degrees of freedom."""
        modes = self._basis.T @ (self._weights[:, None] * values)
        chi2 = (1 - self._kept) ** 2 @ modes**2
        dof = self._kept.sum(axis=1)
        best = np.argmin(chi2 + 2 * dof[:, None], axis=0)
        return self._basis @ (self._kept[best].T * modes), dof[best]

    def at(
        self, fitted: Float[np.ndarray, "n r"], t: Float[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m r"]:
        """Return the curves elsewhere."""
        return CubicSpline(self.t, fitted, bc_type="natural")(t)


def _boundary(
    turn: Turn,
    t: Float[np.ndarray, " n"],
    fine: Float[np.ndarray, " m"],
    mean: Float[np.ndarray, " m"],
    curves: Float[np.ndarray, "m r"],
    scale: _Scale,
) -> Boundary | None:
    """Return where the curve turns, or None if too few of the replicates do."""
    sign = 1.0 if turn.kind == "maximum" else -1.0
    inside = np.flatnonzero((fine >= t[turn.first]) & (fine <= t[turn.last]))
    places = np.argmax(sign * curves[inside], axis=0)
    at = int(np.argmax(sign * mean[inside]))
    interior = (places > 0) & (places < len(inside) - 1)
    share = float(np.mean(interior))
    if share < FOUND or not 0 < at < len(inside) - 1:
        return None
    best = fine[inside[at]]
    lo, hi = np.quantile(fine[inside[places[interior]]], (0.05, 0.95))
    nearest = int(np.argmin(np.abs(t - best)))
    lo, hi = min(lo, t[max(nearest - 1, 0)]), max(hi, t[min(nearest + 1, len(t) - 1)])
    step, first, last = scale.to_step(np.array([best, lo, hi])).tolist()
    return Boundary(step, first, last, turn.kind, share)


def _note(boundaries: Sequence[Boundary]) -> str:
    if not boundaries:
        return "the errors allow no stage boundary"
    named = "; ".join(
        f"{found.kind} at step {found.step:.4g} [{found.lo:.4g}, {found.hi:.4g}]"
        for found in boundaries
    )
    return f"{named} (90 %)"
