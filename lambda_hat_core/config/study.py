"""The structure of a tuning file, and the specs whose hashes are ids of problems and studies."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from lambda_hat_core.config.base import NUMERICS_VERSION, Frozen, content_hash
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Nuts
from lambda_hat_core.config.samplers.known import SamplerSpec

SearchValue = bool | int | float | str | None


class FloatRange(Frozen):
    """`dist: float`: a real number between two bounds, both included."""

    dist: Literal["float"] = "float"
    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(default=False, description="draw uniformly in the logarithm")
    step: PositiveFloat | None = Field(default=None, description="use only the values low + k step")


class IntRange(Frozen):
    """`dist: int`: a whole number between two bounds, both included."""

    dist: Literal["int"] = "int"
    low: int = Field(description="smallest value")
    high: int = Field(description="largest value")
    log: bool = Field(default=False, description="draw uniformly in the logarithm")
    step: PositiveInt = Field(default=1, description="use only the values low + k step")


class Choices(Frozen):
    """`dist: categorical`: one element of a list."""

    dist: Literal["categorical"] = "categorical"
    choices: tuple[SearchValue, ...] = Field(
        min_length=1, description="the values: numbers, words, true, false or null"
    )


Distribution = Annotated[FloatRange | IntRange | Choices, Field(discriminator="dist")]
DISTRIBUTIONS: dict[str, type[Frozen]] = {
    "float": FloatRange,
    "int": IntRange,
    "categorical": Choices,
}
"""The distributions of searched parameters, by `dist`."""


class Objective(Frozen):
    """The value that the study minimises, averaged over the seeds of a trial."""

    type: Literal["abs", "huber", "certificate"] = Field(
        default="abs",
        description="abs: |llc - reference|; huber: the same, but quadratic below delta; "
        "certificate: |log V_M| + se, which needs no reference",
    )
    delta: PositiveFloat = Field(
        default=0.1, description="huber: difference in llc above which it is linear"
    )
    cost: bool = Field(
        default=False,
        description="add (bias^2 + se^2) * FGE, where bias is llc - reference, or llc log V_M",
    )

    @property
    def needs_reference(self) -> bool:
        """Whether the objective compares with a reference."""
        return self.type != "certificate"


class PerExecutor(Frozen):
    """The most trials of each dtype at once; null: as many as the card allows."""

    float32: PositiveInt | None = None
    float64: PositiveInt | None = None


class Concurrency(Frozen):
    """How many trials run at the same time."""

    batch_size: PositiveInt = Field(
        default=4,
        description="most trials at once: trial k is proposed when trial k - batch_size has ended",
    )
    per_executor: PerExecutor = Field(
        default=PerExecutor(),
        description="{float32: n, float64: n}: most trials of each dtype at once; null: as many as "
        "the card allows",
    )


class SearchSampler(Frozen):
    """How parameters are proposed."""

    type: Literal["tpe", "random", "gp"] = Field(
        default="tpe", description="algorithm of Optuna; gp needs torch"
    )
    seed: int = Field(default=0, ge=0, lt=2**31)
    n_startup_trials: PositiveInt = Field(
        default=8, description="number of trials drawn at random first"
    )


class Pruner(Frozen):
    """The rule that stops a trial before its end."""

    type: Literal["median", "none"] = Field(
        default="median",
        description="median: stop a trial that is worse than half of the finished trials",
    )
    n_startup_trials: NonNegativeInt = Field(
        default=4, description="number of finished trials before any trial is stopped"
    )
    n_warmup_steps: NonNegativeInt = Field(
        default=0, description="percentage of a trial's first run before it may be stopped"
    )


class Budget(Frozen):
    """Limits on the wall time, in seconds."""

    reference_sec: PositiveFloat = Field(
        default=1800.0, description="limit for the reference of one problem"
    )
    trial_sec: PositiveFloat = Field(
        default=600.0, description="limit for one trial, all its seeds together"
    )


class ReferenceEntry(Frozen):
    """The exact sampler, in float64, whose estimate the others are compared with."""

    name: str = Field(
        default="nuts", description="nuts, adjusted_mclmc, or a preset of one of them"
    )
    overrides: dict[str, Any] | None = Field(
        default=None, description="settings of the sampler, by key"
    )
    seed: int = Field(default=0, ge=0, lt=2**31)
    allow_uncertified: bool = Field(
        default=False,
        description="tune even if the reference is not certified, and say so in the preset",
    )


PARTS: dict[str, type[Frozen]] = {
    "objective": Objective,
    "concurrency": Concurrency,
    "sampler": SearchSampler,
    "pruner": Pruner,
    "budget": Budget,
    "reference": ReferenceEntry,
}
"""The sections of a tuning file that are mappings."""


class TuneFile(Frozen):
    """A tuning file tunes every method on every problem."""

    tune: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of the study, made of letters, digits, '.', '_' and '-'; null: the name "
        "of the file",
    )
    problems: list[dict[str, Any]] = Field(
        min_length=1,
        description="targets, written as in an experiment, each with a `name`, which is also the "
        "name of the folder best/<name>/",
    )
    methods: list[str | dict[str, Any]] = Field(
        min_length=1, description="names of samplers or presets, or entries as in an experiment"
    )
    posterior: dict[str, Any] | None = Field(
        default=None, description="settings of the posterior of every run"
    )
    objective: Objective = Objective()
    max_trials_per_method: PositiveInt = Field(default=40, description="number of trials per study")
    seeds_per_trial: PositiveInt = Field(
        default=2,
        description="number of runs per trial, so that settings are not fitted to one run's noise",
    )
    concurrency: Concurrency = Concurrency()
    sampler: SearchSampler = SearchSampler()
    pruner: Pruner = Pruner()
    search_space: dict[str, dict[str, Any]] = Field(
        description="for each method and parameter: {dist: float | int | categorical, ...}"
    )
    budget: Budget = Budget()
    reference: ReferenceEntry = ReferenceEntry()


class ProblemSpec(Frozen):
    """A posterior, and how its reference is computed."""

    target: str = Field(pattern=r"^tgt_[0-9a-f]{12}$")
    posterior: PosteriorSpec
    reference: Nuts | AdjustedMclmc = Field(discriminator="kind")
    seed: int
    numerics_version: int = NUMERICS_VERSION

    @property
    def id(self) -> str:
        """`problem_<12 hex>`."""
        return f"problem_{content_hash(self)}"


class StudySpec(Frozen):
    """One method on one problem: everything that determines what trial number k is."""

    target: str = Field(pattern=r"^tgt_[0-9a-f]{12}$")
    posterior: PosteriorSpec
    reference: str | None = Field(description="problem id; null if no reference is needed")
    method: SamplerSpec
    dtype: Dtype
    seed: int
    seeds_per_trial: int
    objective: Objective
    sampler: SearchSampler
    pruner: Pruner
    batch_size: int
    search_space: dict[str, Distribution]
    trial_sec: float
    numerics_version: int = NUMERICS_VERSION

    @property
    def id(self) -> str:
        """`study_<method>_<12 hex>`."""
        return f"study_{self.method.kind}_{content_hash(self)}"
