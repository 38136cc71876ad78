import pytest

from lambda_hat_core.config.data import NoData, Synthetic
from lambda_hat_core.config.model import DeepLinear, Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import base
from lambda_hat_core.config.samplers.base import Until, setup_rows
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.samplers.vi import Vi
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
    at_w0, shared = 136 + 1 / 3, 264
    chain = 61 + 1 / 3 + 16 + 16 * 0.1 + 30 * (5 * 0.1 + 2 / 3)
    assert cost.fge == pytest.approx(at_w0 + shared + 2 * chain)
    alone = sampler.model_copy(update={"n_chains": 1})
    assert alone.work(1000) == pytest.approx(at_w0 + shared + chain)
    few = chain + 46 * (1 - 0.1)  # ten times fewer examples, the same batch: 16 + 30 gradients
    few += 30 * 4 * (1 - 0.1)
    assert sampler.work(100) == pytest.approx(at_w0 + 2 * (shared + few))


def test_the_set_up_costs_the_pilot_and_the_spectrum():
    from lambda_hat_core.linalg import hessian, kronecker, spectrum
    from lambda_hat_core.samplers import modes, peaks, pilot

    assert base.SPECTRUM == spectrum.spectrum_work(spectrum.RANK + 1, spectrum.RANK)
    assert base.MEAN_HESSIAN == spectrum.spectrum_work(pilot.RANK + 1, pilot.RANK)
    assert base.SHARED_ROWS == hessian._FEWEST_ROWS
    assert base.PILOT == pilot._STEPS + 1
    assert base.NOISE_BATCHES == modes.BATCHES
    nodes = modes._PROBES * modes._NODES
    in_product = spectrum.spectrum_work(pilot._BESIDE_FACTORS + 1, pilot._BESIDE_FACTORS)
    in_product += 2 * (kronecker._FOR_BASES + kronecker._FOR_ROWS)
    assert Sgld(precond="kronecker").mean_hessian() == in_product
    products = {"lanczos": peaks._RANK, "none": nodes, "rmsprop": nodes + 32, "adam": nodes + 32}
    assert modes._PRECONDITIONED_RANK == 32
    for precond, count in products.items():
        sampler = Sgld(precond=precond)
        assert (sampler.probing(), sampler.once().batch) == (2 * count, modes.BATCHES)
    varied = Sgld(gradient="control_variate")
    assert (varied.step().batch, varied.once().batch) == (2, 2 * modes.BATCHES)


def test_the_set_up_on_a_subset_costs_its_share():
    few, whole = (Sgld(setup_rows=rows, batch_size=1000) for rows in (1024, None))
    share = 1024 / 100_000
    on_few = 136 + 264 + 4 * (61 + 1 / 3 + 16)
    saved = whole.work(100_000) - few.work(100_000)
    assert saved == pytest.approx((1 - share) * on_few - (1 + share))
    assert few.work(1024) == whole.work(1024)


def test_the_set_up_takes_a_sixteenth_of_the_examples_within_limits():
    counts = {1000: None, 1024: None, 1025: 1024, 20_000: 1250, 65_536: 4096, 10**6: 4096}
    assert {n: setup_rows("auto", n) for n in counts} == counts
    assert (setup_rows(500, 501), setup_rows(500, 500), setup_rows(None, 10**6)) == (
        500,
        None,
        None,
    )
    assert Sgld().few(20_000) == (1250, 1250 / 20_000)


def test_a_run_that_ends_at_a_precision_has_a_typical_length():
    lengths = {"n_draws": 400, "n_burn": 100}
    for name in SAMPLERS:
        its = {"n_draws": 256} if name == "vi" else lengths
        # Its warm-up ends once the step size is known.
        its = its | ({"n_warmup": 50} if name in ("nuts", "hmc", "mala") else {})
        fixed, free = SAMPLERS[name](**its), SAMPLERS[name](until=Until(max_fge=1e9))
        assert free.work(1000) == pytest.approx(fixed.work(1000))
    few = Nuts(until=Until(max_draws=80))
    assert few.work(1000) == pytest.approx(Nuts(n_draws=80, n_burn=20, n_warmup=50).work(1000))


def test_a_budget_shortens_the_forecast_and_bounds_the_work():
    whole = Nuts(until=Until(max_fge=1e9)).work(1000)
    set_up = Nuts(n_draws=1, n_burn=0, n_warmup=50).work(1000) - 4 * (15 + 1 / 3)
    assert set_up < 20_000 < whole
    short = Nuts(until=Until(max_fge=20_000))
    assert short.work(1000) == pytest.approx(20_000)
    assert Nuts(until=Until(max_fge=1)).work(1000) == pytest.approx(set_up)
    assert short.budget(1000) == pytest.approx(40_000)


def test_work_of_a_fit_by_hand():
    fit = Vi(n_chains=2, n_draws=30, steps=50, n_samples=3, batch_size=100)
    assert fit.work(1000) == pytest.approx(136 + 1 + 1 / 3 + 2 * (50 * 4 * 0.1 + 30 * 4 / 3))
    few = fit.work(10_000) - 2 * (50 * 4 * 0.01 + 30 * 4 / 3)
    assert few == pytest.approx(0.1024 * 136 + (1 + 0.1024) + 1 + 1 / 3)
    late = Vi(until=Until(max_fge=1))
    assert late.work(1000) == pytest.approx(Vi(n_draws=1).work(1000) - 4 * 4 / 3)
    assert late.budget(1000) == pytest.approx(1 + late.work(1000))


@pytest.mark.parametrize(
    ("size", "n", "batch"),
    [
        (None, 900, None),
        (64, 900, 64),
        ("auto", 900, 256),
        ("auto", 16_000, 1000),
        ("auto", 256, None),
    ],
)
def test_a_batch_is_guessed_by_one_rule(size, n, batch):
    sampler = Sgld(batch_size=size)
    assert sampler.batch(n) == batch
    assert sampler.share(n) == (1 if batch is None else batch / n)


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
