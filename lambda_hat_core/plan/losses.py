"""Which loss a target trains with, and which a run samples from."""

from lambda_hat_core.config.data import DataSpec, Synthetic
from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.sections import Section
from lambda_hat_core.config.spec import TargetSpec

OWN_LOSS = ("quadratic", "normal_crossing", "custom")
"""Kinds that bring their loss with them; an experiment's choice of loss does not concern them."""

_SCALED = ("gaussian", "student_t")


def loss_for(model_kind: str, data: DataSpec, asked: str | None, part: Section) -> str:
    """Return the loss that `asked` (or null) means for a target; `part` is where it was asked.

    Raises:
        ConfigError: if the target's data cannot have that loss.
    """
    if model_kind in OWN_LOSS:
        return "own"
    if asked == "own":
        raise part.error(
            "loss", f"'{model_kind}' has no loss of its own", "write mse, gaussian or leave it out"
        )
    if data.kind == "digits":
        if asked not in (None, "cross_entropy"):
            raise part.error(
                "loss",
                "the digits' labels are classes",
                "write cross_entropy, or leave loss out so that each target takes its own",
            )
        return "cross_entropy"
    if asked == "cross_entropy":
        raise part.error(
            "loss",
            f"the labels of {data.kind} data are numbers, not classes",
            "write mse, gaussian or student_t, or leave loss out",
        )
    return asked or "mse"


def training_loss(model_kind: str, data: DataSpec, part: Section, experiment: Section) -> str:
    """Return the loss that decides w*: training.loss, else the experiment's.

    `gaussian` is stored as `mse`, which has the same minimisers and needs no sigma.
    """
    asked = part.values.get("loss")
    asker = experiment if asked is None else part
    if asked not in (None, "own") and model_kind in OWN_LOSS:
        raise part.error("loss", f"'{model_kind}' brings its own loss", "remove it")
    loss = loss_for(model_kind, data, asker.values.get("loss"), asker)
    if loss == "student_t" and _noise_scale(data) is None:
        raise asker.error(
            "loss",
            f"student_t needs a scale to train with, and {data.kind} data have no noise_scale > 0",
            "write gaussian or mse",
        )
    return "mse" if loss == "gaussian" else loss


def run_posterior(
    posterior: PosteriorSpec, part: Section, target: TargetSpec, target_place: Place
) -> PosteriorSpec:
    """Return `posterior` with the loss and sigma it has on `target`, and unused keys at defaults.

    Raises:
        ConfigError: if w* does not minimise that loss, or sigma is missing.
    """
    loss = loss_for(target.model.kind, target.data, posterior.loss, part)
    sigma = None
    if loss in _SCALED:
        sigma = posterior.sigma or _noise_scale(target.data)
        if sigma is None:
            raise part.error(
                "loss",
                f"{loss} needs a noise scale, and the data of {target_place.path} "
                f"({target.data.kind}) have no noise_scale > 0",
                "write posterior.sigma",
            )
    _same_minimum(loss, sigma, part, target, target_place)
    unused: dict[str, object] = {}
    if posterior.nbeta is not None:
        unused |= {"beta_mode": "1_over_log_n", "beta0": 1.0}
    if posterior.prior_radius is not None:
        unused |= {"gamma": 1.0}
    return posterior.model_copy(update={"loss": loss, "sigma": sigma, **unused})


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
    scale = _noise_scale(target.data)
    if loss == "student_t" and sigma != scale:
        raise part.error(
            "sigma",
            f"student_t is trained at noise_scale = {scale} in {target_place.path}, so another "
            "sigma has another minimum",
            "remove sigma, or change data.noise_scale",
        )


def _noise_scale(data: DataSpec) -> float | None:
    return data.noise_scale if isinstance(data, Synthetic) and data.noise_scale > 0 else None
