"""The base classes of the samplers' models: precision, forecast of the cost, hints for keys."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lambda_hat_core.config.base import Settings
from lambda_hat_core.config.samplers.hints import ANY

Metric = Literal["identity", "diagonal", "lanczos"]
Dtype = Literal["float32", "float64"]

RECORD = 4 / 3
"""Gradients per draw, spent on its full-data loss and on the gradient of its virial certificate."""

SPECTRUM = 136
"""64 Lanczos steps and 4 probes at one point, with 2 gradients per Hessian-vector product."""

PILOT = 2 * (200 + SPECTRUM)
"""Gradients per chain before its sampler is set up: two rounds of HMC, each followed by a
spectrum."""

AUTO_BATCH = 256
"""Examples per gradient where nobody chose, and nothing has been measured."""

BUDGET = 4
"""A run may cost this many times its forecast. For adaptive samplers the forecast is a guess: the
trees of NUTS are 0.5 to 2.6 times as long in the default experiment."""


class Until(Settings):
    """When a run has seen enough: at a precision, or at a budget."""

    rel_se: PositiveFloat = Field(
        default=0.05,
        description="standard error of the llc, as a share of it, at which a run ends, once every "
        "check of its verdict passes",
    )
    max_fge: PositiveFloat = Field(
        default=50_000.0, description="full-gradient evaluations, set-up included, all chains"
    )
    max_draws: PositiveInt = Field(default=20_000, description="draws per chain")


class Gradients(NamedTuple):
    """Forecast numbers of gradients over all examples, and of gradients over a batch."""

    full: float
    batch: float = 0.0


class Sampler(Settings):
    """The settings of a sampler, and the facts about it that other modules need.

    Attributes:
        default_dtype: precision of runs that do not set one.
        hints: what to write instead of keys of other tools, by key.
        n_programs: number of programs that a run compiles, each about as large as one gradient.
        is_exact: whether a Metropolis test removes the bias from the step size.
    """

    default_dtype: ClassVar[Dtype] = "float64"
    hints: ClassVar[Mapping[str, str]] = ANY
    n_programs: ClassVar[float] = 10.0
    is_exact: ClassVar[bool] = False

    @property
    def flavour(self) -> str | None:
        """The variant of the sampler that tables show beside its name, or None."""
        return None

    @abstractmethod
    def gradients(self) -> Gradients:
        """Return the forecast of a whole run, set-up included."""
        ...

    def work(self, n: int) -> float:
        """Return the forecast in full-gradient evaluations on `n` examples."""
        full, batch = self.gradients()
        size = getattr(self, "batch_size", None)
        if size == "auto":
            size = min(n, max(AUTO_BATCH, n // 16))
        return full + batch * (1.0 if size is None else size / n)

    def budget(self, n: int) -> float:
        """Return the most full-gradient evaluations that a run on `n` examples should cost.

        The value depends on the specification alone, so the same run always has the same budget.
        """
        return BUDGET * self.work(n)


class Chains(Sampler):
    """The settings that all Markov chain samplers share."""

    n_chains: PositiveInt = Field(
        default=4, description="number of independent chains; R-hat needs two"
    )
    n_draws: PositiveInt = Field(default=1000, description="draws per chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=200, description="first draws of each chain that are discarded"
    )
    thin: PositiveInt = Field(default=1, description="kernel steps per draw")
    until: Until | None = Field(
        default=None,
        description="a stop rule in place of n_draws and n_burn; null: exactly n_draws draws. If "
        "no length is written, the default rule applies",
    )

    @model_validator(mode="after")
    def _some_draws_are_kept(self):
        if self.n_burn >= self.n_draws:
            raise ValueError(
                f"n_burn is {self.n_burn} but n_draws is {self.n_draws}, and the burn-in is part "
                "of the draws: choose n_burn < n_draws"
            )
        return self

    @abstractmethod
    def steps(self) -> int:
        """Return how many full-data gradients a chain takes between its set-up and its end."""
        ...

    def gradients(self) -> Gradients:
        """Return the forecast of a whole run, set-up included."""
        each = PILOT + self.steps() + self.n_draws * RECORD
        return Gradients(SPECTRUM + self.n_chains * each)
