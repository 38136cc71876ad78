"""The SLURM backend against stand-ins for the commands of SLURM and ssh."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.assets.conftest import ROOT, FakeBackend
from tests.slurm import stand_in

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""dagster-slurm leaves the pipes of its ssh processes to the garbage collector."""

FAKE_PYTHON = ROOT / "tests" / "slurm" / "fake_python.py"


@pytest.fixture
def slurm(site, tmp_path, monkeypatch):
    """The site with a card that says slurm; the value is the folder of the stand-ins."""
    state = tmp_path / "cluster"
    stand_in.install(tmp_path / "bin")
    state.mkdir()
    python = tmp_path / "python"
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
    cluster = {"poll_interval": 0.1, "poll_interval_max": 0.3}
    card = Path(site.environment["LAMBDA_HAT_CARD"])
    card.write_text(yaml.safe_dump({"cluster": cluster, "tags": tags}))
    return state


def jobs(state):
    """Return the records of all jobs in their order."""
    return [
        json.loads(p.read_text()) for p in sorted(state.glob("*.json"), key=lambda p: int(p.stem))
    ]


def repository(project):
    """Return the definitions, whose galleries are drawn by nobody."""
    from lambda_hat_assets.compute import Compute
    from lambda_hat_assets.definitions import build
    from lambda_hat_assets.slurm.backend import SlurmBackend

    def backend(dtype, card):
        here = FakeBackend(project.store, dtype)
        return SlurmBackend(project.store, dtype, card.tag(dtype), card.cluster, here)

    return build(project, Compute(project, backend)).get_repository_def()


def llc(site, project, **config):
    job = repository(project).get_job("llc")
    config = {"ops": {"plan": {"config": config}}}
    return job.execute_in_process(instance=site.instance, run_config=config, raise_on_error=False)


def test_each_dtype_goes_to_its_partition_and_is_recorded(site, slurm):
    site.experiment(samplers=("nuts", "sgld"))
    project = site.project()
    assert llc(site, project).success
    made = {(key.split("_")[1], stage): bit for key, stage, bit in site.calls()}
    assert made[("nuts", "sample")] == "1" and made[("sgld", "sample")] == "0"
    print(jobs(slurm))
