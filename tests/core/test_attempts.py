"""A run whose step turns out to be too large is made again, and says so."""

import jax
import numpy as np
import pytest

from lambda_hat_core import chains
from lambda_hat_core.analysis.estimate import estimate
from lambda_hat_core.analysis.stopping import has_outgrown
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld
from lambda_hat_core.samplers import attempts
from lambda_hat_core.store.checkpoint import CheckpointFile
from tests.core import mixed, traces

BEYOND = Sghmc(step_fraction=3.9, n_draws=80, n_burn=20, extrapolate=False)
"""Stable in the mean Hessian, and nowhere stiffer."""
SOME = Sghmc(until=Until(rel_se=0.05, max_fge=40_000))


class Killed(Exception):
    pass


@pytest.mark.parametrize("spec", [Sgld(step_size=0.1), Nuts()])
def test_a_step_size_of_the_user_stands(spec):
    assert not attempts.adapts(spec)


@pytest.mark.parametrize(("spec", "stiffness"), [(Sgld(), 0.1 * 2.0), (Sghmc(), 0.1**2 * 2.0)])
def test_the_next_step_is_that_of_a_quarter_of_what_limited_the_last_one(spec, stiffness):
    info = {"step_limited_by": "curvature", "mu_max": 2.0, "step_size": 0.1}
    calmer = attempts.calmer(spec, info)
    assert isinstance(calmer, Sgld | Sghmc)
    assert calmer.step_fraction == pytest.approx(spec.fraction / 4)
    calmer = attempts.calmer(spec, info | {"step_limited_by": "minibatch noise"})
    assert isinstance(calmer, Sgld | Sghmc)
    assert calmer.step_fraction == pytest.approx(stiffness / 4)


def test_a_run_that_leaves_at_every_step_has_failed(monkeypatch):
    monkeypatch.setattr(attempts, "SMALLER", 1.0)
    with jax.enable_x64(False):
        trace = mixed.run(mixed.singular(), BEYOND)
    assert len(trace.info["attempts"]) == attempts.MOST - 1
    assert trace.failure is not None
    assert trace.failure.endswith("after 4 attempts with larger steps")
    assert estimate(trace).verdict == "failed"


def _resumed(case, sampler, tmp_path):
    """Return a run, and the same one killed in its last attempt and continued."""
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    once = mixed.run(case, sampler)
    count = len(once.info["attempts"])
    seen = []

    def killed(at):
        seen.append(at.done)
        begun = [i for i, done in enumerate(seen) if i == 0 or done <= seen[i - 1]]
        if len(begun) == count + 1 and len(seen) > begun[-1] + 1:
            raise Killed

    file = CheckpointFile(tmp_path / "run", {})
    with pytest.raises(Killed):
        mixed.run(case, sampler, progress=killed, checkpoint=DiskCheckpoint(file, every=0.0))
    assert file.beside(f"tuned-{count}").path.exists()
    assert file.beside(f"attempt-{count}").path.exists()
    return once, mixed.run(case, sampler, checkpoint=DiskCheckpoint(file, every=0.0))


@pytest.mark.parametrize(
    ("sampler", "why"), [(BEYOND, "nbeta (L_n - L_n(w*)) is "), (SOME, "the llc was ")]
)
def test_a_real_run_comes_back_and_a_killed_one_goes_on(sampler, why, tmp_path, monkeypatch):
    """At a crossing, with steps that are too large there, or that are made out to be."""
    monkeypatch.setattr(chains, "has_outgrown", lambda trace: "attempts" not in trace.info)
    with jax.enable_x64(False):
        once, again = _resumed(mixed.singular(), sampler, tmp_path)
    before = once.info["attempts"]
    assert 1 <= len(before) < attempts.MOST and once.failure is None
    assert before[0]["why"].startswith(why)
    assert once.work["attempts"] > 0 and once.cumulative_fge[0] > once.work["attempts"]
    assert once.cumulative_fge[-1] == pytest.approx(once.work_fge)
    found = estimate(once)
    assert found.llc is not None
    assert any(why in note for note in found.notes)
    np.testing.assert_array_equal(again.loss, once.loss)
    np.testing.assert_array_equal(again.cumulative_fge, once.cumulative_fge)
    assert again.info == once.info and again.work == once.work


@pytest.mark.parametrize(("times", "expected"), [(1.0, False), (1.1, False), (1.8, True)])
def test_a_step_has_been_outgrown_if_its_bias_is_clearly_beyond_the_limit(times, expected):
    """The draws at the larger step are so many times too large."""
    plain = traces.trace(d=40)
    sizes = np.where(np.arange(plain.loss.shape[1]) // 10 % 2 == 1, 0.05, 0.1)
    scale = np.where(sizes > 0.07, times, 1 + (times - 1) / 4)
    loss = plain.loss0 + scale * (plain.loss - plain.loss0)
    stats = {"step_size": np.tile(sizes, (len(loss), 1))}
    trace = plain._replace(loss=loss, stats=stats, info=dict(plain.info) | {"step_order": 2})
    assert has_outgrown(trace) is expected
