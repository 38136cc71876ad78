"""What function the parameters parametrise, or which potential they see."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from lambda_hat_core.config.base import Frozen

Activation = Literal["relu", "tanh", "gelu", "identity"]


class Mlp(Frozen):
    """Multilayer perceptron. At most one of `widths`, `target_params` sizes it, else `hidden`."""

    kind: Literal["mlp"] = "mlp"
    in_dim: PositiveInt | None = Field(None, description="inputs; null: the data's (synthetic: 4)")
    out_dim: PositiveInt | None = Field(
        None, description="outputs; null: the data's (synthetic: 1)"
    )
    depth: PositiveInt = Field(2, description="hidden layers")
    widths: tuple[PositiveInt, ...] | None = Field(
        None, description="hidden widths; overrides depth, hidden and target_params"
    )
    target_params: PositiveInt | None = Field(
        None, description="number of parameters wanted; the constant hidden width is inferred"
    )
    hidden: PositiveInt = Field(32, description="hidden width where nothing else sets it")
    activation: Activation = "relu"
    bias: bool = True
    layernorm: bool = Field(False, description="layer norm before each activation")
    skip_connections: bool = Field(
        False, description="add the input of every `residual_period` hidden layers of equal width"
    )
    residual_period: PositiveInt = 2


class DeepLinear(Frozen):
    """f(x) = W_L ... W_1 x without biases; the truth is a product of the given rank."""

    kind: Literal["deep_linear"] = "deep_linear"
    widths: tuple[PositiveInt, ...] = Field(
        min_length=3, description="H_0 .. H_L: inputs, hidden widths, outputs"
    )
    rank: NonNegativeInt = Field(description="rank of the true product, <= min(widths)")


class QuadraticActivation(Frozen):
    """f(x) = sum_h (u_h . x)^2 with U of shape (in_dim, width) and a truth of the given rank."""

    kind: Literal["quadratic_activation"] = "quadratic_activation"
    in_dim: PositiveInt
    width: PositiveInt
    rank: NonNegativeInt = Field(description="rank of the true U, <= min(in_dim, width)")


class DiagonalLinear(Frozen):
    """f(x) = sum_i theta_i x_i, theta_i = prod_l w_{l,i}; `n_zero` of the true theta_i are 0."""

    kind: Literal["diagonal_linear"] = "diagonal_linear"
    in_dim: PositiveInt = Field(description="p, the number of inputs")
    depth: PositiveInt = Field(2, description="factors a coordinate")
    n_zero: NonNegativeInt = Field(0, description="true coordinates that are zero, <= in_dim")


class Quadratic(Frozen):
    """L(w) = 1/2 sum_i h_i (Q^T (w - offset e))_i^2, a potential of a given spectrum."""

    kind: Literal["quadratic"] = "quadratic"
    spectrum: tuple[NonNegativeFloat, ...] | None = Field(
        None, min_length=1, description="h_i; null: from d, condition, h_max and rank"
    )
    d: PositiveInt = Field(10, description="dimension, where no spectrum is given")
    condition: float = Field(1.0, ge=1, description="h_max / h_min of a log-spaced spectrum")
    h_max: PositiveFloat = 1.0
    rank: PositiveInt | None = Field(None, description="eigenvalues that are not 0; null: all")
    rotate: bool = Field(True, description="rotate by a random orthogonal Q (Householder product)")


class NormalCrossing(Frozen):
    """L(w) = prod_i w_i^(2 k_i), started at `point` of the zero set."""

    kind: Literal["normal_crossing"] = "normal_crossing"
    powers: tuple[NonNegativeInt, ...] = Field(min_length=1, description="k_i, at least one > 0")
    point: tuple[float, ...] | None = Field(None, description="w*; null: the origin")


class Custom(Frozen):
    """A target that a function of the user's makes: `factory(key, **kwargs) -> CustomTarget`."""

    kind: Literal["custom"] = "custom"
    factory: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="'package.module:function'"
    )
    kwargs: dict[str, Any] = Field(default_factory=dict)
    source_sha256: str | None = Field(
        None, description="hash of the module's source; filled in by the plan, part of the id"
    )


ModelSpec = Annotated[
    Mlp
    | DeepLinear
    | QuadraticActivation
    | DiagonalLinear
    | Quadratic
    | NormalCrossing
    | Custom,
    Field(discriminator="kind"),
]
