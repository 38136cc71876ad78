"""Observables of long runs: sums over batches of draws in place of the draws."""

import numpy as np
import pytest

from tests.core.observed import run


def test_sums_of_long_runs_are_those_of_their_draws(monkeypatch):
    """Once the draws are more numbers than their moments, only those are kept."""
    from lambda_hat_core import Nuts, Sgld
    from lambda_hat_core.samplers import moments

    for sampler in (Nuts(n_draws=800, n_burn=100), Sgld(n_draws=1600, n_burn=160)):
        kept = run(sampler, observables=["per_example[0:5]"]).observed
        monkeypatch.setattr(moments, "_MOST_NUMBERS", 4000)
        summed = run(sampler, observables=["per_example[0:5]"]).observed
        monkeypatch.undo()
        assert summed.trace.observed.recorded.draws is None
        sums = summed.trace.observed.recorded.moments
        assert 8 <= sums.size.shape[1] <= 16 and sums.cross.shape[-2:] == (6, 6)
        assert np.array_equal(summed.trace.loss, kept.trace.loss)
        mine, theirs = (x.covariance("per_example") for x in (summed, kept))
        assert np.all(np.abs(mine.value - theirs.value) < theirs.se)
        assert np.all((0.3 * theirs.se < mine.se) & (mine.se < 3 * theirs.se))
        for a, b in zip(summed.rows(), kept.rows(), strict=True):
            assert abs(a.mean - b.mean) < max(a.se, b.se) and abs(a.r_hat - b.r_hat) < 0.01
        with pytest.raises(ValueError, match="WAIC needs every draw of per_example"):
            summed.waic()


@pytest.mark.parametrize("n_burn", [0, 90, 1000, 1810, 1901, 1960])
def test_sums_of_a_run_of_a_given_length_have_no_draw_of_the_burn_in(n_burn, monkeypatch):
    from lambda_hat_core.samplers import moments

    monkeypatch.setattr(moments, "_MOST_NUMBERS", 4 * 2 * 300 * 2)
    draws = np.random.default_rng(0).normal(size=(2, 2000, 2))
    draws[:, :n_burn] = np.nan
    step = np.where(np.arange(2000) // 10 % 2 == 1, 0.5, 1.0)
    for alternates in (False, True):
        parts = []
        for first in range(0, 2000, 100):
            chunk = draws[:, first : first + 100]
            sizes = np.tile(step[first : first + 100], (2, 1))
            parts.append({"loss": chunk[:, :, 0], "observed": chunk, "step_size": sizes})
            moments.fold(parts, alternates=alternates, n_burn=n_burn, n_draws=2000)
        found = moments.retained(parts, slice(n_burn, None), dropped=n_burn).moments
        size = found.size.sum(axis=-1)[0]
        assert (1 if alternates and n_burn > 1000 else 8) <= len(size) <= 16
        assert size.max() - size[:-1].min(initial=size[-1]) <= size.max() / 2
        assert found.size.min() > 0 and np.isfinite(found.cross).all()
        if n_burn > 1900:
            whole = draws[:, -int(size.sum()) :]
            assert np.allclose(found.total.sum(axis=(1, 2)), whole.sum(axis=1))


def test_batches_are_joined_as_a_run_grows():
    from lambda_hat_core.samplers.moments import fold, retained

    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2, 40 * 100, 3))
    parts = []
    for k in range(100):
        chunk = draws[:, 40 * k : 40 * k + 40]
        parts.append({"loss": chunk[:, :, 0], "observed": chunk})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lambda_hat_core.samplers.moments._MOST_NUMBERS", 100)
            fold(parts, alternates=False)
    _, found = retained(parts, slice(40 * 9, None))
    assert found.size.shape == (2, 11, 1) and found.size[0, :, 0].tolist() == 10 * [320] + [160]
    assert np.allclose(found.total.sum(axis=1)[:, 0], draws[:, 640:].sum(axis=1))
    assert np.allclose(found.cross.sum(axis=(0, 1, 2)), np.einsum("cti,ctj", *2 * [draws[:, 640:]]))
