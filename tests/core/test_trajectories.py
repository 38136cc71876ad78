"""The checkpoints of a training as targets: one training, its steps, its files, its measures."""

import json

import numpy as np
import pytest

from lambda_hat_core.config.checkpoints import Checkpoints
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.spec import Trajectory
from lambda_hat_core.plan.plan import joined, load_union
from lambda_hat_core.store import inventory, sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import making
from lambda_hat_core.work.steps import missing_steps
from lambda_hat_core.work.trajectories import make_trajectory
from tests.core.plans import one
from tests.core.test_programs import programs

MLP = "model: {widths: [3], activation: tanh}, data: {n_data: 40, n_test: 20}, seed: 3"
SGHMC = "{name: sghmc, dtype: float64, overrides: {n_chains: 2, n_draws: 40, n_burn: 8}}"


def entry(checkpoints, training="{steps: 60, batch_size: 8}", rest=""):
    return f"{{{MLP}, training: {training}, checkpoints: {checkpoints}{rest}}}"


def quiet(line):
    del line


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


@pytest.mark.parametrize(
    ("written", "total", "steps"),
    [
        ({"at": (100, 0, 100)}, 100, (0, 100)),
        ({"every": 4}, 10, (0, 4, 8, 10)),
        ({"every": 5}, 10, (0, 5, 10)),
        ({"count": 2}, 10, (0, 10)),
        ({"count": 5}, 1000, (0, 1, 10, 100, 1000)),
        ({"count": 11}, 10, tuple(range(11))),
        ({"count": 3, "spacing": "linear"}, 10, (0, 5, 10)),
    ],
)
def test_the_steps_that_are_written(written, total, steps):
    assert Checkpoints(**written).steps(total) == steps


@pytest.mark.parametrize("count", [2, 3, 40, 400, 5001])
@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_so_many_checkpoints_are_so_many(count, spacing):
    steps = Checkpoints(count=count, spacing=spacing).steps(5000)
    assert len({*steps}) == len(steps) == count
    assert (steps[0], steps[-1]) == (0, 5000) and list(steps) == sorted(steps)


def test_every_checkpoint_is_a_target_of_one_training(plan_of):
    plan = plan_of(one(entry("{at: [0, 7, 60]}")))
    (trajectory,) = plan.trajectories.values()
    assert trajectory.id.startswith("trj_") and trajectory.steps == (0, 7, 60)
    assert [spec.step for spec in plan.targets.values()] == [0, 7, 60]
    assert {spec.trajectory.id for spec in plan.targets.values()} == {trajectory.id}
    assert {spec.training.polish for spec in plan.targets.values()} == {"none"}
    assert [plan.labels[id].rpartition(", ")[2] for id in plan.targets] == [
        f"seed 3 at step {step}" for step in (0, 7, 60)
    ]
    assert len(plan.runs) == 3


def test_the_id_of_a_training_does_not_depend_on_the_steps_but_on_everything_else(plan_of):
    def plan(checkpoints, **rest):
        return plan_of(one(entry(checkpoints, **rest)))

    few, more = plan("{at: [0, 60]}"), plan("{every: 20}")
    assert few.trajectories.keys() == more.trajectories.keys()
    assert few.targets.keys() < more.targets.keys()
    both = joined([few, more])
    assert [found.steps for found in both.values()] == [(0, 20, 40, 60)]
    for rest in ({"training": "{steps: 61}"}, {"rest": ", overrides: {data.n_data: 41}"}):
        assert not plan("{at: [0, 60]}", **rest).trajectories.keys() & few.trajectories.keys()
    plain = plan_of(one(f"{{{MLP}}}"))
    assert not plain.trajectories and not plain.targets.keys() & few.targets.keys()


def test_two_entries_and_two_experiments_share_a_training(plan_of, tmp_path):
    twice = plan_of(one(f"{entry('{at: [0, 5]}')}, {entry('{at: [5, 9]}')}"))
    assert [found.steps for found in twice.trajectories.values()] == [(0, 5, 9)]
    assert len(twice.targets) == 3
    (tmp_path / "experiment").mkdir()
    for name, steps in (("a", "{at: [0, 5]}"), ("b", "{at: [9]}")):
        (tmp_path / "experiment" / f"{name}.yaml").write_text(one(entry(steps)))
    union = load_union(tmp_path, "a")
    own = set(twice.trajectories)
    assert [union.trajectories[id].steps for id in own] == [(0, 5, 9)]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (entry("{at: [61]}"), "the training has 60 steps, so none is 61"),
        (entry("{count: 62}"), "a training of 60 steps has 61 checkpoints at most"),
        (entry("{count: 3, at: [0]}"), "it has no effect with at"),
        (entry("{}"), "checkpoints names no steps"),
        (entry("{at: []}"), "must be a list of at least 1"),
        (entry("{at: [0]}", training="{steps: 60, polish: lbfgs}"), "taken as they are"),
        (entry("{at: [0]}", training="{steps: 60, polish_steps: 9}"), "taken as they are"),
        (entry("{at: [0]}", training="{start: truth}"), "nothing is trained"),
        ("{model: {kind: quadratic}, checkpoints: {at: [0]}}", "potential is not trained"),
    ],
)
def test_what_has_no_such_checkpoints_is_refused(plan_of, target, words):
    with pytest.raises(ConfigError, match=words):
        plan_of(one(target))


