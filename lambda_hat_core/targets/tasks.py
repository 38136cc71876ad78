"""Generated examples: pairs of integers, sparse features, repeated segments, linear regressions.

A label of -1 marks a position that is not scored.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures, Task
from lambda_hat_core.streams import stream
from lambda_hat_core.types import Batch


def examples(spec: Task, seed: int) -> tuple[Batch, Batch]:
    """Return the training and the held-out examples (x, y) of a task."""
    key = stream(seed, "examples")
    match spec:
        case Modular():
            return _modular(spec)
        case SparseFeatures():
            rows = jax.jit(_sparse, static_argnums=1)(key, spec)
            pairs = (rows, rows)
        case Induction():
            pairs = jax.jit(_repeated, static_argnums=1)(key, spec)
        case IclRegression():
            pairs = jax.jit(_regressions, static_argnums=1)(key, spec)
    train, test = (jax.tree.map(lambda a, s=s: a[s], pairs) for s in _halves(spec.n_data))
    return train, test


def _halves(n: int) -> tuple[slice, slice]:
    return slice(None, n), slice(n, None)


def _modular(spec: Modular) -> tuple[Batch, Batch]:
    """Return the pairs in the order of a permutation; NumPy's generators do not change."""
    order = np.random.default_rng(spec.split_seed).permutation(spec.p**2)
    a, b = np.divmod(order, spec.p)
    results = {"add": a + b, "subtract": a - b, "multiply": a * b}
    x = np.stack([a, b], axis=1).astype(np.int32)
    y = (results[spec.operation] % spec.p).astype(np.int32)
    train, test = ((jnp.asarray(x[s]), jnp.asarray(y[s])) for s in _halves(spec.n_data))
    return train, test


def _sparse(key: PRNGKeyArray, spec: SparseFeatures) -> Array:
    shape = (spec.n_data + spec.n_test, spec.features)
    active_key, value_key = jr.split(key)
    if spec.sparsity is None:
        which = jr.randint(active_key, shape[:1], 0, spec.features)
        active = jax.nn.one_hot(which, spec.features, dtype=bool)
    else:
        active = jr.bernoulli(active_key, 1 - spec.sparsity, shape)
    return jnp.where(active, jr.uniform(value_key, shape), 0.0)


def _repeated(key: PRNGKeyArray, spec: Induction) -> tuple[Array, Array]:
    """Return sequences that repeat their first tokens, and at each position the next token."""
    rows = spec.n_data + spec.n_test
    period_key, token_key = jr.split(key)
    period = jr.randint(period_key, (rows, 1), spec.min_period, spec.max_period + 1)
    shuffled = jr.permutation(
        token_key,
        jnp.tile(jnp.arange(spec.vocabulary, dtype=jnp.int32), (rows, 1)),
        axis=1,
        independent=True,
    )
    place = jnp.arange(spec.context + 1)[None, :]
    tokens = jnp.take_along_axis(shuffled, place % period, axis=1)
    x, y = tokens[:, :-1], tokens[:, 1:]
    if spec.scored == "predictable":
        y = jnp.where(place[:, :-1] >= period, y, -1)
    return x, y


def _regressions(key: PRNGKeyArray, spec: IclRegression) -> tuple[Array, Array]:
    """Return the vectors (0, x_1), (y_1, 0), (0, x_2), ... of each row, and y_1, y_2, ..."""
    rows, k, dim = spec.n_data + spec.n_test, spec.examples, spec.dim
    task_key, which_key, input_key, noise_key = jr.split(key, 4)
    tasks = jr.normal(task_key, (spec.tasks or rows, dim))
    if spec.tasks is not None:
        tasks = tasks[jr.randint(which_key, (rows,), 0, spec.tasks)]
    x = jr.normal(input_key, (rows, k, dim))
    y = jnp.einsum("nkd,nd->nk", x, tasks) + spec.noise_scale * jr.normal(noise_key, (rows, k))
    questions = jnp.pad(x, ((0, 0), (0, 0), (1, 0)))
    answers = jnp.pad(y[..., None], ((0, 0), (0, 0), (0, dim)))
    return jnp.stack([questions, answers], axis=2).reshape(rows, 2 * k, dim + 1), y
