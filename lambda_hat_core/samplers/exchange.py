r"""Replica exchange over nbeta (Nagata & Watanabe 2008, doi:10.1016/j.neunet.2007.11.002).

A chain has replicas at nbeta_0 > nbeta_1 > ... > nbeta_K with the same gamma. In every step each of
them moves by a kernel of its own, and then neighbours exchange their positions with probability

    min(1, exp((nbeta_i - nbeta_j) (L(w_i) - L(w_j)))),

pairs (0, 1), (2, 3), ... and pairs (1, 2), (3, 4), ... in turn, which is faster than at random
(Syed et al. 2022, arXiv:1905.02939). At nbeta = 0 a replica is drawn from the localiser itself.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel
from lambda_hat_core.samplers.hmc import HmcKernel
from lambda_hat_core.samplers.kernel import Kernel, Stats
from lambda_hat_core.samplers.mala import MalaKernel
from lambda_hat_core.samplers.nuts import NutsKernel
from lambda_hat_core.types import Weights

Move = Literal["hmc", "mala", "nuts"]
_DOUBLINGS = 7
"""Of the trees of `nuts`. All replicas wait for the longest tree."""


class Rungs(eqx.Module):
    """What differs between the replicas of a chain, coldest first.

    Attributes:
        nbeta: n beta.
        widths: of the metric along each of its vectors.
        rest: width in all directions that the vectors leave out.
        step_size: in units of the widths; what it means depends on the kernel.
    """

    nbeta: Float[Array, " replica"]
    widths: Float[Array, "replica k"]
    rest: Float[Array, " replica"]
    step_size: Float[Array, " replica"]


class Replicas(NamedTuple):
    """The state of a chain.

    Attributes:
        w: positions.
        loss: L_n there.
        slope: its gradient.
        returning: 1 if what is now at this replica was at the hottest one after it was last at the
            coldest one, else 0.
        t: number of steps so far.
    """

    w: Float[Array, "replica d"]
    loss: Float[Array, " replica"]
    slope: Float[Array, "replica d"]
    returning: Float[Array, " replica"]
    t: Scalar


class TemperedKernel(Kernel):
    """One step moves every replica and lets half of the neighbours exchange their positions.

    Attributes:
        posterior: that of the coldest replica.
        rungs: the ladder with the metric and the step size of every replica.
        vectors: orthonormal vectors of all metrics.
        move: how replicas move.
        n_leapfrog: mean number of leapfrog steps of `hmc`.
        has_reference: whether the hottest replica has nbeta 0.
    """

    posterior: Posterior
    rungs: Rungs
    vectors: Float[Array, "k d"]
    move: Move = eqx.field(static=True)
    n_leapfrog: int = eqx.field(static=True)
    has_reference: bool = eqx.field(static=True)

    def init(self, key: PRNGKeyArray, w: Array) -> Replicas:
        """Start all replicas at w, or each of them at its own row of w."""
        del key
        nbeta = self.rungs.nbeta
        w = jnp.broadcast_to(w, (nbeta.size, w.shape[-1]))
        loss, slope = jax.vmap(self._evaluated)(w)
        return Replicas(w, loss, slope, jnp.zeros_like(nbeta), jnp.zeros((), w.dtype))

    def step(self, key: PRNGKeyArray, state: Replicas) -> tuple[Replicas, Stats]:
        """Move all replicas, then exchange."""
        move_key, reference_key, exchange_key = jr.split(key, 3)
        (w, loss, slope), work, accepted = self._moved(move_key, reference_key, state)
        rate = self._exchange_rates(loss)
        pair, size = jnp.arange(rate.size), loss.size
        is_taken = (jr.uniform(exchange_key, rate.shape, rate.dtype) < rate) & (
            pair % 2 == state.t % 2
        )
        taken = is_taken.astype(pair.dtype)
        source = jnp.arange(size) + jnp.pad(taken, (0, 1)) - jnp.pad(taken, (1, 0))
        w, loss, slope, returning = (x[source] for x in (w, loss, slope, state.returning))
        round_trips = returning[0]
        returning = returning.at[0].set(0.0).at[-1].set(1.0)
        stats = {
            "work": work,
            "acceptance_rate": accepted[0],
            "replica_acceptance": accepted,
            "replica_loss": loss,
            "exchange_rate": rate,
            "round_trips": round_trips,
        }
        return Replicas(w, loss, slope, returning, state.t + 1), stats

    def position(self, state: Replicas) -> Weights:
        """Return w of the coldest replica."""
        return state.w[0]

    def gradient(self, key: PRNGKeyArray, state: Replicas) -> tuple[Weights, float]:
        """Return grad U of the coldest replica, which its state already holds."""
        del key
        posterior, away = self.posterior, state.w[0] - self.posterior.w0
        return posterior.nbeta * state.slope[0] + posterior.tether_grad(away), 0.0

    def _evaluated(self, w: Weights) -> tuple[Scalar, Weights]:
        return jax.value_and_grad(self.posterior.loss.mean)(w, self.posterior.data)

    def _moved(
        self, key: PRNGKeyArray, reference_key: PRNGKeyArray, state: Replicas
    ) -> tuple[tuple[Array, Array, Array], Scalar, Array]:
        """Return position, loss and gradient of every replica, the work, the acceptance rates."""
        count = state.loss.size - self.has_reference
        rungs = jax.tree.map(lambda x: x[:count], self.rungs)
        before = jax.tree.map(lambda x: x[:count], (state.w, state.loss, state.slope))
        after, work, accepted = jax.vmap(self._move)(jr.split(key, count), rungs, *before)
        if not self.has_reference:
            return after, jnp.sum(work), accepted
        noise = jr.normal(reference_key, self.posterior.w0.shape, self.posterior.w0.dtype)
        w = self.posterior.centre + noise / jnp.sqrt(self.posterior.gamma)
        drawn = (w, *self._evaluated(w))
        joined = [jnp.concatenate([x, y[None]]) for x, y in zip(after, drawn, strict=True)]
        return (joined[0], joined[1], joined[2]), jnp.sum(work) + 1, jnp.append(accepted, 1.0)

    def _move(
        self, key: PRNGKeyArray, rung: Rungs, w: Weights, loss: Scalar, slope: Weights
    ) -> tuple[tuple[Weights, Scalar, Weights], Scalar, Scalar]:
        """Take one step of a replica's own kernel, whose state is made from w, L and grad L."""
        kernel, at = self._kernel(rung), self.posterior
        away = w - at.w0
        state: Any = jax.eval_shape(kernel.init, key, w)
        state = type(state)(
            kernel.coordinates.to_u(w),
            -rung.nbeta * loss - at.tether(away),
            -kernel.coordinates.apply(rung.nbeta * slope + at.tether_grad(away)),
        )
        state, stats = kernel.step(key, state)
        w = kernel.position(state)
        away = w - at.w0
        loss = (-state.logdensity - at.tether(away)) / rung.nbeta
        slope = (kernel.gradient(key, state)[0] - at.tether_grad(away)) / rung.nbeta
        return (w, loss, slope), stats["work"], jnp.nan_to_num(stats["acceptance_rate"], nan=0.0)

    def _kernel(self, rung: Rungs) -> HamiltonianKernel:
        at = self.posterior
        posterior = Posterior(at.w0, at.data, rung.nbeta, at.gamma, at.loss, at.n, at.prior)
        coordinates = Coordinates(
            at.w0,
            jnp.full_like(at.w0, rung.rest),
            self.vectors,
            rung.widths - rung.rest,
            1 / rung.widths - 1 / rung.rest,
        )
        if self.move == "nuts":
            return NutsKernel(posterior, coordinates, rung.step_size, _DOUBLINGS)
        if self.move == "mala":
            return MalaKernel(posterior, coordinates, rung.step_size)
        return HmcKernel(posterior, coordinates, rung.step_size, self.n_leapfrog)

    def _exchange_rates(self, loss: Float[Array, " replica"]) -> Float[Array, " pair"]:
        """Return with which probability each pair of neighbours would exchange its positions."""
        nbeta = self.rungs.nbeta
        rise = (nbeta[:-1] - nbeta[1:]) * (loss[:-1] - loss[1:])
        return jnp.exp(jnp.minimum(jnp.nan_to_num(rise, nan=-jnp.inf, neginf=-jnp.inf), 0.0))
