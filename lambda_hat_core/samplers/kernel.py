"""The protocol of every Markov chain sampler."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.types import Weights

Stats = dict[str, Array]
"""What a step reports: `work` (full-gradient evaluations) always; `n_steps`, `diverging`,
`acceptance_rate`, `energy`, `energy_error` if the sampler has them; arrays over replicas or pairs
of them if it has replicas."""

ONE_CHAIN_AT_A_TIME = 1000
"""Dimension d from which a device runs its chains one after the other: the state of one chain fits
the cache, its matrix products are not batched, and no chain waits for another chain's tree. Of
kernels whose chains advance together, it holds for their gradients."""


class Kernel(eqx.Module):
    """A tuned Markov kernel: arrays are data, everything else is static and equal by value."""

    posterior: eqx.AbstractVar[Posterior]

    @property
    def together(self) -> bool:
        """Whether chains advance step by step beside each other, however large d is."""
        return False

    @property
    def has_noise(self) -> bool:
        """Whether `gradient` is that of a batch."""
        return False

    @abstractmethod
    def init(self, key: PRNGKeyArray, w: Weights) -> Any:
        """Return the state of a chain that starts at w."""
        ...

    @abstractmethod
    def step(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Stats]:
        """Advance one step."""
        ...

    @abstractmethod
    def position(self, state: Any) -> Weights:
        """Return w."""
        ...

    @abstractmethod
    def gradient(self, key: PRNGKeyArray, state: Any) -> tuple[Weights, float]:
        """Return an unbiased estimate of grad U(w) at the position, and what it cost."""
        ...


@compiled
def positions(kernel: Kernel, states: Any) -> Float[Array, "chain d"]:
    """Return w of every chain."""
    return jax.vmap(kernel.position)(states)


class Tuned(NamedTuple):
    """What `build` returns.

    Attributes:
        kernel: the kernel, which is fixed from then on.
        positions: positions of the chains after adaptation, as `Kernel.init` takes them.
        work: full-gradient evaluations that all chains spent on adaptation.
        info: step size and the like, plain Python values.
        failure: why the kernel cannot be trusted, or None.
    """

    kernel: Kernel
    positions: Float[Array, "chain ..."]
    work: float
    info: dict[str, Any]
    failure: str | None = None
