"""Local learning coefficients: targets, samplers, estimates. Importing it imports no JAX."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_hat_core.custom import CustomTarget
    from lambda_hat_core.llc import Llc, estimate_llc

__all__ = ["CustomTarget", "Llc", "estimate_llc"]

_HOMES = {"CustomTarget": "custom", "Llc": "llc", "estimate_llc": "llc"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
