"""What every sampler's model has: its precision, its cost, and what other tools call its fields."""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from lambda_hat_core.config.base import Settings
from lambda_hat_core.config.samplers.hints import ANY

Metric = Literal["identity", "diagonal", "lanczos"]
Dtype = Literal["float32", "float64"]

RECORD = 4 / 3
"""The full-data loss of a draw and the gradient of its virial certificate."""

SPECTRUM = 136
"""64 Lanczos steps and 4 probes at one point, 2 gradients a Hessian-vector product."""

PILOT = 2 * (200 + SPECTRUM)
"""Gradients of a chain before its sampler sets itself up: two rounds of HMC, each with a spectrum
at the end."""

BUDGET = 4
"""Times the forecast that a run may cost. Of adaptive samplers the forecast is a guess: the trees
of NUTS are 0.5 to 2.6 times as long on the default experiment."""


class Gradients(NamedTuple):
    """How many gradients a sampler is forecast to take of all examples, and how many of a batch."""

    full: float
    batch: float = 0.0


class Sampler(Settings):
    """The settings of a sampler, and the facts about it that others ask for.

    Attributes:
        default_dtype: precision of runs that do not name one.
        hints: what to write instead of a key of another tool.
        n_programs: programs that a run compiles, each about as large as one gradient's.
        is_exact: whether a Metropolis test leaves no bias of the step size.
    """

    default_dtype: ClassVar[Dtype] = "float64"
    hints: ClassVar[Mapping[str, str]] = ANY
    n_programs: ClassVar[float] = 10.0
    is_exact: ClassVar[bool] = False

    @property
    def flavour(self) -> str | None:
        """The choice within the sampler that tables show beside its name."""
        return None

    def gradients(self) -> Gradients:
        """Return the forecast of a whole run, set-up included."""
        raise NotImplementedError

    def work(self, n: int) -> float:
        """Return the forecast in full-gradient evaluations on `n` examples."""
        full, batch = self.gradients()
        size = getattr(self, "batch_size", None)
        return full + batch * (1.0 if size is None else size / n)

    def budget(self, n: int) -> float:
        """Return the full-gradient evaluations that a run on `n` examples should cost at most.

        It follows from the specification alone, so that the same run always has the same budget.
        """
        return BUDGET * self.work(n)


class Chains(Sampler):
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

    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        raise NotImplementedError

    def gradients(self) -> Gradients:
        """Return the forecast of a whole run, set-up included."""
        each = PILOT + self.steps() + self.n_draws * RECORD
        return Gradients(SPECTRUM + self.n_chains * each)
