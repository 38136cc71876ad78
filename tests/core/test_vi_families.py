"""Densities, gradients and moments of the variational families against brute force."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import paramax
import pytest
from scipy.stats import multivariate_normal

from tests.core import vicases

D = 5


def spec(**fields):
    from lambda_hat_core.config.samplers.vi import Vi

    return Vi(**fields)


def mixture(rng, **fields):
    """Return a mixture of three components of ranks 0, 1 and 3, far from its start."""
    import equinox as eqx

    from lambda_hat_core.vi import mfa

    chosen = spec(M=3, r_per_component=(0, 1, 3), **fields)
    family = paramax.unwrap(eqx.filter_jit(mfa.build)(jr.key(0), chosen, jnp.zeros(D)))
    new = [rng.normal(size=x.shape) for x in (family.logits, family.factors, family.log_scale)]
    return eqx.tree_at(
        lambda f: (f.logits, f.factors, f.log_scale, f.means),
        family,
        (*map(jnp.asarray, new), jnp.asarray(rng.normal(size=(3, D)))),
    )


def covariances(family):
    rows = np.asarray(family.factors * family.mask[..., None])
    return np.diag(np.exp(2 * np.asarray(family.log_scale))) + rows.transpose(0, 2, 1) @ rows


@jax.jit
def densities(family, u):
    return jax.vmap(family.log_density)(u)


def lifted(rng, flow_type="realnvp", k=3):
    """Return a flow on three of five directions, with weights and widths far from their start."""
    import equinox as eqx

    from lambda_hat_core.vi import flow
    from lambda_hat_core.vi.family import join, split

    vectors = np.linalg.qr(rng.normal(size=(D, D)))[0][:k]
    chosen = spec(algo="flow", flow_type=flow_type, flow_depth=2, flow_hidden=6)
    params, static = split(flow.build(jr.key(0), chosen, jnp.asarray(vectors)))
    params = jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape), params)
    return params, static, eqx.filter_jit(join)(params, static)


def test_mixture_density(x64):
    rng = np.random.default_rng(0)
    family = mixture(rng, alpha_temperature=2.0)
    u = rng.normal(size=(6, D))
    weights = np.exp(np.asarray(family.logits) / 2)
    parts = zip(weights / weights.sum(), family.means, covariances(family), strict=True)
    expected = np.log(sum(w * multivariate_normal(m, c).pdf(u) for w, m, c in parts))
    np.testing.assert_allclose(densities(family, jnp.asarray(u)), expected, rtol=1e-10)


def test_mixture_draws_have_its_moments(x64):
    family = mixture(np.random.default_rng(1))
    import equinox as eqx

    draws, (diagonal, factors, latent), log_weights = eqx.filter_jit(
        lambda f: (f.draw(jr.key(1), 40_000), f.moment(), f.log_weights)
    )(family)
    assert latent == 0
    expected = np.diag(diagonal) + factors.T @ factors
    weights = np.exp(log_weights)
    means = np.asarray(family.means)
    brute = np.einsum("k,kij->ij", weights, covariances(family))
    brute += np.einsum("k,ki,kj->ij", weights, means, means)
    np.testing.assert_allclose(expected, brute, rtol=1e-10)
    products = np.einsum("si,sj->sij", draws.twin, draws.twin)
    error = products.std(axis=0) / 200
    assert (np.abs(products.mean(axis=0) - expected) < 5 * error).all()
    np.testing.assert_allclose(draws.log_q, densities(family, draws.u), rtol=1e-10)


def test_mixture_weights_have_the_rao_blackwell_gradient(x64):
    """The gradient is (responsibility - pi) / temperature in the logits and 0 elsewhere."""
    family = mixture(np.random.default_rng(2), alpha_temperature=2.0)
    u = jnp.ones(D)

    @jax.jit
    def both(family):
        joint = family.log_weights + family.component_log_density(u)
        responsibility, pi = jax.nn.softmax(joint), jnp.exp(family.log_weights)
        return jax.grad(lambda f: f.score_log_density(u))(family), (responsibility - pi) / 2

    grads, expected = both(family)
    np.testing.assert_allclose(grads.logits, expected, rtol=1e-10)
    assert not grads.means.any() and not grads.log_scale.any() and not grads.factors.any()


def test_prior_and_bonus_regularise_the_weights(x64):
    family = mixture(np.random.default_rng(3), alpha_dirichlet_prior=3.0, entropy_bonus=0.5)
    log_pi = np.asarray(family.log_weights)
    expected = 2 * log_pi.sum() - 0.5 * np.sum(np.exp(log_pi) * log_pi)
    assert jax.jit(lambda f: f.regulariser())(family) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("flow_type", ["realnvp", "maf", "nsf_ar"])
def test_lifted_density_is_that_of_its_draws(x64, flow_type):
    """log q of the forward pass equals that of the inverse, and the dense complement density."""
    import equinox as eqx

    rng = np.random.default_rng(4)
    family = lifted(rng, flow_type)[2]
    draws = eqx.filter_jit(lambda f: f.draw(jr.key(2), 3))(family)
    inverse = eqx.filter_jit(lambda f, u: jax.lax.map(f.log_density, u))(family, draws.u)
    np.testing.assert_allclose(draws.log_q, inverse, rtol=1e-7)
    v, s = np.asarray(family.vectors), np.exp(np.asarray(family.log_scale))
    q = np.linalg.svd(np.eye(D) - v.T @ v)[0][:, : D - 3].T
    dense = multivariate_normal(np.zeros(D - 3), q * s**2 @ q.T)
    rests = draws.u - draws.u @ v.T @ v
    densities, inside = eqx.filter_jit(
        lambda f: (jax.vmap(f.complement_log_density)(rests), jax.vmap(f.project)(draws.u))
    )(family)
    np.testing.assert_allclose(densities, dense.logpdf(rests @ q.T), rtol=1e-6)
    assert np.abs(inside @ v.T).max() < 1e-12


@pytest.mark.parametrize("of", [mixture, lifted])
def test_draws_and_densities_keep_to_float32(of):
    import equinox as eqx

    made = of(np.random.default_rng(7))
    found = eqx.filter_eval_shape(
        lambda f: (f.draw(jr.key(1), 3), f.draw_sticking(jr.key(1), 3), f.moment()[:2]),
        made[2] if of is lifted else made,
    )
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}


def test_lifted_gradient_sticks_the_landing(x64):
    """The gradient equals that through w of log q with fixed parameters."""
    import equinox as eqx

    from lambda_hat_core.vi.family import join

    params, static, still = lifted(np.random.default_rng(5))

    @eqx.filter_jit
    @jax.grad
    def fast(params):
        return jnp.sum(join(params, static).draw_sticking(jr.key(3), 4)[1])

    @eqx.filter_jit
    @jax.grad
    def by_inversion(params):
        u, _ = join(params, static).draw_sticking(jr.key(3), 4)
        return jnp.sum(jax.vmap(still.log_density)(u))

    for one, other in zip(
        jax.tree.leaves(fast(params)), jax.tree.leaves(by_inversion(params)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_the_gradient_has_no_variance_at_the_answer(x64):
    """At q = p every draw's gradient is zero: log q is differentiated, not dropped."""
    import equinox as eqx

    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.vi import mfa
    from lambda_hat_core.vi.whitening import build_chart

    target, _ = vicases.regression()
    spectrum, _ = hessian_spectrum(jr.key(1), target)

    chart, _ = build_chart(jr.key(0), target, spectrum, target.w0[None], spec())

    @eqx.filter_jit
    def gradient(target, log_scale):
        family = paramax.unwrap(mfa.build(jr.key(2), spec(M=1, r=1), target.w0))
        family = eqx.tree_at(lambda f: (f.means, f.factors), family, replace_fn=jnp.zeros_like)

        def at(log_scale):
            moved = eqx.tree_at(lambda f: f.log_scale, family, log_scale)
            u, log_q = moved.draw_sticking(jr.key(4), 1)
            return target.log_density(chart.to_w(u[0])) - log_q[0]

        return jax.grad(at)(log_scale)

    at_answer = gradient(target, jnp.zeros(target.w0.size))
    elsewhere = gradient(target, jnp.full(target.w0.size, 0.1))
    assert np.abs(at_answer).max() < 1e-9 < 1e-3 < np.abs(elsewhere).max()


