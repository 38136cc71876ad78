"""Checks of a user's loss, which is evaluated once at its params, with one-sentence errors."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.posterior import Loss
from lambda_hat_core.types import Batch, Weights

_UNSEEN = 0.05
"""Difference in nbeta L_n(w*) that is too small to affect an estimate."""

_SIGNATURE = "loss(params, batch) returns a scalar, the mean over rows"


def refusal(maker: str, did: str, rule: str) -> ValueError:
    """Return the error that the target written by `maker` violates a rule."""
    return ValueError(f"{maker} {did}; {rule}")


def check_loss(
    maker: str, loss: Callable[[Weights, Batch], Any], params: Any, start: Weights, data: Batch
) -> float:
    """Return the loss at the start.

    Args:
        maker: the name of the function that made the target, for errors.
        loss: the user's loss as a function of flat vectors.
        params: the params as the user wrote them.
        start: the params as a flat vector.
        data: all examples.

    Raises:
        ValueError: if the loss is invalid; the error names the maker, the mistake, the rule and the
            correction.
    """

    @eqx.filter_jit
    def evaluate(w: Weights, batch: Batch) -> Any:
        return loss(w, batch)

    try:
        found = evaluate(start, data)
    except (MemoryError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:
        raise _explained(maker, error, params) from error
    if isinstance(found, tuple | list | dict):
        did = f"has a loss that returns a {type(found).__name__} of {len(found)}"
        raise refusal(maker, did, f"{_SIGNATURE}, and nothing else: leave metrics out")
    if np.shape(found) != ():
        raise refusal(maker, f"has a loss that returns shape {np.shape(found)}", _SIGNATURE)
    if not jnp.issubdtype(jnp.result_type(found), jnp.floating):
        did = f"has a loss that returns {jnp.result_type(found).name}"
        raise refusal(maker, did, "it must be a float, to have a gradient")
    value = float(found)
    if not math.isfinite(value):
        did = f"has a loss of {value} at its params"
        raise refusal(maker, did, "the loss must be finite there")
    return value


def check_same(maker: str, loss: Loss, w: Weights, data: Batch, in_float64: float, n: int) -> None:
    """Reject a loss whose value in this precision differs from its value in float64.

    jax.random draws different numbers in float32 than in float64. Params and data are stored, so
    they stay the same, but numbers that the loss itself draws or closes over do not.

    Raises:
        ValueError: if the values differ; the error names the maker and both values.
    """
    here = float(eqx.filter_jit(loss.mean)(w, data))
    unseen = _UNSEEN / PosteriorSpec().resolved_nbeta(n) + 1e-4 * abs(in_float64)
    if not abs(here - in_float64) <= unseen:
        raise refusal(
            maker,
            f"has L_n(w*) = {here:.6g} in {w.dtype.name}, but {in_float64:.6g} in float64",
            "what the loss uses must not be drawn by jax.random in the default dtype: put it in "
            "data, or use numpy",
        )


def _explained(maker: str, error: Exception, params: Any) -> ValueError:
    if isinstance(error, jax.errors.TracerArrayConversionError):
        did = "has a loss that calls NumPy on params or batch"
        return refusal(maker, did, "JAX cannot differentiate NumPy: write jnp for np there")
    if isinstance(error, jax.errors.ConcretizationTypeError):
        did = "has a loss whose Python code depends on values of params or batch (if, float, int)"
        return refusal(maker, did, "JAX compiles it for all values: use jnp.where, or jax.lax.cond")
    words = " ".join(str(error).split())
    did = f"has a loss that raised {type(error).__name__}: {words[:300]}"
    training = _training_layers(params)
    if training:
        way_out = "the loss is that of the trained network: pass eqx.nn.inference_mode(params)"
        return refusal(maker, f"{did} (params contain {training} in training mode)", way_out)
    return refusal(maker, did, f"{_SIGNATURE}, and works under jax.jit")


def _training_layers(params: Any) -> str:
    """Return the names of the layers, such as dropout, that are in training mode."""
    found: dict[str, None] = {}

    def note(node: Any) -> bool:
        if isinstance(node, eqx.Module) and getattr(node, "inference", None) is False:
            found[type(node).__name__] = None
        return False

    jax.tree.leaves(params, is_leaf=note)
    return ", ".join(found)
