"""How the minimum w* is found."""

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
    """First-order training, followed by a full-batch float64 polish to a minimum."""

    loss: LossName | Literal["own"] | None = Field(
        default=None,
        description="the training loss; null: the experiment's, else as the data require; own: "
        "that of the potential or custom target",
    )
    start: Literal["random", "truth"] = Field(
        default="random",
        description="random: train from random parameters; truth: start the polish at the "
        "parameters that generated the data",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        default="adam", description="optimiser of the training"
    )
    lr: PositiveFloat = Field(
        default=1e-3, description="peak learning rate, followed by a cosine decay to 0"
    )
    steps: NonNegativeInt = Field(
        default=5000, description="number of optimiser steps before the polish"
    )
    batch_size: PositiveInt | None = Field(
        default=None, description="examples per optimiser step; null: the full batch"
    )
    weight_decay: NonNegativeFloat = Field(
        default=0.0, description="decoupled weight decay, adamw only"
    )
    polish: Literal["lbfgs", "newton_cg", "none"] = Field(
        default="newton_cg", description="method of the polish"
    )
    polish_steps: NonNegativeInt = Field(
        default=200, description="largest number of outer iterations of the polish"
    )
    grad_tol: PositiveFloat = Field(
        default=1e-9, description="the polish stops at |grad L_n(w)| <= grad_tol max(1, L_n)"
    )

    @model_validator(mode="after")
    def _decay_has_an_optimizer(self):
        if self.weight_decay > 0 and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay is {self.weight_decay}, but optimizer is {self.optimizer}, which "
                "has none: write optimizer: adamw"
            )
        return self
