"""What a family q of densities over u must offer, in the chart where Laplace is N(0, I)."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import paramax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from lambda_hat_core.types import Weights


class FamilyDraws(NamedTuple):
    """Points u from q, log q(u), and their twins.

    A twin is Gaussian or the point itself, moves with the point, and has a known second moment:
    it carries the control variate.
    """

    u: Float[Array, "sample d"]
    log_q: Float[Array, " sample"]
    twin: Float[Array, "sample d"]


class Moment(NamedTuple):
    """E[v v^T] = P diag(diagonal) P + factors^T factors, v a twin.

    P projects out the first `latent` vectors of the chart.
    """

    diagonal: Weights
    factors: Float[Array, "m d"]
    latent: int


class Family(eqx.Module):
    """A density with reparametrised draws. `paramax.NonTrainable` marks what is not fitted."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, count: int) -> FamilyDraws:
        """Draw `count` points, for evaluation."""
        ...

    @abstractmethod
    def draw_sticking(
        self, key: PRNGKeyArray, count: int
    ) -> tuple[Float[Array, "sample d"], Float[Array, " sample"]]:
        """Draw u and log q(u), the latter differentiable through u alone."""
        ...

    @abstractmethod
    def log_density(self, u: Weights) -> Scalar:
        """Log q(u), normalised."""
        ...

    @abstractmethod
    def moment(self) -> Moment:
        """Second moment of the twins."""
        ...

    def score_log_density(self, u: Weights) -> Scalar:
        """Log q(u) as a function of the parameters that draws are not differentiable in."""
        return jnp.zeros((), u.dtype)

    def regulariser(self) -> Scalar:
        """What the objective gains besides the ELBO."""
        return jnp.zeros(())

    def weights_entropy(self) -> Scalar:
        """Entropy of the mixture weights, 0 where there is no mixture."""
        return jnp.zeros(())


def split(family: PyTree) -> tuple[PyTree, PyTree]:
    """Return the fitted arrays of a family, or of a part of one, and the rest."""
    return eqx.partition(
        family,
        eqx.is_inexact_array,
        is_leaf=lambda node: isinstance(node, paramax.NonTrainable),
    )


def join(params: PyTree, static: PyTree) -> Family:
    """Undo `split`, wrappers resolved."""
    return paramax.unwrap(eqx.combine(params, static))


def frozen[T](tree: T) -> T:
    """Return the same values, constant under differentiation."""
    return jax.tree.map(
        lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree
    )
