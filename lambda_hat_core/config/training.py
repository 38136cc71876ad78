"""How w* is found."""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lambda_hat_core.config.base import Frozen

LossName = Literal["mse", "gaussian", "student_t", "cross_entropy"]
SCALED = ("gaussian", "student_t")
"""Losses with a noise scale."""


class Training(Frozen):
    """First-order training, then a full-batch float64 polish to a minimum."""

    loss: LossName | Literal["own"] | None = Field(
        default=None, description="null: the experiment's loss, or the data's; own: a potential's"
    )
    start: Literal["random", "truth"] = Field(
        default="random", description="truth: start the polish at the known generating parameters"
    )
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: PositiveFloat = Field(default=1e-3, description="peak learning rate, cosine decay to 0")
    steps: NonNegativeInt = Field(default=5000, description="optimiser steps before the polish")
    batch_size: PositiveInt | None = Field(default=None, description="null: full batch")
    weight_decay: NonNegativeFloat = Field(default=0.0, description="adamw only, decoupled")
    polish: Literal["lbfgs", "newton_cg", "none"] = "newton_cg"
    polish_steps: NonNegativeInt = Field(
        default=200, description="most outer iterations of the polish"
    )
    grad_tol: PositiveFloat = Field(
        default=1e-9, description="polish stops at |grad L_n(w)| <= grad_tol max(1, L_n)"
    )

    @model_validator(mode="after")
    def _decay_has_an_optimizer(self):
        if self.weight_decay > 0 and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay is {self.weight_decay}, but optimizer is {self.optimizer}, which "
                "has none: write optimizer: adamw"
            )
        return self
