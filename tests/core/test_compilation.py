"""Programs are compiled once per shape, for all values."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed


@pytest.fixture
def compiled():
    """The names of the programs compiled since the start of the test, in order."""
    names = []

    def listen(event, seconds, *, fun_name="", **facts):
        if event.endswith("backend_compile_duration"):
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def drawn(case, step_size, seed, n_draws):
    from lambda_hat_core.samplers import drive
    from lambda_hat_core.samplers.alternating import alternation
    from lambda_hat_core.samplers.coordinates import identity
    from lambda_hat_core.samplers.gradients import plain
    from lambda_hat_core.samplers.monitor import Monitor
    from lambda_hat_core.samplers.sghmc import SghmcKernel

    posterior = mixed.posterior(case)
    kernel = SghmcKernel(
        posterior,
        plain(posterior, 24),
        identity(posterior),
        alternation(step_size, 2, posterior.w0, extrapolate=True),
        jnp.asarray(0.1),
        jnp.zeros(1),
        "threefry",
    )
    nothing = Monitor(
        jnp.ones((1, mixed.D)), jnp.zeros((1, mixed.D)), jnp.zeros((1,), posterior.w0.dtype)
    )
    return drive.run_chains(
        jr.key(seed),
        kernel,
        nothing,
        jnp.zeros((3, mixed.D)),
        n_draws=n_draws,
        n_burn=1,
        thin=2,
        llc_of=lambda loss: loss,
        setup_work=0.0,
        setup_seconds=0.0,
        progress=lambda at: None,
    ).values["loss"]


def test_one_program_serves_every_chunk_and_every_run_of_a_shape(compiled):
    first = drawn(mixed.quadratic(1.0), 1e-3, seed=0, n_draws=40)
    assert compiled.count("jit(_advance)") == compiled.count("jit(_init)") == 1
    compiled.clear()
    second = drawn(mixed.quadratic(100.0), 2e-3, seed=1, n_draws=38)
    assert compiled == []
    assert first.shape == (3, 39) and second.shape == (3, 37)
    assert not np.any(first[:, :37] == second)


def test_a_program_compiled_quickly_is_the_same_function(x64):
    """Alone, as a part of another program, and for arguments that are too large for it."""
    from lambda_hat_core.programs import SMALL, quickly

    def both(f, x):
        return f(lambda v: jnp.tanh(v) @ v, x), jax.vmap(lambda v: f(jnp.sum, v))(x[None])

    @quickly
    def apply(function, x):
        return function(x)

    for size in (7, SMALL + 1):
        x = jnp.linspace(-1.0, 2.0, size)
        expected = both(lambda f, v: f(v), x)
        for found in (both(apply, x), jax.jit(lambda x: both(apply, x))(x)):
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-13)
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-13)
