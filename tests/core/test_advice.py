"""Every reason has a way out, whose keys and values are accepted at both doors."""

import inspect
import math
from typing import get_args

import pytest
import yaml

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.lengths import stopping
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.sections import inline
from lambda_hat_core.notebook.arguments import asked
from lambda_hat_core.plan.overrides import apply
from lambda_hat_core.plan.read import Presets
from lambda_hat_core.plan.samplers import read_sampler
from tests.core.plans import CONFIG
from tests.core.test_verdict import good

EXACT = {"nuts", "hmc", "mala", "mclmc", "adjusted_mclmc", "tempered"}
NOISY = {"sgld", "sghmc", "sgnht"}
CHAINS = EXACT | NOISY
ALL = {*SAMPLERS}
SPENT = {"rel_se": 0.05, "spent": "max_fge", "budget": 900.0}
CERTIFICATES = {
    "high": ({"v_m": 1.3, "v_m_se": 0.02}, CHAINS),
    "low": ({"v_m": 0.7, "v_m_se": 0.02}, CHAINS),
    "noisy": ({"v_m": 1.3, "v_m_se": 0.2}, CHAINS),
    "of a family": ({"v_m": 1.3, "v_m_se": 0.02, "iid": True}, {"vi"}),
}
LEDGER = {
    "recommended": {"step_size": 0.01, "n_burn": 2900, "thin": 12},
    "discretisation": {"relative": 0.02},
    "minibatch": {"relative": 0.05},
    "burn_in": {"relative": -0.15},
}

CASES = {
    "stopped early": ({"llc": None, "failure": "the loss is not finite"}, ALL),
    "stopped early, not tuned": ({"llc": None, "failure": "raise n_tune"}, {"mclmc"}),
    "not finite": ({"llc": None}, ALL),
    "no draws": ({"llc": None, "n_draws": 0}, ALL),
    "stuck": ({"n_stuck": 1}, CHAINS),
    "one chain": ({"n_chains": 1, "r_hat": None}, ALL),
    "few draws": ({"r_hat": None, "n_draws": 3}, CHAINS),
    "r_hat": ({"r_hat": 1.2}, CHAINS),
    "r_hat, far apart": ({"r_hat": 5.0}, CHAINS),
    "ess": ({"ess_min": 12.0}, CHAINS),
    "se": ({"llc_se": 4.0}, CHAINS),
    "divergences": ({"n_divergent": 11}, EXACT),
    "noisy certificate": ({"v_m_se": 0.15}, CHAINS - {"tempered"}),
    "k-hat": ({"khat": 1.4, "iid": True, "r_hat": None, "n_draws": 1000}, {"vi"}),
    "k-hat, noisy": ({"khat": 0.71, "iid": True, "r_hat": None, "n_draws": 30}, {"vi"}),
    "in burn-in": (SPENT | {"n_burn": 100, "least_burn": 400}, {"sgld"}),
    "precision": (SPENT | {"llc_se": 0.5}, ALL),
    "precision, max_draws": (SPENT | {"llc_se": 0.5, "spent": "max_draws"}, ALL),
    "precision, max_seconds": (SPENT | {"llc_se": 0.5, "spent": "max_seconds"}, ALL),
    "family": ({"family_bias": 1.0, "family_bias_se": 0.01, "iid": True}, {"vi"}),
    "ledger": ({"ledger_error": -0.15}, NOISY),
    "step bias": ({"step_bias": 2.5, "step_bias_se": 0.1}, NOISY),
    "heating": ({"heating": 2.0}, NOISY),
    "rounding": ({"rounding": 2.0}, set()),
    **{f"certificate, {name}": case for name, case in CERTIFICATES.items()},
    "exchange rate": ({}, {"tempered"}),
    "round trips": ({}, {"tempered"}),
}
PRESETS = Presets(CONFIG)
INFO = {"n_draws": 1000, "batch_size": 256, "ledger": LEDGER}
PAIRS = [(case, kind) for case, (_, kinds) in CASES.items() for kind in sorted(kinds)]


def test_every_cause_has_a_case():
    from lambda_hat_core.analysis.finding import Cause

    assert {name.partition(",")[0] for name in CASES} == {*get_args(Cause)}


