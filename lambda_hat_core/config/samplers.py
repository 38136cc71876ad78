"""One model a sampler: its fields, their units, and the defaults."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lambda_hat_core.config.base import Frozen, Settings

Metric = Literal["identity", "diagonal", "lanczos"]
Dtype = Literal["float32", "float64"]


class _Chains(Settings):
    """What the driver needs to know of every Markov chain sampler."""

    n_chains: PositiveInt = Field(default=4, description="independent chains; R-hat needs two")
    n_draws: PositiveInt = Field(default=1000, description="draws a chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=200, description="first draws of each chain that are dropped"
    )
    thin: PositiveInt = Field(default=1, description="kernel steps a draw")

    @model_validator(mode="after")
    def _some_draws_are_kept(self):
        if self.n_burn >= self.n_draws:
            raise ValueError(
                f"n_burn is {self.n_burn} but n_draws is {self.n_draws}, and the burn-in is part "
                "of the draws: choose n_burn < n_draws"
            )
        return self


class Nuts(_Chains):
    """No-U-turn sampler (Hoffman & Gelman 2014)."""

    kind: Literal["nuts"] = "nuts"
    n_draws: PositiveInt = Field(default=700, description="draws a chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=100, description="first draws of each chain that are dropped"
    )
    n_warmup: PositiveInt = Field(
        default=300, description="adaptation steps a chain, before any draw"
    )
    target_acceptance: float = Field(default=0.8, gt=0, lt=1)
    max_doublings: PositiveInt = Field(
        default=10, le=14, description="trees have <= 2^this leapfrogs"
    )
    metric: Metric = "lanczos"


class Hmc(_Chains):
    """Hamiltonian Monte Carlo with a jittered trajectory length."""

    kind: Literal["hmc"] = "hmc"
    n_warmup: PositiveInt = Field(
        default=300, description="adaptation steps a chain, before any draw"
    )
    n_leapfrog: PositiveInt = Field(
        default=16,
        description="mean leapfrog steps a draw; each draw uses uniform 1 .. 2 n_leapfrog - 1",
    )
    target_acceptance: float = Field(default=0.8, gt=0, lt=1)
    metric: Metric = "lanczos"


class Mala(_Chains):
    """Metropolis-adjusted Langevin (Roberts & Tweedie 1996)."""

    kind: Literal["mala"] = "mala"
    n_draws: PositiveInt = Field(default=2000, description="draws a chain, burn-in included")
    thin: PositiveInt = Field(default=8, description="kernel steps a draw")
    n_warmup: PositiveInt = Field(
        default=500, description="adaptation steps a chain, before any draw"
    )
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="eps in w += -(eps/2) grad U + sqrt(eps) xi; auto: adapted to the target",
    )
    target_acceptance: float = Field(
        default=0.574, gt=0, lt=1, description="Roberts & Rosenthal 1998"
    )
    metric: Metric = "lanczos"


class Mclmc(_Chains):
    """Microcanonical Langevin Monte Carlo (Robnik et al. 2023), not Metropolised."""

    kind: Literal["mclmc"] = "mclmc"
    n_draws: PositiveInt = Field(default=2000, description="draws a chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=400, description="first draws of each chain that are dropped"
    )
    thin: PositiveInt = Field(default=4, description="kernel steps a draw")
    n_tune: PositiveInt = Field(
        default=2000, ge=100, description="steps that find L and the step size"
    )
    desired_energy_var: PositiveFloat = Field(
        default=5e-6, description="energy error variance a dimension; at 5e-4 the loss is 1-3 % low"
    )
    integrator: Literal["isokinetic_mclachlan", "isokinetic_velocity_verlet"] = (
        "isokinetic_mclachlan"
    )
    L: PositiveFloat | Literal["auto"] = Field(
        default="auto", description="length over which the direction is forgotten, in the metric"
    )
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto", description="length of a step in the metric's coordinates"
    )
    metric: Metric = "lanczos"


class AdjustedMclmc(_Chains):
    """Metropolised microcanonical Langevin Monte Carlo: exact."""

    kind: Literal["adjusted_mclmc"] = "adjusted_mclmc"
    n_tune: PositiveInt = Field(
        default=1000, ge=100, description="steps that find L and the step size"
    )
    target_acceptance: float = Field(default=0.9, gt=0, lt=1)
    metric: Metric = "lanczos"


class _Stochastic(_Chains):
    """Samplers that follow minibatch gradients."""

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
    noise: Literal["threefry", "philox"] = Field(
        default="threefry", description="generator of the injected noise"
    )


class Sgld(_Stochastic):
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


class Sghmc(_Stochastic):
    """Stochastic gradient HMC (Chen et al. 2014) with unit mass and continuous damping."""

    kind: Literal["sghmc"] = "sghmc"
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


class Sgnht(_Stochastic):
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


class Vi(Settings):
    """Variational inference by a mixture of factor analysers or a normalising flow."""

    kind: Literal["vi"] = "vi"
    algo: Literal["mfa", "flow"] = "mfa"
    n_chains: PositiveInt = Field(default=4, description="independent restarts")
    n_draws: PositiveInt = Field(
        default=1000, description="independent draws a restart, at evaluation"
    )
    steps: NonNegativeInt = Field(default=2000, description="optimiser steps")
    batch_size: PositiveInt | None = Field(default=256, description="null: full batch")
    n_samples: PositiveInt = Field(default=4, description="Monte Carlo draws an ELBO gradient")
    lr: PositiveFloat = 1e-2
    lr_schedule: Literal["constant", "cosine", "linear_decay"] = "cosine"
    lr_warmup_frac: float = Field(default=0.05, ge=0, lt=1)
    clip_global_norm: PositiveFloat | None = 5.0
    whitening: Literal["none", "rmsprop", "adam"] = Field(
        default="none", description="coordinates of the family only; the target does not change"
    )
    whitening_decay: float = Field(default=0.99, ge=0, lt=1)
    M: PositiveInt = Field(default=4, description="mfa: components")
    r: NonNegativeInt = Field(default=4, description="mfa: rank of a component")
    r_per_component: tuple[NonNegativeInt, ...] | None = None
    tie_means: bool = Field(default=False, description="mfa: every mean is w*")
    alpha_dirichlet_prior: PositiveFloat | None = None
    entropy_bonus: NonNegativeFloat = 0.0
    alpha_temperature: PositiveFloat = 1.0
    hvp_control_variate: bool = True
    d_latent: PositiveInt = Field(default=8, description="flow: directions the flow bends")
    flow_type: Literal["realnvp", "maf", "nsf_ar"] = "realnvp"
    flow_depth: PositiveInt = 4
    flow_hidden: PositiveInt = 32
    tensorboard: bool = False

    @model_validator(mode="after")
    def _one_rank_a_component(self):
        ranks = self.r_per_component
        if ranks is not None and len(ranks) != self.M:
            raise ValueError(f"r_per_component has {len(ranks)} entries, but M is {self.M}")
        return self


SamplerSpec = Annotated[
    Nuts | Hmc | Mala | Mclmc | AdjustedMclmc | Sgld | Sghmc | Sgnht | Vi,
    Field(discriminator="kind"),
]

SAMPLERS: dict[str, type[Frozen]] = {
    "nuts": Nuts,
    "hmc": Hmc,
    "mala": Mala,
    "mclmc": Mclmc,
    "adjusted_mclmc": AdjustedMclmc,
    "sgld": Sgld,
    "sghmc": Sghmc,
    "sgnht": Sgnht,
    "vi": Vi,
}
"""Every sampler by the name that experiments use."""

DEFAULT_DTYPE: dict[str, Dtype] = {
    name: "float32" if name in ("sgld", "sghmc", "sgnht", "vi") else "float64" for name in SAMPLERS
}


def flavour(sampler: Frozen) -> str | None:
    """Return sgld's preconditioner, vi's algorithm, else None."""
    match sampler:
        case Sgld():
            return sampler.precond
        case Vi():
            return sampler.algo
        case _:
            return None
