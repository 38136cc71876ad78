"""Samplers that use minibatch gradients."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from lambda_hat_core.config.effect import When
from lambda_hat_core.config.samplers.constant import CONSTANT, Constant
from lambda_hat_core.config.samplers.hints import SGHMC

_PRECOND = (
    "constant, the inverse of the damped mean Hessian; lanczos: from its stiffest directions; "
    "kronecker: array by array in a basis that is a product of small ones"
)
_AUTO = "; auto: kronecker for large networks whose parameters are mostly matrices, else lanczos"


class Sgld(Constant):
    """Stochastic gradient Langevin dynamics, w += -(eps/2) P drift + sqrt(eps P) xi."""

    usual_fraction: ClassVar[float] = 0.3

    kind: Literal["sgld"] = "sgld"
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="eps (Welling & Teh 2011); auto: from the curvature and the minibatch noise",
    )
    precond: Literal["none", "rmsprop", "adam", "lanczos", "kronecker"] = Field(
        default="lanczos",
        description="preconditioner P; rmsprop, adam: from moments of the gradient; else "
        + _PRECOND,
    )
    integrator: Annotated[Literal["euler", "leimkuhler_matthews"], When(precond=CONSTANT)] = Field(
        default="leimkuhler_matthews",
        description="of constant preconditioners; leimkuhler_matthews has no bias on a Gaussian",
    )
    beta1: Annotated[float, When(precond="adam")] = Field(
        default=0.9, ge=0, lt=1, description="adam: decay of the first moment"
    )
    beta2: Annotated[float, When(precond=("rmsprop", "adam"))] = Field(
        default=0.999, ge=0, lt=1, description="decay of the second moment"
    )
    eps: Annotated[PositiveFloat, When(precond=("rmsprop", "adam"))] = Field(
        default=1e-8, description="eps of P = 1 / (sqrt(v_hat) + eps)"
    )
    bias_correction: Annotated[bool, When(precond=("rmsprop", "adam"))] = Field(
        default=True, description="correct the moments for their start at 0"
    )
    freeze_preconditioner: Annotated[bool, When(precond=("rmsprop", "adam"))] = Field(
        default=True,
        description="keep P fixed after burn-in; if P changed, leaving out the term Gamma(w) would "
        "bias the samples",
    )

    @property
    def flavour(self) -> str:
        """The name of the preconditioner."""
        return self.precond

    @property
    def least_burn(self) -> int:
        """Draws per chain that a stop rule drops at least, since the sampler still changes."""
        return self.n_burn if self.fresh else 0


class Sghmc(Constant):
    """Stochastic gradient HMC (Chen et al. 2014) with unit mass and continuous damping."""

    hints: ClassVar[Mapping[str, str]] = SGHMC

    kind: Literal["sghmc"] = "sghmc"
    precond: Literal["auto", "none", "lanczos", "kronecker"] = Field(
        default="auto", description="none: unit mass; else " + _PRECOND + _AUTO
    )
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="time step eps of p -= eps grad U, w += eps p; auto: from the curvature and "
        "the minibatch noise",
    )
    alpha: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        default="auto",
        description="fraction of the momentum that is replaced per step: p <- (1 - alpha) p + "
        "sqrt(1 - (1 - alpha)^2) N(0, 1); auto: 0.1, and 1 - exp(-0.35 eps) with full batches in a "
        "kronecker metric",
    )


class Sgnht(Constant):
    """Stochastic gradient Nose-Hoover thermostat (Ding et al. 2014)."""

    makes_up: ClassVar[bool] = False

    kind: Literal["sgnht"] = "sgnht"
    precond: Literal["auto", "none", "lanczos", "kronecker"] = Field(
        default="auto", description="none: unit mass; else " + _PRECOND + _AUTO
    )
    step_size: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="time step eps of p -= eps grad U, w += eps p; auto: from the curvature and "
        "the minibatch noise",
    )
    alpha: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="noise injected per step, of variance 2 alpha, and the friction per step (x in "
        "p <- exp(-x) p) at which the thermostat starts",
    )
