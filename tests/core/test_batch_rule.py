"""The batch that `batch_size: auto` chooses once the noise of batches has been measured."""

import dataclasses

import numpy as np
import pytest

from lambda_hat_core.config.samplers.stochastic import Sghmc

PROBE, HEAT, PEAK = 64, 2.5, 8.0
RULE = {"power": 2, "heat": HEAT, "fraction": 0.1, "lag": 1.0, "peak": PEAK, "budget": 0.05}
PER_EXAMPLE = PROBE * HEAT * (0.1 / PEAK) / 0.05
"""Examples that a unit of noise takes, at the step that curvature allows."""


def modes(noise):
    """Return two directions that make the llc, and one without loss whose noise does not count."""
    from lambda_hat_core.samplers.modes import Modes

    values = [2, 1, 5], [8, 4, 1], [1, 0.5, 0], [noise, noise, 1e9], [1, 1, 1]
    return Modes(*(np.array(row, float) for row in values))


def posterior(n):
    from tests.core import vicases

    return vicases.posterior(np.zeros((n, 10)), np.zeros(n), np.zeros(10), 0)


def chosen(needed, *, n=100_000, step_size="auto", llc=None, **changes):
    from lambda_hat_core.samplers.batches import batch_for

    spec = Sghmc(step_size=step_size)
    at = posterior(n)
    return batch_for(at, modes(needed / PER_EXAMPLE), PROBE, spec, RULE | changes, llc)


@pytest.mark.parametrize(
    ("needed", "size"), [(0.0, 128), (100, 128), (129, 256), (256 - 1e-6, 256), (1000, 1024)]
)
def test_the_batch_is_the_next_power_of_two_and_at_least_128(needed, size):
    assert chosen(needed) == size


def test_noise_beyond_the_metric_may_heat_the_llc_by_a_tenth():
    """The five directions that are left over have noise 1e9 each, half of which would count."""
    heated = 0.5 * HEAT * (0.1 / PEAK) * 5e9
    assert chosen(0.0, llc=heated * PROBE / 51.2) == 512
    assert chosen(1000, llc=heated * PROBE / 51.2) == 1024
    assert chosen(0.0, llc=None) == 128


def test_more_than_half_of_the_examples_are_all_of_them():
    assert chosen(1000, n=2048) == 1024
    assert chosen(1000, n=2047) is None
    assert chosen(1, n=256) == 128
    assert chosen(1, n=255) is None


def test_a_step_that_is_written_decides_and_so_does_an_old_gradient():
    written = (4 * 0.1 / PEAK) ** 0.5
    assert chosen(200, step_size=written) == 1024
    assert chosen(1000, lag=4.0) == 256


def test_without_curvature_there_is_the_default_and_without_data_no_batch():
    assert chosen(1000, peak=0.0, n=257) == 256
    assert chosen(1000, peak=0.0, n=256) is None
    from lambda_hat_core.samplers.batches import batch_for

    potential = dataclasses.replace(posterior(1000), data=None)
    assert batch_for(potential, modes(1.0), PROBE, Sghmc(), RULE, None) is None


@pytest.mark.parametrize("needed", [140, 500, 1000, 3000])
def test_the_batch_is_the_smallest_whose_step_curvature_limits(needed):
    from lambda_hat_core.samplers.stepsize import automatic

    size = chosen(needed)
    found = modes(needed / PER_EXAMPLE)

    def limit(batch):
        noise = found.noise * PROBE / batch
        return automatic(found._replace(noise=noise), **RULE)[1]

    assert limit(size) == "curvature"
    assert limit(size // 2) == "minibatch noise"
