import pytest

from lambda_hat_core.config.data import NoData, Synthetic
from lambda_hat_core.config.model import DeepLinear, Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import PILOT, SPECTRUM
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.work.forecast import START, RunTimes, forecast, guess, workers

TARGET = TargetSpec(model=Quadratic(), data=NoData(n_data=1000))


def run(sampler):
    return RunSpec(
        target=TARGET.id, sampler=sampler, posterior=PosteriorSpec(loss="own"), dtype="float64"
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_has_a_forecast(name):
    cost = forecast(run(SAMPLERS[name]()), TARGET, RunTimes([]))
    assert 1e2 < cost.fge < 1e7 and cost.seconds is None


def test_work_of_sgld_by_hand():
    sampler = Sgld(n_chains=2, n_draws=30, n_burn=10, thin=5, batch_size=100)
    cost = forecast(run(sampler), TARGET, RunTimes([]))
    pilot = 2 * (200 + 136)
    assert cost.fge == pytest.approx(136 + 2 * (pilot + 30 * 5 * 0.1 + 30 * 4 / 3))


def test_the_set_up_costs_the_pilot_and_the_spectrum():
    from lambda_hat_core.linalg.spectrum import RANK, spectrum_work
    from lambda_hat_core.samplers import pilot

    assert SPECTRUM == spectrum_work(RANK + 1, RANK)
    flight = pilot._STEPS * pilot._LEAPFROGS
    assert PILOT == pilot._ROUNDS * (flight + SPECTRUM)


def test_a_budget_is_a_stated_multiple_of_the_forecast():
    cost = forecast(run(Nuts()), TARGET, RunTimes([])).fge
    assert Nuts().budget(TARGET.data.n_data) == 4 * cost


def test_work_grows_with_draws():
    costs = [forecast(run(Nuts(n_draws=n)), TARGET, RunTimes([])).fge for n in (200, 400)]
    assert costs[1] > 1.3 * costs[0]


def test_seconds_come_from_the_most_similar_runs():
    rows = [
        (TARGET.id, "nuts", 100.0, 1.0),
        (TARGET.id, "sgld", 100.0, 5.0),
        ("tgt_other", "nuts", 100.0, 9.0),
        ("tgt_other", "hmc", 100.0, 20.0),
    ]
    known = RunTimes(rows)
    assert known.seconds(run(Nuts()), 1000.0) == pytest.approx(10.0)
    assert known.seconds(run(SAMPLERS["hmc"]()), 1000.0) == pytest.approx(30.0)
    assert RunTimes(rows[2:]).seconds(run(SAMPLERS["hmc"]()), 1000.0) == pytest.approx(200.0)
    assert RunTimes(rows[2:]).seconds(run(Sgld()), 1000.0) is None


def test_a_guess_counts_operations_unless_similar_runs_are_known():
    net = TargetSpec(model=DeepLinear(widths=(5, 5, 5), rank=2), data=Synthetic(n_data=1000))
    small, large = (guess(run(Nuts()), net, d, RunTimes([])) for d in (10, 10_000))
    assert small < 5 and large > 100 * small
    assert guess(run(Nuts()), TARGET, 100, RunTimes([])) < 5, "there are no examples to go over"
    assert guess(run(Nuts()), TARGET, 10_000, RunTimes([])) > 1e3, "but a matrix"
    assert guess(run(Nuts()), TARGET, 10, RunTimes([(TARGET.id, "nuts", 1.0, 1.0)])) > 1e4
    few, many = (guess(run(Sgld(thin=thin)), TARGET, 10, RunTimes([])) for thin in (1, 1000))
    assert many > 50 * few, "a small batch has its overhead too"


def test_a_worker_is_started_if_it_saves_more_time_than_it_costs():
    alike, other = run(Nuts()), run(Nuts(n_draws=900))
    assert workers([alike], [2.9 * START]) == 1
    assert workers([alike] * 2, [1.4 * START] * 2) == 1
    assert workers([alike] * 2, [1.6 * START] * 2) == 2
    assert workers([alike, other], [1.1 * START] * 2) == 2, "two shapes are compiled"
    assert workers([alike] * 20, [100 * START] * 20) > 100
