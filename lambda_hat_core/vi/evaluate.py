"""Independent draws from fitted families, with all scalars that a trace records."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, PyTree, Scalar

from lambda_hat_core import precision
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers.loop import Part, to_host
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.control import quadratic, quadratic_mean
from lambda_hat_core.vi.family import join

_AT_ONCE = 8
"""Most draws that are evaluated together, which limits the memory of the full-data passes."""

CHUNK = 128
"""Draws per restart between two visits of the host, if a stop rule ends them: enough, after the two
chunks before its first look, for a k-hat."""

DRAW_WORK = 1 + 1 / 3
"""Full-gradient evaluations per draw: its loss and the gradient of the virial certificate."""


class Drawn(eqx.Module):
    """Families that are fitted, and what their draws are measured with.

    Attributes:
        keys: of the draws of every restart.
        params: the fitted parameters of all restarts.
        static: what they have in common.
    """

    keys: Key[Array, " restart"]
    params: PyTree
    static: PyTree
    posterior: Posterior
    chart: Chart
    spectrum: Spectrum
    monitor: Monitor

    def draws(self, indices: Int[np.ndarray, " draw"]) -> Part:
        """Draw the points with these numbers from every restart, and measure them on all data.

        A draw depends on its number and not on the others. Beside what every run records, `log_q`
        is log q(w) and `control` is h of the twin, from `control.quadratic`; with a prior, `tether`
        is what it and the localiser add to U(w).
        """
        with precision.mixed():
            part = to_host(_draws(self, jnp.asarray(indices)))
        part["work"] = np.full(part["loss"].shape, DRAW_WORK)
        seen = self.monitor.observables
        extra = 0.0 if seen is None else seen.work(self.posterior.n)
        part["recording_work"] = np.full(part["loss"].shape, extra)
        return part

    def control_means(self) -> Float[np.ndarray, " restart"]:
        """Return the exact mean of `control` for every restart."""
        return np.asarray(_control_means(self), np.float64)


@compiled
def _draws(drawn: Drawn, indices: Int[Array, " draw"]) -> dict[str, Array]:
    posterior, chart, monitor = drawn.posterior, drawn.chart, drawn.monitor
    at_once = max(k for k in range(1, _AT_ONCE + 1) if indices.size % k == 0)
    trace = jnp.sum(monitor.weights)
    trace = jnp.where(trace > 0, trace, 1.0)

    def restart(inputs: tuple[PRNGKeyArray, PyTree]) -> dict[str, Array]:
        key, params = inputs
        family = join(params, drawn.static)

        def one(index: Array) -> dict[str, Array]:
            points, log_q, twins = family.draw(jr.fold_in(key, index), 1)
            delta = chart.displacement(points[0])
            w = posterior.w0 + delta
            high, low = posterior.full_loss(w)
            gradient = posterior.potential_grad(w, posterior.data)
            along = monitor.along(delta) * monitor.along(gradient)
            shifted = {} if posterior.prior is None else {"tether": posterior.tether(delta)}
            return {
                **shifted,
                "loss_high": high,
                "loss_low": low,
                "dist2": jnp.sum(delta**2),
                "projections": monitor.projections @ delta,
                "virial": delta @ gradient / delta.size,
                "virial_m": jnp.sum(monitor.weights * along) / trace,
                "log_q": log_q[0] - chart.log_det,
                "control": quadratic(drawn.spectrum, chart.displacement(twins[0])),
                **monitor.observed(posterior, w, (high, low)),
            }

        return jax.lax.map(one, indices, batch_size=at_once)

    with precision.of(posterior.w0):
        return jax.lax.map(restart, (drawn.keys, drawn.params))


@compiled
def _control_means(drawn: Drawn) -> Float[Array, " restart"]:
    def restart(params: PyTree) -> Scalar:
        moment = join(params, drawn.static).moment()
        return quadratic_mean(drawn.spectrum, drawn.chart, moment)

    return jax.lax.map(restart, drawn.params)
