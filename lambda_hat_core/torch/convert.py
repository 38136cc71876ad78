"""`from_torch`: a PyTorch module as a JAX function, through torchax.

torchax runs the module's own forward on JAX arrays, so that one program is traced, differentiated
and compiled as if it had been written in JAX.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.targets.weights import matched
from lambda_hat_core.torch.compare import check_agreement
from lambda_hat_core.torch.explain import explained
from lambda_hat_core.torch.packages import package
from lambda_hat_core.torch.private import (
    Inputs,
    check_steady,
    inputs_of,
    private_copy,
    refusal,
    tensors,
)


@dataclass(frozen=True, eq=False, repr=False)
class Apply:
    """`apply(params, *inputs)`: the forward of a PyTorch module as a function of its parameters.

    It can be differentiated, compiled and mapped by JAX, and computes in the dtype of `params`,
    float32 or float64: buffers and inputs are converted to it. Integers stay integers.

    Attributes:
        module: a private copy of the module, in evaluation mode.
        params: the parameters of the module when it was converted.
        buffers: the arrays that are held fixed: buffers, such as the statistics of batch norm, and
            parameters with `requires_grad=False`.
    """

    module: Any
    params: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray]

    def __call__(self, params: Mapping[str, Any], *inputs: Any, **named: Any) -> Any:
        """Return what the module's forward returns, with JAX arrays for tensors.

        Args:
            params: arrays by dotted name, as `from_torch` returns them.
            inputs: the arguments of forward.
            named: its arguments by name.
        """
        torch = package("torch")
        environment = package("torchax").default_env()
        dtype = jnp.result_type(*params.values())
        arrays = {name: jnp.asarray(value) for name, value in params.items()}
        arrays |= {name: _in(dtype, np.array(value)) for name, value in self.buffers.items()}
        given = jax.tree.map(lambda leaf: _in(dtype, leaf), (inputs, named))
        with environment, torch.device("jax"):
            state, (args, kwargs) = environment.j2t_iso((arrays, given))
            output = torch.func.functional_call(self.module, state, args, kwargs)
        return environment.t2j_iso(output)

    def __repr__(self) -> str:
        """Return the module's class and its number of parameters."""
        d = sum(array.size for array in self.params.values())
        return f"Apply({type(self.module).__name__}, d = {d})"

    def params_of(self, weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the parameters in a `state_dict`, or in what `load_weights` read.

        With them one `apply` serves all checkpoints of a training.

        Raises:
            ValueError: if a parameter is missing, has another shape or is not a float, if there are
                others, or if a buffer has another value than in this function, as the statistics
                of batch norm have along a training: `at` returns the function with those.
        """
        found, fixed = self._divided(weights)
        for name, value in fixed.items():
            if not np.array_equal(value, self.buffers[name]):
                raise refusal(
                    self.module,
                    f"has another {name} in these weights than when it was converted, and buffers "
                    "are held fixed",
                    "write `apply, params = apply.at(weights)`, which takes the buffers too",
                )
        return found

    def at(self, weights: Mapping[str, Any]) -> "tuple[Apply, dict[str, np.ndarray]]":
        """Return the function with the buffers of a `state_dict`, and its parameters.

        Raises:
            ValueError: as `params_of`, except that buffers may have any values.
        """
        found, fixed = self._divided(weights)
        return replace(self, params=found, buffers={**self.buffers, **fixed}), found

    def _divided(
        self, weights: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the parameters and the buffers among weights; tied ones may have either name."""
        own = self.module.state_dict(keep_vars=True)
        first = {id(own[name]): name for name in reversed(own)}
        arrays = {
            first[id(own[name])] if name in own else name: _numpy(value)
            for name, value in weights.items()
        }
        needed = {name: value for name, value in self.buffers.items() if name in own}
        found = matched(arrays, {**self.params, **needed}, "the state_dict")
        return (
            {name: found[name] for name in self.params},
            {name: found[name] for name in needed},
        )


def from_torch(module: Any, example: Any) -> tuple[Apply, dict[str, np.ndarray]]:
    """Return a PyTorch module as a JAX function of its parameters, and those parameters.

    The module is copied and put into evaluation mode, so dropout is off and batch norm uses its
    stored statistics. Value and gradient are compared with PyTorch's own on the example.

    Args:
        module: a `torch.nn.Module` whose parameters are all float32, or all float64.
        example: a few inputs, as tensors or arrays: one array, a tuple of the arguments of forward,
            or a dict of its arguments by name.

    Returns:
        `apply`, called as `apply(params, *inputs)`, and `params`, NumPy arrays by dotted name in
        the order of the module's `state_dict`. Weights that are tied occur once. Parameters with
        `requires_grad=False` are held fixed, as buffers are.

    Raises:
        ModuleNotFoundError: if the extra `torch` is not installed.
        ValueError: if the module cannot be converted, changes from call to call, or does not give
            the same numbers in JAX; the error says why and what to change.
    """
    torch = package("torch")
    made = private_copy(module)
    inputs = tensors(inputs_of(example))
    try:
        check_steady(made, inputs)
    except (TypeError, RuntimeError, IndexError) as error:
        words = " ".join(str(error).split())[:300]
        raise refusal(
            module,
            f"cannot be called on the example in PyTorch ({type(error).__name__}: {words})",
            "example is one array, a tuple of the arguments of forward, or a dict of them by name",
        ) from error
    params = {
        name: _numpy(parameter)
        for name, parameter in made.named_parameters()
        if parameter.requires_grad
    }
    if not params:
        way_out = "nothing is left to sample: module.requires_grad_(True)"
        raise refusal(module, "has no parameter that requires a gradient", way_out)
    state = dict(made.named_parameters()) | dict(made.named_buffers())
    buffers = {name: _numpy(value) for name, value in state.items() if name not in params}
    apply = Apply(made, params, buffers)
    arrays = Inputs(*torch.utils._pytree.tree_map_only(torch.Tensor, _numpy, tuple(inputs)))
    with explained(module):
        _trace_in_the_other_precision(apply, arrays)
        check_agreement(apply, inputs, arrays)
    return apply, dict(params)


def _trace_in_the_other_precision(apply: Apply, inputs: Inputs) -> None:
    """Trace the function in both precisions, in which an estimate evaluates it."""
    for wide in (False, True):
        with jax.enable_x64(wide):
            dtype = np.dtype("float64" if wide else "float32")
            params = {name: value.astype(dtype) for name, value in apply.params.items()}
            jax.eval_shape(lambda p: apply(p, *inputs.positional, **inputs.named), params)


def _in(dtype: Any, leaf: Any) -> Any:
    """Return an array of floats in a dtype, other arrays as JAX arrays, other values unchanged."""
    if not hasattr(leaf, "dtype"):
        return leaf
    array = jnp.asarray(leaf)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _numpy(tensor: Any) -> np.ndarray:
    """Return a copy of a tensor or an array as NumPy array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        return np.array(tensor.numpy())
    return np.array(tensor)
