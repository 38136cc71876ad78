"""What a family q of densities over u must offer, in the chart where Laplace is N(0, I)."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import paramax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from lambda_hat_core.types import Weights


class Family(eqx.Module):
    """A density with reparametrised draws. `paramax.NonTrainable` marks what is not fitted."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, count: int) -> Float[Array, "{count} d"]:
        """Draw `count` points, differentiable in the parameters."""
        ...

    @abstractmethod
    def log_density(self, u: Weights) -> Scalar:
        """Log q(u), normalised."""
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

    @abstractmethod
    def known_part(self, u: Weights) -> Weights:
        """Return P u, the part of u whose second moment is known in closed form.

        P projects out the first `known_moment()[2]` vectors of the chart.
        """
        ...

    @abstractmethod
    def known_moment(self) -> tuple[Weights, Float[Array, "m d"], int]:
        """D, F and a number of chart vectors, with E[P u (P u)^T] = P (D + F^T F) P."""
        ...


def split(family: Family) -> tuple[PyTree, PyTree]:
    """Return the fitted arrays and the rest."""
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
