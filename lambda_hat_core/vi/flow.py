"""Normalising flows on the flat, under-determined directions (flowjax), near the identity at first.

`realnvp` couples halves affinely (Dinh et al. 2017), `maf` is affine autoregressive (Papamakarios
et al. 2017), `nsf_ar` bends by monotone rational-quadratic splines (Durkan et al. 2019). All are
built so that drawing is one pass.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import AbstractTransformed, Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers import Vi
from lambda_hat_core.vi.lift import Lifted

_START = 0.01
"""Factor on each conditioner's last layer: the flow begins within about 1 % of the identity."""
_KNOTS, _INTERVAL = 8, 4.0
"""Splines act within 4 Laplace widths and are the identity beyond."""


def _near_identity(flow: AbstractTransformed) -> AbstractTransformed:
    """Scale down what every conditioner puts out; zero output is the identity."""

    def shrink(node: object) -> object:
        if not isinstance(node, eqx.nn.MLP):
            return node
        last = jax.tree.map(
            lambda leaf: _START * leaf if eqx.is_inexact_array(leaf) else leaf, node.layers[-1]
        )
        return eqx.tree_at(lambda mlp: mlp.layers[-1], node, last)

    return jax.tree.map(shrink, flow, is_leaf=lambda node: isinstance(node, eqx.nn.MLP))


def build(key: PRNGKeyArray, spec: Vi, vectors: Float[Array, "k d"]) -> Lifted:
    """Return the family at its start, the Laplace Gaussian to about 1 %.

    Raises:
        ValueError: if a coupling flow is asked for on a single direction.
    """
    k, d = vectors.shape
    if spec.flow_type == "realnvp" and k < 2:
        raise ValueError(
            f"vi.flow_type is realnvp, but the flow has {k} direction, which cannot be split in "
            "two; choose maf or nsf_ar, or d_latent >= 2"
        )
    base = Normal(jnp.zeros(k, vectors.dtype), jnp.ones(k, vectors.dtype))
    shape = {"flow_layers": spec.flow_depth, "nn_width": spec.flow_hidden, "invert": False}
    match spec.flow_type:
        case "realnvp":
            flow = coupling_flow(key, base_dist=base, **shape)
        case "maf":
            flow = masked_autoregressive_flow(key, base_dist=base, **shape)
        case "nsf_ar":
            spline = RationalQuadraticSpline(knots=_KNOTS, interval=_INTERVAL)
            flow = masked_autoregressive_flow(key, base_dist=base, transformer=spline, **shape)
    return Lifted(
        flow=_near_identity(flow),
        vectors=paramax.NonTrainable(vectors),
        log_scale=jnp.zeros(d, vectors.dtype),
    )
