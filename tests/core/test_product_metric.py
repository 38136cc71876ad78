"""The metric in a product basis, against matrices that are products and against exact answers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht

ROWS, COLUMNS = 12, 9
SHAPES = ((ROWS, COLUMNS), (5,))


def spread(rng, size, largest):
    """A matrix with eigenvalues from 1 to `largest`."""
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    return basis * np.geomspace(1, largest, size) @ basis.T


def product_of(rng):
    """A matrix that is a product on the first array, and diagonal on the second."""
    whole = np.zeros((ROWS * COLUMNS + 5,) * 2)
    whole[:-5, :-5] = np.kron(spread(rng, ROWS, 100.0), spread(rng, COLUMNS, 30.0))
    whole[-5:, -5:] = np.diag([0.0, 0.1, 1.0, 10.0, 100.0])
    return whole


def found_for(matrix, shapes=SHAPES):
    from lambda_hat_core.linalg.kronecker import factors

    like = jnp.zeros(len(matrix))
    made, products = factors(np.random.default_rng(3), lambda v: matrix @ v, shapes, like=like)
    assert products == 32
    return made


@pytest.mark.parametrize(
    ("shape", "block"),
    {
        (7,): (1, 7),
        (): (1, 1),
        (4, 6): (4, 6),
        (3, 3, 8, 16): (72, 16),
        (16, 8, 3, 3): (16, 72),
        (4, 32, 8): (128, 8),
    }.items(),
)
def test_an_array_is_a_matrix_with_the_shortest_sides(shape, block):
    from lambda_hat_core.linalg.kronecker import block_of

    assert block_of(shape) == block


def test_the_basis_is_orthogonal_and_the_same_in_programs(x64):
    basis = found_for(product_of(np.random.default_rng(0))).basis
    vs = np.random.default_rng(1).normal(size=(3, ROWS * COLUMNS + 5))
    host = jax.tree.map(np.asarray, basis)
    there = host.into(vs)
    np.testing.assert_allclose(np.linalg.norm(there, axis=1), np.linalg.norm(vs, axis=1))
    np.testing.assert_allclose(host.out_of(there), vs, atol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda v: basis.into(v))(jnp.asarray(vs)), there, atol=1e-12)
    # A vector has no basis of its own.
    np.testing.assert_array_equal(there[:, -5:], vs[:, -5:])


def test_a_product_is_nearly_diagonal_in_its_basis(x64):
    """Of condition 3,000 the metric leaves less than 10, and its diagonal has the trace."""
    matrix = product_of(np.random.default_rng(0))[:-5, :-5]
    made = found_for(matrix, SHAPES[:1])
    dense = np.asarray(made.basis.into(jnp.eye(len(matrix))))
    assert np.linalg.cond(matrix) == pytest.approx(3000, rel=1e-6)
    scale = 1 / np.sqrt(np.asarray(made.norms))
    left = scale[:, None] * (dense.T @ matrix @ dense) * scale
    assert np.linalg.cond(left) < 10
    # z^T H z has the variance 2 |H|^2, of which here four errors of 16 are a third of the trace.
    error = 4 * np.sqrt((matrix**2).sum() * 2 / 16)
    assert error < 0.36 * np.trace(matrix)
    assert abs(np.asarray(made.diagonal).sum() - np.trace(matrix)) < error


def test_the_certificate_weighs_directions_by_their_stiffness(x64):
    from lambda_hat_core.samplers.product_metric import certificate

    made = found_for(product_of(np.random.default_rng(0)))
    h = np.maximum(np.asarray(made.diagonal), 0.0)
    np.testing.assert_allclose(certificate(made), h / h.max())
    assert not certificate(dataclasses.replace(made, diagonal=-jnp.ones(len(h)))).any()


def test_a_side_beyond_the_widest_keeps_its_coordinates(x64, monkeypatch):
    from lambda_hat_core.linalg import kronecker

    monkeypatch.setattr(kronecker, "_WIDEST", 10)
    basis = found_for(product_of(np.random.default_rng(0))).basis
    assert basis.left == (None, None)
    assert basis.right[0] is not None and basis.right[1] is None


def test_a_kick_is_that_of_its_matrix(x64):
    """The noise is that of a normal vector which the basis turns, so only its law is known."""
    from lambda_hat_core.samplers.product_metric import ProductMetric

    basis = found_for(product_of(np.random.default_rng(0))).basis
    rng = np.random.default_rng(1)
    d = ROWS * COLUMNS + 5
    width, sizes, gradient, xi = (jnp.asarray(rng.uniform(0.1, 1, size=d)) for _ in range(4))
    metric = ProductMetric(basis, width)
    dense = np.asarray(basis.into(jnp.eye(d)))
    force, noise = jax.jit(lambda g, x: metric.kick(g, x, sizes))(gradient, xi)
    a = dense * np.asarray(width) @ dense.T
    np.testing.assert_allclose(metric.apply(gradient), a @ gradient, rtol=1e-10)
    np.testing.assert_allclose(force, a @ a @ gradient, rtol=1e-10)
    np.testing.assert_allclose(noise, dense @ (width * sizes * xi), rtol=1e-10)


N, INPUTS, OUTPUTS, NBETA = 1500, 40, 60, 300.0


def regression():
    """Linear regression with a matrix of weights, of condition 1,000; its loss and exact answer."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, INPUTS)) @ np.diag(np.geomspace(1, 30, INPUTS)) / 30
    x = x.astype(np.float32)
    w = rng.normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    noise = rng.normal(size=(N, OUTPUTS))
    noise -= x @ np.linalg.lstsq(x, noise)[0]  # so that w is the minimum
    h = np.linalg.eigvalsh(x.T.astype(np.float64) @ x / N)
    stiff = NBETA * 2 * h / OUTPUTS
    exact = 0.5 * OUTPUTS * float((stiff / (stiff + 1)).sum())
    return {"w": w}, (x, (x @ w + noise).astype(np.float32)), exact


