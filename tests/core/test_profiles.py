"""Plateaus over gamma, and the extrapolation over nbeta, on curves with known answers."""

import math

import numpy as np
import pytest

from tests.core.test_figures import assert_legible


def points(x, llc, se, **options):
    from lambda_hat_core.analysis.profiles import Point

    return [Point(float(a), float(b), se, **options) for a, b in zip(x, llc, strict=True)]


def two_levels(x):
    return (7 + 1 / (1 + (80 / x) ** 3)) / (1 + (x / 3e4) ** 1.5)


def test_two_plateaus_are_found_and_noted():
    from lambda_hat_core.analysis.profiles import gamma_profile

    gammas = np.geomspace(0.1, 1e5, 19)
    profile = gamma_profile(points(gammas, two_levels(gammas), 0.02)[::-1])
    assert [point.x for point in profile.points] == list(gammas)
    assert [plateau.llc for plateau in profile.plateaus] == pytest.approx([7, 7.95], abs=0.05)
    assert "2 plateaus: 7.0" in profile.note
    assert "which coefficient" in profile.note


@pytest.mark.parametrize(
    ("llc", "se", "note"),
    [
        ([5.0, 5.05, 4.96], 0.02, "one plateau: 5.0"),
        ([5.0, 6.0, 7.0], 0.02, "depends on gamma throughout"),
        ([5.0, 5.05, 4.95], 0.3, "use more draws"),
        ([5.0, 5.0], 0.02, "needs 3 runs"),
    ],
)
def test_the_note_on_three_gammas(llc, se, note):
    from lambda_hat_core.analysis.profiles import gamma_profile

    assert note in gamma_profile(points([1, 10, 100][: len(llc)], llc, se)).note


def test_a_slope_is_no_plateau_even_if_densely_sampled():
    from lambda_hat_core.analysis.profiles import gamma_profile

    gammas = np.geomspace(1, 1e3, 60)
    ramp = 5 * (1 + 0.15 * np.log10(gammas))
    assert not gamma_profile(points(gammas, ramp, 0.01)).plateaus


def test_failed_runs_are_ignored():
    from lambda_hat_core.analysis.profiles import Point, gamma_profile, temperature_fit

    good = points([10, 100, 1000], [5.0, 5.0, 5.0], 0.02)
    bad = Point(100.0, 900.0, 0.02, "failed")
    assert len(gamma_profile([*good, bad]).plateaus) == 1
    assert temperature_fit([*good, bad]).llc == pytest.approx(5.0)


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_extrapolation_is_calibrated(shift):
    """Test also curves whose next order is not negligible, as for all nbeta that can be sampled."""
    from lambda_hat_core.analysis.profiles import temperature_fit

    rng, nbetas = np.random.default_rng(0), np.array([1e2, 1e3, 1e4, 1e5])
    exact, m, se = 1.5, 3, 0.02
    fits = []
    for _ in range(200):
        noisy = exact - (m - 1) / (np.log(nbetas) + shift) + se * rng.normal(size=4)
        fits.append(temperature_fit(points(nbetas, noisy, se)))
    inside = [abs(fit.llc - exact) < 1.645 * fit.llc_se for fit in fits]
    assert 0.8 < np.mean(inside) < 0.99
    assert np.mean([fit.llc_se for fit in fits]) < 0.12
    assert np.mean([abs(fit.multiplicity - m) < 1.645 * fit.multiplicity_se for fit in fits]) > 0.75
    assert 0.8 < np.mean([fit.chi2 for fit in fits]) < 2.4