def test_a_plan_of_500_checkpoints_costs_a_constant_number_of_calls_for_each(plan_of):
    from tests.counts import _calls as calls

    def work(count):
        text = one(entry(f"{{count: {count}}}", training="{steps: 20000}"), SGHMC)
        return calls(lambda: plan_of(text))

    work(10)  # imports and caches
    few, more = work(250), work(500)
    assert (more - few) / 250 < 3000
    assert more < 2.2 * few


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


FACTORY = """
import jax, jax.numpy as jnp, numpy as np
from lambda_hat_core import CustomTarget

def data():
    x = jax.random.normal(jax.random.key(1), (30, 2))
    return x, x @ jnp.array([1.0, -1.0])

def loss(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] - y) ** 2)

def norm(params):
    return jnp.sum(params["w"] ** 2)

def trained(key, train=True, metric=norm):
    start = {"w": jnp.array([0.1, 0.1])}
    return CustomTarget(start, loss, data(), 30, train=train, metric=metric, llc_known=1.0)

def untrained(key):
    return trained(key, train=False)

def broken(key):
    return trained(key, metric=lambda params: params["w"])

def read(key, checkpoint):
    with np.load(checkpoint) as stored:
        return CustomTarget({"w": jnp.asarray(stored["w"])}, loss, data(), 30, metric=norm)
"""


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "factory_of_checkpoints.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)

    def target(function, rest):
        return f"{{model: {{kind: custom, factory: 'factory_of_checkpoints:{function}'{rest}}}"

    return target


def test_a_factory_is_trained_too_and_names_its_metric(x64, factory, plan_of, store):
    training = ", training: {steps: 50, lr: 0.1}, checkpoints: {at: [0, 50]}}"
    plan = plan_of(one(factory("trained", "") + training))
    (trajectory,) = plan.trajectories.values()
    make_trajectory(store, trajectory, quiet)
    start, end = (making.build_target(store, spec, quiet).record for spec in plan.targets.values())
    assert start["metric"] == pytest.approx(0.02)
    assert end["metric"] == pytest.approx(2.0, rel=0.2)
    assert start["llc_known"] is None
    for function, words in (("untrained", "return train=True"), ("broken", "is a number")):
        (trajectory,) = plan_of(one(factory(function, "") + training)).trajectories.values()
        with pytest.raises(ValueError, match=words):
            make_trajectory(store, trajectory, quiet)


def test_files_of_a_training_elsewhere_are_targets(x64, factory, plan_of, store, tmp_path):
    (tmp_path / "run7").mkdir()
    for step in (20, 3, 100):
        np.savez(tmp_path / "run7" / f"v2_step_{step:04}.npz", w=np.array([1.0, step / 100]))
    text = one(factory("read", ", checkpoints: 'run7/*.npz'") + "}")
    plan = plan_of(text)
    assert [spec.step for spec in plan.targets.values()] == [3, 20, 100]
    assert not plan.trajectories
    assert len({spec.trajectory.id for spec in plan.targets.values()}) == 1
    built = [making.build_target(store, spec, quiet).record for spec in plan.targets.values()]
    assert [record["metric"] for record in built] == pytest.approx([1.0009, 1.04, 2.0])
    rows = sql.query(store, "select step, metric from trajectories order by step").rows
    assert [row[0] for row in rows] == [3, 20, 100]
    np.savez(tmp_path / "run7" / "v2_step_0020.npz", w=np.array([1.0, 0.5]))
    again = plan_of(text)
    assert len(again.targets.keys() & plan.targets.keys()) == 2
    changed = next(spec for spec in plan.targets.values() if spec.step == 20)
    store.remove("targets", changed.id)
    with pytest.raises(ValueError, match="plan again"):
        making.build_target(store, changed, quiet)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "there are no such files"),
        (["a.npz"], "no number in its name"),
        (["a1.npz", "b01.npz"], "are both of step 1"),
        (["a1.npz", "a2.pkl"], "a2.pkl is none of .safetensors, .npz, .eqx"),
    ],
)
def test_files_without_steps_and_pickles_are_refused(factory, plan_of, tmp_path, names, words):
    (tmp_path / "run7").mkdir()
    for name in names:
        (tmp_path / "run7" / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=words):
        plan_of(one(factory("read", ", checkpoints: 'run7/*'") + "}"))


def test_files_and_steps_cannot_both_be_asked_for(factory, plan_of, tmp_path):
    text = factory("read", ", checkpoints: '*.npz'") + ", checkpoints: {at: [0]}}"
    with pytest.raises(ConfigError, match="the checkpoints are the files"):
        plan_of(one(text))
    hashed = factory("trained", f", checkpoint_sha256: '{'0' * 64}'") + "}"
    with pytest.raises(ConfigError, match="the plan fills it in"):
        plan_of(one(hashed))


def test_a_training_survives_json(trained):
    wanted = trained("{at: [0, 5]}")
    assert Trajectory.model_validate(json.loads(wanted.model_dump_json())) == wanted
