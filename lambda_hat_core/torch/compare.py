"""The comparison of a converted module with PyTorch itself, in value and gradient."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.torch.packages import package
from lambda_hat_core.torch.private import Inputs, leaves, refusal

_TOLERANCE = {"float32": 1e-3, "float64": 1e-8}
"""Largest difference, relative to the largest entry of an array; rounding makes 1e-6 and 1e-15."""

_NOTHING = 1e-6
"""Gradients are compared relative to at least this share of the largest one."""


def check_agreement(apply: Callable[..., Any], inputs: Inputs, arrays: Inputs) -> None:
    """Compare output and gradient of `apply` with those of its module in PyTorch.

    The gradient is that of the sum of the outputs, each times a fixed number of order 1.

    Args:
        apply: has `module` and `params`.
        inputs: the example as tensors.
        arrays: the same as arrays.

    Raises:
        ValueError: if one differs by more than rounding; the error has both numbers.
    """
    made: Any = apply
    dtype = next(iter(made.params.values())).dtype.name
    outputs, slopes = _by_torch(made.module, made.params, inputs)
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        found, gradients = _by_jax(apply, made.params, arrays)
    if len(found) != len(outputs):
        did = f"returns {len(outputs)} tensors in PyTorch, but {len(found)} in JAX"
        raise refusal(made.module, did, "it must return tensors, or tuples or dicts of them")
    for index, (theirs, ours) in enumerate(zip(outputs, found, strict=True)):
        _compare(made.module, f"output {index}", theirs, ours, dtype, 0.0)
    largest = max((float(np.abs(slope).max(initial=0.0)) for slope in slopes.values()), default=0.0)
    for name, slope in slopes.items():
        what = f"gradient with respect to {name}"
        _compare(made.module, what, slope, gradients[name], dtype, _NOTHING * largest)


def _factors(shape: tuple[int, ...]) -> np.ndarray:
    """Return the numbers by which outputs are multiplied, the same for both sides."""
    return 1.0 + 0.5 * np.cos(np.arange(int(np.prod(shape)), dtype=np.float64)).reshape(shape)


def _by_torch(
    module: Any, params: Mapping[str, np.ndarray], inputs: Inputs
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    torch = package("torch")
    outputs = leaves(module(*inputs.positional, **inputs.named))
    total = sum(
        (out * torch.from_numpy(_factors(tuple(out.shape))).to(out.dtype)).sum()
        for out in outputs
        if out.is_floating_point()
    )
    parameters = dict(module.named_parameters())
    if not getattr(total, "requires_grad", False):
        raise refusal(
            module,
            "has an output without a gradient with respect to its parameters",
            "it must return floats that depend on them",
        )
    slopes = torch.autograd.grad(total, [parameters[name] for name in params], allow_unused=True)
    return [out.detach().numpy() for out in outputs], {
        name: np.zeros_like(params[name]) if slope is None else slope.numpy()
        for name, slope in zip(params, slopes, strict=True)
    }


def _by_jax(
    apply: Callable[..., Any], params: Mapping[str, np.ndarray], inputs: Inputs
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    def total(params: Any) -> tuple[Any, list[Any]]:
        outputs = jax.tree.leaves(apply(params, *inputs.positional, **inputs.named))
        floats = [out for out in outputs if jnp.issubdtype(out.dtype, jnp.floating)]
        return sum((out * _factors(out.shape).astype(out.dtype)).sum() for out in floats), outputs

    (_, outputs), slopes = jax.jit(jax.value_and_grad(total, has_aux=True))(
        {name: jnp.asarray(value) for name, value in params.items()}
    )
    return [np.asarray(out) for out in outputs], {k: np.asarray(v) for k, v in slopes.items()}


def _compare(
    module: Any, what: str, theirs: np.ndarray, ours: np.ndarray, dtype: str, least: float
) -> None:
    if theirs.shape != ours.shape:
        did = f"does not agree: {what} has shape {theirs.shape} in PyTorch, {ours.shape} in JAX"
        raise refusal(module, did, "it cannot be used")
    if theirs.size == 0:
        return
    off = np.abs(np.asarray(theirs, np.float64) - np.asarray(ours, np.float64))
    if not np.isfinite(off).all():
        did = f"does not give finite numbers on the example: {what}"
        raise refusal(module, did, "every number must be finite: correct the weights, or example")
    scale = max(float(np.abs(theirs).max()), least)
    if off.max() <= _TOLERANCE[dtype] * scale:
        return
    at = np.unravel_index(np.argmax(off), off.shape)
    raise refusal(
        module,
        f"does not agree: {what} is {theirs[at]:.6g} in PyTorch, but {ours[at]:.6g} in JAX",
        "its forward does what JAX cannot see, as torch.no_grad() and .data do: leave it out, or "
        "write .detach() where a gradient must stop",
    )
