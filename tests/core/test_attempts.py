"""A run whose chains leave every bound is made again with smaller steps, and says so."""

import jax
import numpy as np
import pytest

from lambda_hat_core.analysis.estimate import estimate
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld
from lambda_hat_core.samplers import attempts
from lambda_hat_core.store.checkpoint import CheckpointFile
from tests.core import mixed, traces

LEFT = {"stopped_by": "failure", "step_limited_by": "curvature", "mu_max": 2.0}
BEYOND = Sghmc(step_fraction=3.9, n_draws=80, n_burn=20, extrapolate=False)
"""Stable in the mean Hessian, and nowhere stiffer."""


class Killed(Exception):
    pass


def leaving(times):
    """Return an attempt whose chains leave so often, and the settings that it was called with."""
    seen = []

    def attempt(spec, setup, before):
        seen.append(spec.step_fraction)
        work = setup | {"adaptation": 1.0, "sampling": 10.0}
        if len(seen) > times:
            return traces.trace(info={"stopped_by": "length", "left": before}, work=work)
        info = LEFT | {"step_size": 0.5 ** len(seen), "left": before}
        return traces.trace(failure=f"not finite, {len(seen)}", info=info, work=work)

    return attempt, seen


def test_every_attempt_has_a_quarter_of_the_stiffness_and_its_work_counts():
    attempt, seen = leaving(2)
    lines = []
    trace = attempts.until_they_stay(attempt, Sgld(), {"pilot": 5.0}, lines.append)
    np.testing.assert_allclose(seen, [0.3, 0.075, 0.01875])
    assert trace.work == {"pilot": 5.0, "left": 22.0, "adaptation": 1.0, "sampling": 10.0}
    assert [one["failure"] for one in trace.info["left"]] == ["not finite, 1", "not finite, 2"]
    assert len(lines) == 2 and "at step size 0.25 not finite, 2" in lines[1]


def test_a_run_that_leaves_at_every_step_has_failed():
    attempt, seen = leaving(99)
    trace = attempts.until_they_stay(attempt, Sghmc(), {}, lambda line: None)
    assert len(seen) == attempts.MOST
    assert trace.failure == "not finite, 5, and in 4 attempts with larger steps before"


@pytest.mark.parametrize("spec", [Sgld(step_size=0.1), Nuts()])
def test_a_step_size_of_the_user_stands(spec):
    assert attempts.calmer(spec, LEFT | {"step_size": 0.1}) is None


@pytest.mark.parametrize(("spec", "stiffness"), [(Sgld(), 0.1 * 2.0), (Sghmc(), 0.1**2 * 2.0)])
def test_a_step_that_noise_limited_is_quartered_too(spec, stiffness):
    info = LEFT | {"step_size": 0.1, "step_limited_by": "minibatch noise"}
    calmer = attempts.calmer(spec, info)
    assert isinstance(calmer, Sgld | Sghmc)
    assert calmer.step_fraction == pytest.approx(stiffness / 4)


def test_a_real_run_comes_back_and_a_killed_one_goes_on(tmp_path):
    """At a crossing with steps that only the mean Hessian allows; killed in a later attempt."""
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    case = mixed.singular()
    with jax.enable_x64(False):
        once = mixed.run(case, BEYOND)
        left = once.info["left"]
        assert 1 <= len(left) < attempts.MOST and once.failure is None
        assert once.work["left"] > 0 and once.cumulative_fge[0] > once.work["left"]
        assert once.cumulative_fge[-1] == pytest.approx(once.work_fge)
        found = estimate(once)
        assert found.llc is not None
        assert any(note.startswith("chains left every bound") for note in found.notes)

        def killed(at):
            if at.done == at.total:
                raise Killed

        file = CheckpointFile(tmp_path / "run", {})
        with pytest.raises(Killed):
            mixed.run(case, BEYOND, progress=killed, checkpoint=DiskCheckpoint(file, every=0.0))
        assert file.beside(f"tuned-{len(left)}").path.exists()
        assert file.beside(f"attempt-{len(left)}").path.exists()
        again = mixed.run(case, BEYOND, checkpoint=DiskCheckpoint(file, every=0.0))
    np.testing.assert_array_equal(again.loss, once.loss)
    np.testing.assert_array_equal(again.cumulative_fge, once.cumulative_fge)
    assert again.info == once.info and again.work == once.work
