"""Runs of some parameters: what is sampled, the exact answers of blocks, and names for parts."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.config.posterior import PosteriorSpec


def regression(n=500, d=10):
    """Return the loss of a linear regression with params in three arrays, its data and Hessian."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) * np.linspace(0.5, 2.0, d)
    y = x @ rng.normal(size=d) + rng.normal(size=n)
    w = np.linalg.lstsq(x, y)[0]
    params = {"a": w[:4].reshape(2, 2), "b": {"c": w[4:9]}, "d": w[9:]}

    def loss(params, batch):
        flat = [leaf.ravel() for leaf in jax.tree.leaves(params)]
        return 0.5 * jnp.mean((batch["x"] @ jnp.concatenate(flat) - batch["y"]) ** 2)

    return loss, params, {"x": x, "y": y}, x.T @ x / n


BLOCKS = {
    "array": (("b.c",), [4, 5, 6, 7, 8]),
    "slices": (("a[:,1]", "b.*[::2]"), [1, 3, 4, 6, 8]),
    "all": (("*",), [*range(10)]),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_derivatives_are_those_of_the_block(block, dtype):
    from lambda_hat_core.targets.custom import CustomTarget, problem_of
    from lambda_hat_core.targets.restricted import restricted_problem

    loss, params, data, hessian = regression()
    patterns, index = BLOCKS[block]
    whole = problem_of(CustomTarget(params, loss, data, 500), "the test")
    problem = restricted_problem(whole, patterns)
    assert problem.start.dtype == dtype and problem.start.size == len(index)
    assert sum(int(np.prod(shape)) for _, shape in problem.shapes) == len(index)
    np.testing.assert_array_equal(problem.start, whole.start[np.array(index)])
    found = jax.jit(jax.hessian(problem.loss.mean))(problem.start, problem.data)
    np.testing.assert_allclose(found, hessian[np.ix_(index, index)], rtol=1e-4, atol=1e-5)
    rows = eqx.filter_jit(problem.loss.per_example)(problem.start, problem.data)
    np.testing.assert_allclose(rows.mean(), whole.loss.mean(whole.start, whole.data), rtol=1e-4)
    moved = restricted_problem(whole._replace(start=whole.start + 1), patterns)
    expected = whole.loss.mean(whole.start + 1, whole.data)
    np.testing.assert_allclose(moved.loss.mean(moved.start, whole.data), expected, rtol=1e-4)


def test_the_programs_of_a_block_are_those_of_its_arrays():
    """Two points share them, and two rows of an array; other arrays do not, even under one name."""
    from lambda_hat_core.targets.custom import CustomTarget, problem_of
    from lambda_hat_core.targets.restricted import restricted_problem

    loss, params, data, _ = regression()

    def structure(away, patterns, **names):
        made = CustomTarget(params, loss, data, 500, restrict_names=names or None)
        whole = problem_of(made, "the test")
        moved = whole._replace(start=whole.start + away)
        return jax.tree.structure(restricted_problem(moved, patterns).loss)

    row = structure(0, ["a[0]", "d"])
    assert row == structure(1, ["a[0]", "d"]) == structure(0, ["a[1]", "d"])
    first, second = (
        structure(0, ["part"], part=part) for part in (["a[0]", "d"], ["b.c[:2]", "d"])
    )
    assert first == row != second


def test_the_llc_of_a_block_is_half_the_sum_of_its_shrinkage():
    from lambda_hat_core import Nuts, estimate_llc
    from lambda_hat_core.truth import oracles

    loss, params, data, hessian = regression()
    patterns, index = BLOCKS["slices"]
    found = estimate_llc(
        loss,
        params,
        data,
        restrict=patterns,
        sampler=Nuts(n_chains=8, n_draws=2500, n_burn=50, n_warmup=200),
        posterior={"gamma": 20.0},
        progress=False,
    )
    exact = oracles.quadratic(
        np.linalg.eigvalsh(hessian[np.ix_(index, index)]), found.nbeta, found.gamma
    )
    assert found.d == len(index) and found.settings["restrict"] == [*patterns]
    assert found.at_minimum and found.verdict == "ok"
    assert found.se < 0.01 * exact
    assert abs(found.llc - exact) < min(4 * found.se, 0.02 * exact)


def test_only_what_is_sampled_has_to_be_at_a_minimum():
    from lambda_hat_core import Mala, estimate_llc

    loss, params, data, _ = regression()
    params |= {"a": params["a"] + 1.0}
    x = np.asarray(data["x"])
    rest = data["y"] - x[:, :4] @ params["a"].ravel()
    best = np.linalg.lstsq(x[:, 4:], rest)[0]
    params |= {"b": {"c": best[:5]}, "d": best[5:]}
    short = Mala(n_draws=20, n_burn=5, n_warmup=20)
    found = [
        estimate_llc(loss, params, data, restrict=r, sampler=short, progress=False)
        for r in (["b.*", "d"], None)
    ]
    assert [f.at_minimum for f in found] == [True, False]
    assert [f.d for f in found] == [6, 10]


def test_mistakes_in_a_notebook():
    from lambda_hat_core import estimate_llc
    from lambda_hat_core.notebook.arguments import asked

    loss, params, data, _ = regression()

    def words(**arguments):
        with pytest.raises(ValueError) as caught:
            estimate_llc(loss, params, data, progress=False, **arguments)
        return str(caught.value)

    assert words(restrict="e.*") == (
        'estimate_llc: restrict is "e.*": no parameter has the name e.*; there are a, b.c, d'
    )
    assert "a call makes one run, and knows no layers" in words(restrict="each_layer")
    assert "posterior has one too" in words(restrict="a", posterior={"restrict": ["a"]})
    # The checker of types in tests looks at one item of a list, by chance at the wrong one.
    with pytest.raises(ValueError, match=re.escape("restrict[1] is")):
        asked("nuts", None, None, 0, restrict=["a", ["d"]])


def test_a_run_of_a_block_has_its_own_exact_value(tmp_path, x64):
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Quadratic
    from lambda_hat_core.config.spec import RunSpec, TargetSpec
    from lambda_hat_core.store import sql
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.work import making

    store = Store(tmp_path / "home")
    target = TargetSpec(model=Quadratic(d=6, condition=10.0), data=NoData(n_data=1000))
    making.build_target(store, target, print)
    run = RunSpec(
        target=target.id,
        sampler={"kind": "mala", "n_draws": 400, "n_burn": 20, "n_warmup": 50},
        posterior=PosteriorSpec(restrict=["w[1:4]"]),
        dtype="float64",
    )
    making.sample_run(store, run, target, print)
    facts = making.analyse_run(store, run, target, print).record
    assert facts["d"] == 3 and facts["llc_known"] is None
    assert abs(facts["llc"] - facts["llc_oracle"]) < 4 * facts["llc_se"] < 0.4
    rows = sql.query(store, "SELECT restrict, d, llc_known FROM llc").rows
    assert rows == [("w[1:4]", 3, None)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "write restrict_names="),
        ({"my part": ["a"]}, "a name is made of letters"),
        ({"a": ["d"]}, "neither that of an array"),
        ({"each_head": ["d"]}, "nor each_layer or each_head"),
        ({"part": []}, "write restrict_names="),
        ({"part": ["e.*"]}, "no parameter has the name e.*; there are a, b.c, d"),
        ({"part": "a[9]"}, "choose slices within that shape"),
    ],
)
def test_names_for_parts_must_choose_something(names, words):
    from lambda_hat_core.targets.parts import parts

    shapes = (("['a']", (4,)), ("['b']['c']", (5,)), ("['d']", (3,)))
    with pytest.raises(ValueError, match=re.escape(words)):
        parts("a target", names, shapes)


