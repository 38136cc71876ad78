"""The LLC of a PyTorch module is that of the same network written in JAX, with the same seed."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch: make test-torch")
pytest.importorskip("torchax", reason="needs the extra torch: make test-torch")

import jax.numpy as jnp  # noqa: E402

from tests.torch.pairs import mlp  # noqa: E402


def test_the_draws_are_those_of_the_twin():
    from lambda_hat_core import Mala, estimate_llc
    from lambda_hat_core.torch import from_torch

    pair = mlp((3, 4, 1), rows=50)
    apply, params = from_torch(pair.module, pair.example)
    x = pair.example.numpy()
    data = (x, apply(params, x))

    def loss(function):
        return lambda p, batch: jnp.mean((function(p, batch[0]) - batch[1]) ** 2)

    found = [
        estimate_llc(loss(f), params, data, sampler=Mala(n_draws=60, n_burn=10), progress=False)
        for f in (apply, lambda p, x: pair.twin(p, {}, x))
    ]
    assert found[0].d == 21 and found[0].at_minimum
    assert found[0].llc == pytest.approx(found[1].llc, rel=1e-6)
    assert found[0].trace.loss == pytest.approx(found[1].trace.loss, rel=1e-6)
