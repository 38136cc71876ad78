"""Local learning coefficients: targets, samplers, estimates. Importing it imports no JAX."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_hat_core.custom import CustomTarget

__all__ = ["CustomTarget"]

_HOMES = {"CustomTarget": "custom"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
