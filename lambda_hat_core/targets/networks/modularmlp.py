"""A network of two integers: logits = U gelu(A e(a) + B e(b) + biases), the gelu being exact."""

import math
from dataclasses import dataclass

import jax
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes, join, looked_up, size, split
from lambda_hat_core.types import Weights


@dataclass(frozen=True)
class ModularMlpNetwork:
    """The description of a network of two integers below `p`, which are also its classes.

    Attributes:
        p: the modulus.
        embedding: dimension of the embedding that both integers share.
        hidden: number of hidden units.
    """

    p: int
    embedding: int
    hidden: int

    @property
    def in_dim(self) -> int:
        """The length of an input row, which is 2."""
        return 2

    @property
    def out_dim(self) -> int:
        """The length of an output row."""
        return self.p

    @property
    def shapes(self) -> Shapes:
        """The embedding, A and B with their biases, and U."""
        into, bias = (self.embedding, self.hidden), (self.hidden,)
        return (
            ("embedding", (self.p, self.embedding)),
            ("left.weight", into),
            ("left.bias", bias),
            ("right.weight", into),
            ("right.bias", bias),
            ("unembedding", (self.hidden, self.p)),
        )

    @property
    def size(self) -> int:
        """The number of weights d."""
        return size(self.shapes)

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw a standard normal embedding, and the rest uniform in +-1/sqrt(fan-in)."""
        embedding_key, uniform_key = jr.split(key)
        uniform = split(self.shapes, jr.uniform(uniform_key, (self.size,), minval=-1.0, maxval=1.0))
        arrays = {name: array / math.sqrt(self.embedding) for name, array in uniform.items()}
        arrays["embedding"] = jr.normal(embedding_key, (self.p, self.embedding))
        arrays["unembedding"] = uniform["unembedding"] / math.sqrt(self.hidden)
        return join(self.shapes, arrays)

    def apply(self, w: Weights, x: Int[Array, "n 2"]) -> Float[Array, "n q"]:
        """Return the logits of every pair."""
        arrays = split(self.shapes, w)
        both = looked_up(arrays["embedding"], x)
        left = both[:, 0] @ arrays["left.weight"] + arrays["left.bias"]
        right = both[:, 1] @ arrays["right.weight"] + arrays["right.bias"]
        return jax.nn.gelu(left + right, approximate=False) @ arrays["unembedding"]
