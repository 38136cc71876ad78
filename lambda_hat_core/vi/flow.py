"""Normalising flows on the flat, under-determined directions (flowjax), near the identity at first.

`realnvp` couples halves affinely (Dinh et al. 2017), `maf` is affine autoregressive (Papamakarios
et al. 2017), `nsf_ar` bends by monotone rational-quadratic splines (Durkan et al. 2019). All are
built so that drawing is one pass.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import AbstractTransformed, Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from lambda_hat_core.config.samplers import Vi
from lambda_hat_core.vi.family import split
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


def _flow(key: PRNGKeyArray, kind: str, k: int, depth: int, width: int) -> AbstractTransformed:
    base = Normal(jnp.zeros(k), jnp.ones(k))
    match kind:
        case "realnvp":
            flow = coupling_flow(
                key, base_dist=base, flow_layers=depth, nn_width=width, invert=False
            )
        case _:
            bend = RationalQuadraticSpline(knots=_KNOTS, interval=_INTERVAL)
            flow = masked_autoregressive_flow(
                key,
                base_dist=base,
                transformer=bend if kind == "nsf_ar" else None,
                flow_layers=depth,
                nn_width=width,
                invert=False,
            )
    return _near_identity(flow).merge_transforms()


@functools.cache
def _architecture(kind: str, k: int, depth: int, width: int, dtype: Any) -> PyTree:
    """All but the fitted arrays: the same object every time, so that compilations are found."""
    del dtype
    return split(_flow(jr.key(0), kind, k, depth, width))[1]


def build(key: PRNGKeyArray, spec: Vi, vectors: Float[Array, "k d"]) -> Lifted:
    """Return the family at its start, the Laplace Gaussian to about 1 %.

    Permutations between layers depend on the architecture alone, initial weights on the key.

    Raises:
        ValueError: if a coupling flow is asked for on a single direction.
    """
    k, d = vectors.shape
    if spec.flow_type == "realnvp" and k < 2:
        raise ValueError(
            f"vi.flow_type is realnvp, but the flow has {k} direction, which cannot be split in "
            "two; choose maf or nsf_ar, or d_latent >= 2"
        )
    shape = (spec.flow_type, k, spec.flow_depth, spec.flow_hidden)
    params, _ = split(_flow(key, *shape))
    return Lifted(
        flow=eqx.combine(params, _architecture(*shape, vectors.dtype)),
        vectors=paramax.NonTrainable(vectors),
        log_scale=jnp.zeros(d, vectors.dtype),
    )
