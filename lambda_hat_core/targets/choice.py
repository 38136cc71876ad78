"""The loss that a spec refers to, given the data of a target."""

from lambda_hat_core.config.data import DataSpec, Synthetic
from lambda_hat_core.config.training import LossName
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import Network

_STUDENT_DF = 4.0
"""Degrees of freedom for data without such a setting: the default of synthetic noise."""


def default_loss(data: DataSpec) -> LossName:
    """Return cross_entropy for class labels, else mse."""
    return "cross_entropy" if data.kind == "digits" else "mse"


def supervised(network: Network, data: DataSpec, name: LossName, sigma: float | None) -> Supervised:
    """Return the loss `name` of a network on `data`; if `sigma` is None, the data's noise scale.

    Raises:
        ValueError: if the loss does not fit the labels, or there is no noise scale.
    """
    if (name == "cross_entropy") != (data.kind == "digits"):
        labels = "class labels" if data.kind == "digits" else "real labels"
        raise ValueError(
            f"loss is {name}, but {data.kind} data have {labels}; choose {default_loss(data)}"
        )
    if name in ("mse", "cross_entropy"):
        return Supervised(network, name)
    scale = sigma if sigma is not None else getattr(data, "noise_scale", None)
    if not scale:
        raise ValueError(
            f"loss {name} needs a noise scale, and {data.kind} data give {scale}; set "
            "posterior.sigma > 0, or choose mse"
        )
    if name == "gaussian":
        return Supervised(network, name, sigma=scale)
    df = data.student_df if isinstance(data, Synthetic) else _STUDENT_DF
    return Supervised(network, name, sigma=scale, df=df)
