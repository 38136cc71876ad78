import json
import math

import numpy as np
import pytest

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Quadratic
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.study import ProblemSpec
from lambda_hat_core.plan.study import TunedPosterior
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store

TARGET = TargetSpec(model=Quadratic(d=3), data=NoData())
GOOD = {"r_hat": 1.001, "ess_min": 900.0, "v_m": 1.01, "n_divergent": 0, "verdict": "ok"}


def problem(gamma=10.0):
    spec = ProblemSpec.model_validate(
        {
            "target": TARGET.id,
            "posterior": {"loss": "own", "gamma": gamma},
            "reference": Nuts(n_draws=4000, n_burn=100),
            "seed": 3,
        }
    )
    return TunedPosterior("bowl", spec, TARGET, "a bowl")


class FakeNuts:
    """Returns exact draws of a Gaussian with curvature 5 in two directions and 0 in three."""

    def __init__(self, store, record=lambda spec: GOOD, shift=0.0):
        self.store, self.record, self.shift = store, record, shift
        self.runs = []

    def build(self, target):
        pass

    def run(self, spec, target, steer, seconds):
        from lambda_hat_core.tuning.payloads import Ran

        self.runs.append(spec)
        at = {"done": 1, "total": 2, "work_fge": 50.0}
        if seconds < 1 and (reason := steer(at)):
            return Ran("stopped", {}, 50.0, seconds, reason)
        gamma, n = spec.posterior.gamma, spec.sampler.n_draws
        x = np.random.default_rng(spec.seed).normal(size=(4, n, 5))
        stiff, flat = x[..., :2] / math.sqrt(5 + gamma), x[..., 2:] / math.sqrt(gamma)
        llc = 2.5 * (stiff**2).sum(-1) + self.shift * (spec.seed == 4)
        dist2 = (stiff**2).sum(-1) + (flat**2).sum(-1)
        record = {"run_id": spec.id, "llc": llc.mean(), "llc_se": llc.std() / math.sqrt(4 * n)}
        record |= {"gamma": gamma, "work_fge": 100.0, "wall_s": 2.0, "reasons": []}
        record |= {"n_draws": n, "n_chains": 4, **self.record(spec)}
        with self.store.publish("analyses", spec.id, spec) as folder:
            columns = {"run_id": [spec.id] * 4 * n, "chain": np.repeat(np.arange(4), n)}
            columns |= {
                "draw": np.tile(np.arange(n), 4),
                "llc": llc.ravel(),
                "dist2": dist2.ravel(),
            }
            records.write("draws", columns, folder / "draws.parquet")
            (folder / "estimate.json").write_text(json.dumps(record))
        return Ran("done", record, 100.0, 2.0)


def certified(store, runner, budget=1000.0, gamma=10.0):
    from lambda_hat_core.tuning.reference import certify

    return certify(store, problem(gamma), runner, budget, lambda line: None)


def test_agreement_at_two_gammas_certifies_the_reference_once(tmp_path):
    store = Store(tmp_path)
    runner = FakeNuts(store)
    found = certified(store, runner)
    assert found.certified and not found.reasons and found.work_fge == 200.0
    first, second = runner.runs
    assert (first.posterior.gamma, second.posterior.gamma) == (10.0, 12.5)
    assert (first.dtype, second.dtype, first.seed, second.seed) == ("float64", "float64", 3, 4)
    assert (found.run_id, found.checked_by) == (first.id, second.id)
    assert found.llc == pytest.approx(5 / 15, abs=4 * found.llc_se)
    assert certified(store, runner) == found and len(runner.runs) == 2


def test_disagreement_at_two_gammas_does_not_certify(tmp_path):
    store = Store(tmp_path)
    found = certified(store, FakeNuts(store, shift=0.1), budget=11.0)
    assert not found.certified and found.llc is not None
    assert "standard errors apart" in found.reasons[0] and "budget of 11 s" in found.reasons[-1]


def test_weighted_draws_predict_the_llc_at_another_gamma(tmp_path):
    from lambda_hat_core.tuning.reference import reweighted

    x = np.random.default_rng(0).normal(size=(8, 4000, 5))
    stiff, flat = x[..., :2] / math.sqrt(15), x[..., 2:] / math.sqrt(10)
    dist2 = (stiff**2).sum(-1) + (flat**2).sum(-1)
    predicted, se = reweighted(2.5 * (stiff**2).sum(-1), dist2, 2.5)
    assert se < 0.01
    assert abs(predicted - 5 / 17.5) < 4 * se


def test_longer_runs_follow_until_the_chains_have_mixed(tmp_path):
    def record(spec):
        return GOOD | ({"r_hat": 1.04} if spec.sampler.n_draws < 16000 else {})

    store = Store(tmp_path)
    runner = FakeNuts(store, record)
    found = certified(store, runner)
    assert found.certified and found.run_id == runner.runs[-2].id
    assert [run.sampler.n_draws for run in runner.runs] == [4000, 8000, 16000, 16000]
    assert found.wall_s == 8.0


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"r_hat": 1.02}, "R-hat is 1.02, above 1.01"),
        ({"r_hat": None}, "R-hat is None"),
        ({"ess_min": 300.0}, "300 effective draws, fewer than 400"),
        ({"llc": 1.0, "llc_se": 0.02}, "its error is 2.0%, more than 1%"),
        ({"v_m": 1.2}, "V_M is 1.200, further from 1 than 0.1"),
        ({"n_divergent": 30}, "30 diverging draws"),
        ({"verdict": "failed", "reasons": ["negative"]}, "negative"),
    ],
)
def test_the_reasons_are_given_when_the_budget_is_used_up(tmp_path, facts, said):
    store = Store(tmp_path)
    found = certified(store, FakeNuts(store, lambda spec: GOOD | facts), budget=1.5)
    assert not found.certified and said in found.reasons[0]
    assert found.reasons[-1] == "the budget of 1.5 s is used up"
    assert "NOT certified" in found.words()


def test_a_larger_budget_tries_again_and_a_smaller_one_does_not(tmp_path):
    store = Store(tmp_path)
    bad = FakeNuts(store, lambda spec: GOOD | {"r_hat": 1.1})
    assert not certified(store, bad, budget=1.5).certified
    assert not certified(store, bad, budget=1.0).certified and len(bad.runs) == 1
    assert not certified(store, bad, budget=3.0).certified and len(bad.runs) == 3


def test_a_study_rejects_an_uncertified_reference_unless_allowed():
    from lambda_hat_core.tuning.conduct import _accepted
    from lambda_hat_core.tuning.reference import Reference

    found = Reference("p", False, 3.0, 0.1, "run_x", None, ["R-hat is 2"], 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"not certified \(R-hat is 2\): raise budget"):
        _accepted(found, "bowl", False)
    assert "UNCERTIFIED" in _accepted(found, "bowl", True)
    with pytest.raises(ValueError, match="not certified"):
        _accepted(found._replace(llc=None), "bowl", True)
