"""Routing: dtype -> environment of the process -> dtype of the arrays that were sampled."""

import os
import sys

import numpy as np
import yaml

from lambda_hat_assets.compute.plain import make
from lambda_hat_core.analysis.traceio import load_trace
from lambda_hat_core.gallery.members import gallery_of
from tests.assets.conftest import Quiet

NOTING = f'env > "$NOTES/$ROUTE-$$"; exec {sys.executable} -m lambda_hat_core.work.worker "$@"'
TABLE = {
    "float32": {"route": "narrow", "JAX_ENABLE_X64": "0", "arrays": np.float32},
    "float64": {"route": "wide", "JAX_ENABLE_X64": "1", "arrays": np.float64},
}


def narrowest(values):
    """Return the smallest floating type that represents every value exactly."""
    with np.errstate(over="ignore"):
        exact = np.array_equal(values.astype(np.float32).astype(np.float64), values)
    return np.float32 if exact else np.float64


def test_every_dtype_is_sampled_as_the_card_says(site):
    path = site.experiment()
    content = yaml.safe_load(path.read_text())
    few = {"n_draws": 60, "n_burn": 20, "thin": 1}
    content["samplers"] = [
        {"name": "sgld", "dtype": dtype, "seed": 1, "overrides": few} for dtype in TABLE
    ]
    path.write_text(yaml.safe_dump(content))
    notes = site.root / "notes"
    notes.mkdir()
    inherited = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    tags = {
        dtype: {
            "command": ["sh", "-c", NOTING, "worker"],
            "env": {**inherited, "NOTES": str(notes), "ROUTE": row["route"]},
        }
        for dtype, row in TABLE.items()
    }
    card = site.config / "card" / "fake.yaml"
    card.write_text(yaml.safe_dump({"max_concurrent": 1, "tags": tags}))
    project = site.project()
    plan = project.plan(None)
    assert make(project.store, project.card, plan, gallery_of(plan), Quiet()) == ({}, None)

    environments = {}
    for file in notes.iterdir():
        lines = [line.partition("=") for line in file.read_text().splitlines()]
        environments[file.name.split("-")[0]] = {name: value for name, _, value in lines}
    assert set(environments) == {row["route"] for row in TABLE.values()}
    for id, spec in plan.runs.items():
        row = TABLE[spec.dtype]
        assert environments[row["route"]]["JAX_ENABLE_X64"] == row["JAX_ENABLE_X64"]
        trace = load_trace(project.store.path("runs", id) / "trace.nc")
        for values in (trace.projections, trace.dist2, trace.virial):
            assert narrowest(values) == row["arrays"], spec.dtype


def test_a_payload_has_its_dtype_and_threads_in_its_environment(monkeypatch):
    from lambda_hat_assets.cards.card import LocalTag

    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    found = LocalTag(threads=3, env={"A": "b"}).environment("float64")
    assert found["JAX_ENABLE_X64"] == "1"
    assert LocalTag().environment("float32")["JAX_ENABLE_X64"] == "0"
    assert found["XLA_FLAGS"].startswith("--xla_dump_to=x --xla_force_host_platform_device_count=3")
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["A"] == "b"
