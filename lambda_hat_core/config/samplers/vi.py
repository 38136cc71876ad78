"""Variational inference: draws from a fitted family instead of a chain."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lambda_hat_core.config.effect import Above, When
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.samplers.base import RECORD, SPECTRUM, Dtype, Gradients, Sampler
from lambda_hat_core.config.samplers.hints import VI


class Vi(Sampler):
    """Variational inference by a mixture of factor analysers or a normalising flow."""

    default_dtype: ClassVar[Dtype] = "float32"
    hints: ClassVar[Mapping[str, str]] = VI

    kind: Literal["vi"] = "vi"
    algo: Literal["mfa", "flow"] = Field(
        default="mfa", description="family: mixture of factor analysers, or normalising flow"
    )
    n_chains: PositiveInt = Field(default=4, description="number of independent fits (restarts)")
    n_draws: PositiveInt = Field(
        default=1000, description="independent draws per restart, at evaluation"
    )
    steps: NonNegativeInt = Field(default=2000, description="number of optimiser steps")
    batch_size: PositiveInt | None = Field(
        default=256, description="examples per step; null: the full batch"
    )
    n_samples: PositiveInt = Field(default=4, description="Monte Carlo draws per ELBO gradient")
    lr: PositiveFloat = Field(default=1e-2, description="peak learning rate of Adam")
    lr_schedule: Literal["constant", "cosine", "linear_decay"] = Field(
        default="cosine", description="learning rate after the warm-up"
    )
    lr_warmup_frac: float = Field(
        default=0.05, ge=0, lt=1, description="fraction of the steps with a linear warm-up"
    )
    clip_global_norm: PositiveFloat | None = Field(
        default=5.0, description="largest norm of the gradient; null: no clipping"
    )
    whitening: Literal["none", "rmsprop", "adam"] = Field(
        default="none",
        description="diagonal whitening of the family's coordinates; the target does not change",
    )
    whitening_decay: Annotated[float, When(whitening=("rmsprop", "adam"))] = Field(
        default=0.99, ge=0, lt=1, description="decay of the whitening's moving average"
    )
    M: Annotated[PositiveInt, When(algo="mfa")] = Field(
        default=4, description="mfa: number of components"
    )
    r: Annotated[NonNegativeInt, When(algo="mfa", r_per_component=None)] = Field(
        default=4, description="mfa: rank of each component"
    )
    r_per_component: Annotated[tuple[NonNegativeInt, ...] | None, When(algo="mfa")] = Field(
        default=None, description="mfa: rank of every component in turn; overrides r"
    )
    tie_means: Annotated[bool, When(algo="mfa")] = Field(
        default=False, description="mfa: fix every mean at w*"
    )
    alpha_dirichlet_prior: Annotated[PositiveFloat | None, When(algo="mfa", M=Above(1))] = Field(
        default=None, description="mfa: concentration of a prior on the weights; null: no prior"
    )
    entropy_bonus: Annotated[NonNegativeFloat, When(algo="mfa", M=Above(1))] = Field(
        default=0.0, description="mfa: factor of the weights' entropy in the objective"
    )
    alpha_temperature: Annotated[PositiveFloat, When(algo="mfa", M=Above(1))] = Field(
        default=1.0, description="mfa: temperature of the softmax that gives the weights"
    )
    hvp_control_variate: bool = Field(
        default=True, description="estimate the mean loss with a quadratic control variate"
    )
    d_latent: Annotated[PositiveInt, When(algo="flow")] = Field(
        default=8, description="flow: number of flattest directions that the flow acts on"
    )
    flow_type: Annotated[Literal["realnvp", "maf", "nsf_ar"], When(algo="flow")] = Field(
        default="realnvp", description="flow: its architecture"
    )
    flow_depth: Annotated[PositiveInt, When(algo="flow")] = Field(
        default=4, description="flow: number of layers"
    )
    flow_hidden: Annotated[PositiveInt, When(algo="flow")] = Field(
        default=32, description="flow: hidden width of its networks"
    )
    tensorboard: bool = Field(default=False, description="write TensorBoard logs")

    @model_validator(mode="after")
    def _one_rank_a_component(self):
        ranks = self.r_per_component
        if ranks is not None and len(ranks) != self.M:
            rule = f"{len(ranks)} entries, but M is {self.M}"
            raise Misfit("r_per_component", ranks, rule, "give one rank for each component")
        return self

    @property
    def typical_draws(self) -> int:
        """Draws per restart of a typical run that ends at a precision."""
        return 256

    @property
    def flavour(self) -> str:
        """The name of the variational family."""
        return self.algo

    def gradients(self, n: int) -> Gradients:
        """Return the forecast of a whole run on `n` examples, set-up included."""
        at_w0 = self.few(n)[1] * SPECTRUM + self.tilt(n) + RECORD + 1
        per_step = self.n_samples + (self.batch_size is not None)
        fits = float(self.n_chains * self.steps * per_step)
        return self.whole(n, Gradients(at_w0, fits), Gradients(self.n_chains * (1 + RECORD)))
