"""The settings of a small sampler, as the recipe in CONTRIBUTING.md asks for them."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from lambda_hat_core.config.samplers.base import Chains, Gradients


class Toy(Chains):
    """Unadjusted Langevin dynamics with full gradients, w += -(eps/2) grad U + sqrt(eps) xi."""

    n_programs: ClassVar[float] = 5.0

    kind: Literal["toy"] = "toy"
    n_draws: PositiveInt = Field(default=2500, description="draws a chain, burn-in included")
    thin: PositiveInt = Field(default=15, description="kernel steps a draw")
    step_fraction: float = Field(
        default=0.1, gt=0, lt=4, description="eps in units of 1 / (nbeta h_max + gamma)"
    )

    def step(self) -> Gradients:
        """Return the gradients of one kernel step of a chain."""
        return Gradients(1.0)
