"""Independent draws from fitted families, with all scalars that a trace records."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Scalar

from lambda_hat_core import precision
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.control import quadratic, quadratic_mean
from lambda_hat_core.vi.family import join

_AT_ONCE = 8
"""Most draws that are evaluated together, which limits the memory of the full-data passes."""

DRAW_WORK = 1 + 1 / 3
"""Full-gradient evaluations per draw: its loss and the gradient of the virial certificate."""


class Evaluated(NamedTuple):
    """The results, float64 arrays on the host with axes (restart, draw) unless stated otherwise.

    Attributes:
        loss: L_n(w) on the full data, with float64 sums.
        dist2: |w - w*|^2.
        projections: components along the monitor's directions, which are a third axis.
        virial: (w - w*) . grad U / d.
        virial_m: (w - w*) . M grad U / tr M.
        log_q: log q(w).
        control: h of the twin, from `control.quadratic`.
        control_mean: its exact mean, with axis (restart,).
    """

    loss: np.ndarray
    dist2: np.ndarray
    projections: np.ndarray
    virial: np.ndarray
    virial_m: np.ndarray
    log_q: np.ndarray
    control: np.ndarray
    control_mean: np.ndarray


@eqx.filter_jit
def _evaluate(
    keys: Key[Array, " restart"],
    params: PyTree,
    static: PyTree,
    posterior: Posterior,
    chart: Chart,
    spectrum: Spectrum,
    monitor: Monitor,
    n_draws: int,
) -> tuple[dict[str, Array], Float[Array, " restart"]]:
    at_once = max(k for k in range(1, _AT_ONCE + 1) if n_draws % k == 0)

    def restart(inputs: tuple) -> tuple[dict[str, Array], Scalar]:
        key, params = inputs
        family = join(params, static)
        trace = jnp.sum(monitor.weights)
        trace = jnp.where(trace > 0, trace, 1.0)

        def one(index: Array) -> dict[str, Array]:
            points, log_q, twins = family.draw(jr.fold_in(key, index), 1)
            delta = chart.displacement(points[0])
            w = posterior.w0 + delta
            high, low = posterior.full_loss(w)
            gradient = posterior.potential_grad(w, posterior.data)
            along = (monitor.vectors @ delta) * (monitor.vectors @ gradient)
            return {
                "high": high,
                "low": low,
                "dist2": jnp.sum(delta**2),
                "projections": monitor.projections @ delta,
                "virial": delta @ gradient / delta.size,
                "virial_m": jnp.sum(monitor.weights * along) / trace,
                "log_q": log_q[0] - chart.log_det,
                "control": quadratic(spectrum, chart.displacement(twins[0])),
            }

        draws = jax.lax.map(one, jnp.arange(n_draws), batch_size=at_once)
        return draws, quadratic_mean(spectrum, chart, family.moment())

    with precision.of(posterior.w0):
        return jax.lax.map(restart, (keys, params))


def evaluate(
    keys: Key[Array, " restart"],
    params: PyTree,
    static: PyTree,
    posterior: Posterior,
    chart: Chart,
    spectrum: Spectrum,
    monitor: Monitor,
    n_draws: int,
) -> Evaluated:
    """Draw `n_draws` points from the family of every restart and evaluate them on all data."""
    with precision.mixed():
        found = _evaluate(keys, params, static, posterior, chart, spectrum, monitor, n_draws)
    out, mean = jax.device_get(found)
    values = {name: np.asarray(value, np.float64) for name, value in out.items()}
    loss = values.pop("high") + values.pop("low")
    return Evaluated(loss=loss, control_mean=np.asarray(mean, np.float64), **values)
