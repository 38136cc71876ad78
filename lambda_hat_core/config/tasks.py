"""Data that are generated: modular arithmetic, sparse features, sequences of tokens and vectors."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.errors import Misfit


class Modular(Frozen):
    """All p^2 pairs of integers below p; the label is their sum, difference or product modulo p."""

    kind: Literal["modular"] = "modular"
    p: Annotated[int, Field(ge=2)] = Field(default=53, description="the modulus")
    operation: Literal["add", "subtract", "multiply"] = Field(
        default="add", description="how the label is computed from the pair"
    )
    train_fraction: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="share of the pairs to train on; the others are held out",
    )
    split_seed: NonNegativeInt = Field(
        default=0, description="seed of the split, which the target's seed does not change"
    )

    @property
    def n_data(self) -> int:
        """The number of training pairs, rounded down."""
        return int(self.train_fraction * self.p**2)

    @property
    def words(self) -> str:
        """The data in words, for labels."""
        return f"{self.operation} modulo {self.p}"

    @model_validator(mode="after")
    def _something_to_train_on(self):
        if self.n_data == 0:
            rule = f"of {self.p**2} pairs none is left to train on"
            raise Misfit("train_fraction", self.train_fraction, rule, "raise it")
        return self


class SparseFeatures(Frozen):
    """Rows of features of which few are active; the label of a row is the row itself."""

    kind: Literal["sparse_features"] = "sparse_features"
    n_data: PositiveInt = Field(default=1000, description="n, the number of training rows")
    n_test: PositiveInt = Field(default=1000, description="number of held-out rows")
    features: PositiveInt = Field(default=6, description="number of features")
    sparsity: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="probability that a feature is 0, each on its own; null: exactly one feature "
        "of a row is active. An active feature is uniform in [0, 1]",
    )

    @property
    def words(self) -> str:
        """The data in words, for labels."""
        return f"{self.features} sparse features"


class Induction(Frozen):
    """Sequences that repeat a segment of distinct random tokens; labels are the next tokens.

    The length of the segment is drawn per row from `min_period` to `max_period`, so that only the
    earlier occurrence of a token, and not a distance, tells what follows it.
    """

    kind: Literal["induction"] = "induction"
    n_data: PositiveInt = Field(default=2000, description="n, the number of training sequences")
    n_test: PositiveInt = Field(default=500, description="number of held-out sequences")
    vocabulary: PositiveInt = Field(default=16, description="number of tokens")
    context: PositiveInt = Field(default=16, description="length of a sequence")
    min_period: PositiveInt = Field(default=4, description="shortest segment")
    max_period: PositiveInt = Field(default=8, description="longest segment")
    scored: Literal["predictable", "all"] = Field(
        default="predictable",
        description="the positions whose mean is a sequence's loss: those whose token occurred "
        "before, or all",
    )

    @property
    def words(self) -> str:
        """The data in words, for labels."""
        return f"induction of {self.vocabulary} tokens"

    @model_validator(mode="after")
    def _segments_fit(self):
        if self.min_period > self.max_period:
            rule = f"max_period is {self.max_period}"
            raise Misfit("min_period", self.min_period, rule, f"choose <= {self.max_period}")
        for key, rule in (
            ("vocabulary", "a segment has no token twice"),
            ("context", "a sequence is longer than its segment"),
        ):
            most = getattr(self, key) - (key == "context")
            if self.max_period > most:
                said = f"{rule}, and {key} is {getattr(self, key)}"
                raise Misfit("max_period", self.max_period, said, f"lower it, or raise {key}")
        return self


class IclRegression(Frozen):
    """In-context linear regression: sequences x_1, y_1, ..., x_k, y_k with y = t . x + noise.

    The task t is normal and drawn per row. The network sees (0, x) and (y, 0) in turn and is scored
    where it sees x: the loss of a row is the mean over its k positions (Garg et al. 2022,
    arXiv:2208.01066; Raventos et al. 2023, arXiv:2306.15063).
    """

    kind: Literal["icl_regression"] = "icl_regression"
    n_data: PositiveInt = Field(default=4000, description="n, the number of training sequences")
    n_test: PositiveInt = Field(default=1000, description="number of held-out sequences")
    dim: PositiveInt = Field(default=4, description="dimension of x and t")
    examples: PositiveInt = Field(default=8, description="k, the number of pairs of a sequence")
    noise_scale: NonNegativeFloat = Field(
        default=0.35, description="standard deviation of the noise of y"
    )
    tasks: PositiveInt | None = Field(
        default=None, description="number of different t; null: every row has its own"
    )

    @property
    def words(self) -> str:
        """The data in words, for labels."""
        return f"{self.examples} examples of {self.dim} dimensions in context"


Task = Modular | SparseFeatures | Induction | IclRegression
