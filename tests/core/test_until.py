"""Runs that end at a precision or a budget: their draws, their words, and what is kept of them."""

import json
import math

import jax
import numpy as np
import pytest

from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.exact import Mala
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.samplers.rule import Look
from lambda_hat_core.store.checkpoint import CheckpointFile
from tests.core import mixed

PRECISE, POOR = {"rel_se": 0.02}, {"rel_se": 1e-3, "max_fge": 9000.0}


class Killed(Exception):
    pass


@pytest.fixture
def sample(x64):
    """Run MALA with a stop rule, or until it is killed at the end of a chunk."""

    def run(until, *, die_at=None, **kwargs):
        told = []

        def progress(at):
            told.append(at)
            if len(told) == die_at:
                raise Killed

        sampler = {"kind": "mala", "n_warmup": 200, "thin": 4, "until": until}
        case = mixed.quadratic(1.0)
        return mixed.run(case, sampler, progress=progress, **kwargs), told

    return run


@pytest.mark.parametrize("until", [PRECISE, POOR])
def test_a_run_that_was_killed_ends_where_it_would_have_ended(sample, until, tmp_path):
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    once, told = sample(until)
    assert len(told) > 4
    file = CheckpointFile(tmp_path / "run", {})
    for die_at in (2, 1):
        with pytest.raises(Killed):
            sample(until, die_at=die_at, checkpoint=DiskCheckpoint(file, every=0.0))
    resumed, left = sample(until, checkpoint=DiskCheckpoint(file, every=0.0))
    assert [at.done for at in left] == [at.done for at in told[3:]]
    for field in ("loss", "dist2", "virial_m", "cumulative_fge"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(once, field))
    assert resumed.info == once.info and resumed.work == once.work


def test_the_precision_ends_a_run(sample):
    from lambda_hat_core.analysis.estimate import estimate

    trace, told = sample(PRECISE)
    found = estimate(trace)
    assert found.stopped_by == "precision" and found.verdict == "ok", found.reasons
    assert found.llc_se <= 0.02 * found.llc
    assert abs(found.llc - mixed.quadratic(1.0).oracle) < 4 * found.llc_se
    assert trace.info["n_draws"] == told[-1].done == trace.info["n_burn"] + found.n_draws
    assert trace.info["spent"] is None


def test_a_budget_ends_a_run_within_a_chunk_and_the_verdict_says_so(sample):
    from lambda_hat_core.analysis.checks import checks
    from lambda_hat_core.analysis.estimate import estimate

    trace, told = sample(POOR)
    chunk = told[-1].work_fge - told[-2].work_fge
    assert 9000 <= trace.work_fge < 9000 + chunk
    found = estimate(trace)
    share = 100 * found.llc_se / found.llc
    assert (found.stopped_by, found.spent, found.verdict) == ("budget", "max_fge", "suspect")
    [reason] = [text for text in found.reasons if "budget" in text]
    assert reason == (
        f"the budget of 9,000 gradients was spent at a standard error of {share:.2g} % "
        "(asked for: 0.1 %)"
    )
    key, _, advised = found.advice[found.reasons.index(reason)].partition(": ")
    assert key == "until.max_fge"
    assert float(advised) == pytest.approx(9000 * min((share / 0.1) ** 2, 100), rel=0.1)
    assert not checks(found)[1].passed and reason in checks(found)[1].text


def test_the_draws_may_be_used_up(sample):
    from lambda_hat_core.analysis.estimate import estimate

    trace, told = sample({"rel_se": 1e-3, "max_draws": 90})
    assert [at.done for at in told] == [20, 40, 60, 80, 90] and trace.info["n_draws"] == 90
    found = estimate(trace)
    assert (found.stopped_by, found.spent, found.budget) == ("budget", "max_draws", 90.0)
    assert any("of 90 draws per chain was spent" in text for text in found.reasons)


def test_a_shorter_budget_gives_the_first_of_the_same_draws(sample):
    whole, few = (sample({"rel_se": 1e-3, "max_draws": most})[0] for most in (160, 150))
    assert whole.info["n_burn"] == few.info["n_burn"] == 80
    np.testing.assert_array_equal(whole.loss[:, :70], few.loss)


