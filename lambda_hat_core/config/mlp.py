"""The multilayer perceptron, and the width that gives it a number of parameters."""

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.effect import When
from lambda_hat_core.config.errors import Misfit

Activation = Literal["relu", "tanh", "gelu", "identity"]


def infer_width(
    in_dim: int,
    out_dim: int,
    depth: int,
    target_params: int,
    *,
    bias: bool = True,
    layernorm: bool = False,
) -> int:
    """Return the constant hidden width h whose parameter count is nearest to `target_params`.

    P(h) = (in + b) h + (depth - 1)(h + b) h + (h + b) out, plus 2 depth h for layer norms, where b
    is 1 with biases, else 0. h is at least 1; of two equally near values the smaller is returned.
    """
    b = int(bias)
    square = depth - 1
    linear = in_dim + b + (depth - 1) * b + out_dim + 2 * depth * layernorm

    def count(h: int) -> int:
        return square * h * h + linear * h + b * out_dim

    wanted = target_params - b * out_dim
    # The root of the quadratic in its form without cancellation, which also covers depth = 1.
    root = 2 * wanted / (linear + math.sqrt(max(0, linear**2 + 4 * square * wanted)))
    below = max(1, math.floor(root))
    return min((below, below + 1), key=lambda h: abs(count(h) - target_params))


class Mlp(Frozen):
    """Multilayer perceptron, sized by `widths` or `target_params` (not both), else by `hidden`."""

    kind: Literal["mlp"] = "mlp"
    in_dim: PositiveInt | None = Field(
        default=None, description="number of inputs; null: as the data have (synthetic: 4)"
    )
    out_dim: PositiveInt | None = Field(
        default=None, description="number of outputs; null: as the data have (synthetic: 1)"
    )
    depth: PositiveInt = Field(default=2, le=1000, description="number of hidden layers")
    widths: tuple[PositiveInt, ...] | None = Field(
        default=None,
        min_length=1,
        description="hidden widths; overrides depth, hidden and target_params",
    )
    target_params: PositiveInt | None = Field(
        default=None,
        description="desired number of parameters; determines the constant hidden width",
    )
    hidden: PositiveInt = Field(
        default=32, description="hidden width, if widths and target_params are null"
    )
    activation: Activation = "relu"
    bias: bool = True
    layernorm: bool = Field(default=False, description="layer norm before each activation")
    skip_connections: bool = Field(
        default=False,
        description="add the input of each group of `residual_period` hidden layers of equal width "
        "to its output",
    )
    residual_period: Annotated[PositiveInt, When(skip_connections=True)] = 2

    def completed(self, in_dim: int, out_dim: int) -> "Mlp":
        """Return the same network with every size spelled out.

        Args:
            in_dim: inputs where it names none.
            out_dim: outputs where it names none.
        """
        inputs, outputs = self.in_dim or in_dim, self.out_dim or out_dim
        widths = self.widths
        if widths is None:
            width = self.hidden
            if self.target_params is not None:
                width = infer_width(
                    inputs,
                    outputs,
                    self.depth,
                    self.target_params,
                    bias=self.bias,
                    layernorm=self.layernorm,
                )
            widths = (width,) * self.depth
        return self.resized(widths, in_dim=inputs, out_dim=outputs)

    def resized(self, widths: tuple[int, ...], **others: object) -> "Mlp":
        """Return the network with these hidden widths, and other fields where they are given."""
        sizes = {"widths": widths, "depth": len(widths), "hidden": widths[0], "target_params": None}
        return self.model_copy(update=sizes | others)

    @model_validator(mode="after")
    def _one_size(self):
        if self.widths is not None and self.target_params is not None:
            raise ValueError(
                f"widths is {list(self.widths)} and target_params is {self.target_params}, but "
                "only one of them can size the network: set one to null"
            )
        fields, widths = type(self).model_fields, self.widths
        hidden, depth = fields["hidden"].default, fields["depth"].default
        own = hidden if widths is None else widths[0]
        if self.hidden not in (hidden, own) and (self.widths or self.target_params):
            by = "widths" if widths else "target_params"
            rule = f"it has no effect with {by}: only one of them sizes the network"
            raise Misfit("hidden", self.hidden, rule, "remove one of them")
        if widths is not None and self.depth not in (depth, len(widths)):
            rule = f"widths has {len(widths)} entries"
            raise Misfit("depth", self.depth, rule, "remove depth")
        return self
