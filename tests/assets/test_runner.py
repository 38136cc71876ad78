"""An experiment without Dagster: the number of workers, and the worker that draws the gallery."""

import json

import pytest

from lambda_hat_assets.compute.plain import make
from lambda_hat_core.gallery.members import gallery_of, is_current
from lambda_hat_core.work import forecast
from tests.assets.conftest import FAKE, Quiet


@pytest.mark.parametrize(("seconds", "workers"), [(1.0, 1), (20.0, 2)])
def test_a_second_worker_is_started_if_it_saves_time(site, monkeypatch, seconds, workers):
    pids = site.root / "pids"
    command = ["sh", "-c", f'echo $$ >> {pids}; exec "$@"', "worker", *FAKE]
    tags = {dtype: {"command": command} for dtype in ("float32", "float64")}
    card = site.config / "card" / "fake.yaml"
    card.write_text(json.dumps({"max_concurrent": 2, "tags": tags}))
    site.experiment(seeds=range(1, 5))
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    monkeypatch.setattr(forecast, "guess", lambda *args: seconds)
    project = site.project()
    plan, store = project.plan(None), project.store
    gallery = gallery_of(plan)
    assert make(store, project.card, plan, gallery, Quiet()) == ({}, None)
    assert len(pids.read_text().split()) == workers
    assert len(store.list("analyses")) == 4 and is_current(store, gallery)
