"""The contract of a user's loss: a mean over rows, the same each time, with a gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import CustomTarget

N = 90
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.normal(size=N)
MASK = (np.arange(N) % 3 + 1)[:, None] > np.arange(3)
W = {"w": np.ones(3), "b": np.zeros(())}


def residual(p, b):
    return b[0] @ p["w"] + p["b"] - b[1]


def problem(loss, params=W, data=(X, Y), **fields):
    from lambda_hat_core.targets.custom import problem_of

    n = N if data is not None else 100
    return problem_of(CustomTarget(params, loss, data, n, **fields), "a test")


def masked(p, b):
    """A mean over tokens: a row has one to three residuals that count."""
    each = (b[0] * p["w"] - b[1][:, None]) ** 2
    return jnp.sum(each * b[2]) / jnp.sum(b[2])


def normalised(p, b):
    x = (b[0] - b[0].mean(0)) / b[0].std(0)
    return jnp.mean(residual(p, (x, b[1])) ** 2)


def broadcast(p, b):
    return jnp.mean((residual(p, (b[0], 0.0))[:, None] - b[1]) ** 2)


def dropped(p, b):
    kept = jax.random.bernoulli(jax.random.key(0), 0.5, b[0].shape)
    return jnp.mean(residual(p, (b[0] * kept, b[1])) ** 2)


def by_index(p, b):
    """Reads an array with an entry for each row, from its beginning."""
    return jnp.mean((jnp.arange(1.0, N + 1) / N)[: len(b[1])] * residual(p, b) ** 2)


REFUSED = {
    "a sum": (lambda p, b: jnp.sum(residual(p, b) ** 2), "write jnp.mean for jnp.sum"),
    "a masked mean": (masked, "pass weights, what each row counts"),
    "batch statistics": (normalised, "use those that training stored"),
    "a broadcast": (broadcast, "an array in it has shape (90, 90) on 90 rows"),
    "random rows": (dropped, "it draws random numbers for its rows"),
    "rows in order": (by_index, "where all rows are needed together"),
    "arrays of all rows": (
        lambda p, b: jnp.mean((b[0] @ p["w"] - Y) ** 2),
        "takes all 90 rows, but not 45 of them",
    ),
    "other random numbers": (
        lambda p, b: jnp.mean((residual(p, b) + np.random.normal()) ** 2),
        "draw random numbers once, and put them into data",
    ),
    "other random numbers, compiled": (
        jax.jit(lambda p, b: jnp.mean((residual(p, b) + np.random.normal()) ** 2)),
        "draw random numbers once, and put them into data",
    ),
    "some entries without a gradient": (
        lambda p, b: jnp.mean(
            (b[0] @ jnp.where(jnp.arange(3) < 1, jax.lax.stop_gradient(p["w"]), p["w"]) - b[1]) ** 2
        ),
        "depends on 1 of 3 entries of w without a gradient; ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loss_that_breaks_the_contract_is_named_with_the_way_out(x64, name):
    loss, words = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        problem(loss, data=(X, Y, MASK))
    message = str(caught.value)
    assert message.startswith("a test has ") and words in message and "\n" not in message


def test_no_gradient_at_all_is_refused(x64):
    with pytest.raises(ValueError, match="without a gradient with respect to any of its params"):
        problem(lambda p, b: jnp.mean((b[0] @ jnp.round(p["w"]) + jnp.round(p["b"]) - b[1]) ** 2))


def test_a_gradient_that_is_not_finite_beside_the_params_is_named(x64):
    moved = 0.01 * np.cos(np.arange(2.0))

    def root(w, b):
        return jnp.sum(w**2) + jnp.linalg.norm(w - moved)

    with pytest.raises(ValueError, match=r"gradient is not finite beside its params, .* w"):
        problem(root, np.zeros(2), None)


def test_a_perfect_fit_is_compared_beside_its_params(x64):
    exact = (X, X @ np.ones(3))
    assert problem(lambda p, b: jnp.mean(residual(p, b) ** 2), data=exact).notes == ()
    with pytest.raises(ValueError, match="beside its params, but"):
        problem(lambda p, b: jnp.sum(residual(p, b) ** 2), data=exact)


@pytest.mark.parametrize("chunk", [2, 8, 32, 64])
def test_a_loss_that_drops_the_rows_beyond_its_last_chunk_is_refused(x64, chunk):
    from lambda_hat_core.targets.custom import problem_of

    rng = np.random.default_rng(1)
    data = (rng.normal(size=(1024, 3)), rng.normal(size=1024))

    def chunked(p, b):
        squares = residual(p, b) ** 2
        return jnp.mean(squares[: len(squares) // chunk * chunk])

    with pytest.raises(ValueError, match=r"not the mean over rows: .* on 250 rows, but"):
        problem_of(CustomTarget(W, chunked, data, 1024), "a test")


def test_one_row_and_a_potential_are_not_divided(x64):
    from lambda_hat_core.targets.custom import problem_of

    one = CustomTarget(W, lambda p, b: jnp.sum(residual(p, b) ** 2), (X[:1], Y[:1]), 1)
    assert problem_of(one, "a test").n == 1
    assert problem(lambda p, b: jnp.sum(p["w"] ** 2) + p["b"] ** 2, data=None).data is None


DROPOUT = eqx.nn.Sequential([eqx.nn.Linear(3, 1, key=jax.random.key(0)), eqx.nn.Dropout(0.5)])


def test_a_loss_that_is_infinite_beside_the_params_is_compared_where_it_is_finite(x64):
    """A barrier; warnings are errors here, and NumPy warns of infinite tolerances."""

    def walled(p, b):
        return jnp.mean(residual(p, b) ** 2) + jnp.where(p["w"][0] > 1.005, jnp.inf, 0.0)

    assert problem(walled).start.size == 4


def outputs(net, b):
    return jnp.mean(jax.vmap(net)(b[0]) ** 2)


def test_layers_in_training_mode_are_named_and_others_are_not(x64):
    with pytest.raises(ValueError, match=r"contain Dropout in training mode; .*inference_mode"):
        problem(outputs, DROPOUT)
    assert problem(outputs, eqx.nn.inference_mode(DROPOUT)).start.size == 4
    nothing = eqx.tree_at(lambda m: m.layers[1], DROPOUT, eqx.nn.Dropout(0.0))
    assert problem(outputs, nothing).start.size == 4


class Scaled(eqx.Module):
    """A fixed array in the module, read through stop_gradient."""

    weight: jax.Array
    scale: jax.Array

    def __call__(self, v):
        return (v * jax.lax.stop_gradient(self.scale)) @ self.weight


def fit(m, b):
    return jnp.mean((jax.vmap(m)(b[0]) - b[1]) ** 2)


def test_an_array_behind_stop_gradient_keeps_its_value_and_is_not_sampled(x64):
    net = Scaled(jnp.ones(3), jnp.asarray([1.0, 2.0, 3.0]))
    at = problem(fit, net)
    assert [name for name, _ in at.shapes] == [".weight"]
    (note,) = at.notes
    assert note.startswith("scale: not sampled (sample_all=True does)")
    assert float(at.loss.mean(at.start, at.data)) == pytest.approx(
        np.mean((X @ [1.0, 2.0, 3.0] - Y) ** 2), rel=1e-12
    )
    everything = problem(fit, net, sample_all=True)
    assert [name for name, _ in everything.shapes] == [".weight", ".scale"]
    assert everything.notes[0].startswith("scale: sampled all the same")
    assert at.loss != everything.loss


def test_whole_numbers_hide_a_parameter_too(x64):
    def rounded(p, b):
        return jnp.mean((b[0] @ p["w"] + jnp.round(p["b"]) - b[1]) ** 2)

    assert [name for name, _ in problem(rounded).shapes] == ["['w']"]


def test_parameters_without_an_effect_are_counted_and_named(x64):
    table = {"rows": np.ones((8, 2)), "b": np.zeros(()), "unused": np.ones(4)}
    index = np.arange(N) % 6

    def loss(p, b):
        return jnp.mean((p["rows"][b[2]].sum(1) + p["b"] - b[1]) ** 2)

    found = problem(loss, table, (X, Y, index))
    assert found.notes == ("8 parameters have no effect on the loss: rows (4), unused (4)",)
    assert found.start.size == 21


def test_a_row_that_only_few_examples_use_has_an_effect(x64):
    """It is not among the rows that are looked at first."""
    from lambda_hat_core.targets.custom import problem_of

    index = np.zeros(2001, int)
    index[1001] = 1

    def loss(p, b):
        return jnp.mean((p[b] - 1.0) ** 2)

    assert problem_of(CustomTarget(np.zeros(2), loss, index, 2001), "a test").notes == ()


def test_units_that_are_off_at_the_params_are_ordinary_parameters(x64):
    params = {"a": RNG.normal(size=(3, 4)), "c": np.array([-5.0, 0, 0, 0]), "v": np.ones(4)}

    def loss(p, b):
        return jnp.mean((jax.nn.relu(b[0] @ p["a"] + p["c"]) @ p["v"] - b[1]) ** 2)

    at = problem(loss, params)
    assert at.start.size == 20 and not any("not sampled" in note for note in at.notes)


def test_a_call_names_what_it_does_not_sample_and_samples_the_rest():
    from lambda_hat_core import Mala, estimate_llc

    net = Scaled(jnp.asarray(np.linalg.lstsq(X, Y)[0]), jnp.ones(3))
    sampler = Mala(n_draws=60, n_burn=10, n_warmup=20)
    found = estimate_llc(fit, net, (X, Y), sampler=sampler, progress=False)
    assert found.d == 3 and any(note.startswith("scale: not sampled") for note in found.notes)


SOURCE = """
import jax
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget

