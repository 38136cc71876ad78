"""Local learning coefficients: targets, samplers, estimates. Importing it imports no JAX."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_hat_core.config.posterior import PosteriorSpec as Posterior
    from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Hmc, Mala, Mclmc, Nuts
    from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
    from lambda_hat_core.config.samplers.tempered import Tempered
    from lambda_hat_core.config.samplers.vi import Vi
    from lambda_hat_core.notebook.along import llc_along
    from lambda_hat_core.notebook.curve import LlcCurve
    from lambda_hat_core.notebook.estimate import estimate_llc
    from lambda_hat_core.notebook.grid import LlcGrid, llc_grid
    from lambda_hat_core.notebook.llc import Llc
    from lambda_hat_core.targets.custom import CustomTarget
    from lambda_hat_core.targets.rows import load_rows
    from lambda_hat_core.targets.weights import load_weights

    __version__: str

__all__ = [
    "AdjustedMclmc",
    "CustomTarget",
    "Hmc",
    "Llc",
    "LlcCurve",
    "LlcGrid",
    "Mala",
    "Mclmc",
    "Nuts",
    "Posterior",
    "Sghmc",
    "Sgld",
    "Sgnht",
    "Tempered",
    "Vi",
    "__version__",
    "estimate_llc",
    "llc_along",
    "llc_grid",
    "load_rows",
    "load_weights",
]

_HOMES = {
    "CustomTarget": ("targets.custom", "CustomTarget"),
    "Llc": ("notebook.llc", "Llc"),
    "Posterior": ("config.posterior", "PosteriorSpec"),
    "LlcCurve": ("notebook.curve", "LlcCurve"),
    "estimate_llc": ("notebook.estimate", "estimate_llc"),
    "load_rows": ("targets.rows", "load_rows"),
    "load_weights": ("targets.weights", "load_weights"),
    "LlcGrid": ("notebook.grid", "LlcGrid"),
    "llc_grid": ("notebook.grid", "llc_grid"),
    "llc_along": ("notebook.along", "llc_along"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("lambda-hat")
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module, attribute = _HOMES.get(name, ("config.samplers.known", name))
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
