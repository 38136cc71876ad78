"""How the minimum w* is found."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.effect import When

LossName = Literal["mse", "gaussian", "student_t", "cross_entropy"]
SCALED = ("gaussian", "student_t")
"""Losses with a noise scale."""


def _later(default: Any, description: str) -> Any:
    """Return a field that is left out of the id at its default, as before there was the field."""
    return Field(
        default=default, exclude_if=lambda value: value == default, description=description
    )


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
    optimizer: Annotated[Literal["adam", "adamw", "sgd"], When(start="random")] = Field(
        default="adam", description="optimiser of the training"
    )
    lr: Annotated[PositiveFloat, When(start="random")] = Field(
        default=1e-3, description="peak learning rate, followed by a cosine decay to 0"
    )
    steps: Annotated[NonNegativeInt, When(start="random")] = Field(
        default=5000, description="number of optimiser steps before the polish"
    )
    batch_size: Annotated[PositiveInt | None, When(start="random")] = Field(
        default=None, description="examples per optimiser step; null: the full batch"
    )
    weight_decay: Annotated[NonNegativeFloat, When(start="random", optimizer="adamw")] = Field(
        default=0.0, description="decoupled weight decay, adamw only"
    )
    polish: Literal["lbfgs", "newton_cg", "none"] = Field(
        default="newton_cg", description="method of the polish"
    )
    polish_steps: Annotated[NonNegativeInt, When(polish=("lbfgs", "newton_cg"))] = Field(
        default=200, description="largest number of outer iterations of the polish"
    )
    grad_tol: Annotated[PositiveFloat, When(polish=("lbfgs", "newton_cg"))] = Field(
        default=1e-9, description="the polish stops at |grad L_n(w)| <= grad_tol max(1, L_n)"
    )
    schedule: Annotated[Literal["cosine", "constant"], When(start="random")] = _later(
        "cosine", "the learning rate's way to the last step: a cosine decay to 0, or none"
    )
    l2: Annotated[NonNegativeFloat, When(start="random")] = _later(
        0.0,
        "l2 w is added to the gradient, before the optimiser (the weight_decay of other tools' "
        "Adam); the polish does not have it",
    )
    init_scale: Annotated[PositiveFloat, When(start="random")] = _later(
        1.0, "factor of all random parameters that training starts from; custom targets: 1"
    )
