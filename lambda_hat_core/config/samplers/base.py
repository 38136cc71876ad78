"""The base classes of the samplers' models: precision, forecast of the cost, hints for keys."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lambda_hat_core.config.base import Settings
from lambda_hat_core.config.samplers.hints import ANY

Metric = Literal["identity", "diagonal", "lanczos"]
Dtype = Literal["float32", "float64"]

RECORD = 1 / 3
"""Full-gradient evaluations per draw, spent on its full-data loss. For the virial certificate most
samplers have the gradient there."""

SPECTRUM = 136
"""64 Lanczos steps and 4 probes at w*, with 2 gradients per Hessian-vector product. Like those of
the pilot, they are gradients on the examples of the set-up."""

PILOT = 61
"""Gradients per chain from w* to the typical set: 60 steps and the gradient before the first."""

MEAN_HESSIAN = 264
"""128 Lanczos steps and 4 probes of the Hessian averaged over where the pilot arrives. Where there
are 64 examples for each chain they share the rows, so that a product is one pass over the data
however many chains there are; else it is one per chain."""

SHARED_ROWS = 64
"""Fewest examples per chain with which that is done."""

NOISE_BATCHES = 16
"""Gradients of batches per chain, from which the noise of minibatches is measured."""

TYPICAL_BURN = 1 / 4
"""Share of the draws of a run that ends at a precision which is burn-in."""

AUTO_BATCH = 256
"""Examples per gradient where nobody chose, and nothing has been measured."""

LARGE_BATCH = 1024
"""The same where there are many examples."""

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
        default=50_000.0,
        description="full-gradient evaluations, set-up included, all chains; left out of the rule "
        "of nuts: 100,000, of tempered: 400,000",
    )
    max_draws: PositiveInt = Field(default=20_000, description="draws per chain")


LENGTHS = ("n_draws", "n_burn")
"""The fields that a stop rule replaces."""


class Gradients(NamedTuple):
    """Forecast numbers of gradients over all examples, and of gradients over a batch."""

    full: float
    batch: float = 0.0


SETUP_SHARE, SETUP_LEAST, SETUP_MOST = 16, 1024, 4096
"""Samplers set themselves up on a sixteenth of the examples, within these limits."""


def setup_rows(rows: int | Literal["auto"] | None, n: int) -> int | None:
    """Return on how many of `n` examples a sampler sets itself up, None for all of them."""
    if rows == "auto":
        rows = min(max(n // SETUP_SHARE, SETUP_LEAST), SETUP_MOST)
    return None if rows is None or n <= rows else rows


class Sampler(Settings):
    """The settings of a sampler, and the facts about it that other modules need.

    Attributes:
        default_dtype: precision of runs that do not set one.
        hints: what to write instead of keys of other tools, by key.
        n_programs: number of programs that a run compiles, each about as large as one gradient.
        is_exact: whether a Metropolis test removes the bias from the step size.
        max_fge: budget of a stop rule that names none.
    """

    default_dtype: ClassVar[Dtype] = "float64"
    hints: ClassVar[Mapping[str, str]] = ANY
    n_programs: ClassVar[float] = 10.0
    is_exact: ClassVar[bool] = False
    max_fge: ClassVar[float] = Until().max_fge

    n_chains: PositiveInt = Field(
        default=4, description="number of independent chains; R-hat needs two"
    )
    n_draws: PositiveInt = Field(default=1000, description="draws per chain, burn-in included")
    setup_rows: Annotated[int, Field(ge=64)] | Literal["auto"] | None = Field(
        default="auto",
        description="set-up (pilot, metric, certificate) uses a fixed random subset of so many "
        "examples, if there are more; auto: a sixteenth of them, at least "
        f"{SETUP_LEAST} and at most {SETUP_MOST}; null: all of them",
    )
    until: Until | None = Field(
        default=None,
        description="a stop rule in place of lengths; null: exactly n_draws draws. Where neither a "
        "rule nor a length is written, the experiment's rule applies",
    )

    @model_validator(mode="after")
    def _a_length_or_a_rule(self):
        """Refuse lengths that a stop rule would ignore, so that the same work has one id."""
        fields = type(self).model_fields
        for name in [name for name in LENGTHS if name in fields]:
            value = getattr(self, name)
            if self.until is not None and value != fields[name].default:
                raise ValueError(
                    f"{name} is {value} and until is set, but a run ends at its length or by its "
                    f"rule: remove {name} or until"
                )
        return self

    @property
    def lengths(self) -> tuple[int, int]:
        """Draws per chain and its burn-in, those of a typical run where a rule ends it."""
        if self.until is None:
            return self.n_draws, 0
        return min(self.typical_draws, self.until.max_draws), 0

    @property
    def typical_draws(self) -> int:
        """Draws per chain of a typical run that ends at a precision."""
        return 400

    @property
    def least_burn(self) -> int:
        """Draws per chain that a stop rule drops at least, since the sampler still changes."""
        return 0

    @property
    def flavour(self) -> str | None:
        """The variant of the sampler that tables show beside its name, or None."""
        return None

    @abstractmethod
    def gradients(self, n: int) -> Gradients:
        """Return the forecast of a whole run on `n` examples, set-up included."""
        ...

    def few(self, n: int) -> tuple[int, float]:
        """Return how many of `n` examples the set-up uses, and which share of them that is."""
        rows = setup_rows(self.setup_rows, n) or n
        return rows, rows / n

    def tilt(self, n: int) -> float:
        """Return the cost of tilting the loss on those examples to the gradient of all."""
        few, share = self.few(n)
        return 1 + share if few < n else 0.0

    def batch(self, n: int) -> int | None:
        """Return the examples per gradient, a guess where they are measured; None: all `n`."""
        size = getattr(self, "batch_size", None)
        if size != "auto":
            return size
        guess = max(AUTO_BATCH, min(n // 16, LARGE_BATCH))
        return guess if guess < n else None

    def share(self, n: int) -> float:
        """Return what the gradient of a batch costs on `n` examples, in full gradients."""
        return (self.batch(n) or n) / n

    def work(self, n: int) -> float:
        """Return the forecast in full-gradient evaluations on `n` examples."""
        full, batch = self.gradients(n)
        return full + batch * self.share(n)

    def budget(self, n: int) -> float:
        """Return the most full-gradient evaluations that a run on `n` examples should cost.

        The value depends on the specification alone, so the same run always has the same budget.
        A stop rule ends a run at the first chunk beyond its own budget, or right after the set-up.
        """
        if self.until is None:
            return BUDGET * self.work(n)
        return self.until.max_fge + self.work(n)

    def whole(self, n: int, before: Gradients, each: Gradients) -> Gradients:
        """Return the gradients of a run, those of a stop rule within its budget.

        Args:
            n: number of examples.
            before: what all chains take before the first draw.
            each: what all chains take per draw.
        """
        n_draws, share = float(self.lengths[0]), self.share(n)
        if self.until is not None:
            left = self.until.max_fge - before.full - before.batch * share
            n_draws = min(n_draws, max(left, 0.0) / (each.full + each.batch * share))
        return Gradients(before.full + n_draws * each.full, before.batch + n_draws * each.batch)


class Chains(Sampler):
    """The settings that all Markov chain samplers share."""

    n_burn: NonNegativeInt = Field(
        default=200, description="first draws of each chain that are discarded"
    )
    thin: PositiveInt = Field(default=1, description="kernel steps per draw")
    record_rows: PositiveInt | None = Field(
        default=4096,
        ge=64,
        description="if there are more than 4 times as many examples, the loss of a draw is "
        "measured on so many fresh random ones, paired with w*; null: always on all of them",
    )

    @model_validator(mode="after")
    def _some_draws_are_kept(self):
        if self.n_burn >= self.n_draws:
            raise ValueError(
                f"n_burn is {self.n_burn} but n_draws is {self.n_draws}, and the burn-in is part "
                "of the draws: choose n_burn < n_draws"
            )
        return self

    @property
    def lengths(self) -> tuple[int, int]:
        """Draws per chain and its burn-in, those of a typical run where a rule ends it."""
        n_draws = super().lengths[0]
        return n_draws, self.n_burn if self.until is None else int(n_draws * TYPICAL_BURN)

    @property
    def steps(self) -> int:
        """Kernel steps per draw, a guess where the target decides."""
        return self.thin

    def probing(self) -> float:
        """Return the gradients on the set-up's examples that a chain takes beyond the pilot."""
        return 0.0

    def mean_hessian(self) -> int:
        """Return the gradients on them for the Hessian where the pilot arrives."""
        return MEAN_HESSIAN

    def once(self) -> Gradients:
        """Return the other gradients that a chain takes before its first draw."""
        return Gradients(0.0)

    @abstractmethod
    def step(self) -> Gradients:
        """Return the gradients of one kernel step of a chain."""
        ...

    def recording(self) -> Gradients:
        """Return the gradients that are taken to record a draw of a chain."""
        return Gradients(RECORD)

    def gradients(self, n: int) -> Gradients:
        """Return the forecast of a whole run on `n` examples, set-up included."""
        chains, once, step, recording = self.n_chains, self.once(), self.step(), self.recording()
        few, share = self.few(n)
        times = 1 if chains > 1 and few >= chains * SHARED_ROWS else chains
        on_few = SPECTRUM + times * self.mean_hessian() + chains * (PILOT + RECORD + self.probing())
        before = Gradients(
            share * on_few + self.tilt(n) + RECORD + chains * once.full, chains * once.batch
        )
        each = Gradients(
            chains * (self.steps * step.full + recording.full),
            chains * (self.steps * step.batch + recording.batch),
        )
        return self.whole(n, before, each)
