"""A small project on disk, its definitions, and a worker that computes nothing."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
import yaml

from tests.assets import fake_worker
from tests.slurm import stand_in

ROOT = Path(__file__).parents[2]
FAKE_PYTHON = ROOT / "tests" / "slurm" / "fake_python.py"
FAKE = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]


class Site(NamedTuple):
    """A folder with config/, and the project in it."""

    root: Path
    instance: dg.DagsterInstance

    @property
    def config(self):
        return self.root / "config"

    @property
    def environment(self):
        home, card = str(self.root / "runs"), str(self.config / "card" / "fake.yaml")
        return {"LAMBDA_HAT_HOME": home, "LAMBDA_HAT_CARD": card}

    def experiment(self, name="default", target_seeds=(0,), seeds=(1,), samplers=("nuts",)):
        quadratic = {"model": {"kind": "quadratic", "d": 3}}
        content = {
            "experiment": name,
            "targets": [{**quadratic, "seed": seed} for seed in target_seeds],
            "samplers": [{"name": sampler, "seed": seed} for sampler in samplers for seed in seeds],
        }
        path = self.config / "experiment" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
        return path

    def card(self, **entry):
        tag = {"command": FAKE, "env": {"PYTHONPATH": str(ROOT)}, **entry}
        path = Path(self.environment["LAMBDA_HAT_CARD"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"tags": {"float32": tag, "float64": tag}}))

    def project(self, **environment):
        from lambda_hat_assets.project.project import load_project

        return load_project({**self.environment, **environment}, self.config)

    def calls(self):
        """Return the requests to workers: key, kind, JAX_ENABLE_X64."""
        file = self.root / "runs" / "calls.txt"
        return [tuple(line.split()) for line in file.read_text().splitlines()]


class Quiet:
    """A listener for keys none of which may fail."""

    def heard(self, key, event):
        pass

    def ended(self, key, failure):
        assert failure is None, failure


@pytest.fixture(autouse=True)
def not_ended(monkeypatch):
    """Keep signals for the process of the tests; code that runs in it would take them over."""
    monkeypatch.setattr("lambda_hat_assets.commands.run.end_by_signals", lambda say_so: None)
    monkeypatch.setattr("lambda_hat_assets.running.endings.end_by_signals", lambda say_so: None)
    monkeypatch.setattr("lambda_hat_assets.running.endings.end_with_ancestors", lambda say_so: None)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a history as in the project."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home of `lambda-hat`, with fake numerics, beside a card and a small experiment."""
    from lambda_hat_core.work import retries
    from tests.assets.small import CARD, EXPERIMENT

    (tmp_path / "card.yaml").write_text(CARD.format(json.dumps(FAKE)))
    (tmp_path / "small.yaml").write_text(EXPERIMENT)
    monkeypatch.setenv("LAMBDA_HAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAMBDA_HAT_CARD", str(tmp_path / "card.yaml"))
    monkeypatch.delenv("LAMBDA_HAT_EXPERIMENT", raising=False)
    monkeypatch.setattr(retries, "PAUSES", (0.01, 0.01))
    monkeypatch.chdir(ROOT)
    return tmp_path / "home"


@pytest.fixture
def command(home, capsys):
    """A function that runs `lambda-hat` in the project's root, with fake numerics."""
    from lambda_hat_assets import cli
    from tests.assets.small import Done

    def run(*words):
        code = cli.main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def site(tmp_path):
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        site = Site(tmp_path, instance)
        site.card()
        yield site


class FakeBackend:
    """A backend with the answers of the fake worker, without its process."""

    def __init__(self, store, dtype):
        self.store = store
        self.x64 = str(int(dtype == "float64"))

    def run(self, context, orders):
        from lambda_hat_assets.compute.orders import Result

        for order in orders:
            for kind, request in zip(order.kinds, order.requests(), strict=True):
                end = fake_worker.answer(self.store, request, self.x64)
                yield Result(order.key, kind, end.get("record", {}), failure=end.get("reason"))
                if end["event"] == "failed":
                    break

    def close(self):
        pass


@pytest.fixture
def built():
    """A function from a project to its repository, with backends that compute nothing."""

    def build(project):
        from lambda_hat_assets.compute.resource import Compute
        from lambda_hat_assets.definitions import build

        compute = Compute(project, lambda dtype, card: FakeBackend(project.store, dtype))
        return build(project, compute).get_repository_def()

    return build


@pytest.fixture
def built_local():
    """The same with the fake worker as a process, started as the card says."""
    computes = []

    def build(project):
        from lambda_hat_assets.definitions import build, compute

        computes.append(compute(project))
        return build(project, computes[-1]).get_repository_def()

    yield build
    for compute in computes:
        compute.close()


def node(repository, *path):
    return repository.asset_graph.get(dg.AssetKey(path))


def out_of_sync(instance, repository, assets):
    """Return the partitions of some assets that the UI would show as unsynced, with reasons."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    graph = repository.asset_graph
    resolver = CachingStaleStatusResolver(
        instance=instance, asset_graph=graph, loading_context=LoadingContextForTest(instance)
    )
    found = []
    for asset in assets:
        made = instance.get_materialized_partitions(asset)
        keys = made if graph.get(asset).is_partitioned else [None]
        assert keys, asset
        for key in keys:
            if resolver.get_status(asset, key) != StaleStatus.FRESH:
                causes = resolver.get_stale_causes(asset, key)
                found.append((asset, key, [cause.reason for cause in causes]))
    return found


@pytest.fixture
def slurm(site, tmp_path, monkeypatch):
    """The site with a card that says slurm; the value is the folder of the stand-ins."""
    from lambda_hat_assets.slurm import watch

    monkeypatch.setattr(watch, "HOUR", 20.0)
    state = tmp_path / "cluster"
    stand_in.install(tmp_path / "bin")
    state.mkdir()
    python = tmp_path / "an env" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {FAKE_PYTHON} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(state))
    monkeypatch.setenv("DAGSTER_SLURM_SSH_CONTROL_DIR", str(tmp_path / "ssh"))
    tag = {"executor": "slurm", "walltime": "00:00:30", "python": str(python)}
    tags = {"float32": {**tag, "partition": "gpu", "gpus": 1, "gpu_type": "a100"}}
    tags["float64"] = {
        **tag,
        "partition": "cpu",
        "constraint": "avx512",
        "options": ["--exclude=n7"],
    }
    home = tmp_path / "the cluster's %j"
    home.symlink_to(tmp_path / "runs")
    cluster = {"poll_interval": 0.1, "poll_interval_max": 0.3, "home": str(home)}
    card = Path(site.environment["LAMBDA_HAT_CARD"])
    card.write_text(yaml.safe_dump({"cluster": cluster, "tags": tags}))
    return state


@pytest.fixture
def impatient(monkeypatch):
    """Do not wait for files that a file server might still withhold."""
    from lambda_hat_assets.slurm import job

    monkeypatch.setattr(job, "VISIBLE", 0.1)