@pytest.mark.parametrize("gamma", [1.0, 4.0])
def test_lambda_of_a_crossing_is_within_the_errors_of_the_fit(gamma):
    """w0^2 w1^2 has lambda = 1/2 and m = 2; the values at four temperatures are exact."""
    from lambda_hat_core.analysis.profiles import temperature_fit

    nbetas, w1 = (1e2, 1e3, 1e4, 1e5), np.linspace(-9, 9, 200_001) / math.sqrt(gamma)
    values = []
    for nbeta in nbetas:
        stiff = 2 * nbeta * w1**2
        mass = np.exp(-gamma / 2 * w1**2) / np.sqrt(stiff + gamma)
        values.append(0.5 * np.sum(mass * stiff / (stiff + gamma)) / np.sum(mass))
    fit = temperature_fit(points(nbetas, values, 0.005))
    assert fit.llc_se < 0.05
    assert abs(fit.llc - 0.5) < 2 * fit.llc_se
    assert abs(fit.multiplicity - 2) < 2 * fit.multiplicity_se


def test_a_fit_states_its_limitations():
    from lambda_hat_core.analysis.profiles import temperature_fit

    one = temperature_fit(points([1e3, 1e3], [5.0, 5.1], 0.1))
    assert (one.llc, one.multiplicity) == (None, None)
    assert "2 or more values of nbeta" in one.note
    two = temperature_fit(points([1e3, 1e5], [5.0, 5.1], 0.1))
    assert "cannot be tested" in two.note
    assert two.llc == pytest.approx(5.1 + 0.1 * math.log(1e3) / (math.log(1e5) - math.log(1e3)))
    bent = temperature_fit(points([10, 1e2, 1e3, 1e4], [1.0, 2.0, 2.0, 1.0], 0.01))
    assert "does not fit" in bent.note
    assert bent.llc_se > 0.1


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_profile_figures_are_legible(count):
    from lambda_hat_core.analysis.figures.profiles import gamma_figure, temperature_figure
    from lambda_hat_core.analysis.figures.style import references
    from lambda_hat_core.analysis.profiles import gamma_profile, temperature_fit

    x = np.geomspace(10, 1e7, 7)[:count]
    made = points(x, two_levels(x), 0.05, verdict="suspect")
    lines = references(7.0, None)
    for figure in (
        gamma_figure(gamma_profile(made), "Reduced rank 5-3-5, nuts", lines),
        temperature_figure(temperature_fit(made), "Reduced rank 5-3-5, nuts", lines),
    ):
        figure.canvas.draw()
        assert_legible(figure)


@pytest.mark.parametrize(
    ("value", "se", "text"),
    [
        (5.00721, 0.0441, "5.007 ± 0.044"),
        (505.2, 630.1, "510 ± 630"),
        (-0.19, 0.1, "-0.19 ± 0.10"),
        (12345.6, 12.3, "12346 ± 12"),
        (2.5, None, "2.5"),
        (2.0, 0.0, "2"),
        (None, None, "none"),
        (3e9, 1e8, "3e+09 ± 1e+08"),
    ],
)
def test_numbers_are_formatted_to_the_digits_of_their_error(value, se, text):
    from lambda_hat_core.analysis.words import plus_minus

    assert plus_minus(value, se) == text


def test_a_bias_that_needs_a_null_number_is_unknown():
    """Non-finite numbers are null in estimate.json."""
    from lambda_hat_core.analysis.biases import step_bias

    run = {"sampler": "sgld", "llc": 2.0, "llc_se": None}
    found = step_bias(run, {"sampler": "nuts", "llc": 1.5, "llc_se": 0.1})
    assert found is not None and (found.value, found.se) == (0.5, None)
    parts = {"discretisation": {"absolute": 0.25}, "minibatch": {"absolute": None}}
    assert step_bias(run | {"ledger": {"stable": True, **parts}}, None) is None
    parts["minibatch"] = {"absolute": 0.5}
    found = step_bias(run | {"ledger": {"stable": True, **parts}}, None)
    assert found is not None and found.value == 0.75
    taken_off = run | {"ledger": {"stable": True, **parts}, "llc_uncorrected": 2.75}
    found = step_bias(taken_off, None)
    assert found is not None and found == (0.0, None, "taken off as predicted")
