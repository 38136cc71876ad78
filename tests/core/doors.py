"""Losses of several kinds, sizes and shapes, for both doors, and short runs of every sampler.

`python -m tests.core.doors FILE` reads cases as JSON, and estimates each by `estimate_llc`; the
factory `target` makes targets of the same.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core import CustomTarget

SIZES = {"below": (4, 3), "above": (10, 100)}
"""Inputs and outputs of a weight matrix: d = 12 and 1000, on both sides of the driver's limit."""

ROWS = 60

SHORT = {
    "nuts": {"n_draws": 100, "n_burn": 20, "n_warmup": 50, "max_doublings": 6},
    "hmc": {"n_draws": 100, "n_burn": 20, "n_warmup": 50, "n_leapfrog": 6},
    "mala": {"n_draws": 200, "n_burn": 50, "n_warmup": 80, "thin": 4},
    "mclmc": {"n_draws": 200, "n_burn": 50, "n_tune": 200, "thin": 2},
    "adjusted_mclmc": {"n_draws": 100, "n_burn": 20, "n_tune": 100},
    "sgld": {"n_draws": 200, "n_burn": 50, "thin": 5, "batch_size": 30},
    "sghmc": {"n_draws": 200, "n_burn": 50, "thin": 5, "batch_size": 30},
    "sgnht": {"n_draws": 200, "n_burn": 50, "thin": 5, "batch_size": 30},
    "tempered": {"n_draws": 200, "n_burn": 40, "n_warmup": 120, "n_replicas": 4},
    "vi": {"n_draws": 100, "steps": 50, "batch_size": 30, "M": 1, "r": 1},
}


class Made(NamedTuple):
    """A target, and the eigenvalues of its Hessian where the loss is quadratic."""

    params: Any
    loss: Any
    data: Any
    n: int
    curvatures: np.ndarray | None = None


class Layer(eqx.Module):
    """A weight matrix in a module."""

    weight: Any
    scale: float = eqx.field(static=True, default=1.0)


def held(weight, shape):
    """Return a matrix as an array, in a dict, or in a module."""
    if shape == "dict":
        return {"first": weight[:1], "rest": weight[1:]}
    return Layer(weight) if shape == "module" else weight


def matrix(params):
    """Return the matrix in the result of `held`."""
    if isinstance(params, dict):
        return jnp.concatenate([params["first"], params["rest"]])
    return params.weight * params.scale if isinstance(params, Layer) else params


def make(kind, size, shape):
    """Return a target whose params are its minimum, made from numpy arrays alone."""
    inputs, outputs = SIZES[size]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, inputs))
    weight = rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
    return globals()[f"_{kind}"](x, weight, shape, rng)


def _squares(x, weight, shape, rng):
    y = x @ weight + rng.normal(size=(ROWS, weight.shape[1]))
    best = np.linalg.lstsq(x, y)[0]

    def loss(p, b):
        return jnp.mean((b[0] @ matrix(p) - b[1]) ** 2)

    outputs = weight.shape[1]
    h = np.repeat(2 * np.linalg.eigvalsh(x.T @ x / ROWS) / outputs, outputs)
    return Made(held(best, shape), loss, (x, y), ROWS, h)


def _network(x, weight, shape, rng):
    """Tanh units under a fixed readout that the loss closes over, on a dict of data."""
    readout = rng.normal(size=(weight.shape[1], 5))
    y = np.tanh(x @ weight) @ readout

    @jax.jit
    def loss(params, batch):
        hidden = jnp.tanh(batch["x"] @ matrix(params))
        return jnp.mean(jnp.sum((hidden @ readout - batch["y"]) ** 2, axis=1))

    return Made(held(weight, shape), loss, {"x": x, "y": y}, ROWS)