def squares(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] - y) ** 2)


@pytest.mark.parametrize("batch_size", ["auto", 64])
@pytest.mark.parametrize("kind", [Sghmc, Sgld, Sgnht])
def test_samplers_are_exact_in_it(kind, batch_size):
    """With full batches and with noisy ones: within 4 errors, which are below 2.5 %."""
    from lambda_hat_core import estimate_llc

    params, data, exact = regression()
    found = estimate_llc(
        squares,
        params,
        data,
        sampler=kind(batch_size=batch_size, precond="kronecker"),
        rel_se=0.02,
        posterior={"nbeta": NBETA},
        progress=False,
    )
    assert found.trace.info["precond"] == "kronecker"
    assert found.se < 0.025 * exact
    assert abs(found.llc - exact) < 4 * found.se + (0.0 if batch_size == "auto" else 0.02 * exact)


def test_the_certificate_is_one_and_shows_the_heat_of_a_large_step():
    """Euler's steps inflate the stiff directions by a fifth in the mean, and the llc before it is
    corrected for what the ledger predicts."""
    from lambda_hat_core import estimate_llc
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    params, data, exact = regression()
    settings = {"n_draws": 120, "n_burn": 40, "precond": "kronecker", "extrapolate": False}
    given = {"posterior": {"nbeta": NBETA}, "progress": False}

    def run(**more):
        return estimate_llc(squares, params, data, sampler=Sgld(**settings, **more), **given)

    right, hot = run(), run(integrator="euler", step_fraction=1.0)
    means = [mcmc_mean(found.trace.virial_m) for found in (right, hot)]
    assert right.trace.info["precond"] == "kronecker"
    assert all(found.se < 0.02 for found in means)
    assert abs(means[0].mean - 1) < 4 * means[0].se
    assert means[1].mean - 4 * means[1].se > 1.1
    assert hot.trace.llc.mean() > 1.1 * exact and hot.verdict != "ok"


def sizes(monkeypatch):
    """Return a list of the Ritz pairs from which each attempt of later runs is built."""
    from lambda_hat_core import chains

    seen, build = [], chains.build

    def watched(*args, **rest):
        seen.append(len(rest["spectrum"].theta))
        return build(*args, **rest)

    monkeypatch.setattr(chains, "build", watched)
    return seen


def settled(spec, shapes, d, n=1000):
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers.settling import settled
    from tests.core.surfaces import DiagonalQuadratic

    one = jnp.ones(())
    data = (jnp.zeros((n, 1)),)
    loss = DiagonalQuadratic((1.0,) * d)
    return settled(spec, Posterior(jnp.zeros(d), data, one, one, loss, n, None, shapes))


