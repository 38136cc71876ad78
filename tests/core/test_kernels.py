"""The step of every sampler: its protocol, its gradients, and the work that it reports."""

import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed
from tests.core.test_samplers import MCMC, QUADRATICS, STOCHASTIC

KEEPS = {
    f"{kind}{form}" for kind in ("sgld", "sghmc", "sgnht") for form in ("", " none", " kronecker")
}
"""Samplers that record the gradient of the next step, which is of a batch drawn after the point."""

W = np.linspace(0.01, 0.03, mixed.D) * (-1.0) ** np.arange(mixed.D)
"""Away from zero: a rotation rounds every coordinate at the size of the whole vector."""


@pytest.mark.parametrize("name", MCMC)
def test_states_keep_their_shapes_in_both_precisions(name, dtype):
    _, kernel = built(name)
    key, w = jr.key(1), jnp.asarray(W)
    assert w.dtype == dtype
    state = jax.eval_shape(kernel.init, key, w)
    after, stats = jax.eval_shape(kernel.step, key, state)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (state, after))
    assert shapes[0] == shapes[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves((after, stats))} == {dtype}


@pytest.mark.parametrize("name", MCMC)
def test_positions_are_kept_and_gradients_are_those_of_the_potential(name, dtype):
    spec, kernel = built(name)

    @jax.jit
    def once(key, w):
        state = kernel.init(key, w)
        keys = jr.split(key, 4000 if name in STOCHASTIC else 1)

        def recorded(key):
            return kernel.gradient(key, kernel.init(key, w) if name in KEEPS else state)

        gradients, cost = jax.vmap(recorded)(keys)
        exact = jax.grad(kernel.posterior.potential)(w)
        return kernel.position(state), gradients, cost[0], exact

    back, gradients, cost, exact = once(jr.key(1), jnp.asarray(W))
    exact = np.asarray(exact)
    np.testing.assert_allclose(back, W, rtol=1e-4 if dtype == "float32" else 1e-10)
    if name in STOCHASTIC:
        assert float(cost) == (0.0 if name in KEEPS else spec["batch_size"] / mixed.N)
        error = np.std(gradients, axis=0) / math.sqrt(4000)
        assert (error < 0.05 * np.abs(exact).max()).all()
        assert (np.abs(np.mean(gradients, axis=0) - exact) < 5 * error).all()
    else:
        assert float(cost) == 0
        np.testing.assert_allclose(gradients[0], exact, atol=1e-4 * np.abs(exact).max())


def built(name):
    """Return a kernel whose adaptation is as short as possible."""
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers import (
        adjusted_mclmc,
        coordinates,
        exchange,
        hmc,
        mala,
        mclmc,
        nuts,
        overdamped,
        sghmc,
        sgld,
        sgnht,
    )
    from lambda_hat_core.samplers.alternating import alternation
    from lambda_hat_core.samplers.gradients import plain

    posterior = mixed.posterior(QUADRATICS["condition 1e6"])
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    space = coordinates.laplace(posterior, spectrum)
    step = jnp.asarray(0.1, posterior.w0.dtype)
    small = jnp.asarray(1e-5, posterior.w0.dtype)
    spec = MCMC[name]
    parts = (posterior, space, step)
    cold = jnp.zeros(mixed.D + 1, small.dtype)
    steps = alternation(0.1, 1, small, extrapolate=True)
    metric = coordinates.damped(posterior, spectrum, 5.0)
    if spec.get("precond") == "none":
        metric, cold = coordinates.identity(posterior), cold[:1]
    ladder = jnp.asarray([mixed.NBETA, 100.0, 0.0], small.dtype)
    widths = jnp.broadcast_to(space.scale[0] + space.extra, (3, space.extra.size))
    rungs = exchange.Rungs(ladder, widths, widths[:, 0], 0.1 + 0 * ladder)
    noisy = (posterior, plain(posterior, 24), metric, steps)
    kernels = {
        "nuts": lambda: nuts.NutsKernel(*parts, 5),
        "hmc": lambda: hmc.HmcKernel(*parts, 8),
        "mala": lambda: mala.MalaKernel(*parts),
        "adjusted_mclmc": lambda: adjusted_mclmc.AdjustedMclmcKernel(*parts, 10 * step),
        "mclmc": lambda: mclmc.MclmcKernel(*parts, 10 * step, "isokinetic_velocity_verlet"),
        "sgld": lambda: overdamped.OverdampedKernel(
            *noisy, cold, cold + 1, spec.get("integrator", "leimkuhler_matthews"), "threefry"
        ),
        "sghmc": lambda: sghmc.SghmcKernel(*noisy, step, cold, "threefry"),
        "sgnht": lambda: sgnht.SgnhtKernel(*noisy, step, "threefry"),
        "tempered": lambda: exchange.TemperedKernel(
            posterior, rungs, spectrum.vectors, "hmc", 4, True
        ),
    }
    if spec.get("precond") in ("rmsprop", "adam"):
        kernel = sgld.SgldKernel(posterior, small, small, Sgld.model_validate(spec), 24)
        return spec, kernel
    return spec, kernels[spec["kind"]]()


@pytest.mark.parametrize(
    ("name", "integrator"),
    [
        ("mclmc", "isokinetic_mclachlan"),
        ("mclmc", "isokinetic_velocity_verlet"),
        ("adjusted_mclmc", None),
        ("nuts", None),
        ("hmc", None),
        ("mala", None),
        ("sghmc", None),
        ("sgnht", None),
        ("sgld", None),
    ],
)
def test_the_reported_work_is_the_number_of_gradients(name, integrator, x64, monkeypatch):
    """The loss counts its gradients, which must equal the reported work."""
    count = []
    mean = mixed.Mixed.mean

    def counted(self, w, batch):
        jax.debug.callback(lambda: count.append(1))
        return mean(self, w, batch)

    spec, kernel = built(name)
    if integrator:
        kernel = type(kernel)(
            kernel.posterior, kernel.coordinates, kernel.step_size, kernel.length, integrator
        )
    init = jax.jit(lambda key, w: kernel.init(key, w))
    state = init(jr.key(0), kernel.posterior.w0 + 0.01)
    monkeypatch.setattr(mixed.Mixed, "mean", counted)
    _, stats = jax.jit(lambda key, state: kernel.step(key, state))(jr.key(1), state)
    jax.effects_barrier()
    per_gradient = spec.get("batch_size", mixed.N) / mixed.N
    assert len(count) * per_gradient == pytest.approx(float(stats["work"]))
