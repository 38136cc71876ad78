"""Replica exchange over nbeta: its settings."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from lambda_hat_core.config.effect import When
from lambda_hat_core.config.samplers.exact import Exact
from lambda_hat_core.config.samplers.hints import TEMPERED

_TYPICAL_REPLICAS = 12
"""Replicas of a run that chooses their number itself: 7 at an llc of 1/2, 30 at an llc of 7."""

_TREE = 15
"""Leapfrog steps per move of `nuts`, 2^4 - 1, as for the sampler of that name."""


class Tempered(Exact):
    """Replica exchange over nbeta, for points where the curvature changes by orders of magnitude.

    Every chain has replicas at several nbeta with the same gamma, which exchange their positions.
    The coldest replica has the run's own nbeta, and its draws are the draws of the run.
    """

    hints: ClassVar[Mapping[str, str]] = TEMPERED
    n_programs: ClassVar[float] = 20.0
    is_exact: ClassVar[bool] = True
    max_fge: ClassVar[float] = 400_000.0

    kind: Literal["tempered"] = "tempered"
    n_draws: PositiveInt = Field(default=3000, description="draws per chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=300, description="first draws of each chain that are discarded"
    )
    n_warmup: PositiveInt = Field(
        default=300,
        ge=60,
        description="adaptation steps per chain, before the first draw, which place the ladder and "
        "set the metric and the step size of every replica",
    )
    n_replicas: Annotated[Annotated[int, Field(ge=2)] | Literal["auto"], When(ladder=None)] = Field(
        default="auto",
        description="replicas per chain, the coldest included; auto: so many that neighbours "
        "exchange their positions at about half of the attempts",
    )
    nbeta_min: Annotated[NonNegativeFloat, When(ladder=None)] = Field(
        default=0.0,
        description="nbeta of the hottest replica; at 0 it draws from the localiser itself, "
        "without a Markov chain, and log_evidence refers to the localiser",
    )
    ladder: tuple[NonNegativeFloat, ...] | None = Field(
        default=None,
        min_length=1,
        description="nbeta of all replicas but the coldest; null: placed in the warm-up, so that "
        "all neighbours exchange equally often",
    )
    kernel: Literal["hmc", "mala", "nuts"] = Field(
        default="hmc", description="how a replica moves between two exchanges"
    )
    n_leapfrog: Annotated[PositiveInt, When(kernel="hmc")] = Field(
        default=4,
        description="hmc: mean number of leapfrog steps per move; the number is uniform on "
        "1 .. 2 n_leapfrog - 1",
    )
    target_acceptance: float = Field(
        default=0.7,
        gt=0,
        lt=1,
        description="acceptance rate that the step size of every replica is adapted to",
    )

    @model_validator(mode="after")
    def _a_ladder_has_no_rung_twice(self):
        if self.ladder is not None and len(set(self.ladder)) < len(self.ladder):
            raise ValueError(
                f"ladder is {list(self.ladder)}, but two replicas at one nbeta are one too many: "
                "list every nbeta once"
            )
        return self

    @property
    def size(self) -> int:
        """Replicas per chain; of a run that chooses their number itself, a typical number."""
        if self.ladder is not None:
            return 1 + len(self.ladder)
        return _TYPICAL_REPLICAS if self.n_replicas == "auto" else self.n_replicas

    def discarded(self) -> int:
        """Return how many steps a chain adapts or is tuned for, before its first draw."""
        return self.n_warmup

    def per_step(self) -> int:
        """Return the full-data gradients of one step of all replicas of a chain."""
        return self.size * {"hmc": self.n_leapfrog, "mala": 1, "nuts": _TREE}[self.kernel]
