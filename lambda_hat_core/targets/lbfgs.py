"""L-BFGS with the weak Wolfe line search of Lewis & Overton (2013), which copes with kinks.

Bisection finds a step that decreases the loss enough (Armijo) and has reached a flatter slope (weak
Wolfe). The derivative along the step is not interpolated, so kinks of ReLU networks do no harm.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Scalar

from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import compiled
from lambda_hat_core.types import Batch, Weights

MEMORY = 20
"""Number of pairs stored; according to Nocedal & Wright (2006), 3 to 20 suffice."""
_ARMIJO, _WOLFE = 1e-4, 0.9
"""The constants of both conditions: Nocedal & Wright (2006), section 3.1, quasi-Newton."""
_EVALUATIONS = 40
"""Most bisections per line search; after more the step is of the size of rounding errors."""


class LbfgsState(NamedTuple):
    """A point, its loss and gradient, and the last pairs (unused ones have rho = 0)."""

    w: Weights
    loss: Scalar
    gradient: Weights
    moves: Float[Array, "m d"]
    changes: Float[Array, "m d"]
    rho: Float[Array, " m"]
    evaluations: Int[Array, ""]
    stuck: Array


class _Search(NamedTuple):
    low: Scalar
    high: Scalar
    t: Scalar
    loss: Scalar
    gradient: Weights
    tried: Array
    done: Array


def _direction(state: LbfgsState) -> Weights:
    """Two-loop recursion."""
    q = state.gradient

    def backward(q: Weights, pair: tuple) -> tuple[Weights, Scalar]:
        move, change, rho = pair
        alpha = rho * (move @ q)
        return q - alpha * change, alpha

    pairs = (state.moves, state.changes, state.rho)
    q, alphas = jax.lax.scan(backward, q, pairs, reverse=True)
    curvature = state.changes[-1] @ state.changes[-1]
    norm = jnp.linalg.norm(state.gradient)
    scale = jnp.where(
        state.rho[-1] > 0,
        1 / jnp.maximum(state.rho[-1] * curvature, 1e-300),
        1 / jnp.maximum(norm, 1.0),
    )

    def forward(r: Weights, pair: tuple) -> tuple[Weights, None]:
        move, change, rho, alpha = pair
        return r + move * (alpha - rho * (change @ r)), None

    r, _ = jax.lax.scan(forward, scale * q, (*pairs, alphas))
    return jnp.where(r @ state.gradient > 0, -r, -scale * state.gradient)


@compiled
def start(loss: Loss, w: Weights, data: Batch) -> LbfgsState:
    """Return the state at w, with an empty memory."""
    value, gradient = jax.value_and_grad(loss.mean)(w, data)
    empty = jnp.zeros((MEMORY, w.size), w.dtype)
    return LbfgsState(
        w,
        value,
        gradient,
        empty,
        empty,
        jnp.zeros(MEMORY, w.dtype),
        jnp.asarray(1),
        value > jnp.inf,
    )


@compiled
def advance(
    loss: Loss, state: LbfgsState, data: Batch, iterations: int, grad_tol: Scalar
) -> LbfgsState:
    """Take up to `iterations` steps; stop early at |grad| <= grad_tol or without progress."""

    def evaluate(w: Weights) -> tuple[Scalar, Weights]:
        return jax.value_and_grad(loss.mean)(w, data)

    def search(state: LbfgsState, direction: Weights) -> _Search:
        slope = state.gradient @ direction

        def bisect(s: _Search) -> _Search:
            value, gradient = evaluate(state.w + s.t * direction)
            falls = value <= state.loss + _ARMIJO * s.t * slope
            flat = gradient @ direction >= _WOLFE * slope
            low, high = jnp.where(falls, s.t, s.low), jnp.where(falls, s.high, s.t)
            following = jnp.where(jnp.isfinite(high), 0.5 * (low + high), 2 * low)
            done = falls & flat
            return _Search(
                low, high, jnp.where(done, s.t, following), value, gradient, s.tried + 1, done
            )

        zero = jnp.zeros_like(state.loss)
        begin = _Search(
            zero, zero + jnp.inf, zero + 1, state.loss, state.gradient, jnp.asarray(0), zero > 1
        )
        return jax.lax.while_loop(lambda s: ~s.done & (s.tried < _EVALUATIONS), bisect, begin)

    def step(carry: tuple[LbfgsState, Array]) -> tuple[LbfgsState, Array]:
        state, i = carry
        direction = _direction(state)
        found = search(state, direction)
        move = found.t * direction
        change = found.gradient - state.gradient
        rho = 1 / jnp.maximum(move @ change, 1e-300)
        moved = LbfgsState(
            state.w + move,
            found.loss,
            found.gradient,
            jnp.roll(state.moves, -1, 0).at[-1].set(move),
            jnp.roll(state.changes, -1, 0).at[-1].set(change),
            jnp.roll(state.rho, -1).at[-1].set(rho),
            state.evaluations + found.tried,
            found.done & False,
        )
        kept = state._replace(evaluations=state.evaluations + found.tried, stuck=~found.done)
        return jax.tree.map(lambda a, b: jnp.where(found.done, a, b), moved, kept), i + 1

    def unfinished(carry: tuple[LbfgsState, Array]) -> Array:
        state, i = carry
        moving = jnp.linalg.norm(state.gradient) > grad_tol
        return moving & ~state.stuck & (i < iterations)

    return jax.lax.while_loop(unfinished, step, (state, jnp.asarray(0)))[0]
