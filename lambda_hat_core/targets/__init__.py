"""Targets: a trained minimum w*, its data, its audit, and the coefficient if it is known."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_hat_core.targets.building import BuiltTarget, build
    from lambda_hat_core.targets.finite import oracle
    from lambda_hat_core.targets.storage import load, load_observed, save

__all__ = ["BuiltTarget", "build", "load", "load_observed", "oracle", "save"]

_HOMES = {
    "BuiltTarget": "building",
    "build": "building",
    "load": "storage",
    "load_observed": "storage",
    "oracle": "finite",
    "save": "storage",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
