"""What the samplers with minibatch gradients share: batches, step, and a constant metric."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from lambda_hat_core.config.effect import When
from lambda_hat_core.config.samplers.base import NOISE_BATCHES, RECORD, Chains, Dtype, Gradients
from lambda_hat_core.config.samplers.hints import STOCHASTIC

_WHITENING = ("lanczos", "kronecker", "auto")
CONSTANT = ("none", *_WHITENING)
"""Preconditioners that stay what they are from the start."""

_PRODUCTS = {"auto": 8, "kronecker": 8, "lanczos": 8, "none": 24, "rmsprop": 56, "adam": 56}
"""Hessian-vector products per chain: of the stiffest curvature in the metric, else of a quadrature
of the spectrum, and of the spectrum that a preconditioner changes."""

_Gradient = Literal["plain", "control_variate", "auto"]

_THIN = 12

_Fraction = Annotated[float, Field(gt=0, lt=4)] | Literal["auto"]

_FRACTION = (
    "with step_size auto: eps (sgld) or eps^2 (sghmc, sgnht) in units of 1 / the largest curvature "
    "of U in the sampler's coordinates, reduced if the minibatch noise requires it; the dynamics "
    "are unstable from 4 on"
)


def number(value: float | Literal["auto"]) -> float:
    """Return the value of a field of settings that are settled."""
    assert value != "auto"
    return value


class Stochastic(Chains):
    """The settings that all minibatch samplers share."""

    default_dtype: ClassVar[Dtype] = "float32"
    hints: ClassVar[Mapping[str, str]] = STOCHASTIC
    usual_fraction: ClassVar[float] = 0.1

    n_draws: PositiveInt = Field(default=1200, description="draws per chain, burn-in included")
    n_burn: NonNegativeInt = Field(
        default=400, description="first draws of each chain that are discarded"
    )
    thin: PositiveInt | Literal["auto"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default="auto",
        description="kernel steps per draw; auto: 12, and 6 with full batches in a "
        "kronecker metric",
    )
    batch_size: PositiveInt | Literal["auto"] | None = Field(
        default="auto",
        description="examples per gradient, drawn with replacement; null: the full batch; auto: as "
        "many as the step size needs, at least 128, and the full batch instead of more "
        "than half; 256 without a metric from the Hessian",
    )
    step_fraction: Annotated[_Fraction, When(step_size="auto")] = Field(
        default="auto",
        description=_FRACTION + "; auto: 0.1 (sgld: 0.3), and 2 with full batches "
        "in a kronecker metric",
    )
    noise: Literal["threefry", "philox"] = Field(
        default="threefry", description="random number generator of the injected noise"
    )

    @property
    def steps(self) -> int:
        """Kernel steps per draw, a guess where the target decides."""
        return _THIN if self.thin == "auto" else self.thin

    @property
    def fraction(self) -> float:
        """The step fraction, that of batches where the target decides."""
        return self.usual_fraction if self.step_fraction == "auto" else self.step_fraction

    @property
    def extrapolates(self) -> bool:
        """Whether the estimate is extrapolated to step size 0."""
        return False

    @property
    def fresh(self) -> bool:
        """Whether a draw is recorded with the gradient of a batch that no step uses."""
        return self.scaling in ("rmsprop", "adam")

    @property
    def scaling(self) -> str:
        """The preconditioner, none where the sampler has no choice of one."""
        return getattr(self, "precond", "none")

    @property
    def passes(self) -> int:
        """Gradients of a batch per estimate: a control variate takes a second one."""
        return 2 if getattr(self, "gradient", "plain") == "control_variate" else 1

    def probing(self) -> float:
        """Return the gradients on the set-up's examples that a chain takes beyond the pilot."""
        return 2.0 * _PRODUCTS[self.scaling]

    def once(self) -> Gradients:
        """Return the other gradients that a chain takes before its first draw."""
        return Gradients(0.0, float(self.passes * NOISE_BATCHES))

    def step(self) -> Gradients:
        """Return the gradients of one kernel step of a chain."""
        return Gradients(0.0, float(self.passes))

    def recording(self) -> Gradients:
        """Return the gradients that are taken to record a draw.

        The loss on all examples, with a derivative if steps take batches; some samplers take the
        gradient of a fresh batch too.
        """
        times = 1 if self.batch_size is None else 2
        return Gradients(times * RECORD, 1.0 if self.fresh else 0.0)


