"""Losses on paired batches, losses of rows, and audits on a subset, for linear regression."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

D, N, ROWS = 6, 2001, 64


def squares(w, batch):
    """The mean squared error."""
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


@pytest.fixture(scope="module")
def regression():
    """Noisy data, their least-squares minimum, and the Hessian."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * np.geomspace(0.3, 3, D)
    y = x @ np.ones(D) + rng.normal(size=N)
    return (x, y), np.linalg.lstsq(x, y)[0], 2 * x.T @ x / N


def posterior_of(regression, loss=squares):
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.posterior import Target, localised
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    data, best, _ = regression
    made = problem_of(CustomTarget(best, loss, data, N), "a test")
    target = Target(made.start, made.data, made.loss, made.n)
    return localised(target, PosteriorSpec(loss="own"))


def test_a_paired_loss_has_the_mean_and_the_variance_that_it_states(x64, regression):
    from lambda_hat_core.posterior import loss_at_minimum
    from lambda_hat_core.samplers.monitor import paired

    posterior = posterior_of(regression)
    pairs = paired(posterior, ROWS, loss_at_minimum(posterior))
    assert pairs is not None
    w = posterior.w0 + 0.05 * jr.normal(jr.key(1), (D,))

    @jax.jit
    def losses(keys):
        return jax.vmap(lambda key: pairs.loss(key, posterior, w, along)[:3])(keys)

    away, truth = np.asarray(w - posterior.w0), squares(w, posterior.data)
    along = jr.normal(jr.key(2), (D,))
    (high, low), slope, variance = losses(jr.split(jr.key(0), 4000))
    found = np.asarray(high + low)
    rise = 0.5 * away @ regression[2] @ away
    exact, slope = away @ regression[2] @ along, np.asarray(slope)
    slope_se = slope.std() / np.sqrt(len(slope))
    assert slope_se < 0.01 * abs(exact)
    assert abs(slope.mean() - exact) < 4 * slope_se
    se = found.std() / np.sqrt(len(found))
    assert se < 0.01 * rise
    assert abs(found.mean() - truth) < 4 * se
    assert abs(variance.mean() / found.var() - 1) < 0.1


def test_a_paired_loss_is_exact_at_the_minimum(x64, regression):
    from lambda_hat_core.posterior import loss_at_minimum
    from lambda_hat_core.samplers.monitor import paired

    posterior = posterior_of(regression)
    loss0 = loss_at_minimum(posterior)
    pairs = paired(posterior, ROWS, loss0)
    assert pairs is not None
    (high, low), slope, variance, work = pairs.loss(jr.key(0), posterior, posterior.w0, None)
    assert abs(float(high + low) - loss0) < 1e-14 and float(variance) == 0
    assert work == ROWS / N and slope is None
    more = pairs.loss(jr.key(0), posterior, posterior.w0, posterior.w0)
    assert more.work == pytest.approx(5 / 3 * ROWS / N) and abs(float(more.slope)) < 1e-13
    assert paired(posterior, N // 4 + 1, loss0) is None and paired(posterior, None, loss0) is None


@pytest.mark.parametrize("record_rows", [ROWS, None])
def test_a_run_that_records_on_batches_gives_the_exact_value(regression, record_rows):
    from lambda_hat_core import Sghmc, estimate_llc

    (x, y), best, hessian = regression
    sampler = Sghmc(record_rows=record_rows, n_draws=1200, n_burn=200)
    found = estimate_llc(squares, best, (x, y), sampler=sampler, progress=False)
    stiff = N / np.log(N) * np.linalg.eigvalsh(hessian)
    exact = 0.5 * np.sum(stiff / (stiff + found.settings["gamma"]))
    assert found.verdict == "ok", found.reasons
    assert found.se is not None and found.se < 0.05 * exact
    assert abs(found.llc - exact) < 4 * found.se
    assert ("loss_variance" in found.trace.stats) == (record_rows is not None)


def of_two(w, batch):
    """Does not accept one row."""
    x, y = batch
    return jnp.mean((x @ w - y) ** 2) + 0.0 * x[0, 0] * jnp.reshape(y[:2], (2,))[1]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(squares, True), (of_two, False)],
)
def test_losses_of_rows_are_used_if_their_mean_is_the_loss(x64, regression, loss, expected):
    assert posterior_of(regression, loss).loss.has_per_example is expected


def test_losses_of_rows_are_those_of_the_function(x64, regression):
    posterior = posterior_of(regression)
    (x, y), w = regression[0], regression[1] + 0.1
    found = posterior.loss.per_example(jnp.asarray(w), posterior.data)
    np.testing.assert_allclose(found, (x @ w - y) ** 2, rtol=1e-10, atol=1e-12)


def audit_at(regression, w, loss=squares):
    from lambda_hat_core.targets.audit import audit
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    problem = problem_of(CustomTarget(w, loss, regression[0], N), "a test")
    return audit(jr.key(0), problem, problem.start, nbeta=300.0, gamma=1.0, rows=ROWS)


