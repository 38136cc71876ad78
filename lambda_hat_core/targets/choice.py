"""The loss that a spec refers to, given the data of a target."""

from lambda_hat_core.config.compatible import noise_scale
from lambda_hat_core.config.data import DataSpec, Synthetic
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.training import LossName
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import Network

_STUDENT_DF = 4.0
"""Degrees of freedom for data without such a setting: the default of synthetic noise."""


def supervised(network: Network, data: DataSpec, name: LossName, sigma: float | None) -> Supervised:
    """Return the loss `name` of a network on `data`; if `sigma` is None, the data's noise scale.

    Raises:
        Misfit: if the loss needs a noise scale, and neither the data nor `sigma` has one.
    """
    if name in ("mse", "cross_entropy"):
        return Supervised(network, name)
    scale = sigma or noise_scale(data)
    if scale is None:
        rule = f"it needs a noise scale, and these {data.kind} data have no noise_scale > 0"
        raise Misfit("posterior.loss", name, rule, "write posterior.sigma, or choose mse")
    if name == "gaussian":
        return Supervised(network, name, sigma=scale)
    df = data.student_df if isinstance(data, Synthetic) else _STUDENT_DF
    return Supervised(network, name, sigma=scale, df=df)
