"""Samplers that follow full-data gradients."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from lambda_hat_core.config.samplers.base import Chains, Metric
from lambda_hat_core.config.samplers.hints import ADJUSTED_MCLMC, FULL_BATCH, HMC, MCLMC, NUTS

_TREE = 15
"""Leapfrog steps of a NUTS draw, 2^4 - 1: what trees on whitened posteriors settle at."""

_TRAJECTORY = 8
"""Gradients of an adjusted MCLMC draw; it tunes its trajectory, so this is a guess."""


class Nuts(Chains):
    """No-U-turn sampler (Hoffman & Gelman 2014)."""

    hints: ClassVar[Mapping[str, str]] = NUTS
    n_programs: ClassVar[float] = 25.0
    is_exact: ClassVar[bool] = True

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

    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        return (self.n_draws * self.thin + self.n_warmup) * _TREE


class Hmc(Chains):
    """Hamiltonian Monte Carlo with a jittered trajectory length."""

    hints: ClassVar[Mapping[str, str]] = HMC
    n_programs: ClassVar[float] = 20.0
    is_exact: ClassVar[bool] = True

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

    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        return (self.n_draws * self.thin + self.n_warmup) * self.n_leapfrog


class Mala(Chains):
    """Metropolis-adjusted Langevin (Roberts & Tweedie 1996)."""

    hints: ClassVar[Mapping[str, str]] = FULL_BATCH
    n_programs: ClassVar[float] = 15.0
    is_exact: ClassVar[bool] = True

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

    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        return self.n_draws * self.thin + self.n_warmup


class Mclmc(Chains):
    """Microcanonical Langevin Monte Carlo (Robnik et al. 2023), not Metropolised."""

    hints: ClassVar[Mapping[str, str]] = MCLMC
    n_programs: ClassVar[float] = 20.0

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

    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        stages = 2 if self.integrator == "isokinetic_mclachlan" else 1
        return (self.n_draws * self.thin + self.n_tune) * stages


class AdjustedMclmc(Chains):
    """Metropolised microcanonical Langevin Monte Carlo: exact."""

    hints: ClassVar[Mapping[str, str]] = ADJUSTED_MCLMC
    n_programs: ClassVar[float] = 25.0
    is_exact: ClassVar[bool] = True

    kind: Literal["adjusted_mclmc"] = "adjusted_mclmc"
    n_tune: PositiveInt = Field(
        default=1000, ge=100, description="steps that find L and the step size"
    )
    target_acceptance: float = Field(default=0.9, gt=0, lt=1)
    metric: Metric = "lanczos"

    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        return (self.n_draws * self.thin + self.n_tune) * _TRAJECTORY
