"""A private copy of a module, in evaluation mode, whose forward is a function of its parameters.

The copy is what `from_torch` holds, so that training the module further changes nothing, and so
that the module's own mode and device stay as they are.
"""

import copy
from typing import Any, NamedTuple

import numpy as np

from lambda_hat_core.torch.packages import package

_RULE = "the loss must be the same function of the parameters at every call"


class Inputs(NamedTuple):
    """The arguments of a module's forward."""

    positional: tuple[Any, ...]
    named: dict[str, Any]


def refusal(module: Any, did: str, way_out: str) -> ValueError:
    """Return the error that a module cannot be used, and what to change."""
    return ValueError(f"from_torch: {type(module).__name__} {did}; {way_out}")


def inputs_of(example: Any) -> Inputs:
    """Return an example as arguments: a tuple is positional, a dict is named, else it is one."""
    if isinstance(example, dict):
        return Inputs((), example)
    return Inputs(tuple(example) if isinstance(example, tuple | list) else (example,), {})


def tensors(inputs: Inputs) -> Inputs:
    """Return the arguments with every array as a tensor in main memory."""
    torch = package("torch")

    def tensor(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.detach().cpu()
        return torch.from_numpy(np.array(leaf)) if hasattr(leaf, "__array__") else leaf

    return Inputs(*torch.utils._pytree.tree_map(tensor, tuple(inputs)))


def private_copy(module: Any) -> Any:
    """Return a copy of a module in main memory and in evaluation mode, all tensors registered.

    Raises:
        ValueError: if it is not a module, has no parameters yet, mixes precisions, or cannot be
            copied.
    """
    torch = package("torch")
    if not isinstance(module, torch.nn.Module):
        words = f"from_torch: module is a {type(module).__name__}; it must be a torch.nn.Module"
        raise ValueError(words)
    for name, parameter in module.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            raise refusal(
                module, f"has no value yet for {name}", "call module(example) once before"
            )
    _check_dtypes(module)
    try:
        made = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:
        did = f"cannot be copied ({' '.join(str(error).split())[:200]})"
        way_out = (
            "it keeps a tensor that was computed from its parameters: compute it in forward, or "
            "write weight norm by torch.nn.utils.parametrizations"
        )
        raise refusal(module, did, way_out) from error
    for part in made.modules():
        loose = {k: v for k, v in vars(part).items() if isinstance(v, torch.Tensor)}
        for name, value in loose.items():
            delattr(part, name)
            part.register_buffer(name, value.detach(), persistent=False)
    return made


def check_steady(module: Any, inputs: Inputs) -> Any:
    """Call a copy twice and return its output, if nothing changes from call to call.

    Raises:
        ValueError: if a buffer or the output changes.
    """
    torch = package("torch")
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad():
        first, again = (module(*inputs.positional, **inputs.named) for _ in range(2))
    for name, buffer in module.named_buffers():
        if name not in before or not torch.equal(buffer, before[name]):
            raise refusal(
                module,
                f"changes its buffer {name} in forward, in evaluation mode too",
                f"{_RULE}: change it only if self.training",
            )
    same = [
        a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(leaves(first), leaves(again), strict=True)
    ]
    if not all(same):
        raise refusal(
            module,
            "returns another output at its second call, in evaluation mode",
            f"{_RULE}: give F.dropout training=self.training, draw no random numbers in forward, "
            "and keep nothing from call to call",
        )
    return first


def leaves(output: Any) -> list[Any]:
    """Return the tensors of an output."""
    torch = package("torch")
    found = torch.utils._pytree.tree_flatten(output)[0]
    return [leaf for leaf in found if isinstance(leaf, torch.Tensor)]


def _check_dtypes(module: Any) -> None:
    """Refuse half precision, and single beside double precision."""
    found: dict[str, str] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_complex():
            raise refusal(module, f"has complex numbers in {name}", "its arrays must be real")
        if tensor.is_floating_point():
            found.setdefault(str(tensor.dtype).removeprefix("torch."), name)
    if not set(found) <= {"float32"} and not set(found) <= {"float64"}:
        listed = ", ".join(f"{dtype} ({name})" for dtype, name in found.items())
        raise refusal(
            module,
            f"has arrays of {listed}",
            "all must be float32, or all float64: pass copy.deepcopy(module).float()",
        )
