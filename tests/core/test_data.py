"""Synthetic distributions against their moments, and real data against their files."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.config.data import Diabetes, Digits, Synthetic
from lambda_hat_core.targets.bundled import diabetes, digits
from lambda_hat_core.targets.synthetic import dropout, inputs, noise

N = 40_000
SE = 4 / np.sqrt(N)
"""Return four standard errors of a mean of values with unit variance."""


def draw(dim=5, seed=0, **fields):
    spec = Synthetic(n_data=N - 10, n_test=10, **fields)
    return np.asarray(jax.jit(lambda *keys: inputs(spec, *keys, dim))(jr.key(1), jr.key(seed)))


def test_gauss_iso_has_unit_covariance(x64):
    x = draw()
    np.testing.assert_allclose(x.mean(0), 0, atol=SE)
    np.testing.assert_allclose(x.T @ x / N, np.eye(5), atol=2 * SE)


def test_gauss_aniso_has_decaying_variances(x64):
    x = draw(x_dist="gauss_aniso", cov_decay=0.5)
    np.testing.assert_allclose(x.var(0), 0.5 ** np.arange(5), rtol=2 * SE)


def test_a_mixture_has_unit_noise_around_centres_on_a_sphere(x64):
    x = draw(dim=2, x_dist="mixture", mixture_k=3, mixture_spread=40.0)
    angle = np.round(np.arctan2(x[:, 1], x[:, 0]), 0)
    near = x[angle == angle[0]]
    assert np.linalg.norm(near.mean(0)) == pytest.approx(40.0, rel=0.02)
    groups = {tuple(np.round(row / 15).astype(int)) for row in x}
    assert 3 <= len(groups) <= 9
    np.testing.assert_allclose(np.linalg.norm(x, axis=1).mean(), 40.0, rtol=0.01)


def test_a_low_dimensional_manifold_is_low_dimensional(x64):
    x = draw(dim=8, x_dist="lowdim_manifold", x_dim_latent=2)
    singular = np.linalg.svd(np.arctanh(x), compute_uv=False)
    assert singular[1] > 1 and singular[2] < 1e-6 * singular[0]


def test_heavy_tails_are_rows_of_a_multivariate_t(x64):
    x = draw(x_dist="heavy_tail", heavy_tail_df=10.0)
    assert x.var() == pytest.approx(10 / 8, rel=0.04)
    r2 = (x**2).sum(1)
    assert np.mean(r2**2) / np.mean(r2) ** 2 > 1.2 * (7 / 5)


def test_training_and_test_rows_differ_and_follow_the_seed(x64):
    spec = Synthetic(n_data=20, n_test=20, x_dist="mixture")
    drawn = jax.jit(lambda *keys: inputs(spec, *keys, 3))
    first, again, other = (drawn(jr.key(1), jr.key(seed)) for seed in (0, 0, 2))
    np.testing.assert_array_equal(first, again)
    assert np.unique(np.asarray(first), axis=0).shape == (40, 3)
    assert not np.allclose(first, other)


def labels(**fields):
    spec = Synthetic(n_data=N, noise_scale=0.2, **fields)
    x = np.tile([[3.0, 4.0]], (N, 1))
    return np.ravel(jax.jit(lambda key, x: noise(spec, key, x, 1))(jr.key(0), x))


def test_noise_models_have_their_scales(x64):
    assert labels().std() == pytest.approx(0.2, rel=SE)
    hetero = labels(noise_model="hetero", hetero_scale=0.1)
    assert hetero.std() == pytest.approx(0.2 * 1.5, rel=SE)
    student = labels(noise_model="student_t", student_df=10.0)
    assert student.var() == pytest.approx(0.04 * 10 / 8, rel=4 * SE)
    wild = labels(noise_model="outliers", outlier_frac=0.25, outlier_scale=3.0)
    assert wild.var() == pytest.approx(0.25 * 9 + 0.75 * 0.04, rel=4 * SE)
    assert np.mean(np.abs(wild) > 1) == pytest.approx(0.25 * 0.739, abs=SE)


def test_dropout_zeroes_the_given_fraction_and_keeps_the_mean(x64):
    y = np.asarray(jax.jit(lambda key, y: dropout(key, 0.3, y))(jr.key(0), np.ones((N, 1))))
    assert np.mean(y == 0) == pytest.approx(0.3, abs=SE)
    assert y.mean() == pytest.approx(1.0, abs=SE)
    assert np.sum(dropout(jr.key(0), 0.0, jnp.asarray(np.ones((2, 1))))) == 2


def test_digits_are_split_without_overlap(x64):
    (x, y), (held_out, other) = digits(Digits(n_data=1500), 3)
    assert x.shape == (1500, 64) and held_out.shape == (297, 64)
    assert y.dtype == jnp.int32 and set(np.asarray(y)) == set(range(10))
    assert float(x.min()) == 0.0 and float(x.max()) == 1.0
    assert int(y.sum() + other.sum()) == 8070
    assert not np.array_equal(digits(Digits(n_data=1500), 4)[0][1], y)


def test_diabetes_is_standardised_by_its_training_rows(x64):
    (x, y), (held_out, _) = diabetes(Diabetes(), 0)
    assert x.shape == (400, 10) and y.shape == (400, 1) and held_out.shape == (42, 10)
    np.testing.assert_allclose(np.mean(x, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.std(y), 1, rtol=1e-12)
    assert abs(float(held_out.mean())) > 1e-6
