"""Checks of a user's loss, which is traced and evaluated at its params; errors are one sentence."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.posterior import Loss, mean_loss
from lambda_hat_core.programs import quickly
from lambda_hat_core.types import Batch, Weights

_UNSEEN = 0.05
"""Difference in nbeta L_n(w*) that is too small to affect an estimate."""

_ROWS = 16
"""Examples on which the losses of single rows are compared with that of the batch."""

_SIGNATURE = "loss(params, batch) returns a scalar, the mean over rows"


def refusal(maker: str, did: str, rule: str) -> ValueError:
    """Return the error that the target written by `maker` violates a rule."""
    return ValueError(f"{maker} {did}; {rule}")


def check_training_layers(maker: str, params: Any) -> None:
    """Reject layers whose outputs are those of training: dropout, and statistics of the batch.

    Raises:
        ValueError: if params contain some; the error names them.
    """
    found = _training_layers(params)
    if found:
        raise refusal(
            maker,
            f"has params that contain {found} in training mode",
            "the loss is that of the trained network, the same for every batch: pass "
            "eqx.nn.inference_mode(params)",
        )


def check_loss(
    maker: str, loss: Callable[[Weights, Batch], Any], start: Weights, data: Batch
) -> None:
    """Reject a loss that JAX cannot trace or that is not a float, without evaluating it.

    Args:
        maker: the name of the function that made the target, for errors.
        loss: the user's loss as a function of flat vectors.
        start: the params as a flat vector.
        data: all examples.

    Raises:
        ValueError: if the loss is invalid; the error names the maker, the mistake, the rule and the
            correction.
    """
    try:
        found = eqx.filter_eval_shape(loss, start, data)
    except MemoryError:
        raise
    except Exception as error:
        raise _explained(maker, error) from error
    if isinstance(found, tuple | list | dict):
        did = f"has a loss that returns a {type(found).__name__} of {len(found)}"
        raise refusal(maker, did, f"{_SIGNATURE}, and nothing else: leave metrics out")
    if not isinstance(found, jax.ShapeDtypeStruct | float | int | np.generic | np.ndarray):
        raise refusal(maker, f"has a loss that returns {type(found).__name__}", _SIGNATURE)
    if np.shape(found) != ():
        raise refusal(maker, f"has a loss that returns shape {np.shape(found)}", _SIGNATURE)
    if not jnp.issubdtype(jnp.result_type(found), jnp.floating):
        did = f"has a loss that returns {jnp.result_type(found).name}"
        raise refusal(maker, did, "it must be a float, to have a gradient")


def check_derivatives(maker: str, loss: Loss, start: Weights, data: Batch) -> None:
    """Reject a loss that JAX cannot differentiate twice, by tracing a Hessian product.

    Raises:
        ValueError: if it cannot; the error says what JAX said.
    """

    def product(w: Weights, data: Batch) -> Weights:
        return jax.jvp(lambda u: jax.grad(loss.mean)(u, data), (w,), (w,))[1]

    did = "has a loss that JAX cannot differentiate twice:"
    rule = "write it in jax.numpy, and the rules of a jax.custom_vjp too"
    traced(maker, lambda: eqx.filter_eval_shape(product, start, data), did, rule)


def traced[T](maker: str, trace: Callable[[], T], did: str, rule: str) -> T:
    """Return what tracing a user's function returns.

    Args:
        maker: the name of the function that made the target.
        trace: traces the function.
        did: begins the error if it raises anything but MemoryError; what it raised follows.
        rule: which is broken then, whatever it raised.
    """
    try:
        return trace()
    except MemoryError:
        raise
    except Exception as error:
        raise refusal(maker, f"{did} {raised(error)}", rule) from error


def averages_rows(loss: Any, start: Weights, data: Batch) -> bool:
    """Return whether the loss of some rows is the mean of the losses of single rows.

    A loss may depend on its batch as a whole, as one that normalises over it does, or may not
    accept one row alone. Both sides are compared on the first rows, at `start` and at a point
    beside it, because at a perfect fit all of them are 0.

    Args:
        loss: has `mean` and `per_example`.
        start: the params as a flat vector.
        data: all examples, or None for a potential.
    """
    if data is None:
        return False
    try:
        eqx.filter_eval_shape(loss.per_example, start, data)
    except Exception:
        # Whatever a user's function raises on a single row means the same: it takes no single rows.
        return False
    together, one_by_one = (np.asarray(x, np.float64) for x in _both_ways(loss, start, data))
    return np.allclose(together, one_by_one, rtol=1e3 * jnp.finfo(start.dtype).eps, atol=0.0)


@quickly
def _both_ways(loss: Any, start: Weights, data: Batch) -> tuple[Array, Array]:
    rows = jax.tree.map(lambda a: a[:_ROWS], data)
    beside = start + 0.01 * jnp.cos(jnp.arange(start.size, dtype=start.dtype))

    def at(w: Weights) -> tuple[Array, Array]:
        return loss.mean(w, rows), loss.per_example(w, rows).mean()

    return jax.lax.map(at, jnp.stack([start, beside]))


def check_value(maker: str, loss: Loss, start: Weights, data: Batch) -> None:
    """Reject a loss that is not finite at the start.

    Raises:
        ValueError: if it is not; the error names the maker and the value.
    """
    value = float(mean_loss(loss, start, data))
    if not math.isfinite(value):
        did = f"has a loss of {value} at its params"
        raise refusal(maker, did, "the loss must be finite there")


def check_same(maker: str, loss: Loss, w: Weights, data: Batch, in_float64: float, n: int) -> None:
    """Reject a loss whose value in this precision differs from its value in float64.

    jax.random draws different numbers in float32 than in float64. Params and data are stored, so
    they stay the same, but numbers that the loss itself draws or closes over do not.

    Raises:
        ValueError: if the values differ; the error names the maker and both values.
    """
    here = float(mean_loss(loss, w, data))
    unseen = _UNSEEN / PosteriorSpec().resolved_nbeta(n) + 1e-4 * abs(in_float64)
    if not abs(here - in_float64) <= unseen:
        raise refusal(
            maker,
            f"has L_n(w*) = {here:.6g} in {w.dtype.name}, but {in_float64:.6g} in float64",
            "what the loss uses must not be drawn by jax.random in the default dtype: put it in "
            "data, or use numpy",
        )


def _explained(maker: str, error: Exception) -> ValueError:
    if isinstance(error, jax.errors.TracerArrayConversionError):
        did = "has a loss that calls NumPy on params or batch"
        return refusal(maker, did, "JAX cannot differentiate NumPy: write jnp for np there")
    if isinstance(error, jax.errors.ConcretizationTypeError):
        did = "has a loss whose Python code depends on values of params or batch (if, float, int)"
        return refusal(maker, did, "JAX compiles it for all values: use jnp.where, or jax.lax.cond")
    did = f"has a loss that raised {raised(error)}"
    return refusal(maker, did, f"{_SIGNATURE}, and works under jax.jit")


def raised(error: Exception) -> str:
    """Return what a user's code raised, in one line that is not too long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _training_layers(params: Any) -> str:
    """Return the names of the layers, such as dropout, that are in training mode."""
    found: dict[str, None] = {}

    def note(node: Any) -> bool:
        off = getattr(node, "p", None) == 0  # dropout of nothing
        if isinstance(node, eqx.Module) and getattr(node, "inference", None) is False and not off:
            found[type(node).__name__] = None
        return False

    jax.tree.leaves(params, is_leaf=note)
    return ", ".join(found)