def test_a_minimum_of_all_examples_passes_an_audit_on_a_few(x64, regression):
    """The gradient is that of all examples: on the few alone it would be far from 0."""
    found = audit_at(regression, regression[1])
    assert found.reasons == () and found.off_centre_bias < 1e-10
    assert found.work == 1 + 2 * D * ROWS / N + 2 * D


def test_an_audit_on_a_few_examples_finds_a_saddle(x64, regression):
    """The curvature along the lowest directions is that of all examples, here exactly -0.5."""

    def saddle(w, batch):
        return squares(w.at[0].set(regression[1][0]), batch) - 0.25 * (w[0] - regression[1][0]) ** 2

    best = regression[1].copy()
    found = audit_at(regression, best, saddle)
    assert any("eigenvalue -0.5," in reason for reason in found.reasons)


@pytest.mark.parametrize("turned", [False, True])
def test_an_audit_on_a_few_examples_finds_a_saddle_that_their_noise_hides(x64, turned):
    """On 64 rows forty curvatures of 0.02 and one of -0.02 scatter by 0.12."""
    from lambda_hat_core.targets.audit import audit
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    rng = np.random.default_rng(0)
    c = rng.normal(size=(N, 40))
    c += 0.02 - c.mean(axis=0)
    c[:, 0] -= 0.04
    basis = np.linalg.qr(rng.normal(size=(40, 40)))[0] if turned else np.eye(40)

    def saddle(w, batch):
        u = basis @ w
        return jnp.mean(batch @ u**2) / 2 + jnp.sum(u**4)

    for seed in range(3):
        problem = problem_of(CustomTarget(np.zeros(40), saddle, c, N), "a test")
        found = audit(jr.key(seed), problem, problem.start, nbeta=300.0, gamma=1.0, rows=ROWS)
        assert found.spectrum[0] == pytest.approx(-0.02, rel=0.02)
        assert any("falls by" in reason for reason in found.reasons)


def test_an_audit_on_a_few_examples_knows_the_curvature_of_a_rare_feature(x64):
    """Ten rows have it, and a subset has none of them. The fall is as small as the gradient."""
    from lambda_hat_core.targets.audit import audit
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3))
    x[:, 0] = 0
    x[rng.choice(N, 10, replace=False), 0] = 10.0
    y = x @ np.ones(3) + rng.normal(size=N)
    best = np.linalg.lstsq(x, y)[0]
    hessian = 2 * x.T @ x / N
    for off in (0.01, 0.2):
        w = best + np.array([off, 0.0, 0.0])
        g = hessian @ (w - best)
        exact = 300.0**2 / 2 * g @ np.linalg.solve(300.0 * hessian + np.eye(3), g)
        for seed in range(3):
            problem = problem_of(CustomTarget(w, squares, (x, y), N), "a test")
            found = audit(jr.key(seed), problem, problem.start, nbeta=300.0, gamma=1.0, rows=ROWS)
            if found.off_centre_bias > 0.05 or off > 0.1:
                assert found.off_centre_bias == pytest.approx(exact, rel=0.02)
            assert bool(found.reasons) is bool(exact > 0.05)


@pytest.mark.parametrize("loss", [squares, of_two])
def test_a_derivative_of_the_loss_comes_with_it(x64, regression, loss):
    """For a loss with rows, and for one without."""
    posterior = posterior_of(regression, loss)
    w = posterior.w0 + 0.05 * jr.normal(jr.key(1), (D,))
    along = jr.normal(jr.key(2), (D,))
    (high, low), slope = posterior.full_loss_along(w, along)
    assert abs(float(high) + float(low) - float(loss(w, posterior.data))) < 1e-14
    assert float(slope) == pytest.approx(float(jax.grad(loss)(w, posterior.data) @ along))


def test_the_certificate_of_a_noisy_kernel_is_that_of_the_exact_gradient(x64, regression):
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.sample import watch
    from lambda_hat_core.samplers.alternating import alternation
    from lambda_hat_core.samplers.coordinates import identity
    from lambda_hat_core.samplers.gradients import plain
    from lambda_hat_core.samplers.sghmc import SghmcKernel

    posterior = posterior_of(regression)
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    steps, cold = alternation(0.1, 1, posterior.w0, extrapolate=False), jnp.zeros(1)
    found = []
    for batch_size in (16, None):
        kernel = SghmcKernel(
            posterior, plain(posterior, batch_size), identity(posterior), steps,
            jnp.asarray(0.1), cold, "threefry",
        )  # fmt: skip
        state = kernel.init(jr.key(3), posterior.w0 + 0.05)
        found.append(watch(0, posterior, spectrum).record(kernel, jr.key(4), state))
    assert float(found[0]["virial_m"]) == pytest.approx(float(found[1]["virial_m"]), rel=1e-10)
    assert float(found[0]["virial"]) != float(found[1]["virial"])
    assert float(found[0]["recording_work"]) == pytest.approx(2 / 3)
