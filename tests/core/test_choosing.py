"""`auto`: nuts or sghmc, and others where steps diverge or chains do not mix."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.core import traces

EXACT = 0.3934
"""nbeta E[L] of w0^2 w1^2 at (1, 0), nbeta 400, gamma 1, by quadrature (bench/cases.py)."""


def crossing(w, batch):
    return jnp.prod(w**2)


def test_auto_is_right_at_a_crossing():
    from lambda_hat_core import estimate_llc

    found = estimate_llc(
        crossing, np.array([1.0, 0.0]), None, n=1000, posterior={"nbeta": 400.0}, progress=False
    )
    assert found.settings["sampler"] == "tempered"
    assert found.se is not None and found.llc is not None and found.se < 0.06 * EXACT
    assert abs(found.llc - EXACT) < 4 * found.se
    assert found.llc_oracle == pytest.approx(EXACT, abs=1e-4)
    assert "the posterior's own value at this nbeta and gamma is 0.3934 (exact)" in str(found)
    assert repr(found).endswith("ok, exact 0.3934)")
    assert found.estimate.n_divergent is None
    work = found.trace.work
    assert work["choice"] > 0
    assert found.work_fge == pytest.approx(sum(work.values()))
    assert found.trace.cumulative_fge[-1] == pytest.approx(found.work_fge)


def run_of(kind="nuts", **until):
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.samplers.base import Until
    from lambda_hat_core.config.samplers.known import SAMPLERS
    from lambda_hat_core.config.spec import RunSpec

    return RunSpec(
        target="tgt_000000000000",
        sampler=SAMPLERS[kind](until=Until(**until)),
        posterior=PosteriorSpec(),
        seed=0,
        dtype="float64",
    )


class Drawn:
    """Makes traces whose warm-up ended at a target, and remembers what it was asked for."""

    def __init__(self, *, target=0.8, drift=0.0, failure=None, lost=()):
        self.target, self.drift, self.asked = target, drift, []
        self.failure, self.lost, self.warm_ups = failure, lost, []

    def __call__(self, run, checkpoint):
        kind = run.sampler.kind
        self.asked.append(run.sampler)
        assert checkpoint.remember("pilot", {}, lambda: kind) == self.asked[0].kind
        # Only the warm-up of nuts decides.
        aims = {"nuts": {"target_acceptance": self.target}, "tempered": {"target_acceptance": 0.99}}
        tuned = SimpleNamespace(info=aims.get(kind, {}), work=100.0)

        def warm_up():
            self.warm_ups.append((kind, tuned))
            return tuned, 1.0

        kept, _ = checkpoint.remember("tuned", {}, warm_up)
        assert self.warm_ups[-1] == (kind, kept) and self.warm_ups[-1][1] is kept
        trace = traces.trace(n_draws=400)
        is_lost = kind in self.lost
        drift = self.drift * np.arange(4)[:, None] if is_lost else 0.0
        return trace._replace(
            loss=trace.loss + drift,
            work={"spectrum": 10.0, "pilot": 20.0, "adaptation": 100.0, "sampling": 200.0},
            cumulative_fge=np.linspace(130.0, 330.0, 400),
            failure=self.failure if is_lost else None,
        )


BOTH = ("sghmc", "nuts")


@pytest.mark.parametrize(
    ("kind", "changes", "kinds", "words"),
    [
        ("nuts", {}, ["nuts"], []),
        ("nuts", {"target": 0.9}, ["nuts", "tempered"], ["steps diverge"]),
        ("nuts", {"drift": 1.0, "lost": BOTH}, ["nuts", "tempered"], ["nuts has not mixed"]),
        ("sghmc", {}, ["sghmc"], []),
        ("sghmc", {"drift": 1.0, "lost": ["sghmc"]}, ["sghmc", "nuts"], ["sghmc has not mixed"]),
        (
            "sghmc",
            {"failure": "not finite", "lost": ["sghmc"]},
            ["sghmc", "nuts"],
            ["sghmc left every bound"],
        ),
        (
            "sghmc",
            {"drift": 1.0, "lost": BOTH},
            ["sghmc", "nuts", "tempered"],
            ["sghmc has not mixed within its budget: nuts", "nuts has not mixed"],
        ),
        (
            "sghmc",
            {"drift": 1.0, "lost": BOTH, "target": 0.9},
            ["sghmc", "nuts", "tempered"],
            ["sghmc has not mixed", "steps diverge in the warm-up of nuts: tempered"],
        ),
    ],
)
def test_what_the_runs_show_decides(kind, changes, kinds, words):
    from lambda_hat_core.notebook.choosing import run_or_tempered

    draw, said = Drawn(**changes), []
    first = run_of(kind, rel_se=0.02)
    run, trace = run_or_tempered(draw, first, max_fge=1000.0, say=said.append)
    assert [spec.kind for spec in draw.asked] == kinds
    assert draw.asked[0].until.max_fge == 1000
    assert run.sampler.kind == kinds[-1]
    assert len(said) == len(words) and all(map(str.__contains__, said, words))
    # What was shared is not spent again: a warm-up costs 100, and draws 200.
    spent = sum(100.0 if "diverge" in line else 300.0 for line in said)
    assert trace.work.get("choice", 0.0) == spent
    assert trace.work_fge == 330.0 + spent and trace.cumulative_fge[-1] == 330.0 + spent
    assert (run.sampler.until.max_fge, run.sampler.until.rel_se) == (1000.0 - spent, 0.02)


def test_no_sampler_follows_once_the_budget_is_spent():
    from lambda_hat_core.notebook.choosing import run_or_tempered

    draw, said = Drawn(drift=1.0, lost=BOTH), []
    run, trace = run_or_tempered(draw, run_of("sghmc"), max_fge=330.0, say=said.append)
    assert (run.sampler.kind, trace.work_fge, said) == ("sghmc", 330.0, [])
    run, trace = run_or_tempered(draw, run_of("sghmc"), max_fge=630.0, say=said.append)
    assert (run.sampler.kind, trace.work_fge, len(said)) == ("nuts", 630.0, 1)


@pytest.mark.parametrize("changes", [{"target": 0.9}, {"drift": 1.0, "lost": BOTH}])
def test_no_sampler_follows_without_time_for_it(changes):
    """A warm-up whose steps diverge is then used as it is."""
    from lambda_hat_core.notebook.choosing import run_or_tempered

    draw, said = Drawn(**changes), []
    run, trace = run_or_tempered(
        draw, run_of(), max_fge=None, say=said.append, has_time=lambda: False
    )
    assert (run.sampler.kind, trace.work_fge, said) == ("nuts", 330.0, [])
    assert {spec.kind for spec in draw.asked} == {"nuts"} and len(draw.warm_ups) == 1


def test_a_warm_up_that_spent_the_budget_is_used():
    from lambda_hat_core.notebook.choosing import run_or_tempered

    draw, said = Drawn(target=0.9), []
    run, trace = run_or_tempered(draw, run_of(), max_fge=100.0, say=said.append)
    assert (run.sampler.kind, trace.work_fge, said) == ("nuts", 330.0, [])
    assert len(draw.warm_ups) == 1


def test_a_call_that_is_late_begins_no_other_sampler():
    """Setting up alone takes longer than this."""
    from lambda_hat_core import estimate_llc

    found = estimate_llc(
        crossing,
        np.array([1.0, 0.0]),
        None,
        n=1000,
        posterior={"nbeta": 400.0},
        max_seconds=0.01,
        progress=False,
    )
    assert found.settings["sampler"] == "nuts" and "choice" not in found.trace.work


def test_replica_exchange_has_a_larger_budget_where_none_was_given():
    from lambda_hat_core.config.samplers.tempered import Tempered
    from lambda_hat_core.notebook.choosing import run_or_tempered

    run, _ = run_or_tempered(Drawn(target=0.9), run_of(), max_fge=None, say=print)
    assert run.sampler.until.max_fge == Tempered.max_fge
    draw = Drawn(drift=1.0, lost=BOTH)
    run_or_tempered(draw, run_of("sghmc"), max_fge=None, say=print)
    assert [spec.until.max_fge for spec in draw.asked] == [50_000, 50_000, Tempered.max_fge]
