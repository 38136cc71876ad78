"""Checkpoints of a factory: it is trained here, or its files are of a training elsewhere."""

import numpy as np
import pytest

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.store import sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import making
from lambda_hat_core.work.trajectories import make_trajectory
from tests.core.plans import one
from tests.core.trainings import quiet

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
def store(tmp_path):
    return Store(tmp_path / "home")


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
