"""Coefficients against values of the literature, and oracles against independent computations."""

from fractions import Fraction
from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest

from lambda_hat_core.truth import coefficients, oracles, quadrature

DEEP_LINEAR = [
    ((5, 3, 5), 0, 6.5, 2),
    ((5, 3, 5), 1, 8, None),
    ((5, 3, 5), 3, 10.5, 1),
    ((2, 2, 2, 2), 0, 1.5, 3),
    ((4, 4, 4, 4), 0, 5.5, 3),
    ((4, 4, 4, 4), 1, 6.5, None),
    ((4, 4, 4, 4), 2, 7.5, 3),
    ((10, 6, 10), 2, 32, None),
    ((10, 10, 10, 10), 3, 42, 3),
    ((6, 4, 4, 6), 2, 12, None),
    ((20, 15, 10, 15, 20), 4, 100.5, None),
    ((40, 40, 40, 40), 10, 650, None),
]
REDUCED_RANK = [((5, 3, 5), 6.5), ((5, 4, 5), 8), ((4, 3, 8), 6), ((8, 3, 4), 6), ((3, 8, 4), 6)]


def by_subset(widths, rank):
    """Return Aoyagi's value by a search over subsets of layers, as stated by Lau et al."""
    excess = [width - rank for width in widths]
    for size in range(2, len(excess) + 1):
        for chosen in combinations(range(len(excess)), size):
            inside = [excess[i] for i in chosen]
            rest = [excess[i] for i in range(len(excess)) if i not in chosen]
            layers, total = size - 1, sum(inside)
            small = not rest or max(inside) < min(rest)
            if not small or total < layers * max(inside) or any(total >= layers * m for m in rest):
                continue
            a = total - layers * (-(-total // layers) - 1)
            pairs = sum(p * q for p, q in combinations(inside, 2))
            value = (
                Fraction(rank * (widths[0] + widths[-1]) - rank**2, 2)
                + Fraction(a * (layers - a), 4 * layers)
                - Fraction((layers - 1) * total**2, 4 * layers)
                + Fraction(pairs, 2)
            )
            return value, a * (layers - a) + 1
    raise AssertionError(f"no subset for {widths}, {rank}")


@pytest.mark.parametrize(("widths", "rank", "llc", "multiplicity"), DEEP_LINEAR)
def test_deep_linear_has_the_published_values(widths, rank, llc, multiplicity):
    found = coefficients.deep_linear(widths, rank)
    assert found.llc == Fraction(llc)
    assert multiplicity in (None, found.multiplicity)


def test_deep_linear_agrees_with_reduced_rank_in_all_911_cases():
    cases = [
        (m, h, n, r)
        for m, n, h in product(range(1, 7), range(1, 7), range(1, 9))
        for r in range(min(m, n, h) + 1)
    ]
    assert len(cases) == 911
    for m, h, n, r in cases:
        assert coefficients.deep_linear((m, h, n), r) == coefficients.reduced_rank(m, h, n, r)


def test_deep_linear_agrees_with_the_search_over_subsets():
    for widths in product(range(1, 6), repeat=4):
        for rank in range(min(widths) + 1):
            value, multiplicity = by_subset(widths, rank)
            found = coefficients.deep_linear(widths, rank)
            assert (found.llc, found.multiplicity) == (value, multiplicity), (widths, rank)


def test_at_rank_0_the_order_of_layers_does_not_matter_nor_a_wide_layer_more():
    reference = coefficients.deep_linear((2, 3, 4, 6), 0)
    for widths in permutations((2, 3, 4, 6)):
        assert coefficients.deep_linear(widths, 0) == reference
    assert coefficients.deep_linear((2, 3, 4, 6, 30), 0) == reference


@pytest.mark.parametrize(("sizes", "llc"), REDUCED_RANK)
def test_reduced_rank_on_pure_noise(sizes, llc):
    assert coefficients.reduced_rank(*sizes, 0).llc == Fraction(llc)


def test_products_of_scalars_have_the_multiplicity_of_their_depth():
    for depth in range(1, 6):
        assert coefficients.deep_linear((1,) * (depth + 1), 0) == (Fraction(1, 2), depth)


def test_deep_linear_rejects_a_rank_above_the_narrowest_width():
    with pytest.raises(ValueError, match=r"rank is 4, but the widths are \(5, 3, 5\)"):
        coefficients.deep_linear((5, 3, 5), 4)


def test_normal_crossing_counts_only_zero_coordinates():
    assert coefficients.normal_crossing((1, 2, 2), (0.0, 0.0, 0.0)) == (Fraction(1, 4), 2)
    assert coefficients.normal_crossing((1, 2, 2), (0.0, 1.0, 0.0)) == (Fraction(1, 4), 1)
    assert coefficients.normal_crossing((1, 2), (0.0, 1.0)) == (Fraction(1, 2), 1)
    with pytest.raises(ValueError, match="not a zero"):
        coefficients.normal_crossing((1, 0), (1.0, 0.0))


def test_quadratic_activation_agrees_with_its_regular_limits():
    assert coefficients.quadratic_activation(4, 5, 4).llc == Fraction(4 * 5, 4)
    assert coefficients.quadratic_activation(6, 2, 2).llc == Fraction(6 * 2 - 1, 2)
    assert coefficients.quadratic_activation(3, 2, 0).llc == Fraction(3 * 2, 4)


def test_diagonal_linear_multiplicity_counts_zero_factors():
    assert coefficients.diagonal_linear((0, 0, 1, 3)) == (Fraction(2), 3)


def test_relu_and_tanh_networks():
    assert coefficients.tanh_mlp(45).llc == Fraction(45, 2)
    assert coefficients.relu_mlp(45, 8).llc == Fraction(37, 2)


@pytest.mark.parametrize("ranks", [(3, 3, 3), (2, 2, 2), (3, 1, 4), (0, 2, 1)])
def test_product_map_rank_is_that_of_the_jacobian(ranks):
    rng = np.random.default_rng(0)
    widths = (4, 5, 5, 4)
    shapes = list(pairwise(widths))
    layers = [
        rng.normal(size=(a, r)) @ rng.normal(size=(r, b))
        for (a, b), r in zip(shapes, ranks, strict=True)
    ]
    before = [np.eye(4), layers[0], layers[0] @ layers[1]]
    after = [layers[1] @ layers[2], layers[2], np.eye(4)]
    jacobian = np.hstack([np.kron(b, a.T) for b, a in zip(before, after, strict=True)])
    rank = np.linalg.matrix_rank
    expected = coefficients.product_map_rank(
        [int(rank(a)) for a in after], [int(rank(b)) for b in before]
    )
    assert rank(jacobian) == expected


H = np.array([3.0, 1.0, 0.2, 0.0])


def test_quadrature_gives_the_quadratic_oracle_and_its_off_centre_form():
    h, nbeta, gamma = np.array([2.0, 0.05]), 50.0, 1.5
    delta = np.array([0.3, -0.4])

    def losses(points):
        return 0.5 * np.sum(h * points**2, axis=1)

    centred = quadrature.potential(losses, np.zeros(2), nbeta, gamma)
    assert centred == pytest.approx(oracles.quadratic(h, nbeta, gamma), rel=1e-9)
    off = quadrature.potential(losses, delta, nbeta, gamma)
    assert off == pytest.approx(oracles.quadratic_off_centre(h, delta, nbeta, gamma), rel=1e-9)
    assert off < 0


def test_quadrature_reproduces_the_published_finite_values_of_normal_crossings():
    """(x w^k - noise)^2 averaged over a data set: a p^2 - 2 b p with a = 4, b its correlation."""
    nbeta = 1000 / np.log(1000)
    published = {
        (0, 1): 0.4955,
        (1, 1): 0.3802,
        (0, 2): 0.2237,
        (1, 2): 0.2194,
        (2, 2): 0.1440,
        (0, 3): 0.1591,
        (1, 3): 0.1474,
        (2, 3): 0.1191,
        (3, 3): 0.0948,
    }
    for powers, value in published.items():

        def losses(points, powers=powers):
            p = np.prod(points ** np.array(powers), axis=1)
            return 4 * p**2 - 2 * 0.0106 * p

        found = quadrature.potential(losses, np.zeros(2), nbeta, 1.0)
        assert found == pytest.approx(value, abs=1.5e-4), powers


def test_quadrature_follows_a_ridge_away_from_the_origin():
    """At (0, 1) of w1^2 w2^2 the coefficient is 1/2, and so is the limit of large n beta."""

    def losses(points):
        return np.prod(points**2, axis=1)

    values = [quadrature.potential(losses, np.array([0.0, 3.0]), b, 4.0) for b in (1e3, 1e5)]
    assert values[0] < values[1] < 0.5
    assert values[1] == pytest.approx(0.5, abs=0.01)


def test_quadrature_needs_a_localiser_and_few_dimensions():
    with pytest.raises(ValueError, match="d <= 2 and gamma > 0"):
        quadrature.potential(lambda w: w[:, 0], np.zeros(1), 1.0, 0.0)


def recursion(nbeta, gamma, step_size, variance, n_burn, n_steps):
    """Return the mean of nbeta L over states n_burn + 1 .. n_steps, by iterating second moments."""
    rho = 1 - step_size * (nbeta * H + gamma) / 2
    moment, losses = np.zeros_like(H), []
    for _ in range(n_steps):
        moment = rho**2 * moment + step_size + (step_size * nbeta / 2) ** 2 * variance
        losses.append(0.5 * nbeta * np.sum(H * moment))
    return np.mean(losses[n_burn:])


def test_sgld_oracle_is_the_recursion_of_second_moments():
    setting = {"step_size": 2e-3, "gradient_variance": 0.02, "n_burn": 7, "n_steps": 60}
    found = oracles.sgld(H, 100.0, 1.0, **setting)
    expected = recursion(100.0, 1.0, 2e-3, 0.02, 7, 60)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_stationary_distribution_of_sgld_has_the_euler_bias():
    a = 100.0 * H + 1.0
    expected = 0.5 * np.sum(100.0 * H / (a * (1 - 2e-3 * a / 4)))
    assert oracles.sgld(H, 100.0, 1.0, step_size=2e-3) == pytest.approx(expected, rel=1e-12)


def test_sgld_biases_have_their_signs_and_add_up():
    setting = {"step_size": 2e-3, "gradient_variance": 0.02, "n_burn": 7, "n_steps": 60}
    biases = oracles.sgld_biases(H, 100.0, 1.0, **setting)
    assert biases.localisation < 0 < biases.discretisation
    assert biases.burn_in < 0 < biases.minibatch
    total = oracles.sgld(H, 100.0, 1.0, **setting)
    assert sum(biases) == pytest.approx(total - 1.5, rel=1e-12)


def test_the_sgld_oracle_rejects_an_unstable_step():
    with pytest.raises(ValueError, match="to be stable"):
        oracles.sgld(H, 100.0, 1.0, step_size=0.02)