def found_in(case):
    """Return an estimate with the finding, and the finding."""
    from lambda_hat_core.analysis.tempering import tempering
    from lambda_hat_core.analysis.verdict import findings
    from tests.core import traces

    changes = CASES[case][0]
    if case in ("exchange rate", "round trips"):
        replicas = tempering(traces.replicated())
        poor = {"exchange rate": {"exchange_rate_min": 0.01}, "round trips": {"round_trips": 2}}
        changes = {"tempered": replicas._replace(**{"round_trips": 50} | poor[case])}
        changes["v_m_se"] = 0.15
    estimate = good(**changes)
    [finding] = findings(estimate)
    assert finding.cause == case.partition(",")[0]
    return estimate, finding


def as_entry(kind, advice):
    """Return what an entry of an experiment in which an advice was followed is read as."""
    words = [f"samplers.{key}={'null' if v is None else v}" for key, v in advice.items()]
    [entry] = apply({"samplers": [{"name": kind}]}, words)["samplers"]
    posterior, rule = (inline(name, {}, Place(name)) for name in ("posterior", "until"))
    return read_sampler(entry, Place("entry"), PRESETS, posterior, rule=rule)


def as_call(kind, advice, until):
    """Return the sampler of a call of estimate_llc in which an advice was followed."""
    limits, fields = {}, {}
    for key, value in advice.items():
        head, _, tail = key.rpartition(".")
        if head == "until" and tail == "max_draws":
            fields["until"] = {**until, tail: value}
        elif head == "until" or key == "max_seconds":
            limits[tail] = value
        elif key == "name":
            kind = value
        else:
            fields[key] = value
    return asked(SAMPLERS[kind](**fields), None, None, 0, **limits)


@pytest.mark.parametrize(("case", "kind"), PAIRS)
@pytest.mark.parametrize("by_rule", [True, False], ids=["until", "length"])
def test_the_keys_of_every_advice_exist_and_its_values_are_allowed(case, kind, by_rule):
    from lambda_hat_core.analysis.advice import advise

    estimate, finding = found_in(case)
    if estimate.spent is not None and not by_rule:
        return
    plain = SAMPLERS[kind]()
    sampler = stopping(plain, frozenset()) if by_rule else plain
    [advice] = advise([finding], estimate, sampler, INFO)
    settings = yaml.safe_load(f"{{{advice}}}")
    assert settings and all(
        not isinstance(value, str) or value.isidentifier() or value == "auto"
        for value in settings.values()
    ), advice
    called = as_call(kind, settings, {}).sampler
    default = as_call(kind, {}, {}).sampler
    assert called != default or set(settings) <= {"max_seconds", "n_chains", "extrapolate"}
    if "max_seconds" in settings:
        return
    planned = as_entry(kind, settings).spec
    assert planned == called
    for key, value in settings.items():
        at: Frozen = planned
        *path, last = key.split(".")
        for name in path:
            at = getattr(at, name)
        seen = getattr(at, "kind" if last == "name" else last)
        assert math.isclose(seen, value) if isinstance(value, float) else seen == value


def test_the_way_out_of_rounding_is_a_key_beside_the_overrides():
    from lambda_hat_core import estimate_llc
    from lambda_hat_core.analysis.advice import advise
    from lambda_hat_core.config.samplers.stochastic import Sghmc

    estimate, finding = found_in("rounding")
    assert advise([finding], estimate, Sghmc(), INFO) == ["dtype: float64"]
    assert as_entry("sghmc", {"dtype": "float64"}).dtype == "float64"
    [told] = advise([finding], estimate, Sghmc(), {**INFO, "loss_dtype": "float64"})
    [(key, nbeta)] = yaml.safe_load(f"{{{told}}}").items()
    assert key == "posterior.nbeta" and 0 < nbeta < estimate.nbeta
    [variant] = as_entry("sghmc", {key: nbeta}).variants
    assert variant.spec.nbeta == nbeta
    assert "dtype" in inspect.signature(estimate_llc).parameters


