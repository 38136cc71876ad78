"""Progress messages of the warm-up, and how often they are written."""

import jax.numpy as jnp
import jax.random as jr

from tests.core import mixed


def test_a_warm_up_reports_its_progress(x64):
    """On a narrow ridge the warm-up can take longer than the draws."""
    from lambda_hat_core.samplers import coordinates, mala
    from lambda_hat_core.samplers.averaging import dual_averaging

    posterior = mixed.posterior(mixed.quadratic(1.0))
    kernel = mala.MalaKernel(posterior, coordinates.identity(posterior), jnp.asarray(0.01))
    goal, at = 0.574, jnp.zeros((2, mixed.D))
    said = []
    found = dual_averaging(jr.key(0), kernel, at, 90, goal, said.append)
    assert said == [f"warm-up {step}/90, 1 gradients per step" for step in range(10, 91, 10)]
    assert found.work == 2 * 90


def test_lines_that_come_too_soon_are_dropped():
    from lambda_hat_core.samplers.telling import seldom

    now = [0.0]
    heard = []
    say = seldom(heard.append, lambda: now[0])
    for second, line in ((1.0, "early"), (6.0, "first"), (9.0, "soon"), (12.0, "second")):
        now[0] = second
        say(line)
    assert heard == ["first", "second"]
