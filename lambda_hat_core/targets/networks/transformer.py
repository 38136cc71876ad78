r"""A decoder: h_0 = embedding + positions; each block adds attention, then an MLP, to the stream.

Attention of head i: h += softmax(h Q_i (h K_i)^T / sqrt(d_head), causal) h V_i O_i, without biases.
MLP: h += gelu(h W_in + b_in) W_out + b_out, with the exact gelu. With layer norms, each of the two
and the read-out see the normalised stream instead of h.
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes, join, looked_up, normalised, size, split
from lambda_hat_core.types import Weights

_EMBEDDED = 1.0
"""Standard deviation of initial embeddings and positions."""


@dataclass(frozen=True)
class TransformerNetwork:
    """The description of a decoder.

    Attributes:
        inputs: number of tokens, or the length of a vector where rows are sequences of vectors.
        outputs: number of outputs of a position: logits of tokens, or 1 number.
        context: number of positions.
        n_layers: number of blocks.
        n_heads: number of heads of each block; d_head is d_model / n_heads.
        d_model: width of the residual stream.
        d_mlp: hidden units of each block's MLP; 0: none.
        tied: whether the read-out is the transpose of the embedding.
        layer_norm: whether there are layer norms.
        reads: the positions that are read out: `each`, the `last`, or every `other` from the
            first, whose one output is then a number of the row.
    """

    inputs: int
    outputs: int
    context: int
    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int = 0
    tied: bool = False
    layer_norm: bool = False
    reads: Literal["each", "last", "other"] = "each"

    @property
    def in_dim(self) -> int:
        """The number of positions of an input row."""
        return self.context

    @property
    def out_dim(self) -> int:
        """The number of outputs of a position that is read out."""
        return self.outputs

    @property
    def shapes(self) -> Shapes:
        """Embedding and positions, the blocks in their order, the last norm, and the read-out."""
        width, head = self.d_model, self.d_model // self.n_heads
        into, out = (self.n_heads, width, head), (self.n_heads, head, width)
        found: list[tuple[str, tuple[int, ...]]] = [
            ("embedding", (self.inputs, width)),
            ("positions", (self.context, width)),
        ]

        def norm(name: str) -> None:
            if self.layer_norm:
                found.extend([(f"{name}.scale", (width,)), (f"{name}.shift", (width,))])

        for i in range(self.n_layers):
            block = f"blocks.{i}"
            norm(f"{block}.attention.norm")
            found += [(f"{block}.attention.{name}", into) for name in ("query", "key", "value")]
            found.append((f"{block}.attention.output", out))
            if self.d_mlp:
                norm(f"{block}.mlp.norm")
                found += [
                    (f"{block}.mlp.in", (width, self.d_mlp)),
                    (f"{block}.mlp.in_bias", (self.d_mlp,)),
                    (f"{block}.mlp.out", (self.d_mlp, width)),
                    (f"{block}.mlp.out_bias", (width,)),
                ]
        norm("norm")
        if not self.tied:
            found.append(("unembedding", (width, self.outputs)))
        return tuple(found)

    @property
    def size(self) -> int:
        """The number of weights d."""
        return size(self.shapes)

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw variance-preserving normal weights; biases and shifts are 0, scales 1."""
        normal = split(self.shapes, jr.normal(key, (self.size,)))
        arrays: dict[str, Array] = {}
        for name, array in normal.items():
            if name in ("embedding", "positions"):
                arrays[name] = array * _EMBEDDED
            elif name.endswith("scale"):
                arrays[name] = jnp.ones_like(array)
            elif array.ndim == 1:
                arrays[name] = jnp.zeros_like(array)
            else:
                heads = self.n_heads if name.endswith("output") else 1
                arrays[name] = array / math.sqrt(heads * array.shape[-2])
        return join(self.shapes, arrays)

    def apply(self, w: Weights, x: Array) -> Float[Array, "n ..."]:
        """Return the outputs where they are read.

        Args:
            w: the weights.
            x: integer tokens (n, context), or vectors (n, context, inputs).
        """
        a = split(self.shapes, w)
        tokens = jnp.issubdtype(x.dtype, jnp.integer)
        h = looked_up(a["embedding"], x) if tokens else x @ a["embedding"]
        h = h + a["positions"]
        for i in range(self.n_layers):
            h = h + self._attention(a, f"blocks.{i}.attention", h)
            if self.d_mlp:
                h = h + self._mlp(a, f"blocks.{i}.mlp", h)
        match self.reads:
            case "last":
                h = h[:, -1]
            case "other":
                h = h[:, ::2]
        read = a["embedding"].T if self.tied else a["unembedding"]
        outputs = self._norm(a, "norm", h) @ read
        return outputs[..., 0] if self.reads == "other" else outputs

    def _norm(self, a: dict[str, Array], name: str, h: Array) -> Array:
        if not self.layer_norm:
            return h
        return normalised(h) * a[f"{name}.scale"] + a[f"{name}.shift"]

    def _attention(self, a: dict[str, Array], name: str, h: Array) -> Array:
        seen = self._norm(a, f"{name}.norm", h)
        query, key, value = (
            jnp.einsum("ntd,hde->nhte", seen, a[f"{name}.{part}"])
            for part in ("query", "key", "value")
        )
        scores = jnp.einsum("nhse,nhte->nhst", query, key) / math.sqrt(query.shape[-1])
        earlier = jnp.tril(jnp.ones((h.shape[1], h.shape[1]), bool))
        pattern = jax.nn.softmax(jnp.where(earlier, scores, -jnp.inf), axis=-1)
        mixed = jnp.einsum("nhst,nhte->nhse", pattern, value)
        return jnp.einsum("nhse,hed->nsd", mixed, a[f"{name}.output"])

    def _mlp(self, a: dict[str, Array], name: str, h: Array) -> Array:
        seen = self._norm(a, f"{name}.norm", h)
        hidden = jax.nn.gelu(seen @ a[f"{name}.in"] + a[f"{name}.in_bias"], approximate=False)
        return hidden @ a[f"{name}.out"] + a[f"{name}.out_bias"]
