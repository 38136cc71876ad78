"""Networks for one kind of task each, whose sizes of inputs and outputs follow from the data."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.errors import Misfit


class ModularMlp(Frozen):
    """logits = U gelu(A e(a) + B e(b) + biases) for two integers, with one embedding e for both.

    A and B have a bias each, whose sum alone matters; U has none. The gelu is the exact one.
    """

    kind: Literal["modular_mlp"] = "modular_mlp"
    embedding: PositiveInt = Field(default=12, description="dimension of the embedding")
    hidden: PositiveInt = Field(default=48, description="number of hidden units")

    @property
    def words(self) -> str:
        """The sizes, for labels."""
        return f"modular mlp {self.embedding}-{self.hidden}"


class Superposition(Frozen):
    """The toy model of superposition: x -> relu(W^T W x + b), features through fewer dimensions.

    Elhage et al. 2022 (arXiv:2209.10652); its LLC along training: arXiv:2310.06301.
    """

    kind: Literal["superposition"] = "superposition"
    hidden: PositiveInt = Field(default=2, description="m, the number of rows of W")
    polygon: PositiveInt | None = Field(
        default=None,
        description="training starts near a regular polygon of so many features in the plane, the "
        "others and b near 0; null: at random",
    )

    @model_validator(mode="after")
    def _a_polygon_lies_in_a_plane(self):
        if self.polygon is not None and self.hidden != 2:
            rule = f"a polygon lies in a plane, but hidden is {self.hidden}"
            raise Misfit("polygon", self.polygon, rule, "set hidden to 2, or remove polygon")
        return self

    @property
    def words(self) -> str:
        """The sizes, for labels."""
        start = "" if self.polygon is None else f" from a {self.polygon}-gon"
        return f"superposition in {self.hidden} dimensions{start}"


class Transformer(Frozen):
    """A decoder with learned positions: blocks of causal attention, then an MLP if `d_mlp` > 0.

    Attention has no biases, and the read-out has none. With `layer_norm`, a norm precedes each
    part of a block and the read-out. The heads are an axis of their own: the leaves
    `blocks.0.attention.query`, `key`, `value` have the shape heads x d_model x d_head, and `output`
    heads x d_head x d_model.
    """

    kind: Literal["transformer"] = "transformer"
    n_layers: PositiveInt = Field(default=2, le=100, description="number of blocks")
    n_heads: PositiveInt = Field(default=2, description="attention heads of each block")
    d_model: PositiveInt = Field(default=32, description="width of the residual stream")
    d_mlp: NonNegativeInt = Field(
        default=0, description="hidden units of each block's MLP (exact gelu); 0: attention only"
    )
    tied: bool = Field(
        default=False, description="read out with the transpose of the embedding of the tokens"
    )
    layer_norm: bool = Field(default=False, description="layer norms with learned scale and shift")

    @model_validator(mode="after")
    def _heads_divide_the_stream(self):
        if self.d_model % self.n_heads:
            rule = f"d_head is d_model / n_heads, and n_heads is {self.n_heads}"
            raise Misfit("d_model", self.d_model, rule, f"write a multiple of {self.n_heads}")
        return self

    @property
    def words(self) -> str:
        """The sizes, for labels."""
        layers = "1 layer" if self.n_layers == 1 else f"{self.n_layers} layers"
        parts = f"{layers}, {self.n_heads} heads, width {self.d_model}"
        return f"transformer {parts}" + (f", mlp {self.d_mlp}" if self.d_mlp else "")