_IN_PRODUCT = 104
"""Gradients on the set-up's examples for a product metric: 16 Lanczos steps, 4 probes, and 32
products for the basis and what is measured in it."""

_LONG_STEPS = 80
"""Typical draws per chain of large networks at steps that full batches allow."""

_SMALL_DATA = 8192
"""Most examples on which a sampler in a product metric takes full batches where it is free to."""


class Constant(Stochastic):
    """The settings of samplers that can move in a constant metric."""

    makes_up: ClassVar[bool] = True
    """Whether less noise is injected in such a metric, to make up for a batch's own."""

    damping: Annotated[NonNegativeFloat | Literal["auto"], When(precond=_WHITENING)] = Field(
        default="auto",
        description="the metric is nbeta H + (1 + damping) gamma, H the Hessian averaged over the "
        "pilot's points; auto: 5, and 20 with batches in a kronecker metric",
    )
    extrapolate: Annotated[bool, When(precond=CONSTANT)] = Field(
        default=True,
        description="make every other block of draws at half the step size, and extrapolate the "
        "estimate to step size 0",
    )
    gradient: Annotated[_Gradient, When(precond=CONSTANT)] = Field(
        default="auto",
        description="of constant preconditioners; control_variate subtracts the gradient of the "
        "same batch at w* (Baker et al. 2019): less noise, two gradients per step; auto: plain, "
        "and a control variate where its batches may be less than half as large (not with precond "
        "none, with batch_size auto)",
    )

    @property
    def extrapolates(self) -> bool:
        """Whether the estimate is extrapolated to step size 0."""
        return self.extrapolate and self.is_constant

    def settled(self, n: int | None, *, in_product: bool) -> "Constant":
        """Return the settings with a number for everything that no measurement decides.

        In a product metric eps^2 is 20 times the usual one where gradients are exact, and for that
        full batches cost less up to some thousand examples. What alpha is best depends on the step
        then, so it stays `auto` until there is one.

        Args:
            n: number of examples; None for a potential.
            in_product: whether the metric is one in a product basis.
        """
        found: dict[str, Any] = {}
        if self.scaling == "auto":
            found["precond"] = "kronecker" if in_product else "lanczos"
        size = self.batch_size
        if in_product and size == "auto" and (n is None or n <= _SMALL_DATA):
            found["batch_size"] = size = None
        is_long = in_product and size is None
        for name, value in {
            "thin": _THIN // 2 if is_long else _THIN,
            "damping": 20.0 if in_product and not is_long else 5.0,
            "alpha": "auto" if is_long else 0.1,
            "step_fraction": 2.0 if is_long else self.usual_fraction,
        }.items():
            if getattr(self, name, None) == "auto":
                found[name] = value
        return self.model_copy(update=found)

    @property
    def typical_draws(self) -> int:
        """Draws per chain of a typical run that ends at a precision."""
        is_long = self.scaling == "kronecker" and self.batch_size is None
        return _LONG_STEPS if is_long else super().typical_draws

    def mean_hessian(self) -> int:
        """Return the gradients on the set-up's examples for the Hessian where the pilot arrives."""
        return _IN_PRODUCT if self.scaling == "kronecker" else super().mean_hessian()

    @property
    def is_constant(self) -> bool:
        """Whether the metric stays what it is from the start."""
        return self.scaling in CONSTANT

    @property
    def whitens(self) -> bool:
        """Whether the metric comes from the mean Hessian."""
        return self.scaling in _WHITENING
