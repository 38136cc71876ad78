"""The checkpoints of a training as targets: one training, its steps, its measures, its programs."""

import json

import numpy as np
import pytest

from lambda_hat_core.config.spec import Trajectory
from lambda_hat_core.store import inventory, sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import making
from lambda_hat_core.work.steps import missing_steps
from lambda_hat_core.work.trajectories import make_trajectory
from tests.core.plans import one
from tests.core.test_programs import programs
from tests.core.trainings import SGHMC, entry, quiet


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


@pytest.fixture
def trained(plan_of):
    """Return the only training of an experiment with these checkpoints."""

    def trajectory(checkpoints, **rest):
        (found,) = plan_of(one(entry(checkpoints, **rest))).trajectories.values()
        return found

    return trajectory


def steps_of(store, id):
    folder = store.path("trajectories", id)
    return {file.name: dict(np.load(file)) for file in sorted((folder / "steps").iterdir())}


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )


def test_a_training_is_kept_at_its_steps_and_more_steps_go_on_from_there(
    x64, trained, store, tmp_path
):
    said = []
    first = make_trajectory(store, trained("{at: [0, 20]}"), said.append)
    assert first.status == "made" and [line.split(":")[0] for line in said] == ["step 0", "step 20"]
    before = steps_of(store, first.id)
    assert make_trajectory(store, trained("{at: [20]}"), said.append).status == "reused"
    said.clear()
    more = make_trajectory(store, trained("{at: [0, 20, 33, 60]}"), said.append)
    assert more.id == first.id and len(said) == 2 and store.verify("trajectories", more.id) is None
    assert more.record["steps"] == [0, 20, 33, 60]
    now = steps_of(store, more.id)
    assert all(same(before[name], now[name]) for name in before)
    other = Store(tmp_path / "other")
    at_once = make_trajectory(other, trained("{at: [0, 20, 33, 60]}"), quiet)
    there = steps_of(other, at_once.id)
    assert all(same(there[name], now[name]) for name in there | now)
    losses = [
        sql.query(home, f"select * exclude (target_id) from '{path}' order by step").rows
        for home in (store, other)
        for path in [home.path("trajectories", more.id) / "series.parquet"]
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert losses[0][0][2] > losses[0][-1][2]


def test_a_killed_training_goes_on_from_where_it_was(x64, trained, store, tmp_path, monkeypatch):
    from lambda_hat_core.targets import trajectory

    wanted = trained("{at: [0, 20, 60]}")
    monkeypatch.setattr(trajectory, "_FIRST", 7)
    monkeypatch.setattr(trajectory, "_SECONDS", 0.0)
    whole = steps_of(store, make_trajectory(store, wanted, quiet).id)
    other, stretch, calls = Store(tmp_path / "other"), trajectory._stretch, []

    class Killed(BaseException):
        pass

    def dying(*args):
        calls.append(args[-1].tolist())
        if len(calls) == 5:
            raise Killed
        return stretch(*args)

    monkeypatch.setattr(trajectory, "_stretch", dying)
    with pytest.raises(Killed):
        make_trajectory(other, wanted, quiet)
    assert calls == [[0, 7], [7, 14], [14, 20], [20, 27], [27, 34]]
    assert missing_steps(other, wanted) == {0, 20, 60}
    made = make_trajectory(other, wanted, quiet)
    assert calls[5] == [27, 34]
    assert all(same(whole[name], found) for name, found in steps_of(other, made.id).items())
    assert not making.checkpoint_folder(other, made.id).exists()


def test_checkpoints_are_audited_and_no_failure_and_in_sql(x64, plan_of, store):
    plan = plan_of(one(entry("{at: [0, 60]}"), SGHMC))
    (trajectory,) = plan.trajectories.values()
    start, end = plan.targets.values()
    with pytest.raises(FileNotFoundError, match="make trj_"):
        making.build_target(store, start, quiet)
    make_trajectory(store, trajectory, quiet)
    built = [making.build_target(store, spec, quiet).record for spec in (start, end)]
    assert [record["step"] for record in built] == [0, 60]
    assert built[0]["audit_reasons"] and built[0]["off_centre_bias"] > 1
    assert built[0]["train"]["work_fge"] < 100
    for run, spec in zip(plan.runs.values(), (start, end), strict=True):
        making.sample_run(store, run, spec, quiet)
        found = making.analyse_run(store, run, spec, quiet).record
        (minimum,) = [check for check in found["checks"] if check["name"] == "minimum"]
        assert minimum["passed"] and not any("minimum" in why for why in found["reasons"])
        assert found["descent"] > 0
    assert f"checkpoint of step {end.step}" in minimum["text"]
    rows = sql.query(
        store,
        "select t.trajectory_id, step, train_loss, test_loss, metric, t.label, llc.target_id "
        "from llc join trajectories t using (step, target_id) order by step",
    ).rows
    assert [row[:2] for row in rows] == [(trajectory.id, 0), (trajectory.id, 60)]
    assert [row[2] for row in rows] == [record["loss0"] for record in built]
    assert all(row[3] > 0 and row[4] is None and "at step" in row[5] for row in rows)
    series = store.path("trajectories", trajectory.id) / "series.parquet"
    kept = sql.query(store, f"select train_loss, test_loss from '{series}' order by step").rows
    assert np.allclose(kept, [row[2:4] for row in rows], rtol=1e-12)
    members = [(run.target, id) for id, run in plan.runs.items()]
    from lambda_hat_core.store import experiments

    experiments.write_experiment(store, "mine", members)
    users = inventory.users_of(store)
    assert users[trajectory.id] == {"mine"}
    kinds = [entry.kind for entry in inventory.entries(store, users)]
    assert kinds.count("trajectories") == 1


def test_the_checkpoints_of_a_training_share_their_programs(x64, plan_of, store):
    own_shape = ", overrides: {data.n_data: 37}"
    plan = plan_of(one(entry("{at: [10, 30, 60]}", rest=own_shape), SGHMC))
    (trajectory,) = plan.trajectories.values()
    make_trajectory(store, trajectory, quiet)
    counts = []
    for run in plan.runs.values():
        spec = plan.targets[run.target]
        with programs() as seen:
            making.build_target(store, spec, quiet)
            making.sample_run(store, run, spec, quiet)
            making.analyse_run(store, run, spec, quiet)
        counts.append(sum(seen.values()))
    assert counts[0] > 0 and counts[1:] == [0, 0]


def test_a_training_survives_json(trained):
    wanted = trained("{at: [0, 5]}")
    assert Trajectory.model_validate(json.loads(wanted.model_dump_json())) == wanted