FACTORY = """
import numpy as np
from lambda_hat_core import CustomTarget
from tests.core.test_restrict_runs import regression


def make(key):
    loss, params, data, _ = regression(n=60)
    few = {name: rows[:10] for name, rows in data.items()}
    names = {"ends": ["a", "d"], "middle": "b.*"}
    return CustomTarget(params, loss, data, 60, data_sets={"few": few}, restrict_names=names)
"""


def test_an_experiment_names_parts_and_data_sets_of_a_factory(tmp_path, monkeypatch, plan_of, x64):
    """A name samples what its patterns do."""
    from lambda_hat_core import targets
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.work import making

    (tmp_path / "with_names.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    plan = plan_of(
        """
        experiment: e
        targets: [{model: {kind: custom, factory: "with_names:make"}}]
        samplers: [{name: mala, overrides: {n_draws: 40, n_burn: 5, n_warmup: 20}}]
        posterior: {restrict: [[ends], [a, d], [middle, 'd[0]'], [ens]]}
        observables: [few]
        """
    )
    store = Store(tmp_path / "home")
    (target,) = plan.targets.values()
    making.build_target(store, target, print)
    folder, runs = store.path("targets", target.id), list(plan.runs.values())
    found = [targets.load_observed(target, folder, run.posterior, ["few"]) for run in runs[:3]]
    assert [made.w0.size for made, _ in found] == [5, 5, 6]
    named, listed = (made for made, _ in found[:2])
    assert np.array_equal(named.w0, listed.w0)
    w = named.w0 + 0.1
    assert named.loss.mean(w, named.data) == listed.loss.mean(w, listed.data)
    assert found[0][1][0].name == "few" and found[0][1][0].n_rows == 10
    assert "only ends" in plan.labels[runs[0].id]
    with pytest.raises(ValueError, match=re.escape("there are ends, middle, a, b.c, d")):
        targets.load(target, folder, runs[3].posterior)
