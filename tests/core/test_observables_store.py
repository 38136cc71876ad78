"""Observables in an experiment: the plan, the files of a run, and the tables."""

import numpy as np
import pytest

from lambda_hat_core.config.errors import ConfigError
from tests.core.plans import one

LINEAR = "{model: {kind: deep_linear, widths: [3, 3, 2], rank: 1}, data: {n_data: 40}}"


def test_observables_are_part_of_the_runs_that_have_them(plan_of):
    plain = plan_of(one(LINEAR))
    plan = plan_of(one(LINEAR, rest="observables: [test, 'per_example[ 0:5 ]']"))
    assert not plain.runs.keys() & plan.runs.keys() and plain.targets.keys() == plan.targets.keys()
    assert {run.observables for run in plan.runs.values()} == {("per_example[0:5]", "test")}


@pytest.mark.parametrize(
    ("target", "observables", "words"),
    [
        (LINEAR, "[norm]", "deep_linear has no data set or function norm; there are per_example"),
        (LINEAR, "['per_example[-3]']", "rows are a number or a slice"),
        (LINEAR, "[]", "must be a list of names"),
        (LINEAR, "[loss]", "is recorded in every run"),
        ("{model: {kind: quadratic}}", "[per_example]", "quadratic has no examples"),
    ],
)
def test_mistakes_are_found_by_the_plan(target, observables, words, plan_of):
    with pytest.raises(ConfigError) as caught:
        plan_of(one(target, rest=f"observables: {observables}"))
    assert words in str(caught.value) and "mine.yaml: observables" in str(caught.value)
    assert "\n" not in str(caught.value)


def recorded(summed):
    from lambda_hat_core.samplers.moments import Observed, Recorded, sums
    from lambda_hat_core.samplers.observables import Columns

    draws = np.random.default_rng(0).normal(size=(2, 9, 4))
    columns = Columns((("loss", 1), ("val.per_example", 3)), (0, 4, 6, 8), ("val.per_example",), AT)
    moments = sums(draws, np.arange(9) % 3 == 2) if summed else None
    return Observed(columns, Recorded(None if summed else draws, moments))


AT = np.array([0.5, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("summed", [False, True])
def test_what_was_recorded_is_read_back(tmp_path, summed):
    from lambda_hat_core.analysis.observedio import load_observed, save_observed

    path, before = tmp_path / "observables.nc", recorded(summed)
    save_observed(before, path)
    after = load_observed(path)
    assert after.columns[:3] == before.columns[:3] and np.array_equal(after.columns.at, AT)
    if summed:
        pairs = zip(after.recorded.moments, before.recorded.moments, strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    else:
        assert np.allclose(after.recorded.draws, before.recorded.draws, rtol=0, atol=1e-15)


def test_arviz_opens_the_draws(tmp_path):
    import arviz as az

    from lambda_hat_core.analysis.observedio import save_observed

    save_observed(recorded(False), tmp_path / "observables.nc")
    values = az.from_netcdf(tmp_path / "observables.nc").posterior["val.per_example"]
    assert values.shape == (2, 9, 3)
    assert values.coords["val.per_example_index"].values.tolist() == [4, 6, 8]


def test_tables_and_figures_of_a_run(tmp_path, plan_of, x64):
    """Build, sample and analyse one small run, and ask for its tables."""
    from lambda_hat_core.store import sql
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.work import making

    rest = "observables: [test, 'per_example[0:6]']"
    plan = plan_of(
        one(LINEAR, samplers="{name: hmc, overrides: {n_draws: 100, n_burn: 20}}", rest=rest)
    )
    [(target_id, target)], [(run_id, run)] = plan.targets.items(), plan.runs.items()
    store, said = Store(tmp_path / "home"), []
    making.build_target(store, target, said.append)
    making.sample_run(store, run, target, said.append)
    making.analyse_run(store, run, target, said.append)
    assert {path.name for path in (store.path("analyses", run_id) / "figures").iterdir()} >= {
        "kernel_per_example.png",
        "influence_per_example.png",
    }
    rows = sql.query(store, "select name, index, mean, se, at_minimum from observables").rows
    assert [row[:2] for row in rows] == [
        ("loss", 0),
        *(("per_example", i) for i in range(6)),
        ("test", 0),
    ]
    mean, loss0 = sql.query(store, "select llc / nbeta + loss0, loss0 from llc").rows[0]
    assert rows[0][2] == pytest.approx(mean) and rows[0][4] == pytest.approx(loss0)
    pairs = sql.query(
        store,
        "select a, index_a, b, index_b, cov, se from covariances where a = b and index_a = index_b",
    ).rows
    assert len(pairs) == 8 and all(cov > 0 and se > 0 for *_, cov, se in pairs)
    assert sql.query(store, "select count(*) from covariances").rows == [(36,)]
    assert target_id == run.target
