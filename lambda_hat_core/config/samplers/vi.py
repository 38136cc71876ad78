"""Variational inference: a fitted family in place of a chain."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lambda_hat_core.config.samplers.base import SPECTRUM, Dtype, Gradients, Sampler
from lambda_hat_core.config.samplers.hints import VI


class Vi(Sampler):
    """Variational inference by a mixture of factor analysers or a normalising flow."""

    default_dtype: ClassVar[Dtype] = "float32"
    hints: ClassVar[Mapping[str, str]] = VI

    kind: Literal["vi"] = "vi"
    algo: Literal["mfa", "flow"] = "mfa"
    n_chains: PositiveInt = Field(default=4, description="independent restarts")
    n_draws: PositiveInt = Field(
        default=1000, description="independent draws a restart, at evaluation"
    )
    steps: NonNegativeInt = Field(default=2000, description="optimiser steps")
    batch_size: PositiveInt | None = Field(default=256, description="null: full batch")
    n_samples: PositiveInt = Field(default=4, description="Monte Carlo draws an ELBO gradient")
    lr: PositiveFloat = 1e-2
    lr_schedule: Literal["constant", "cosine", "linear_decay"] = "cosine"
    lr_warmup_frac: float = Field(default=0.05, ge=0, lt=1)
    clip_global_norm: PositiveFloat | None = 5.0
    whitening: Literal["none", "rmsprop", "adam"] = Field(
        default="none", description="coordinates of the family only; the target does not change"
    )
    whitening_decay: float = Field(default=0.99, ge=0, lt=1)
    M: PositiveInt = Field(default=4, description="mfa: components")
    r: NonNegativeInt = Field(default=4, description="mfa: rank of a component")
    r_per_component: tuple[NonNegativeInt, ...] | None = None
    tie_means: bool = Field(default=False, description="mfa: every mean is w*")
    alpha_dirichlet_prior: PositiveFloat | None = None
    entropy_bonus: NonNegativeFloat = 0.0
    alpha_temperature: PositiveFloat = 1.0
    hvp_control_variate: bool = True
    d_latent: PositiveInt = Field(default=8, description="flow: directions the flow bends")
    flow_type: Literal["realnvp", "maf", "nsf_ar"] = "realnvp"
    flow_depth: PositiveInt = 4
    flow_hidden: PositiveInt = 32
    tensorboard: bool = False

    @model_validator(mode="after")
    def _one_rank_a_component(self):
        ranks = self.r_per_component
        if ranks is not None and len(ranks) != self.M:
            raise ValueError(f"r_per_component has {len(ranks)} entries, but M is {self.M}")
        return self

    @property
    def flavour(self) -> str:
        """The family of distributions."""
        return self.algo

    def gradients(self) -> Gradients:
        """Return the forecast of a whole run, set-up included."""
        fits = float(self.n_chains * self.steps * self.n_samples)
        return Gradients(SPECTRUM + self.n_chains * self.n_draws / 3, fits)
