"""The result of a sampler: scalars of every draw, the work they cost, never the weights."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped


class Trace(NamedTuple):
    """The draws kept of one run, burn-in already dropped, as numpy arrays on the host.

    Losses are full-data means in float64 whatever the run's dtype. Axes are (chain, draw); for
    variational inference (`iid`) a chain is a restart and its draws are independent.

    Attributes:
        loss: L_n(w) over all n examples, in the loss's own unit (nats for a likelihood).
        dist2: |w - w*|^2 in the original coordinates.
        projections: (w - w*) . u_k on a few fixed random unit vectors u_k.
        virial: (w - w*) . grad U(w) / d with U = -log p; its mean is 1 at equilibrium. None where
            the sampler does not compute it.
        virial_m: (w - w*)^T M grad U(w) / tr M, M = nbeta H (nbeta H + gamma)^-1. None likewise.
        cumulative_fge: full-gradient evaluations spent by ALL chains when this draw was made,
            set-up included; with `work` of the same unit.
        seconds: wall seconds since the run began when this draw was made, set-up included.
        stats: what the sampler reports per draw: energy, diverging, acceptance_rate, n_steps.
        loss0: L_n(w*).
        nbeta: n beta.
        gamma: localiser.
        n: examples.
        d: parameters.
        work: full-gradient evaluations by purpose; their sum is the total.
        seconds_total: wall seconds of the whole run.
        info: what was used and what set-up found, JSON-able: batch_size (null: the full batch),
            step_size, h_max, metric, noise, ledger.
        failure: why the run stopped early, or None; the arrays then hold what was drawn.
        iid: whether draws are independent and R-hat and ESS mean nothing.
        extras: arrays of other shapes: elbo (restart, step), khat (restart,); restart_loss and
            restart_loss_se (restart,), a mean loss and its error from a control variate.
    """

    loss: Float[np.ndarray, "chain draw"]
    dist2: Float[np.ndarray, "chain draw"]
    projections: Float[np.ndarray, "chain draw k"]
    virial: Float[np.ndarray, "chain draw"] | None
    virial_m: Float[np.ndarray, "chain draw"] | None
    cumulative_fge: Float[np.ndarray, " draw"]
    seconds: Float[np.ndarray, " draw"]
    stats: dict[str, Shaped[np.ndarray, "chain draw"]]
    loss0: float
    nbeta: float
    gamma: float
    n: int
    d: int
    work: dict[str, float]
    seconds_total: float
    info: dict[str, Any]
    failure: str | None = None
    iid: bool = False
    extras: Mapping[str, Shaped[np.ndarray, "..."]] = MappingProxyType({})

    @property
    def llc(self) -> Float[np.ndarray, "chain draw"]:
        """The draws of nbeta (L_n(w) - L_n(w*)); their mean is the estimate."""
        return self.nbeta * (self.loss - self.loss0)

    @property
    def work_fge(self) -> float:
        """Full-gradient evaluations of the whole run, all chains and purposes."""
        return float(sum(self.work.values()))
