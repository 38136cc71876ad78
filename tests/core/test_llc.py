"""One call from a loss to a judged estimate, held against exact values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

N, D = 200, 4
SHORT = {"n_draws": 400, "n_burn": 50, "n_warmup": 100}


def squares(params, batch):
    x, y = batch
    return jnp.mean((x @ params["slope"] + params["offset"] - y) ** 2)


def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D - 1))
    y = x @ np.arange(1.0, D) + rng.normal(size=N)
    columns = np.column_stack([x, np.ones(N)])
    best = np.linalg.lstsq(columns, y)[0]
    return (x, y), {"slope": best[:-1], "offset": best[-1]}, columns


def exact(columns, nbeta, gamma):
    """1/2 sum of s_i; the Hessian of a mean square is 2 X^T X / n."""
    h = 2 * np.linalg.eigvalsh(columns.T @ columns / N)
    return 0.5 * np.sum(nbeta * h / (nbeta * h + gamma))


@pytest.mark.parametrize("sampler", ["nuts", "sgld"])
def test_regression_hits_its_exact_value(x64, sampler):
    from lambda_hat_core import estimate_llc

    data, best, columns = regression()
    settings = (
        SHORT if sampler == "nuts" else {"n_draws": 600, "n_burn": 100, "step_fraction": 0.05}
    )
    found = estimate_llc(
        squares, best, data, sampler=sampler, settings=settings, posterior={"gamma": 10.0}
    )
    answer = exact(columns, N / np.log(N), 10.0)
    bias = 0.0 if sampler == "nuts" else 0.03 * answer
    assert found.estimate.llc_se < 0.05 * answer
    assert abs(found.estimate.llc - answer) < 4 * found.estimate.llc_se + bias
    assert found.estimate.n == N
    assert found.estimate.d == D
    assert f"{found}".startswith("llc 1.") and found.estimate.verdict in f"{found}"


def test_two_losses_of_one_name_and_shape_are_two(x64):
    from lambda_hat_core import estimate_llc

    def steep(power):
        return lambda w, batch: jnp.sum(w["w"] ** power)

    found = [
        estimate_llc(
            steep(p), {"w": jnp.zeros(2)}, None, n=1000, sampler="mala", settings=SHORT
        ).estimate
        for p in (2, 4)
    ]
    # 1/2 a coordinate for w^2, 1/4 for w^4 as gamma / nbeta goes to 0
    assert found[0].llc == pytest.approx(1.0, abs=0.15)
    assert found[1].llc == pytest.approx(0.5, abs=0.1)


def test_modules_that_differ_in_a_static_field_do_not_share_code(x64):
    from lambda_hat_core.llc import _identity

    def net(activation):
        return eqx.nn.MLP(2, 1, 3, 1, activation=activation, key=jax.random.key(0))

    def loss(model, batch):
        return 0.0

    tanh, same, relu = (_identity(loss, net(f)) for f in (jnp.tanh, jnp.tanh, jax.nn.relu))
    assert tanh == same
    assert hash(tanh) == hash(same)
    assert tanh != relu


def test_a_point_that_is_no_minimum_is_not_ok(x64):
    from lambda_hat_core import estimate_llc

    data, best, _ = regression()
    moved = {**best, "offset": best["offset"] + 0.3}
    found = estimate_llc(squares, moved, data, settings=SHORT)
    assert found.estimate.verdict != "ok"
    assert any("w*" in reason for reason in found.estimate.reasons)


@pytest.mark.parametrize(
    ("change", "words"),
    {
        "sampler": ({"sampler": "nutz"}, "sampler is 'nutz'; choose one of nuts"),
        "setting": ({"settings": {"n_drawz": 3}}, "n_drawz"),
        "posterior": ({"posterior": {"gama": 1}}, "gama"),
        "rows": ({"n": 7}, "estimate_llc has data\\[0\\] of shape \\(200, 3\\); .* n = 7"),
        "potential": ({"data": None}, "give n"),
        "integers": ({"params": {"w": jnp.arange(3)}}, "params hold float arrays"),
    }.values(),
    ids=["sampler", "setting", "posterior", "rows", "potential", "integers"],
)
def test_mistakes_are_named(x64, change, words):
    from lambda_hat_core import estimate_llc

    data, best, _ = regression()
    arguments = {"params": best, "data": data} | change
    with pytest.raises(ValueError, match=words):
        estimate_llc(squares, **arguments)
