"""The interface of a family q of densities over u, in the coordinates of the chart."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import paramax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from lambda_hat_core.types import Weights


class FamilyDraws(NamedTuple):
    """Points u from q, log q(u), and the twins of the points.

    The twin of a point is the point itself or a Gaussian variable correlated with it. Its second
    moment is known, so that it can serve as control variate.
    """

    u: Float[Array, "sample d"]
    log_q: Float[Array, " sample"]
    twin: Float[Array, "sample d"]


class Moment(NamedTuple):
    """E[v v^T] = P diag(diagonal) P + factors^T factors for a twin v.

    P projects out the first `latent` vectors of the chart.
    """

    diagonal: Weights
    factors: Float[Array, "m d"]
    latent: int


class Family(eqx.Module):
    """A density with reparametrised draws. `paramax.NonTrainable` marks fixed parameters."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, count: int) -> FamilyDraws:
        """Draw `count` points, for evaluation."""
        ...

    @abstractmethod
    def draw_sticking(
        self, key: PRNGKeyArray, count: int
    ) -> tuple[Float[Array, "sample d"], Float[Array, " sample"]]:
        """Draw u and log q(u), which is differentiable only through u."""
        ...

    @abstractmethod
    def log_density(self, u: Weights) -> Scalar:
        """Return the normalised log q(u)."""
        ...

    @abstractmethod
    def moment(self) -> Moment:
        """Return the second moment of the twins."""
        ...

    def score_log_density(self, u: Weights) -> Scalar:
        """Return log q(u) as a function of the parameters in which draws are not differentiable."""
        return jnp.zeros((), u.dtype)

    def regulariser(self) -> Scalar:
        """Return the term that is added to the ELBO in the objective."""
        return jnp.zeros(())

    def weights_entropy(self) -> Scalar:
        """Return the entropy of the mixture weights, 0 if there is no mixture."""
        return jnp.zeros(())


def split(family: PyTree) -> tuple[PyTree, PyTree]:
    """Return the fitted arrays of a family, or of a part of one, and everything else."""
    return eqx.partition(
        family,
        eqx.is_inexact_array,
        is_leaf=lambda node: isinstance(node, paramax.NonTrainable),
    )


def join(params: PyTree, static: PyTree) -> Family:
    """Undo `split` and remove the wrappers of fixed parameters."""
    return paramax.unwrap(eqx.combine(params, static))


def frozen[T](tree: T) -> T:
    """Return the same values as constants of differentiation."""
    return jax.tree.map(
        lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree
    )
