"""The result of a sampler: scalars of every draw and the work that they cost, but no weights."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from lambda_hat_core.samplers.moments import Observed


class Trace(NamedTuple):
    """The draws of one run after burn-in, as numpy arrays on the host.

    If a loss is not finite, all draws up to the end of that chunk are kept, burn-in included.
    Losses are full-data means in float64 for any dtype of the run. Axes are (chain, draw); for
    variational inference (`iid`) a chain is a restart and its draws are independent.

    Attributes:
        loss: L_n(w) over all n examples, in the loss's own unit (nats for a likelihood).
        dist2: |w - w*|^2 in the original coordinates.
        projections: (w - w*) . u_k on a few fixed random unit vectors u_k.
        virial: (w - w*) . grad U(w) / d with U = -log p; its mean is 1 at equilibrium. None if the
            sampler does not compute it.
        virial_m: (w - w*)^T M grad U(w) / tr M, M = nbeta H (nbeta H + gamma)^-1; with a
            metric in a product basis M has H's diagonal there. None if H has no
            positive eigenvalue, or if the sampler does not compute it.
        cumulative_fge: full-gradient evaluations of ALL chains up to this draw, set-up included, in
            the unit of `work`.
        seconds: wall seconds from the beginning of the run to this draw, set-up included.
        stats: what the sampler reports per draw: energy, diverging, acceptance_rate, n_steps; with
            a third axis what it reports of every replica, coldest first (replica_loss,
            replica_acceptance), or of every pair of neighbours (exchange_rate).
        loss0: L_n(w*).
        nbeta: n beta.
        gamma: localiser.
        n: examples.
        d: parameters.
        work: full-gradient evaluations by purpose; their sum is the total.
        seconds_total: wall seconds of the whole run.
        info: the settings that were used and the findings of the set-up, as JSON values:
            batch_size (null: the full batch), step_size, h_max, metric, noise, ledger, and
            loss_dtype, in which the losses of rows were evaluated.
        failure: why the run failed, or None: a loss was not finite, so that the run stopped early,
            or a tuning was not confirmed.
        iid: whether the draws are independent, so that R-hat and ESS do not apply.
        extras: arrays of other shapes: elbo (restart, step), khat (restart,); restart_loss and
            restart_loss_se (restart,), a mean loss and its error from a control variate.
        observed: what the observables recorded; None if there are none, or the run failed.
        prior: precision of a prior about 0; None if there is none.
    """

    loss: Float[np.ndarray, "chain draw"]
    dist2: Float[np.ndarray, "chain draw"]
    projections: Float[np.ndarray, "chain draw k"]
    virial: Float[np.ndarray, "chain draw"] | None
    virial_m: Float[np.ndarray, "chain draw"] | None
    cumulative_fge: Float[np.ndarray, " draw"]
    seconds: Float[np.ndarray, " draw"]
    stats: dict[str, Shaped[np.ndarray, "chain draw ..."]]
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
    observed: Observed | None = None
    prior: float | None = None

    @property
    def llc(self) -> Float[np.ndarray, "chain draw"]:
        """The draws of nbeta (L_n(w) - L_n(w*)); their mean is the estimate."""
        return self.nbeta * (self.loss - self.loss0)

    @property
    def work_fge(self) -> float:
        """Full-gradient evaluations of the whole run, all chains and purposes."""
        return float(sum(self.work.values()))
