import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.checkpoint import Checkpoint
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import SAMPLERS
from lambda_hat_core.config.spec import RunSpec
from tests.core.surfaces import DiagonalQuadratic

FIT = {"n_draws": 60, "steps": 50, "n_chains": 2, "M": 1, "r": 1}
SIZES = {
    "nuts": {"n_draws": 60, "n_burn": 10, "n_warmup": 50},
    "sgld": {"n_draws": 60, "n_burn": 10, "thin": 2, "precond": "adam"},
    "sgnht": {"n_draws": 60, "n_burn": 10, "thin": 2},
    "mclmc": {"n_draws": 60, "n_burn": 10},
}


class Killed(Exception):
    pass


def sample(name, checkpoint, die_at=None):
    from lambda_hat_core.posterior import localised
    from lambda_hat_core.samplers import sample
    from lambda_hat_core.target import Target

    chunks = []

    def progress(at):
        chunks.append(at.done)
        if len(chunks) == die_at:
            raise Killed

    target = Target(jnp.zeros(3), None, DiagonalQuadratic((1.0, 2.0, 3.0)), 1000)
    run = RunSpec(
        target="tgt_000000000000",
        sampler=SAMPLERS[name](**(FIT if name == "vi" else SIZES[name])),
        posterior=PosteriorSpec(loss="own"),
        dtype="float64",
    )
    trace = sample(localised(target, run.posterior), run, progress=progress, checkpoint=checkpoint)
    return trace, chunks


@pytest.mark.parametrize("name", SIZES)
def test_killed_run_resumes_to_the_same_bits(name, tmp_path, x64):
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    whole, chunks = sample(name, None)
    file = Checkpoint(tmp_path / "run", {"spec": name})
    for die_at in (4, 3):
        with pytest.raises(Killed):
            sample(name, DiskCheckpoint(file, every=0.0), die_at)
    resumed, left = sample(name, DiskCheckpoint(file, every=0.0))
    assert left == chunks[7:], "four and three chunks were not computed again"
    for field in ("loss", "dist2", "projections", "virial", "cumulative_fge"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(whole, field))
    assert resumed.work == whole.work
    assert np.all(np.diff(resumed.seconds) >= 0)


@pytest.mark.parametrize("name", SIZES)
def test_killed_after_its_set_up_it_does_not_set_up_again(name, tmp_path, x64, monkeypatch):
    from lambda_hat_core import samplers
    from lambda_hat_core.samplers import drive, pilot
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    whole, chunks = sample(name, None)
    file = Checkpoint(tmp_path / "run", {"spec": name})

    def killed(*args, **options):
        raise Killed

    with monkeypatch.context() as change:
        change.setattr(drive, "run_chains", killed)
        with pytest.raises(Killed):
            sample(name, DiskCheckpoint(file, every=0.0))
    with monkeypatch.context() as change:
        for module, function in ((pilot, "fly"), (samplers, "build")):
            change.setattr(module, function, killed)
        resumed, left = sample(name, DiskCheckpoint(file, every=0.0))
    assert left == chunks
    for field in ("loss", "dist2", "projections", "virial", "cumulative_fge"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(whole, field))
    assert resumed.info == whole.info and resumed.work == whole.work


def test_killed_fit_resumes_to_the_same_bits(tmp_path, x64):
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    class Fatal(DiskCheckpoint):
        def save(self, states, parts, ends):
            super().save(states, parts, ends)
            if len(parts) in (4, 7):
                raise Killed

    whole, _ = sample("vi", None)
    file = Checkpoint(tmp_path / "run", {"spec": "vi"})
    for _ in range(2):
        with pytest.raises(Killed):
            sample("vi", Fatal(file, every=0.0))
    resumed, _ = sample("vi", DiskCheckpoint(file, every=0.0))
    for field in ("loss", "dist2", "virial"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(whole, field))
    for name, values in whole.extras.items():
        np.testing.assert_array_equal(resumed.extras[name], values)
    assert whole.extras["elbo"].shape == (2, 50)


def test_short_run_writes_nothing(tmp_path, x64):
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    sample("sgld", DiskCheckpoint(Checkpoint(tmp_path / "run", {}), clock=lambda: 0.0))
    assert not (tmp_path / "run").exists()
