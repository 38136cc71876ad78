"""Local learning coefficients: targets, samplers, estimates. Importing it imports no JAX."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_hat_core.config.posterior import PosteriorSpec as Posterior
    from lambda_hat_core.config.samplers import (
        AdjustedMclmc,
        Hmc,
        Mala,
        Mclmc,
        Nuts,
        Sghmc,
        Sgld,
        Sgnht,
        Vi,
    )
    from lambda_hat_core.custom import CustomTarget
    from lambda_hat_core.notebook.estimate import estimate_llc
    from lambda_hat_core.notebook.llc import Llc

    __version__: str

__all__ = [
    "AdjustedMclmc",
    "CustomTarget",
    "Hmc",
    "Llc",
    "Mala",
    "Mclmc",
    "Nuts",
    "Posterior",
    "Sghmc",
    "Sgld",
    "Sgnht",
    "Vi",
    "__version__",
    "estimate_llc",
]

_HOMES = {
    "CustomTarget": ("custom", "CustomTarget"),
    "Llc": ("notebook.llc", "Llc"),
    "Posterior": ("config.posterior", "PosteriorSpec"),
    "estimate_llc": ("notebook.estimate", "estimate_llc"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("lambda-hat")
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module, attribute = _HOMES.get(name, ("config.samplers", name))
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