def test_advice_depends_on_what_was_set():
    from lambda_hat_core.analysis.advice import advise, smaller_steps
    from lambda_hat_core.config.samplers.exact import Mala, Nuts
    from lambda_hat_core.config.samplers.stochastic import Sgld

    assert smaller_steps(Nuts(), {}, 0.25) == pytest.approx({"target_acceptance": 0.95})
    assert smaller_steps(Nuts(target_acceptance=0.97), {}, 0.25) == {"name": "tempered"}
    assert smaller_steps(Mala(step_size=0.2), {}, 0.25) == pytest.approx({"step_size": 0.05})
    assert smaller_steps(Sgld(step_size=1e-3), INFO, 0.25) == pytest.approx({"step_size": 0.00025})
    assert smaller_steps(Tempered(target_acceptance=0.97), {}, 0.25) == {"kernel": "nuts"}
    estimate, finding = found_in("exchange rate")
    count = len(estimate.tempered.replicas)
    assert advise([finding], estimate, Tempered(), {}) == [f"n_replicas: {2 * count}"]
    assert advise([finding], estimate, Tempered(n_replicas=4), {}) == ["n_replicas: auto"]
    assert advise([finding], estimate, Tempered(ladder=(1.0, 0.0)), {}) == ["ladder: null"]
    estimate, finding = found_in("ledger")
    assert advise([finding], estimate, Sgld(), INFO) == ["n_burn: 2900, n_draws: 3700"]
    worse = {**LEDGER, "minibatch": {"relative": 0.5}}
    fixed = Sgld(step_size=1e-3, extrapolate=False)
    [told] = advise([finding], estimate, fixed, {**INFO, "ledger": worse})
    assert told == "batch_size: 2560"


def test_the_ways_out_of_one_run_can_be_followed_together():
    from lambda_hat_core.analysis.ways_out import agreed, as_arguments, worded

    ways_out = [
        {"until.max_fge": 3e5, "step_fraction": 0.02},
        {"until.max_fge": 2.1e6},
        {"step_fraction": 0.01, "n_draws": 4000},
        {"n_replicas": "auto", "n_burn": 2900, "n_draws": 3700},
        {"posterior.nbeta": 1e6},
    ]
    told = [worded(settings) for settings in agreed(ways_out, 200)]
    assert told == [
        "until.max_fge: 2100000, step_fraction: 0.01",
        "until.max_fge: 2100000",
        "step_fraction: 0.01, n_draws: 6700",
        "n_replicas: auto, n_burn: 2900, n_draws: 6700",
        "posterior.nbeta: 1000000",
    ]
    assert as_arguments(told[0]) == "max_fge: 2100000, step_fraction: 0.01"
    assert as_arguments(told[4]) == "posterior: {nbeta: 1000000}"
    # Another sampler has a budget, but not the settings of this one.
    told = [worded(settings) for settings in agreed([*ways_out[1:4], {"name": "tempered"}])]
    assert told == ["until.max_fge: 2100000", *["name: tempered"] * 3]
    assert as_arguments(told[1]) == "sampler: tempered"


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
@pytest.mark.parametrize("by_rule", [True, False], ids=["until", "length"])
def test_all_ways_out_together_are_allowed_settings(kind, by_rule):
    from lambda_hat_core.analysis.advice import advise

    plain = SAMPLERS[kind]()
    sampler = stopping(plain, frozenset()) if by_rule else plain
    runs = [found_in(case) for case, other in PAIRS if other == kind]
    # Only a run by a rule spends a budget.
    runs = [(one, finding) for one, finding in runs if one.spent is None or by_rule]
    estimate = max((one for one, _ in runs), key=lambda one: one.spent is not None)
    tempered = next((one.tempered for one, _ in runs if one.tempered is not None), None)
    settings = {}
    findings = [finding for _, finding in runs]
    for told in advise(findings, estimate._replace(tempered=tempered), sampler, INFO):
        for key, value in yaml.safe_load(f"{{{told}}}").items():
            assert settings.setdefault(key, value) == value, key
    settings.pop("max_seconds", None)
    as_entry(settings.pop("name", kind), settings)


def test_a_budget_that_a_warm_up_overran_is_said_and_built_upon():
    from lambda_hat_core.analysis.advice import advise
    from lambda_hat_core.analysis.verdict import findings
    from lambda_hat_core.config.samplers.exact import Nuts

    estimate, _ = found_in("precision")
    overrun = estimate._replace(overrun=39.0 * estimate.budget)
    [finding] = [found for found in findings(overrun) if found.cause == "precision"]
    assert (
        f"was spent (warm-up and first draws took {40 * estimate.budget:,.0f}) at" in finding.text
    )
    told = [advise([finding], found, Nuts(), INFO)[0] for found in (estimate, overrun)]
    within, beyond = (float(text.removeprefix("until.max_fge: ")) for text in told)
    assert beyond == pytest.approx(40 * within, rel=0.1)