@pytest.mark.parametrize("latent", [0, 3])
def test_the_trace_term_is_complete(x64, latent):
    """The mean of h equals tr(H E[delta delta^T]) / 2 with dense H, chart and moment."""
    from lambda_hat_core.linalg.spectrum import Spectrum
    from lambda_hat_core.samplers.coordinates import Coordinates
    from lambda_hat_core.vi.chart import Chart
    from lambda_hat_core.vi.control import quadratic_mean
    from lambda_hat_core.vi.family import Moment

    rng = np.random.default_rng(6)
    v, b = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    v, b, c = v[:4], b[:5], 0.7
    extra, theta, s = rng.uniform(0.1, 2, 4), rng.normal(size=5), rng.uniform(0.5, 2, 8)
    diagonal, factors = rng.uniform(0.5, 2, 8), rng.normal(size=(2, 8))
    zero = jnp.zeros(8)
    inner = Coordinates(zero, zero + c, *map(jnp.asarray, (v, extra, 1 / (c + extra) - 1 / c)))
    chart = Chart(inner, jnp.asarray(s), zero)
    spectrum = Spectrum(jnp.asarray(theta), jnp.asarray(b), jnp.asarray(0.3))
    moment = Moment(jnp.asarray(diagonal), jnp.asarray(factors), latent)
    p = np.eye(8) - v[:latent].T @ v[:latent]
    to_w = np.diag(s) @ (c * np.eye(8) + v.T * extra @ v)
    h = b.T * theta @ b + 0.3 * (np.eye(8) - b.T @ b)
    second = p @ np.diag(diagonal) @ p + factors.T @ factors
    expected = 0.5 * np.trace(h @ to_w @ second @ to_w.T)
    mean, log_det = jax.jit(lambda c, s: (quadratic_mean(s, c, moment), c.log_det))(chart, spectrum)
    assert mean == pytest.approx(expected, rel=1e-10)
    assert log_det == pytest.approx(np.linalg.slogdet(to_w)[1], rel=1e-10)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear_decay"])
def test_learning_rates(x64, schedule):
    from lambda_hat_core.vi.fit import learning_rates

    chosen = spec(lr_schedule=schedule, lr=0.1, steps=100, lr_warmup_frac=0.2)
    rates = np.asarray(learning_rates(chosen, np.dtype("float64")))
    assert rates.shape == (100,)
    assert (np.diff(rates[:20]) > 0).all() and rates[0] < 0.01
    assert rates.max() == pytest.approx(0.1)
    middle, end = {"constant": (0.1, 0.1), "cosine": (0.05, 0), "linear_decay": (0.05, 0)}[schedule]
    assert rates[60] == pytest.approx(middle)
    assert abs(rates[-1] - end) < 0.002
