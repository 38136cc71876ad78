"""The backend of this machine: its worker does not wait for Dagster, and ends with its step."""

import time
from types import SimpleNamespace

import pytest

from lambda_hat_assets.compute import local as local_module
from lambda_hat_assets.compute.local import LocalBackend
from lambda_hat_assets.compute.orders import Order


@pytest.fixture
def backend(site):
    """A function from seeds to a backend and orders for the runs; the target is in the store."""
    backends = []

    def build(*seeds):
        site.experiment(seeds=seeds)
        project = site.project()
        (target,) = project.targets.values()
        backend = LocalBackend(project.store, project.card)
        backends.append(backend)
        orders = [Order(target.id, ("targets",), target)]
        runs = project.plan(None).runs.values()
        orders += [Order(run.id, ("runs", "analyses"), target, run) for run in runs]
        return backend, orders, project.store

    yield build
    for each in backends:
        each.close()


def context():
    said = []
    return SimpleNamespace(log=SimpleNamespace(info=said.append)), said


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_worker_continues_while_a_result_is_recorded(site, backend):
    local, orders, store = backend(1, 2)
    where, said = context()
    results = local.run(where, orders)
    first = next(results)
    until(lambda: len(store.list("analyses")) == 2)
    rest = list(results)
    keys = [(each.key, each.kind) for each in (first, *rest)]
    assert keys == [(order.key, kind) for order in orders for kind in order.kinds]
    assert "at work" in " ".join(said)


def test_a_caller_that_stops_iterating_ends_the_worker_without_a_failure(site, backend):
    local, orders, store = backend(15, 1)
    results = local.run(context()[0], orders)
    next(results)
    until((store.root / "hung").exists)
    results.close()
    assert not (store.root / "woke").exists(), "its end was waited for"
    assert [call[1] for call in site.calls()] == ["targets", "runs"], "it was asked again"
    assert not list(store.root.glob("failures/*"))
    assert len(store.list("analyses")) == 0
    again = [each.failure for each in local.run(context()[0], orders)]
    assert again == [None] * 5, "the next step is served"


def test_an_exception_in_a_thread_of_the_pool_is_raised(backend, monkeypatch):
    local, orders, _ = backend(1)
    monkeypatch.setattr(local_module, "_put", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(local.run(context()[0], orders))
