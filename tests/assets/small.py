"""A small experiment for `lambda-hat`, with fake numerics, and what its commands say."""

from typing import NamedTuple

from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import experiments
from lambda_hat_core.store.store import Store
from tests.assets import fake_worker
from tests.assets.conftest import ROOT

CARD = """
max_concurrent: 2
tags:
  float32: {{command: {0}}}
  float64: {{command: {0}}}
"""

EXPERIMENT = """
experiment: small
targets:
  - {model: {kind: quadratic, d: 3}, seed: 0}
  - {model: {kind: quadratic, d: 3}, seed: 1}
samplers:
  - {name: nuts, overrides: {n_draws: 20, n_burn: 10}, seed: 1}
  - {name: sgld, overrides: {n_draws: 20, n_burn: 10}, seed: 1}
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def fill(home):
    """Store what `run` would make for the small experiment."""
    store, plan = Store(home), small(home)
    for spec in plan.targets.values():
        fake_worker.make(store, "targets", spec.model_dump(mode="json"))
    for kind in ("runs", "analyses"):
        for spec in plan.runs.values():
            fake_worker.make(store, kind, spec.model_dump(mode="json"))
    members = [(spec.target, id) for id, spec in plan.runs.items()]
    experiments.write_experiment(store, "small", members)


def small(home):
    return load_plan(home.parent / "small.yaml", ROOT / "config")


def one_line_error(done, *words):
    assert done.returncode == 2
    assert done.stderr.startswith("lambda-hat: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
