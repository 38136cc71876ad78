"""Samplers that use full-data gradients."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from lambda_hat_core.config.effect import When
from lambda_hat_core.config.samplers.base import Chains, Gradients, Metric
from lambda_hat_core.config.samplers.hints import ADJUSTED_MCLMC, FULL_BATCH, HMC, MCLMC, NUTS

_METRIC = (
    "coordinates in which the sampler moves: the parameters, each of them scaled, or whitened "
    "by the Hessian that the pilot measures"
)

_WARM_UP = (
    "adaptation steps per chain, before the first draw; a run that ends by a rule takes fewer "
    "where its step size is known sooner"
)

_TYPICAL_WARM_UP = 50
"""Steps that it takes in a run that ends by its rule."""

_TREE = 15
"""Leapfrog steps per NUTS draw, 2^4 - 1: the typical size of trees on whitened posteriors."""

_TRAJECTORY = 8
"""Gradients per adjusted MCLMC draw; its trajectory is tuned, so this is a guess."""


class Exact(Chains):
    """What samplers that use full-data gradients share: steps that they discard, and their cost."""

    @abstractmethod
    def discarded(self) -> int:
        """Return how many steps a chain adapts or is tuned for, before its first draw."""
        ...

    @abstractmethod
    def per_step(self) -> int:
        """Return the full-data gradients of one step."""
        ...

    def once(self) -> Gradients:
        """Return the other gradients that a chain takes before its first draw."""
        return Gradients(self.discarded() * self.per_step())

    def step(self) -> Gradients:
        """Return the gradients of one kernel step of a chain."""
        return Gradients(self.per_step())


class WarmedUp(Exact):
    """What samplers share that adapt a step size before the first draw."""

    n_warmup: PositiveInt = Field(default=100, description=_WARM_UP)

    def discarded(self) -> int:
        """Return how many steps a chain adapts or is tuned for, before its first draw."""
        return self.n_warmup if self.until is None else min(self.n_warmup, _TYPICAL_WARM_UP)


class Nuts(WarmedUp):
    """No-U-turn sampler (Hoffman & Gelman 2014)."""

    hints: ClassVar[Mapping[str, str]] = NUTS
    n_programs: ClassVar[float] = 25.0
    is_exact: ClassVar[bool] = True
    max_fge: ClassVar[float] = 100_000.0

    kind: Literal["nuts"] = "nuts"
    n_draws: PositiveInt = Field(default=700, description="draws per chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=100, description="first draws of each chain that are discarded"
    )
    target_acceptance: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="acceptance rate that the step size is adapted to; the warm-up goes on with "
        "one closer to 1, at most twice, while more than 1 % of its steps diverge",
    )
    max_doublings: PositiveInt = Field(
        default=10, le=14, description="a tree has at most 2^max_doublings leapfrog steps"
    )
    metric: Metric = Field(default="lanczos", description=_METRIC)

    def per_step(self) -> int:
        """Return the full-data gradients of one step."""
        return _TREE


class Hmc(WarmedUp):
    """Hamiltonian Monte Carlo with a jittered trajectory length."""

    hints: ClassVar[Mapping[str, str]] = HMC
    n_programs: ClassVar[float] = 20.0
    is_exact: ClassVar[bool] = True

    kind: Literal["hmc"] = "hmc"
    n_leapfrog: PositiveInt = Field(
        default=16,
        description="mean number of leapfrog steps per draw; the number is uniform on "
        "1 .. 2 n_leapfrog - 1",
    )
    target_acceptance: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="acceptance rate that the step size is adapted to; the warm-up goes on with "
        "one closer to 1, at most twice, while more than 1 % of its steps diverge",
    )
    metric: Metric = Field(default="lanczos", description=_METRIC)

    def per_step(self) -> int:
        """Return the full-data gradients of one step."""
        return self.n_leapfrog


class Mala(WarmedUp):
    """Metropolis-adjusted Langevin (Roberts & Tweedie 1996)."""

    hints: ClassVar[Mapping[str, str]] = FULL_BATCH
    n_programs: ClassVar[float] = 15.0
    is_exact: ClassVar[bool] = True

    kind: Literal["mala"] = "mala"
    n_draws: PositiveInt = Field(default=2000, description="draws per chain, burn-in included")
    thin: PositiveInt = Field(default=8, description="kernel steps per draw")
    n_warmup: Annotated[PositiveInt, When(step_size="auto"), When(metric="diagonal")] = Field(
        default=300, description=_WARM_UP
    )
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="eps in w += -(eps/2) grad U + sqrt(eps) xi; auto: adapted to "
        "target_acceptance",
    )
    target_acceptance: Annotated[float, When(step_size="auto"), When(metric="diagonal")] = Field(
        default=0.574,
        gt=0,
        lt=1,
        description="acceptance rate that the step size is adapted to (Roberts & Rosenthal 1998)",
    )
    metric: Metric = Field(default="lanczos", description=_METRIC)

    def per_step(self) -> int:
        """Return the full-data gradients of one step."""
        return 1


class Mclmc(Exact):
    """Microcanonical Langevin Monte Carlo (Robnik et al. 2023), not Metropolised."""

    hints: ClassVar[Mapping[str, str]] = MCLMC
    n_programs: ClassVar[float] = 20.0

    kind: Literal["mclmc"] = "mclmc"
    n_draws: PositiveInt = Field(default=2000, description="draws per chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=400, description="first draws of each chain that are discarded"
    )
    thin: PositiveInt = Field(default=4, description="kernel steps per draw")
    n_tune: Annotated[PositiveInt, When(step_size="auto"), When(L="auto")] = Field(
        default=2000, ge=100, description="tuning steps, which determine L and the step size"
    )
    desired_energy_var: Annotated[PositiveFloat, When(step_size="auto"), When(L="auto")] = Field(
        default=5e-6,
        description="energy error variance per dimension that the step size is tuned to; at 5e-4 "
        "the loss is 1-3 % too low",
    )
    integrator: Literal["isokinetic_mclachlan", "isokinetic_velocity_verlet"] = Field(
        default="isokinetic_mclachlan", description="integrator of the isokinetic dynamics"
    )
    L: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="length over which momentum decoheres, in the coordinates of the metric; "
        "auto: tuned",
    )
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto", description="length of a step in the metric's coordinates; auto: tuned"
    )
    metric: Metric = Field(default="lanczos", description=_METRIC)

    def discarded(self) -> int:
        """Return how many steps a chain adapts or is tuned for, before its first draw."""
        return self.n_tune

    def per_step(self) -> int:
        """Return the full-data gradients of one step."""
        return 2 if self.integrator == "isokinetic_mclachlan" else 1


class AdjustedMclmc(Exact):
    """Metropolised, hence exact, microcanonical Langevin Monte Carlo."""

    hints: ClassVar[Mapping[str, str]] = ADJUSTED_MCLMC
    n_programs: ClassVar[float] = 25.0
    is_exact: ClassVar[bool] = True

    kind: Literal["adjusted_mclmc"] = "adjusted_mclmc"
    n_tune: PositiveInt = Field(
        default=1000, ge=100, description="tuning steps, which determine L and the step size"
    )
    target_acceptance: float = Field(
        default=0.9, gt=0, lt=1, description="acceptance rate that the step size is tuned to"
    )
    metric: Metric = Field(default="lanczos", description=_METRIC)

    def discarded(self) -> int:
        """Return how many steps a chain adapts or is tuned for, before its first draw."""
        return self.n_tune

    def per_step(self) -> int:
        """Return the full-data gradients of one step."""
        return _TRAJECTORY