def _layer(x, weight, shape, rng):
    """A convolution, or attention where the params are a module, on its own outputs."""
    if shape == "module":
        width = 2 if weight.shape[1] == 3 else 16
        pieces = rng.normal(size=(4, width, width))
        net = eqx.nn.MultiheadAttention(1, width, key=jax.random.key(0))
        names = ("query_proj", "key_proj", "value_proj", "output_proj")
        params = eqx.tree_at(
            lambda m: [getattr(m, name).weight for name in names], net, list(pieces)
        )
        tokens = rng.normal(size=(ROWS, 3, width))
        outputs = _attention(tokens, *pieces)

        def loss(net, batch):
            seen = jax.vmap(lambda t: net(t, t, t))(batch[0])
            return jnp.mean((seen - batch[1]) ** 2)

        return Made(params, loss, [tokens, outputs], ROWS)
    signal = rng.normal(size=(ROWS, weight.shape[0] + 1))
    windows = np.lib.stride_tricks.sliding_window_view(signal, weight.shape[0], axis=1)
    outputs = np.tanh(windows @ weight)

    def loss(params, batch):
        kernel = matrix(params)[:, None, :]
        seen = jax.lax.conv_general_dilated(
            batch[0][:, :, None], kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return jnp.mean((jnp.tanh(seen) - batch[1]) ** 2)

    return Made(held(weight, shape), loss, [signal, outputs], ROWS)


def _attention(tokens, query, key, value, output):
    scores = (tokens @ query.T) @ (tokens @ key.T).swapaxes(1, 2) / np.sqrt(tokens.shape[2])
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return weights @ (tokens @ value.T) @ output.T


def _classes(x, weight, shape, rng):
    """Cross entropy with integer labels; every input has every label once, so that w* = 0."""
    del rng
    classes = weight.shape[1]
    rows = x[: max(1, ROWS // classes)]
    labels = np.tile(np.arange(classes), len(rows))
    x = np.repeat(rows, classes, axis=0)

    def loss(params, batch):
        log_p = jax.nn.log_softmax(batch["x"] @ matrix(params))
        return -jnp.mean(jnp.take_along_axis(log_p, batch["label"][:, None], axis=1))

    return Made(held(0 * weight, shape), loss, {"x": x, "label": labels}, len(x))


def _potential(x, weight, shape, rng):
    """A quadratic of known curvatures, which the loss closes over, and no data."""
    del x
    h = np.exp(rng.uniform(-2, 0, size=weight.shape))
    centre = weight.copy()

    def loss(params, batch):
        del batch
        return 0.5 * jnp.sum(h * (matrix(params) - centre) ** 2)

    return Made(held(weight, shape), loss, None, ROWS, h.ravel())


def constants(size):
    """Return nbeta and gamma; the loss dominates in directions of curvature 1 / outputs."""
    return {"nbeta": 100.0 * SIZES[size][1], "gamma": 1.0}


def exact(case):
    """Return 1/2 sum of s_i, or None if the loss is not quadratic."""
    h = make(case["loss"], case["size"], case["params"]).curvatures
    nbeta, gamma = constants(case["size"]).values()
    return None if h is None else 0.5 * np.sum(nbeta * h / (nbeta * h + gamma))


def dimension(case):
    params = make(case["loss"], case["size"], case["params"]).params
    return sum(np.size(leaf) for leaf in jax.tree.leaves(params))


def target(key, kind, size, shape):
    """The factory for experiments."""
    del key
    made = make(kind, size, shape)
    return CustomTarget(made.params, made.loss, made.data, made.n)


def sampler_of(case):
    from lambda_hat_core.config.samplers.known import SAMPLERS

    name, chains = case["sampler"], case["chains"]
    lengths = SHORT[name] | {"n_draws": SHORT[name]["n_draws"] * (1 if chains > 1 else 3)}
    return SAMPLERS[name](**lengths, n_chains=chains)


def notebook(case):
    """Estimate a case as in a notebook."""
    from lambda_hat_core import estimate_llc

    made = make(case["loss"], case["size"], case["params"])
    return estimate_llc(
        made.loss,
        made.params,
        made.data,
        n=made.n,
        sampler=sampler_of(case),
        posterior=constants(case["size"]),
        progress=False,
    )


def run_of(case, dtype):
    """Return the specs of a case as a run of an experiment, and of its target."""
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Custom
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec, TargetSpec

    kwargs = {"kind": case["loss"], "size": case["size"], "shape": case["params"]}
    model = Custom(factory="tests.core.doors:target", kwargs=kwargs)
    target = TargetSpec(model=model, data=NoData())
    posterior = PosteriorSpec(loss="own", **constants(case["size"]))
    run = RunSpec(target=target.id, sampler=sampler_of(case), posterior=posterior, dtype=dtype)
    return run, target


def main():
    """Estimate cases one after another, and save their draws beside the file."""
    file = Path(sys.argv[1])
    flag = jax.config.jax_enable_x64
    cases = json.loads(file.read_text())
    losses = {str(i): notebook(case).trace.llc for i, case in enumerate(cases)}
    assert jax.config.jax_enable_x64 is flag and jnp.ones(()).dtype.itemsize == 4 * (1 + flag)
    np.savez(file.with_suffix(".npz"), **losses)


if __name__ == "__main__":
    main()
