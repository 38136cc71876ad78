"""The checkpoints of a training in a plan: which steps, which ids, what is refused."""

import pytest

from lambda_hat_core.config.checkpoints import Checkpoints
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.plan.plan import joined, load_union
from tests.core.plans import one
from tests.core.trainings import MLP, SGHMC, entry


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
