"""The curve of the LLC along training: its band, and boundaries that the errors allow."""

import numpy as np
import pytest

from lambda_hat_core.analysis.curve import CurvePoint, llc_curve

SEEDS = 100
FALSE, MISSED = 5, 14
"""Most false boundaries of 100, and most intervals that miss: 10 expected of 90 %, and 4 / 3 se."""


def steps(n):
    return np.geomspace(10, 1e5, n)


def place(step):
    """Return a step as a number from 0 to 1, on a log axis."""
    return np.log(np.asarray(step) / 10) / np.log(1e4)


def curves(shape, n=14, se=0.3, at=steps):
    """Yield the curve through a shape with independent errors, once for each seed."""
    where = at(n)
    truth = shape(place(np.maximum(where, 10.0)))
    for seed in range(SEEDS):
        llc = truth + se * np.random.default_rng(seed).normal(size=n)
        points = [CurvePoint(*row) for row in zip(where, llc, [se] * n, strict=True)]
        yield llc_curve(points)


def bump(t):
    return 20 + 20 * np.exp(-(((t - 0.4) / 0.15) ** 2))


def lopsided(t):
    width = np.where(t < 0.35, 0.08, 0.3)
    return 20 + 30 * np.exp(-(((t - 0.35) / width) ** 2))


def wave(t):
    return 10 + 5 * np.sin(2 * np.pi * t)


@pytest.mark.parametrize(
    "shape",
    [
        lambda t: np.full_like(t, 10.0),
        lambda t: 10 * t,
        lambda t: 10 / (1 + np.exp(-20 * (t - 0.5))),
        lambda t: np.floor(5.999 * t) * 3,
    ],
    ids=["flat", "line", "step", "staircase"],
)
def test_curves_that_do_not_turn_have_no_boundary(shape):
    for n in (8, 14):
        assert sum(len(curve.boundaries) > 0 for curve in curves(shape, n)) <= FALSE


@pytest.mark.parametrize(
    ("shape", "se", "places", "kinds"),
    [
        (bump, 0.8, [0.4], ["maximum"]),
        (lopsided, 0.8, [0.35], ["maximum"]),
        (wave, 0.5, [0.25, 0.75], ["maximum", "minimum"]),
    ],
)
def test_intervals_cover_known_boundaries(shape, se, places, kinds):
    covered, found = np.zeros(len(places)), 0
    for curve in curves(shape, se=se):
        if [boundary.kind for boundary in curve.boundaries] != kinds:
            continue
        found += 1
        at = [(place(b.lo), place(b.hi)) for b in curve.boundaries]
        covered += [lo <= here <= hi for (lo, hi), here in zip(at, places, strict=True)]
        assert all(hi - lo < 0.35 for lo, hi in at)
    assert found >= SEEDS - FALSE
    assert (covered >= found - MISSED).all()


def test_the_band_covers_the_curve():
    inside = []
    for curve in curves(bump, n=20, se=0.8):
        truth = bump(place(curve.steps))
        inside.append(np.mean((curve.lo <= truth) & (truth <= curve.hi)))
        assert curve.dof is not None and curve.dof < 20
        assert curve.chi2 is not None and curve.chi2 < 60
    assert np.mean(inside) > 0.75  # pointwise 90 % about a curve that is smoothed


def test_step_zero_has_a_place():
    def at(n):
        return np.arange(n) * 250.0

    found = [curve for curve in curves(lambda t: bump(1.6 * t - 0.7), at=at)]
    curve = found[0]
    assert curve.steps[0] == 0.0 and curve.steps[-1] == pytest.approx(13 * 250.0)
    assert np.all(np.diff(curve.steps) > 0)


def test_what_cannot_be_used_takes_no_part():
    good = [CurvePoint(s, 10.0 + i, 0.1) for i, s in enumerate(steps(6))]
    bad = [
        CurvePoint(20.0, 500.0, 0.1, "failed"),
        CurvePoint(30.0, None, None, "failed"),
        CurvePoint(40.0, 3.0, None),
    ]
    curve = llc_curve([*bad, *good])
    assert curve.llc == pytest.approx(llc_curve(good).llc)
    assert [p.step for p in curve.points] == sorted(p.step for p in [*bad, *good])
    few = llc_curve(good[:4])
    assert few.llc.size == 0 and few.note.startswith("4 estimates with errors; a curve needs 5")
    assert llc_curve(good).note == "the errors allow no stage boundary"