def test_the_time_ends_a_run(sample):
    clock = iter(range(1000))
    trace, told = sample({"rel_se": 1e-3}, is_late=lambda: next(clock) >= 2)
    assert len(told) == 3 and trace.info["spent"] == "max_seconds"
    assert trace.info["stopped_by"] == "budget"


def test_progress_forecasts_the_end_and_never_beyond_a_budget(sample):
    _, told = sample(POOR)
    assert told[-1].total == told[-1].done
    for at in told[:-1]:
        assert at.done < at.total <= max(9000 / at.work_fge * at.done + 1, at.done + 40)
        assert at.eta_seconds < 600 and at.rel_se == 1e-3
        assert at.so_far == f"{at.done} of about {at.total} draws"


def test_draws_during_which_a_preconditioner_adapts_are_dropped():
    from lambda_hat_core.analysis.stopping import stop_rule
    from lambda_hat_core.samplers.rule import Draws

    seen = []

    def trace_of(draws):
        seen.append(draws.n_burn)
        raise Killed

    until = Until()
    assert Sgld(precond="adam", until=until).least_burn == 400
    assert Sgld(until=until).least_burn == Vi(until=until).least_burn == 0
    rule = stop_rule(until, trace_of, least_burn=130)
    for n_draws, burn in ((150, None), (160, 140), (1000, 240)):
        draws = Draws({}, np.zeros(n_draws), np.zeros(n_draws), None, 0)
        if burn is None:
            assert rule.look(draws) == Look(80, is_enough=False)
            continue
        with pytest.raises(Killed):
            rule.look(draws)
        assert seen.pop() == burn


def test_a_budget_that_ends_in_the_burn_in_says_so():
    """And what it says to raise is enough."""
    from lambda_hat_core.analysis.advice import advise
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.analysis.verdict import findings
    from lambda_hat_core.config.samplers.stochastic import Sgld

    case = mixed.quadratic(1.0, noise=0.02)
    sampler = {"kind": "sgld", "precond": "rmsprop", "batch_size": 24, "thin": 1}

    def ended(max_draws):
        until = {"rel_se": 0.5, "max_draws": max_draws}
        with jax.enable_x64(False):
            return estimate(mixed.run(case, {**sampler, "until": until}))

    found = ended(120)
    assert (found.n_burn, found.least_burn, found.verdict) == (60, 400, "suspect")
    said = dict(zip(found.reasons, found.advice, strict=True))
    why = (
        "the budget ended in the burn-in: the preconditioner changes in the first 400 draws per "
        "chain, but only 120 were made before max_draws (120 draws per chain) was spent"
    )
    [finding] = [found for found in findings(found) if found.text == why]
    assert advise([finding], found, Sgld(), {}) == ["until.max_draws: 800"]
    assert said[why] == "until.max_draws: 980", "as another finding wants it"
    longer = ended(800)
    assert longer.n_burn >= 400
    assert not any("ended in the burn-in" in text for text in longer.reasons)


def call(**arguments):
    from lambda_hat_core.notebook.arguments import asked

    given = {"sampler": "sgld", "posterior": None, "dtype": None, "seed": 0} | arguments
    return asked(**given).sampler


def test_a_call_chooses_the_rule_of_a_sampler_that_has_none():
    assert call().until == Until() == call(rel_se=0.05).until
    assert call(rel_se=0.1, max_fge=np.float32(500)).until == Until(rel_se=0.1, max_fge=500)
    assert call(sampler=Sgld(thin=3), max_fge=70).until == Until(max_fge=70)
    assert call(sampler=Sgld(n_draws=900)).until is None
    assert call(sampler=Sgld(until=None)).until is None
    assert call(sampler=Sgld(until=Until(rel_se=0.3)), max_seconds=9).until == Until(rel_se=0.3)
    assert call(sampler="vi") == Vi(until=Until())
    assert call(sampler=Vi(n_draws=300)) == Vi(n_draws=300)


