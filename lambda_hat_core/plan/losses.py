"""Chooses the loss that a target is trained with and the loss that a run samples from."""

from lambda_hat_core.config.compatible import OWN_LOSS, check_loss, default_loss, noise_scale
from lambda_hat_core.config.data import DataSpec
from lambda_hat_core.config.errors import Misfit, Place
from lambda_hat_core.config.model import Custom, ModelSpec
from lambda_hat_core.config.posterior import SELF_LABELLED, PosteriorSpec
from lambda_hat_core.config.sections import Section
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import SCALED

CLASSES = "cross_entropy"


def training_loss(
    model: ModelSpec, data: DataSpec, written: str | None, experiment: str | None
) -> str:
    """Return the loss that decides w*: `training.loss`, else the experiment's, else the data's.

    `gaussian` becomes `mse`, which has the same minimisers and needs no sigma. An experiment that
    is self-labelled trains with the labels of the data.
    """
    own = None if isinstance(model, OWN_LOSS) or experiment == SELF_LABELLED else experiment
    loss = written or own or default_loss(model, data)
    return "mse" if loss == "gaussian" else loss


def run_posterior(
    posterior: PosteriorSpec, part: Section, target: TargetSpec, target_place: Place
) -> PosteriorSpec:
    """Return `posterior` with its loss and sigma on `target`.

    Raises:
        ConfigError: if the target has no such loss, w* does not minimise it, or sigma is missing.
    """
    loss = default_loss(target.model, target.data)
    has_outputs = isinstance(target.model, Custom) and posterior.loss == SELF_LABELLED
    if posterior.loss is not None and (has_outputs or not isinstance(target.model, OWN_LOSS)):
        loss = posterior.loss
    try:
        check_loss("posterior.loss", loss, target.model, target.data)
    except Misfit as misfit:
        raise part.misfit(misfit) from None
    if loss == SELF_LABELLED:
        if posterior.sigma is not None and default_loss(target.model, target.data) == CLASSES:
            rule = f"the outputs of {target_place.path} are those of classes, without a noise scale"
            raise part.error("sigma", rule, "remove sigma")
        return posterior
    sigma = None
    if loss in SCALED:
        sigma = posterior.sigma or noise_scale(target.data)
        if sigma is None:
            raise part.error(
                "loss",
                f"{loss} needs a noise scale, and the data of {target_place.path} "
                f"({target.data.kind}) have no noise_scale > 0",
                "write posterior.sigma",
            )
    _same_minimum(loss, sigma, part, target, target_place)
    return posterior.model_copy(update={"loss": loss, "sigma": sigma})


def _same_minimum(
    loss: str, sigma: float | None, part: Section, target: TargetSpec, target_place: Place
) -> None:
    trained = target.training.loss
    if ("mse" if loss == "gaussian" else loss) != trained:
        raise part.error(
            "loss",
            f"{loss} is not minimised at the w* of {target_place.path}, which is trained with "
            f"{trained}",
            "set loss in the experiment's posterior instead, or training.loss of that target",
        )
    scale = noise_scale(target.data)
    if loss == "student_t" and sigma != scale:
        raise part.error(
            "sigma",
            f"student_t is trained at noise_scale = {scale} in {target_place.path}, so another "
            "sigma has another minimum",
            "remove sigma, or change data.noise_scale",
        )
