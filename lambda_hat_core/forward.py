"""Derivatives along a direction, also of functions that have a rule for gradients alone.

Forward mode is the cheap way. A function with `jax.custom_vjp` has no forward mode. But its
pullback u -> J^T u is linear, and the pullback of that is v -> J v, if both of its rules can be
differentiated themselves. Hessian products need that too.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Push = Callable[[Any], Array]


def jvp(function: Callable[[Any], Array], w: Any, v: Any) -> tuple[Array, Array]:
    """Return function(w) and J v."""
    if _has_forward(function, w):
        return jax.jvp(function, (w,), (v,))
    value, push = _by_reverse(function, w)
    return value, push(v)


def linearize(function: Callable[[Any], Array], w: Any) -> tuple[Array, Push]:
    """Return function(w) and v -> J v."""
    if _has_forward(function, w):
        return jax.linearize(function, w)
    return _by_reverse(function, w)


def _by_reverse(function: Callable[[Any], Array], w: Any) -> tuple[Array, Push]:
    value, pull = jax.vjp(function, w)

    def push(v: Any) -> Array:
        return jax.vjp(lambda u: pull(u)[0], jnp.zeros_like(value))[1](v)[0]

    return value, push


def _has_forward(function: Callable[[Any], Array], w: Any) -> bool:
    """Return whether no part of a function has a rule for gradients alone.

    JAX says so only when it lowers the derivative, which is too late to choose another.
    """
    return "custom_vjp_call" not in str(jax.make_jaxpr(function)(w))
