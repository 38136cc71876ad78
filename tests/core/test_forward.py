"""Losses with a rule for gradients alone: their directional derivatives, and a run with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.forward import jvp, linearize


@jax.custom_vjp
def product(w, x):
    return x @ w


product.defvjp(lambda w, x: (x @ w, (w, x)), lambda kept, g: (kept[1].T @ g, jnp.outer(g, kept[0])))


def ruled(params, batch):
    return jnp.mean((jnp.tanh(product(params["w"], batch[0])) - batch[1]) ** 2)


def plain(params, batch):
    return jnp.mean((jnp.tanh(batch[0] @ params["w"]) - batch[1]) ** 2)


def rows(of, x):
    """Return the squares of all rows, each as a batch of its own."""
    return lambda w: jax.vmap(lambda row: jnp.tanh(of(w, row[None]))[0] ** 2)(x)


def test_derivatives_of_every_row_along_a_direction(x64):
    rng = np.random.default_rng(0)
    x, w, v, other = (jnp.asarray(rng.normal(size=s)) for s in ((7, 3), 3, 3, 3))
    function = rows(product, x)
    expected, along = jax.jvp(rows(lambda w, x: x @ w, x), (w,), (v,))
    value, push = linearize(function, w)
    for found in (jax.jit(lambda w, v: jvp(function, w, v))(w, v), (value, push(v))):
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)
        np.testing.assert_allclose(found[1], along, rtol=1e-12)
    np.testing.assert_allclose(push(other) + along, push(other + v), rtol=1e-9)


def test_other_functions_take_forward_mode(x64):
    function = rows(lambda w, x: x @ w, jnp.ones((4, 3)))
    w = jnp.ones(3)
    ours = jax.make_jaxpr(lambda w: jvp(function, w, w))(w)
    assert str(ours) == str(jax.make_jaxpr(lambda w: jax.jvp(function, (w,), (w,)))(w))


def data(n):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n // 2, 3))
    out, noise = np.tanh(x @ np.ones(3)), 0.3 * rng.normal(size=n // 2)
    return np.concatenate([x, x]), np.concatenate([out + noise, out - noise])


@pytest.mark.parametrize("n", [400, 20_000])
def test_a_run_does_not_notice_such_a_rule(n):
    """Also where losses come from batches, paired with w*."""
    from lambda_hat_core import Sghmc, estimate_llc

    given = {"sampler": Sghmc(batch_size=128), "progress": False}
    one, other = (
        estimate_llc(loss, {"w": np.ones(3)}, data(n), **given) for loss in (ruled, plain)
    )
    assert one.verdict == other.verdict == "ok"
    assert one.llc == pytest.approx(other.llc, rel=1e-3)


def test_a_loss_without_a_gradient_is_refused():
    from lambda_hat_core import estimate_llc

    def loss(params, batch):
        shape = jax.ShapeDtypeStruct(batch[1].shape, batch[1].dtype)
        found = jax.pure_callback(np.matmul, shape, batch[0], params["w"])
        return jnp.mean((found - batch[1]) ** 2)

    with pytest.raises(ValueError, match="cannot differentiate twice: ValueError: Pure callbacks"):
        estimate_llc(loss, {"w": np.ones(3)}, data(400), progress=False)
