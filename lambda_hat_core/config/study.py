"""The shape of a tuning file, and what is hashed into the ids of problems and studies."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from lambda_hat_core.config.base import NUMERICS_VERSION, Frozen, content_hash
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Nuts
from lambda_hat_core.config.samplers.known import SamplerSpec

Scalar = bool | int | float | str | None


class FloatRange(Frozen):
    """`dist: float`: a real number between two ends, both included."""

    dist: Literal["float"] = "float"
    low: float
    high: float
    log: bool = Field(default=False, description="uniform in the logarithm")
    step: PositiveFloat | None = Field(default=None, description="only low + k step")


class IntRange(Frozen):
    """`dist: int`: a whole number between two ends, both included."""

    dist: Literal["int"] = "int"
    low: int
    high: int
    log: bool = Field(default=False, description="uniform in the logarithm")
    step: PositiveInt = Field(default=1, description="only low + k step")


class Choices(Frozen):
    """`dist: categorical`: one of a list."""

    dist: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...] = Field(
        min_length=1, description="numbers, words, true, false or null"
    )


Distribution = Annotated[FloatRange | IntRange | Choices, Field(discriminator="dist")]
DISTRIBUTIONS: dict[str, type[Frozen]] = {
    "float": FloatRange,
    "int": IntRange,
    "categorical": Choices,
}
"""Every distribution of a searched parameter by its `dist`."""


class Objective(Frozen):
    """What a trial is judged by; lower is better. Averaged over its seeds."""

    type: Literal["abs", "huber", "certificate"] = Field(
        default="abs",
        description="abs: |llc - reference|; huber: the same, quadratic below delta; certificate: "
        "|log V_M| + se, which needs no reference",
    )
    delta: PositiveFloat = Field(default=0.1, description="huber: where it becomes linear, in llc")
    cost: bool = Field(
        default=False,
        description="add (bias^2 + se^2) * FGE, where bias is llc - reference, or llc log V_M",
    )

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with a reference."""
        return self.type != "certificate"


class PerExecutor(Frozen):
    """Trials of each dtype at once; null: what the card allows."""

    float32: PositiveInt | None = None
    float64: PositiveInt | None = None


class Concurrency(Frozen):
    """How many trials are asked for before the first of them is told."""

    batch_size: PositiveInt = Field(
        default=4,
        description="trials in flight: number k is asked for once number k - batch_size is told",
    )
    per_executor: PerExecutor = Field(
        default=PerExecutor(),
        description="{float32: n, float64: n}, trials of each dtype at once; null: the card's",
    )


class SearchSampler(Frozen):
    """How parameters are proposed."""

    type: Literal["tpe", "random", "gp"] = Field(default="tpe", description="gp needs torch")
    seed: int = Field(default=0, ge=0, lt=2**31)
    n_startup_trials: PositiveInt = Field(default=8, description="drawn at random before")


class Pruner(Frozen):
    """When a trial is stopped before its end."""

    type: Literal["median", "none"] = Field(
        default="median", description="median: worse than half of the finished trials so far"
    )
    n_startup_trials: NonNegativeInt = Field(default=4, description="finished trials before any")
    n_warmup_steps: NonNegativeInt = Field(
        default=0, description="per cent of a trial's first run before it may be stopped"
    )


class Budget(Frozen):
    """Wall seconds."""

    reference_sec: PositiveFloat = Field(default=1800.0, description="of one problem's reference")
    trial_sec: PositiveFloat = Field(default=600.0, description="of one trial, all its seeds")


class ReferenceEntry(Frozen):
    """What the others are compared with: an exact sampler in float64."""

    name: str = Field(default="nuts", description="nuts or adjusted_mclmc, or a preset of one")
    overrides: dict[str, Any] | None = Field(default=None, description="the sampler's own keys")
    seed: int = Field(default=0, ge=0, lt=2**31)
    allow_uncertified: bool = Field(
        default=False, description="tune against a reference that is not certified, and say so"
    )


PARTS: dict[str, type[Frozen]] = {
    "objective": Objective,
    "concurrency": Concurrency,
    "sampler": SearchSampler,
    "pruner": Pruner,
    "budget": Budget,
    "reference": ReferenceEntry,
}
"""The sections of a tuning file that are mappings of their own."""


class TuneFile(Frozen):
    """A tuning file: every method on every problem."""

    tune: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="its name, of letters, digits, '.', '_' and '-'; null: the file's",
    )
    problems: list[dict[str, Any]] = Field(
        min_length=1,
        description="as targets of an experiment; `name` is what best/<name>/ is called",
    )
    methods: list[str | dict[str, Any]] = Field(
        min_length=1, description="sampler or preset names, or entries as in an experiment"
    )
    posterior: dict[str, Any] | None = Field(default=None, description="of every run")
    objective: Objective = Objective()
    max_trials_per_method: PositiveInt = Field(default=40, description="trials of one study")
    seeds_per_trial: PositiveInt = Field(
        default=2, description="runs of a trial: one run's noise would be tuned to"
    )
    concurrency: Concurrency = Concurrency()
    sampler: SearchSampler = SearchSampler()
    pruner: Pruner = Pruner()
    search_space: dict[str, dict[str, Any]] = Field(
        description="by method, by parameter: {dist: float | int | categorical, ...}"
    )
    budget: Budget = Budget()
    reference: ReferenceEntry = ReferenceEntry()


class ProblemSpec(Frozen):
    """A posterior, and how its reference is made."""

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
    """One method on one problem: everything that decides what trial number k is."""

    target: str = Field(pattern=r"^tgt_[0-9a-f]{12}$")
    posterior: PosteriorSpec
    reference: str | None = Field(description="problem id; null where none is needed")
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