def test_a_rule_that_names_no_budget_has_that_of_its_sampler():
    from lambda_hat_core.config.samplers.tempered import Tempered

    most = Tempered.max_fge
    assert most > Until().max_fge == call().until.max_fge
    assert call(sampler="tempered", rel_se=0.1).until == Until(rel_se=0.1, max_fge=most)
    assert call(sampler=Tempered(until=Until(rel_se=0.3))).until.max_fge == most
    assert call(sampler="tempered", max_fge=50_000).until == Until()
    assert call(sampler=Tempered(n_draws=900)).until is None


CALLS = {
    "rel_se": ({"rel_se": 0}, ["rel_se is 0: must be > 0; the default is 0.05"]),
    "infinite": ({"rel_se": math.inf}, ["rel_se", "finite number"]),
    "text": ({"max_fge": "many"}, ['max_fge is "many": must be a number']),
    "true": ({"max_fge": True}, ["max_fge is true", "neither numbers nor words"]),
    "seconds": ({"max_seconds": -1.0}, ["max_seconds is -1.0: must be a finite number > 0"]),
    "endless": ({"max_seconds": math.inf}, ["max_seconds", "finite number > 0"]),
    "length": (
        {"sampler": Sgld(n_burn=9), "rel_se": 0.1},
        ["rel_se is 0.1: Sgld has n_burn of its own", "remove rel_se, or n_burn of Sgld"],
    ),
    "own rule": (
        {"sampler": Sgld(until=Until()), "max_fge": 9.0},
        ["max_fge is 9.0: Sgld has until of its own", "remove max_fge, or until of Sgld"],
    ),
    "no rule": ({"sampler": Sgld(until=None), "rel_se": 0.1}, ["rel_se is 0.1", "until of Sgld"]),
    "family": (
        {"sampler": Vi(n_draws=300), "max_fge": 9.0},
        ["max_fge is 9.0: Vi has n_draws of its own", "remove max_fge, or n_draws of Vi"],
    ),
    "fixed": (
        {"sampler": Mala(n_draws=900), "max_seconds": 5},
        ["max_seconds is 5: Mala has a fixed length", "remove max_seconds, or n_draws of Mala"],
    ),
    "fixed family": (
        {"sampler": Vi(until=None), "max_seconds": 5},
        ["max_seconds is 5: Vi has a fixed length", "remove max_seconds, or until of Vi"],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_of_a_call_is_one_line(name):
    arguments, wanted = CALLS[name]
    with pytest.raises(ValueError) as caught:
        call(**arguments)
    [line] = str(caught.value).splitlines()
    assert not [text for text in ["estimate_llc: ", *wanted] if text not in line], line


def test_the_signature_shows_the_defaults():
    import inspect

    from lambda_hat_core import estimate_llc
    from lambda_hat_core.notebook.arguments import REL_SE

    parameters = inspect.signature(estimate_llc).parameters
    defaults = [parameters[name].default for name in ("rel_se", "max_seconds", "max_fge")]
    assert defaults == [REL_SE, None, None] == [0.05, None, None]


def test_a_call_that_runs_out_of_time_says_so():
    from lambda_hat_core import estimate_llc
    from tests.core.test_llc import regression, squares

    data, best, _ = regression()
    found = estimate_llc(
        squares,
        best,
        data,
        sampler=Mala(n_warmup=20, until=Until(rel_se=1e-4, max_draws=120)),
        max_seconds=1e-6,
        progress=False,
    )
    assert found.trace.info["n_draws"] == 20 == found.settings["n_draws"]
    assert found.settings["stopped_by"] == "budget" and found.verdict == "suspect"
    assert any("of 0.000001 seconds was spent" in text or "1e-06" in text for text in found.reasons)
    assert "(rel_se 0.0001, max_fge 5e+04, max_draws 120)" in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict()))["settings"]["until"]["max_draws"] == 120


def test_what_ended_a_run_is_kept(sample, tmp_path):
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.analysis.traceio import load_trace, save_trace
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec

    trace, _ = sample(POOR)
    spec = RunSpec(
        target=f"tgt_{0:012x}",
        sampler=Mala(until=Until()),
        posterior=PosteriorSpec(),
        dtype="float64",
    )
    save_trace(trace, spec, tmp_path / "trace.nc")
    assert estimate(load_trace(tmp_path / "trace.nc")) == estimate(trace)
    with jax.enable_x64(False):
        assert estimate(trace).stopped_by == "budget"
