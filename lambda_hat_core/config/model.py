"""Models: the function that the parameters define, or the potential that they are sampled in."""

from typing import Annotated, Any, Literal

import rfc8785
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lambda_hat_core.config.base import Frozen, is_absent
from lambda_hat_core.config.effect import When
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.mlp import Mlp
from lambda_hat_core.config.nets import ModularMlp, Superposition, Transformer


class DeepLinear(Frozen):
    """f(x) = W_L ... W_1 x without biases; the true product has the given rank."""

    kind: Literal["deep_linear"] = "deep_linear"
    widths: tuple[PositiveInt, ...] = Field(
        min_length=3, description="H_0 .. H_L: number of inputs, hidden widths, number of outputs"
    )
    rank: NonNegativeInt = Field(description="rank of the true product, <= min(widths)")

    @model_validator(mode="after")
    def _rank_is_possible(self):
        if self.rank > min(self.widths):
            raise ValueError(
                f"rank is {self.rank}, but the smallest of widths {list(self.widths)} is "
                f"{min(self.widths)}: choose rank <= {min(self.widths)}"
            )
        return self


class QuadraticActivation(Frozen):
    """f(x) = sum_h (u_h . x)^2 with U of shape (in_dim, width); the true U has the given rank."""

    kind: Literal["quadratic_activation"] = "quadratic_activation"
    in_dim: PositiveInt
    width: PositiveInt
    rank: NonNegativeInt = Field(description="rank of the true U, <= min(in_dim, width)")

    @model_validator(mode="after")
    def _rank_is_possible(self):
        most = min(self.in_dim, self.width)
        if self.rank > most:
            raise ValueError(
                f"rank is {self.rank}, but in_dim is {self.in_dim} and width is {self.width}: "
                f"choose rank <= {most}"
            )
        return self


class DiagonalLinear(Frozen):
    """f(x) = sum_i theta_i x_i with theta_i = prod_l w_{l,i}; `n_zero` true theta_i are 0."""

    kind: Literal["diagonal_linear"] = "diagonal_linear"
    in_dim: PositiveInt = Field(description="p, the number of inputs")
    depth: PositiveInt = Field(default=2, description="number of factors per coordinate")
    n_zero: NonNegativeInt = Field(
        default=0, description="number of true coordinates that are zero, <= in_dim"
    )

    @model_validator(mode="after")
    def _zeros_are_coordinates(self):
        if self.n_zero > self.in_dim:
            raise ValueError(
                f"n_zero is {self.n_zero}, but in_dim is {self.in_dim}: choose n_zero <= in_dim"
            )
        return self


class Quadratic(Frozen):
    """L(w) = 1/2 sum_i h_i (Q^T w)_i^2, a potential with a given spectrum."""

    kind: Literal["quadratic"] = "quadratic"
    spectrum: tuple[NonNegativeFloat, ...] | None = Field(
        default=None,
        min_length=1,
        description="the h_i; null: determined by d, condition, h_max and rank",
    )
    d: PositiveInt = Field(default=10, description="dimension, if no spectrum is given")
    condition: Annotated[float, When(spectrum=None)] = Field(
        default=1.0, ge=1, description="h_max / h_min of a log-spaced spectrum"
    )
    h_max: Annotated[PositiveFloat, When(spectrum=None)] = Field(
        default=1.0, description="the largest h_i"
    )
    rank: Annotated[PositiveInt | None, When(spectrum=None)] = Field(
        default=None, description="number of eigenvalues that are not 0; null: all"
    )
    rotate: bool = Field(
        default=True, description="rotate by a random orthogonal Q (product of Householder factors)"
    )

    @model_validator(mode="after")
    def _spectrum_is_a_spectrum(self):
        if self.spectrum is not None and not any(self.spectrum):
            raise ValueError("spectrum is all zeros, a loss without curvature: give one h_i > 0")
        d = self.d if self.spectrum is None else len(self.spectrum)
        if self.spectrum is not None and self.d not in (type(self).model_fields["d"].default, d):
            raise Misfit("d", self.d, f"spectrum has {d} entries", "remove d")
        if self.rank is not None and self.rank > d:
            raise ValueError(f"rank is {self.rank}, but d is {d}: choose rank <= d")
        return self


class NormalCrossing(Frozen):
    """L(w) = prod_i w_i^(2 k_i), with w* at `point`, which must lie on the zero set."""

    kind: Literal["normal_crossing"] = "normal_crossing"
    powers: tuple[NonNegativeInt, ...] = Field(
        min_length=1, description="the k_i, at least one of them > 0"
    )
    point: tuple[float, ...] | None = Field(default=None, description="w*; null: the origin")

    @model_validator(mode="after")
    def _point_is_a_zero(self):
        if not any(self.powers):
            raise ValueError("powers are all zero, so L(w) = 1 everywhere: give one power > 0")
        if self.point is None:
            return self
        if len(self.point) != len(self.powers):
            raise ValueError(
                f"point has {len(self.point)} entries, but powers has {len(self.powers)}: "
                "give one coordinate per power"
            )
        if all(p != 0 for p, k in zip(self.point, self.powers, strict=True) if k > 0):
            raise ValueError(
                f"point {list(self.point)} is not on the zero set of L: set a coordinate whose "
                "power is > 0 to 0"
            )
        return self


class Custom(Frozen):
    """A target made by a function of the user: `factory(key, **kwargs) -> CustomTarget`."""

    kind: Literal["custom"] = "custom"
    factory: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="'package.module:function'"
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="keyword arguments of the factory; the content of a file whose name is among "
        "them is part of the id",
    )
    files: tuple[str, ...] = Field(
        default=(),
        description="other files that the factory reads, or folders, in the working directory or "
        "on PYTHONPATH; their content is part of the id",
    )
    source_sha256: str | None = Field(
        default=None,
        description="hash of the module's source, of the modules that it imports (but for "
        "installed packages) and of the files; part of the id, filled in by the plan",
    )
    checkpoints: str | None = Field(
        default=None,
        exclude_if=is_absent,
        description="files of a training elsewhere, 'run7/step_*.npz': a target each, for which "
        "factory gets checkpoint=Path too, at the step that is the last whole number of the name",
    )
    checkpoint_sha256: str | None = Field(
        default=None,
        exclude_if=is_absent,
        description="hash of one of them, which the plan fills in",
    )

    @model_validator(mode="after")
    def _kwargs_are_json(self):
        try:
            rfc8785.dumps(self.kwargs)
        except rfc8785.CanonicalizationError as error:
            raise ValueError(
                f"kwargs cannot be written as JSON ({error}): use finite numbers, strings, lists "
                "and mappings with string keys"
            ) from None
        return self


ModelSpec = Annotated[
    Mlp
    | ModularMlp
    | Superposition
    | Transformer
    | DeepLinear
    | QuadraticActivation
    | DiagonalLinear
    | Quadratic
    | NormalCrossing
    | Custom,
    Field(discriminator="kind"),
]