MASK = (np.arange(90) % 3 + 1)[:, None] > np.arange(3)

def tokens(key, *, weights=True, hide=True):
    x = np.random.default_rng(0).normal(size=(90, 3))
    def loss(p, batch):
        scale = jax.lax.stop_gradient(p["scale"]) if hide else 1.0
        each = (batch[0] * p["w"] * scale - 1.0) ** 2
        return jnp.sum(each * batch[1]) / jnp.sum(batch[1])
    params = {"w": np.ones(3), "scale": np.full(3, 2.0)}
    return CustomTarget(params, loss, (x, MASK), 90, train=True,
                        weights=MASK.sum(1) if weights else None)
"""


def test_a_factory_obeys_the_same_contract_and_is_loaded_as_it_was_built(tmp_path, monkeypatch):
    from lambda_hat_core import targets
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Custom
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import TargetSpec
    from lambda_hat_core.config.training import Training
    from lambda_hat_core.posterior import localised, loss_at_minimum

    (tmp_path / "token_targets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    def spec(**kwargs):
        model = Custom(factory="token_targets:tokens", kwargs=kwargs)
        return TargetSpec(model=model, data=NoData(), training=Training(steps=20, batch_size=30))

    with jax.enable_x64(True):
        with pytest.raises(ValueError, match=r"token_targets:tokens .* pass weights"):
            targets.build(spec(weights=False), lambda line: None)
        made = targets.build(spec(), lambda line: None)
    assert made.params.keys() == {"['w']"} and made.meta["is_minimum"]
    assert made.meta["audit_notes"][0].startswith("scale: not sampled")
    targets.save(made, tmp_path)
    loaded = targets.load(spec(), tmp_path, PosteriorSpec())
    assert loaded.w0.dtype == jnp.float32 and loaded.w0.shape == (3,)
    assert loaded.loss.has_per_example
    loss0 = loss_at_minimum(localised(loaded, PosteriorSpec()))
    assert loss0 == pytest.approx(made.meta["loss0"], rel=1e-5)


def test_units_that_saturate_for_every_row_are_ordinary_parameters(x64):
    """A trained classifier has them: their weights grow until no row is near their boundary."""
    rows = RNG.choice([-1.0, 1.0], size=(N, 3))
    params = {"a": 1e3 * np.ones((3, 2)), "b": np.array([5e2, -5e2]), "v": np.ones(2)}
    params["a"][:, 1] = [0.1, -0.2, 0.3]

    def loss(p, b):
        return jnp.mean((jnp.tanh(b[0] @ p["a"] + p["b"]) @ p["v"] - b[1]) ** 2)

    at = problem(loss, params, (rows, Y))
    assert at.start.size == 10 and not any("not sampled" in note for note in at.notes)


@pytest.mark.parametrize("loss", [lambda p, b: jnp.mean(b[1]), lambda p, b: 0.0 * jnp.sum(p["w"])])
def test_a_loss_without_its_params_is_refused(x64, loss):
    with pytest.raises(ValueError, match=r"depends on none of its params; .* to estimate"):
        problem(loss)
