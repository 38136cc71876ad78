"""Normalising flows on the flattest directions (flowjax), initially close to the identity.

`realnvp` uses affine coupling layers (Dinh et al. 2017), `maf` affine autoregressive layers
(Papamakarios et al. 2017), and `nsf_ar` monotone rational-quadratic splines (Durkan et al. 2019).
All are oriented so that drawing takes one pass.
"""

import functools
import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import AbstractTransformed, Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.vi.lift import Lifted

_START = 0.01
"""Factor on the last layer of each conditioner: the flow starts within 1 % of the identity."""
_KNOTS, _INTERVAL = 8, 4.0
"""The splines act within 4 Laplace widths and are the identity outside."""


def _draw_weights(key: PRNGKeyArray, flow: AbstractTransformed) -> AbstractTransformed:
    """Draw new weights for every conditioner, with a small last layer (zero: the identity)."""
    count = itertools.count()

    def layer(linear: eqx.nn.Linear, factor: float) -> eqx.nn.Linear:
        fan_in: Any = linear.in_features
        limit = factor / math.sqrt(fan_in)

        def draw(leaf: Any) -> Any:
            if not eqx.is_inexact_array(leaf):
                return leaf
            return jr.uniform(jr.fold_in(key, next(count)), leaf.shape, leaf.dtype, -limit, limit)

        return jax.tree.map(draw, linear)

    def conditioner(node: Any) -> Any:
        if not isinstance(node, eqx.nn.MLP):
            return node
        factors = [1.0] * (len(node.layers) - 1) + [_START]
        layers = tuple(layer(*pair) for pair in zip(node.layers, factors, strict=True))
        return eqx.tree_at(lambda mlp: mlp.layers, node, layers)

    return jax.tree.map(conditioner, flow, is_leaf=lambda node: isinstance(node, eqx.nn.MLP))


@functools.cache
def _architecture(kind: str, k: int, depth: int, width: int, dtype: Any) -> AbstractTransformed:
    """Return the same object for the same arguments, so that compiled programs are reused."""
    base = Normal(jnp.zeros(k, dtype), jnp.ones(k, dtype))
    key = jr.key(0)
    if kind == "realnvp":
        flow = coupling_flow(key, base_dist=base, flow_layers=depth, nn_width=width, invert=False)
    else:
        spline = RationalQuadraticSpline(knots=_KNOTS, interval=_INTERVAL)
        flow = masked_autoregressive_flow(
            key,
            base_dist=base,
            transformer=spline if kind == "nsf_ar" else None,
            flow_layers=depth,
            nn_width=width,
            invert=False,
        )
    return flow.merge_transforms()


def build(key: PRNGKeyArray, spec: Vi, vectors: Float[Array, "k d"]) -> Lifted:
    """Return the initial family, which is the Laplace Gaussian to within about 1 %.

    The permutations between layers depend only on the architecture, the weights on the key.

    Raises:
        ValueError: if a coupling flow is requested for a single direction.
    """
    k, d = vectors.shape
    if spec.flow_type == "realnvp" and k < 2:
        raise ValueError(
            f"vi.flow_type is realnvp, but the flow has {k} direction, which cannot be split in "
            "two; choose maf or nsf_ar, or d_latent >= 2"
        )
    flow = _architecture(spec.flow_type, k, spec.flow_depth, spec.flow_hidden, vectors.dtype)
    return Lifted(
        flow=_draw_weights(key, flow),
        vectors=paramax.NonTrainable(vectors),
        log_scale=jnp.zeros(d, vectors.dtype),
    )
