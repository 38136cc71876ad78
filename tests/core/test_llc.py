"""One call from a loss to an estimate with a verdict, compared with exact values."""

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
    """Return 1/2 sum of s_i; the Hessian of a mean square is 2 X^T X / n."""
    h = 2 * np.linalg.eigvalsh(columns.T @ columns / N)
    return 0.5 * np.sum(nbeta * h / (nbeta * h + gamma))


@pytest.mark.parametrize("sampler", ["nuts", "sgld"])
def test_linear_regression_gives_its_exact_value(sampler):
    from lambda_hat_core import Nuts, Posterior, Sgld, estimate_llc

    data, best, columns = regression()
    short = Sgld(n_draws=600, n_burn=100)
    model = Nuts(**SHORT) if sampler == "nuts" else short
    posterior = Posterior(gamma=10.0)
    found = estimate_llc(squares, best, data, sampler=model, posterior=posterior, progress=False)
    answer = exact(columns, N / np.log(N), 10.0)
    assert found.se < 0.05 * answer
    assert abs(found.llc - answer) < 4 * found.se
    assert (found.n, found.d, found.gamma, found.at_minimum) == (N, D, 10.0, True)
    assert found.settings["dtype"] == ("float64" if sampler == "nuts" else "float32")


def test_arrays_that_a_loss_reads_are_part_of_its_identity():
    """`jax.jit` would keep using the old value of a variable that the loss reads."""
    from lambda_hat_core import Mala, estimate_llc

    power = 2

    def steep(w, batch):
        return jnp.sum(w["w"] ** power)

    found = {}
    for power in (2, 4):
        point = {"w": np.zeros(2)}
        sampler = Mala(**SHORT)
        found[power] = estimate_llc(steep, point, None, n=1000, sampler=sampler, progress=False)
    # 1/2 per coordinate for w^2, 1/4 for w^4, as gamma / nbeta goes to 0
    assert found[2].llc == pytest.approx(1.0, abs=0.15)
    assert found[4].llc == pytest.approx(0.5, abs=0.1)


def programs(*losses):
    from lambda_hat_core.targets.program import program_of

    return [program_of(loss, jnp.ones(2), None) for loss in losses]


def test_losses_that_compute_the_same_are_equal():
    def times(factor, table=None):
        return lambda w, batch: jnp.sum(w**2) * factor + (0.0 if table is None else table @ w)

    wide = np.linspace(0.0, 1.0, 4000).reshape(2, 2000).sum(axis=1)
    other = wide + np.array([0.0, 1e-12])
    one, same, two = programs(times(2.0), times(2.0), times(3.0))
    assert one == same != two
    with jax.enable_x64(True):
        table, again, moved = programs(times(2.0, wide), times(2.0, wide.copy()), times(2.0, other))
        assert table == again != moved
        scalars = [np.asarray(1.0), np.asarray(1.0 + 1e-12)]
        assert len(set(programs(*map(times, scalars)))) == 2


def test_losses_with_equal_values_but_different_gradients_differ():
    @jax.custom_vjp
    def square(w):
        return w**2

    square.defvjp(lambda w: (w**2, w), lambda w, g: (3 * w * g,))
    assert len(set(programs(lambda w, b: jnp.sum(w**2), lambda w, b: jnp.sum(square(w))))) == 2


def test_modules_that_differ_in_a_static_field_do_not_share_code():
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    def loss_of(activation):
        net = eqx.nn.MLP(2, 1, 3, 1, activation=activation, key=jax.random.key(0))
        made = CustomTarget(net, lambda net, x: jnp.mean(jax.vmap(net)(x) ** 2), np.ones((5, 2)), 5)
        return problem_of(made, "test").loss

    tanh, same, relu = map(loss_of, (jnp.tanh, jnp.tanh, jax.nn.relu))
    assert tanh == same
    assert hash(tanh) == hash(same)
    assert tanh != relu


def test_a_point_that_is_not_a_minimum_says_so():
    from lambda_hat_core import Nuts, estimate_llc

    data, best, _ = regression()
    moved = {**best, "offset": best["offset"] + 0.3}
    found = estimate_llc(squares, moved, data, sampler=Nuts(**SHORT), progress=False)
    assert not found.at_minimum and found.notes
    assert any("w*" in note for note in found.notes)
