"""Networks in PyTorch, and the same networks written in JAX as functions of the same params."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch
from torch import nn


class Pair(NamedTuple):
    """A module, its twin `twin(params, buffers, x)`, and a few inputs."""

    module: Any
    twin: Any
    example: Any


def _linear(p, name, x):
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def _norm(p, name, x):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def mlp(widths=(4, 16, 16, 1), rows=64):
    torch.manual_seed(0)
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.Tanh()]
    module = nn.Sequential(*layers[:-1])

    def twin(p, buffers, x):
        last = 2 * (len(widths) - 2)
        for i in range(0, last, 2):
            x = jnp.tanh(_linear(p, str(i), x))
        return _linear(p, str(last), x)

    return Pair(module, twin, torch.randn(rows, widths[0]))


def cnn(channels=8, rows=32):
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, channels, 3),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * channels, 10),
    )
    module(torch.randn(64, 1, 8, 8))

    def conv(p, name, x, padding):
        axes = ("NCHW", "OIHW", "NCHW")
        y = jax.lax.conv_general_dilated(
            x, p[f"{name}.weight"], (1, 1), padding, dimension_numbers=axes
        )
        return y + p[f"{name}.bias"][:, None, None]

    def batch_norm(p, b, name, x):
        scale = p[f"{name}.weight"] * jax.lax.rsqrt(b[f"{name}.running_var"] + 1e-5)
        x = x - b[f"{name}.running_mean"][:, None, None]
        return x * scale[:, None, None] + p[f"{name}.bias"][:, None, None]

    def twin(p, b, x):
        x = jax.nn.relu(batch_norm(p, b, "1", conv(p, "0", x, [(1, 1), (1, 1)])))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = jax.nn.relu(batch_norm(p, b, "5", conv(p, "4", x, "VALID")))
        return _linear(p, "8", x.reshape(x.shape[0], -1))

    return Pair(module, twin, torch.randn(rows, 1, 8, 8))


class Encoder(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def _attend(p, q, k, v, heads, *, causal):
    rows, length, width = q.shape
    q, k, v = (a.reshape(rows, length, heads, -1).swapaxes(1, 2) for a in (q, k, v))
    scores = q @ k.swapaxes(2, 3) * (width // heads) ** -0.5
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    return (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(rows, length, width)


def encoder(width=16, heads=2, layers=2, rows=8):
    torch.manual_seed(2)
    module = Encoder(width, heads, layers)

    def twin(p, buffers, x):
        for i in range(layers):
            at = f"encoder.layers.{i}"
            own = {"in.weight": p[f"{at}.self_attn.in_proj_weight"]}
            own["in.bias"] = p[f"{at}.self_attn.in_proj_bias"]
            q, k, v = jnp.split(_linear(own, "in", x), 3, axis=2)
            y = _attend(p, q, k, v, heads, causal=False)
            x = _norm(p, f"{at}.norm1", x + _linear(p, f"{at}.self_attn.out_proj", y))
            y = _linear(p, f"{at}.linear2", jax.nn.relu(_linear(p, f"{at}.linear1", x)))
            x = _norm(p, f"{at}.norm2", x + y)
        return _linear(p, "head", x.mean(1))

    return Pair(module, twin, torch.randn(rows, 12, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, length, width = x.shape
        parts = self.qkv(self.ln1(x)).split(width, dim=2)
        q, k, v = (a.view(rows, length, self.heads, -1).transpose(1, 2) for a in parts)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(rows, length, width))
        y = nn.functional.gelu(self.up(self.ln2(x)), approximate="tanh")
        return x + self.down(y)


class Gpt(nn.Module):
    """GPT-2 in small: learned positions, pre-norm blocks, tied embeddings."""

    def __init__(self, tokens, length, width, heads, layers):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.lnf, self.head = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.lnf(x))


def gpt(tokens=32, length=16, width=32, heads=4, layers=2, rows=8):
    torch.manual_seed(3)
    module = Gpt(tokens, length, width, heads, layers)
    with torch.no_grad():
        module.wte.weight.mul_(0.2)

    def twin(p, buffers, t):
        x = p["wte.weight"][t] + p["wpe.weight"][: t.shape[1]]
        for i in range(layers):
            at = f"blocks.{i}"
            q, k, v = jnp.split(_linear(p, f"{at}.qkv", _norm(p, f"{at}.ln1", x)), 3, axis=2)
            x = x + _linear(p, f"{at}.proj", _attend(p, q, k, v, heads, causal=True))
            y = jax.nn.gelu(_linear(p, f"{at}.up", _norm(p, f"{at}.ln2", x)), approximate=True)
            x = x + _linear(p, f"{at}.down", y)
        return _norm(p, "lnf", x) @ p["wte.weight"].T

    return Pair(module, twin, torch.randint(0, tokens, (rows, length)))


PAIRS = {"mlp": mlp, "cnn": cnn, "encoder": encoder, "gpt": gpt}
