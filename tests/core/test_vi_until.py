"""Fits whose draws end at a precision or a budget. It uses the programs of one chunk of draws."""

import numpy as np
import pytest

from tests.core import vicases

PRECISE, POOR = {"rel_se": 0.05}, {"rel_se": 1e-6, "max_draws": 600}
SERIES = ("loss", "dist2", "projections", "virial", "virial_m", "cumulative_fge")


class Killed(Exception):
    pass


def run(until, *, die_at=None, case=vicases.regression, **how):
    """Return a run and what it told of its progress; it is killed at the end of a chunk."""
    told = []

    def progress(at):
        told.append(at)
        if len(told) == die_at:
            raise Killed

    return vicases.run(case()[0], until=until, how={"progress": progress, **how}), told


@pytest.fixture(scope="module")
def poor():
    return run(POOR)


def test_the_precision_ends_the_draws_of_a_fit():
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.vi.evaluate import CHUNK

    trace, told = run(PRECISE)
    exact = vicases.regression()[1]
    found = estimate(trace)
    assert (found.stopped_by, found.spent, found.verdict) == ("precision", None, "ok")
    assert found.llc_se <= 0.05 * found.llc < 0.06 * exact
    assert abs(found.llc - exact) < 4 * found.llc_se
    assert trace.loss.shape == (3, 3 * CHUNK)  # as early as a run is looked at
    assert [at.done for at in told] == [CHUNK, 2 * CHUNK, 3 * CHUNK]
    assert (trace.info["n_draws"], trace.info["n_burn"]) == (3 * CHUNK, 0)
    assert trace.work["evaluation"] == pytest.approx(3 * 3 * CHUNK * 4 / 3)
    assert trace.cumulative_fge[-1] == pytest.approx(trace.work_fge)
    assert told[-1].work_fge == pytest.approx(trace.work_fge)
    assert np.isfinite(trace.extras["khat"]).all()


def test_fewer_draws_are_the_first_of_the_same_draws(poor):
    """The fit, the draws and their measurements do not depend on when they end."""
    precise, _ = run(PRECISE)
    count = precise.loss.shape[1]
    for field in SERIES:
        whole = getattr(poor[0], field)
        whole = whole[:count] if field == "cumulative_fge" else whole[:, :count]
        np.testing.assert_array_equal(whole, getattr(precise, field))
    np.testing.assert_array_equal(precise.extras["elbo"], poor[0].extras["elbo"])


def test_the_draws_may_be_used_up(poor):
    from lambda_hat_core.analysis.estimate import estimate

    trace, told = poor
    assert [at.done for at in told] == [128, 256, 384, 512, 600]
    assert trace.loss.shape == (3, 600) and told[-1].total == 600
    found = estimate(trace)
    assert (found.stopped_by, found.spent, found.verdict) == ("budget", "max_draws", "suspect")
    [reason] = found.reasons
    assert "the budget of 600 draws per chain was spent" in reason
    assert all(at.done < at.total <= 600 and at.rel_se == 1e-6 for at in told[:-1])


@pytest.mark.parametrize("die_at", [1, 3])
def test_a_fit_that_is_killed_while_it_draws_gives_the_same_bits(poor, die_at, tmp_path):
    from lambda_hat_core.samplers.resume import DiskCheckpoint
    from lambda_hat_core.store.checkpoint import CheckpointFile
    from lambda_hat_core.vi import fit

    once, told = poor
    file = CheckpointFile(tmp_path / "run", {})
    with pytest.raises(Killed):
        run(POOR, die_at=die_at, checkpoint=DiskCheckpoint(file, every=0.0))

    def again(*arguments):
        raise AssertionError("the fit is not repeated")

    with pytest.MonkeyPatch.context() as change:
        change.setattr(fit, "_advance", again)
        resumed, left = run(POOR, checkpoint=DiskCheckpoint(file, every=0.0))
    assert [at.done for at in left] == [at.done for at in told[die_at:]]
    for field in SERIES:
        np.testing.assert_array_equal(getattr(resumed, field), getattr(once, field))
    for name, values in once.extras.items():
        np.testing.assert_array_equal(resumed.extras[name], values)
    assert resumed.info == once.info and resumed.work == once.work
    assert (np.diff(resumed.seconds) > 0).all()


def test_a_budget_of_work_or_time_ends_the_draws_but_not_the_fit():
    spent = {"rel_se": 1e-6, "max_fge": 10.0}
    for until, how, name in (
        (spent, {}, "max_fge"),
        ({"rel_se": 1e-6}, {"is_late": lambda: True}, "max_seconds"),
    ):
        trace, told = run(until, **how)
        assert len(told) == 1 and trace.loss.shape == (3, 128)
        assert (trace.info["stopped_by"], trace.info["spent"]) == ("budget", name)
        assert trace.extras["elbo"].shape == (3, 800)


def test_a_family_that_is_clearly_wrong_does_not_spend_the_budget():
    from lambda_hat_core.analysis.estimate import estimate

    trace, _ = run({"max_draws": 20_000, "max_fge": 1e6}, case=vicases.crossings)
    found = estimate(trace)
    assert found.verdict == "suspect" and found.khat > 0.7
    assert found.stopped_by == "precision" and found.n_draws < 10_000
