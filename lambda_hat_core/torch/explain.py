"""Errors of a module that torchax cannot run, in words that say what to change in the module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from lambda_hat_core.torch.private import refusal


@contextmanager
def explained(module: Any) -> Iterator[None]:
    """Turn what JAX and torchax raise about a module's forward into one sentence.

    Raises:
        ValueError: in place of the error; the error itself is its cause.
    """
    try:
        yield
    except (MemoryError, ValueError) as error:
        if isinstance(error, MemoryError) or str(error).startswith("from_torch: "):
            raise
        raise _in_words(module, error) from error
    except Exception as error:
        # Whatever a user's forward raises under JAX, it is the module that has to be changed.
        raise _in_words(module, error) from error


def _in_words(module: Any, error: Exception) -> ValueError:
    words = " ".join(str(error).split())
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return refusal(
            module,
            "has a forward in which Python code depends on the values of tensors (if, bool, int, "
            ".item())",
            "JAX compiles it for all values: use torch.where; an attention mask needs "
            "is_causal=True (or False) beside it, or PyTorch looks at its values",
        )
    if "mixed math" in words:
        return refusal(
            module,
            "computes with a tensor that is not part of its state, made outside of forward or kept "
            "in a list or dict",
            "register it: self.register_buffer(name, tensor, persistent=False)",
        )
    if type(error).__name__ == "OperatorNotFound":
        return refusal(
            module,
            f"uses an operation that torchax does not translate ({words})",
            "write it with others, or write the network in JAX",
        )
    return refusal(
        module,
        f"cannot be run by JAX ({type(error).__name__}: {words[:300]})",
        "its forward must be made of PyTorch operations on its inputs, parameters and buffers",
    )
