"""Samplers that follow gradients of minibatches."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from lambda_hat_core.config.samplers.base import (
    PILOT,
    RECORD,
    SPECTRUM,
    Chains,
    Dtype,
    Gradients,
)
from lambda_hat_core.config.samplers.hints import SGHMC, STOCHASTIC


class Stochastic(Chains):
    """Samplers that follow minibatch gradients."""

    default_dtype: ClassVar[Dtype] = "float32"
    hints: ClassVar[Mapping[str, str]] = STOCHASTIC

    n_draws: PositiveInt = Field(default=1200, description="draws a chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=400, description="first draws of each chain that are dropped"
    )
    thin: PositiveInt = Field(default=25, description="kernel steps a draw")
    batch_size: PositiveInt | None = Field(
        default=256, description="examples a gradient, with replacement; null: full batch"
    )
    step_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=4,
        description="auto: eps (sgld) or eps^2 (sghmc, sgnht) in units of 1 / (nbeta h_max + "
        "gamma), lowered where minibatch noise demands it; 4 is the limit of stability",
    )
    damping: NonNegativeFloat = Field(
        default=5.0,
        description="lanczos: the metric is nbeta H + (1 + damping) gamma, H the Hessian averaged "
        "over the pilot's points",
    )
    extrapolate: bool = Field(
        default=True,
        description="make every other block of draws at half the step size, and extrapolate the "
        "estimate to step size 0",
    )
    noise: Literal["threefry", "philox"] = Field(
        default="threefry", description="generator of the injected noise"
    )

    def gradients(self) -> Gradients:
        """Return the forecast of a whole run, set-up included."""
        each = PILOT + self.n_draws * RECORD
        batch = float(self.n_chains * self.n_draws * self.thin)
        return Gradients(SPECTRUM + self.n_chains * each, batch)


class Sgld(Stochastic):
    """Stochastic gradient Langevin dynamics, w += -(eps/2) P drift + sqrt(eps P) xi."""

    kind: Literal["sgld"] = "sgld"
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="eps (Welling & Teh 2011); auto: from curvature and minibatch noise at w*",
    )
    precond: Literal["none", "rmsprop", "adam"] = "none"
    beta1: float = Field(default=0.9, ge=0, lt=1, description="adam: decay of the first moment")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="decay of the second moment")
    eps: PositiveFloat = Field(default=1e-8, description="P = 1 / (sqrt(v_hat) + eps)")
    bias_correction: bool = True
    freeze_preconditioner: bool = Field(
        default=True,
        description="keep P fixed after burn-in: without a Gamma(w) term a moving P is biased",
    )

    @property
    def flavour(self) -> str:
        """The preconditioner."""
        return self.precond


class Sghmc(Stochastic):
    """Stochastic gradient HMC (Chen et al. 2014) with unit mass and continuous damping."""

    hints: ClassVar[Mapping[str, str]] = SGHMC

    kind: Literal["sghmc"] = "sghmc"
    precond: Literal["none", "lanczos"] = "lanczos"
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="eps, a time: p -= eps grad U, w += eps p; auto: from curvature and noise",
    )
    alpha: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="share of the momentum replaced a step: p <- (1 - alpha) p + "
        "sqrt(1 - (1 - alpha)^2) N(0, 1)",
    )


class Sgnht(Stochastic):
    """Stochastic gradient Nose-Hoover thermostat (Ding et al. 2014) with unit mass."""

    kind: Literal["sgnht"] = "sgnht"
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="eps, a time: p -= eps grad U, w += eps p; auto: from curvature and noise",
    )
    alpha: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="injected noise, 2 alpha a step, and the friction a step (x in "
        "p <- exp(-x) p) from which the thermostat starts",
    )
