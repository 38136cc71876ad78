"""A killed run that is continued gives the same bits. It uses the programs of test_samplers.py."""

import jax
import numpy as np
import pytest

from lambda_hat_core.store.checkpoint import CheckpointFile
from tests.core import mixed
from tests.core.test_samplers import QUADRATICS, begun, in_float64

KILLED = ["nuts", "sgld rmsprop", "sgnht", "mclmc", "tempered"]


class Killed(Exception):
    pass


_whole = {}


@pytest.fixture
def whole(sample):
    """Return the uninterrupted run and the ends of its chunks, computed once per sampler."""

    def run(name):
        if name not in _whole:
            _whole[name] = sample(name, None)
        return _whole[name]

    return run


@pytest.fixture
def sample(monkeypatch):
    """Run a sampler for eight chunks, or until it is killed at the end of a chunk."""

    def run(name, checkpoint, die_at=None):
        chunks = []

        def progress(at):
            chunks.append(at.done)
            if len(chunks) == die_at:
                raise Killed

        with monkeypatch.context() as change, jax.enable_x64(in_float64(name)):
            sampler = begun(name, 8, change)
            case = QUADRATICS["condition 1"]
            trace = mixed.run(case, sampler, progress=progress, checkpoint=checkpoint)
        return trace, chunks

    return run


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_resumes_with_the_same_bits(sample, whole, name, tmp_path):
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    once, chunks = whole(name)
    file = CheckpointFile(tmp_path / "run", {"spec": name})
    for die_at in (4, 3):
        with pytest.raises(Killed):
            sample(name, DiskCheckpoint(file, every=0.0), die_at)
    resumed, left = sample(name, DiskCheckpoint(file, every=0.0))
    assert left == chunks[7:], "four and three chunks were not computed again"
    for field in ("loss", "dist2", "projections", "virial", "cumulative_fge"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(once, field))
    assert resumed.work == once.work
    assert np.all(np.diff(resumed.seconds) >= 0)


@pytest.mark.parametrize("name", KILLED)
def test_a_run_killed_after_its_set_up_does_not_repeat_it(
    sample, whole, name, tmp_path, monkeypatch
):
    from lambda_hat_core import chains
    from lambda_hat_core.samplers import drive, pilot
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    once, chunks = whole(name)
    file = CheckpointFile(tmp_path / "run", {"spec": name})

    def killed(*args, **options):
        raise Killed

    with monkeypatch.context() as change:
        change.setattr(drive, "run_chains", killed)
        with pytest.raises(Killed):
            sample(name, DiskCheckpoint(file, every=0.0))
    with monkeypatch.context() as change:
        for module, function in ((pilot, "fly"), (chains, "build")):
            change.setattr(module, function, killed)
        resumed, left = sample(name, DiskCheckpoint(file, every=0.0))
    assert left == chunks
    for field in ("loss", "dist2", "projections", "virial", "cumulative_fge"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(once, field))
    assert resumed.info == once.info and resumed.work == once.work


def test_a_short_run_writes_no_checkpoint(sample, tmp_path):
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    sample("sgnht", DiskCheckpoint(CheckpointFile(tmp_path / "run", {}), clock=lambda: 0.0))
    assert not (tmp_path / "run").exists()