def test_large_networks_have_it_and_full_batches_with_long_steps():
    small = settled(Sghmc(), ((30, 60), (60,)), 1860)
    assert (small.precond, small.batch_size, small.thin) == ("lanczos", "auto", 12)
    assert (small.damping, small.alpha, small.step_fraction) == (5.0, 0.1, 0.1)
    large = settled(Sghmc(), ((40, 60), (60,)), 2460)
    assert (large.precond, large.batch_size, large.thin) == ("kronecker", None, 6)
    assert (large.damping, large.alpha, large.step_fraction) == (5.0, "auto", 2.0)
    many = settled(Sghmc(), ((40, 60), (60,)), 2460, n=10_000)
    assert (many.precond, many.batch_size, many.thin) == ("kronecker", "auto", 12)
    assert (many.damping, many.alpha, many.step_fraction) == (20.0, 0.1, 0.1)
    assert settled(Sgnht(), ((40, 60), (60,)), 2460).precond == "kronecker"
    assert settled(Sgld(), ((40, 60), (60,)), 2460).precond == "lanczos"
    # A table of a few long vectors is no matrix, and neither is a flat parameter.
    assert settled(Sghmc(), ((3, 900),), 2700).precond == "lanczos"
    assert settled(Sghmc(), ((2700,),), 2700).precond == "lanczos"


@pytest.mark.parametrize(
    ("more", "alpha"),
    [
        ({"step_size": 0.1}, 0.0344),
        ({"step_size": 0.4}, 0.1306),
        ({"step_size": 0.4, "alpha": 0.3}, 0.3),
        ({"step_size": 0.1, "batch_size": 64}, 0.1),
    ],
)
def test_without_noise_the_friction_of_a_unit_of_time_is_the_same_for_every_step(more, alpha):
    from lambda_hat_core import estimate_llc

    params, data, _ = regression()
    settings = Sghmc(precond="kronecker", n_draws=20, n_burn=0, **more)
    found = estimate_llc(
        squares, params, data, sampler=settings, posterior={"nbeta": NBETA}, progress=False
    )
    assert found.trace.info["alpha"] == found.settings["alpha"] == pytest.approx(alpha, abs=1e-4)


def test_what_was_written_stands():
    written = Sghmc(precond="lanczos", thin=3, alpha=0.3, step_fraction=0.7, damping=1.0)
    assert settled(written, ((40, 60),), 2400) == written
    asked = settled(Sghmc(precond="kronecker", thin=12, batch_size=64), ((4,),), 4)
    assert (asked.precond, asked.thin, asked.batch_size) == ("kronecker", 12, 64)
    assert asked.step_fraction == 0.1
    assert settled(Sgld(), ((4,),), 4).step_fraction == 0.3


PRODUCT = (12, 30, 30, 30, 10)


def product_of_matrices(params, batch):
    x, y = batch
    for name in sorted(params):
        x = x @ params[name]
    return jnp.mean((x - y) ** 2)


def test_a_run_that_leaves_it_twice_goes_on_in_the_other_metric(monkeypatch):
    """Directions that are flat where a product of matrices was measured are not where it goes.

    The few Ritz pairs that a product basis needs are too few for the other metric.
    """
    from lambda_hat_core import estimate_llc

    rng, rank = np.random.default_rng(2), 3
    axes = [np.linalg.qr(rng.normal(size=(width, width)))[0][:, :rank] for width in PRODUCT]
    params = {
        f"w{i}": (axes[i] @ axes[i + 1].T).astype(np.float32) for i in range(len(PRODUCT) - 1)
    }
    x = rng.normal(size=(1000, PRODUCT[0])).astype(np.float32)
    y = x @ np.linalg.multi_dot([params[name] for name in sorted(params)])
    data = (x, y + 0.5 * rng.normal(size=y.shape).astype(np.float32))
    run = {"max_fge": 9000.0, "progress": False}
    pairs = sizes(monkeypatch)
    found = estimate_llc(product_of_matrices, params, data, sampler=Sghmc(), **run)
    first, second, *_ = found.trace.info["attempts"]
    assert second["step_size"] == pytest.approx(first["step_size"] / 2)
    assert found.trace.info["precond"] == "lanczos"
    assert found.trace.info["step_fraction"] <= 0.1
    assert first["cause"] == second["cause"] == "left" and pairs[:3] == [16, 16, 128]
    asked = Sghmc(precond="kronecker")
    found = estimate_llc(product_of_matrices, params, data, sampler=asked, **run)
    assert found.trace.info["precond"] == "kronecker"
    assert found.trace.info["attempts"][0] == first
