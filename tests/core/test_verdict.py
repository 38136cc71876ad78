"""Each finding occurs beyond its threshold, and not just before it."""

import json

import pytest

from lambda_hat_core.truth.exact import Exact
from tests.core import traces

META = {
    "is_minimum": True,
    "audit_reasons": [],
    "off_centre_bias": 0.0,
    "llc_known": None,
    "llc_known_reason": "no theorem",
    "multiplicity": None,
}
DEFAULT_NBETA = 1000 / 6.907755278982137

REASONS = {
    "stopped early": ({"llc": None, "failure": "NaN at draw 3"}, "failed", "NaN at draw 3"),
    "not finite": ({"llc": None}, "failed", "not finite"),
    "no draws": ({"llc": None, "n_draws": 0}, "failed", "no draws"),
    "negative": ({"llc": -0.21, "llc_se": 0.1}, "ok", ""),
    "negative within 2 se": ({"llc": -0.19}, "suspect", "half of the estimate: -0.19 ± 0.10"),
    "error of half": ({"llc": 5.0, "llc_se": 2.51}, "suspect", "half of the estimate"),
    "error below half": ({"llc": 5.0, "llc_se": 2.49}, "ok", ""),
    "r_hat": (
        {"r_hat": 1.1001, "r_hat_of": "|w - w*|^2"},
        "suspect",
        "R-hat of |w - w*|^2",
    ),
    "r_hat at the limit": ({"r_hat": 1.1}, "ok", ""),
    "no r_hat": ({"r_hat": None, "n_draws": 3}, "suspect", "at least 4 draws per chain"),
    "one chain": ({"n_chains": 1, "r_hat": None}, "suspect", "only one chain"),
    "ess": ({"ess_min": 49.0, "ess_min_of": "|w - w*|^2"}, "suspect", "49 of |w - w*|^2"),
    "ess at the limit": ({"ess_min": 50.0}, "ok", ""),
    "stuck": ({"n_stuck": 1}, "suspect", "1 of 4 chains never moved"),
    "divergences": ({"n_divergent": 11}, "suspect", "11 steps diverged, 0.055 of them"),
    "divergences at the limit": ({"n_divergent": 10}, "ok", ""),
    "divergences of mala": (
        {"n_divergent": 7, "sampler_kind": "mala"},
        "suspect",
        "7 steps diverged, 0.035 of them and more than 0.03",
    ),
    "divergences of mala at the limit": ({"n_divergent": 6, "sampler_kind": "mala"}, "ok", ""),
    "no divergence statistic": ({"n_divergent": None}, "ok", ""),
    "v_m low": ({"v_m": 0.89}, "suspect", "not equilibrated"),
    "v_m high": ({"v_m": 1.11}, "suspect", "heated"),
    "v_m within the limit": ({"v_m": 1.099}, "ok", ""),
    "v_m far and sure": ({"v_m": 1.3, "v_m_se": 0.14}, "suspect", "heated"),
    "v_m pure noise": ({"v_m": 1.11, "v_m_se": 0.0561}, "suspect", "perhaps noise"),
    "v_m too noisy": ({"v_m": 1.02, "v_m_se": 0.101}, "suspect", "too noisy to see"),
    "v_m as noisy as the limit": ({"v_m": 1.02, "v_m_se": 0.1}, "ok", ""),
    "v_m noisy, of independent draws": ({"v_m": 1.02, "v_m_se": 0.2, "iid": True}, "ok", ""),
    "no v_m": ({"v_m": None, "v_m_se": None, "v": 1.09, "v_se": 0.01}, "ok", ""),
    "v for want of v_m": ({"v_m": None, "v": 1.2, "v_se": 0.01}, "suspect", "V is 1.2"),
    "v of a chain": ({"v": 1.2, "v_se": 0.01}, "ok", ""),
    "v of a family": ({"v": 1.2, "v_se": 0.01, "iid": True}, "suspect", "fitted family"),
    "ledger": ({"ledger_error": 0.11}, "suspect", "a bias of +11%"),
    "ledger at the limit": ({"ledger_error": -0.1}, "ok", ""),
    "step bias": ({"step_bias": 1.26, "step_bias_se": 0.1}, "suspect", "its bias is 1.26"),
    "heating": ({"heating": 0.76}, "suspect", "by up to 0.76 in directions"),
    "heating at the limit": ({"heating": 0.75}, "ok", ""),
    "rounding": ({"rounding": 1.01}, "suspect", "their rounding errors are 1 nats, more than 1"),
    "rounding at the limit": ({"rounding": 1.0}, "ok", ""),
    "step bias at the limit": ({"step_bias": -1.25, "step_bias_se": 0.1}, "ok", ""),
    "khat": ({"khat": 0.71, "iid": True, "r_hat": None}, "suspect", "k-hat is 0.71"),
    "family bias": ({"family_bias": 0.26, "family_bias_se": 0.1}, "suspect", "by -0.26"),
    "family bias, noisy": (
        {"family_bias": 0.26, "family_bias_se": 0.3},
        "suspect",
        "-0.26 ± 0.3",
    ),
    "family bias within 5 %": ({"family_bias": 0.24, "family_bias_se": 0.01}, "ok", ""),
    "khat at the limit": ({"khat": 0.7, "iid": True, "r_hat": None}, "ok", ""),
    "burn-in": (
        {"rel_se": 0.05, "spent": "max_fge", "budget": 900.0, "n_burn": 100, "least_burn": 400},
        "suspect",
        "only 150 were made before max_fge (900 gradients) was spent",
    ),
    "burn-in over": (
        {"rel_se": 0.5, "spent": "max_fge", "budget": 900.0, "n_burn": 400, "least_burn": 400},
        "ok",
        "",
    ),
}


def good(**changes):
    from lambda_hat_core.analysis.measure import measure

    plain = {
        "llc": 5.0,
        "llc_se": 0.1,
        "llc_lo": 4.8,
        "llc_hi": 5.2,
        "r_hat": 1.002,
        "r_hat_of": "the loss",
        "ess_min": 900.0,
        "ess_min_of": "the loss",
        "v_m": 1.01,
        "v_m_se": 0.01,
        "llc_min": 0.5,
        "llc_rounding": 0.001,
        "nbeta": DEFAULT_NBETA,
    }
    return measure(traces.trace(n_draws=50))._replace(**{**plain, **changes})


@pytest.mark.parametrize("name", list(REASONS))
def test_every_reason_and_the_value_next_to_its_limit(name):
    from lambda_hat_core.analysis.verdict import findings, judged

    changes, expected, text = REASONS[name]
    found = findings(good(**changes))
    assert judged(found) == expected, found
    assert len(found) == (0 if expected == "ok" else 1)
    assert text in " ".join(finding.text for finding in found)


def test_a_failure_determines_the_verdict():
    from lambda_hat_core.analysis.verdict import findings, judged

    found = findings(good(r_hat=1.5))
    worse = found[0]._replace(verdict="failed")
    assert judged(found) == "suspect" and judged([*found, worse]) == "failed"


STANDINGS = {
    "at a minimum": ({}, {}, True, ""),
    "no audit": ({}, {"is_minimum": None}, None, ""),
    "negative": ({"llc": -0.21, "llc_se": 0.1}, {}, False, "-0.21 ± 0.10 is negative"),
    "negative within 2 se": ({"llc": -0.19}, {}, True, ""),
    "below w*": ({"llc_min": -0.061, "llc_rounding": 0.01}, {}, False, "below w*"),
    "below w* by rounding": ({"llc_min": -0.059, "llc_rounding": 0.01}, {}, True, ""),
    "audit": ({}, {"is_minimum": False, "audit_reasons": ["h_min -0.2"]}, False, "h_min -0.2"),
    "at infinity": (
        {},
        {"is_minimum": False, "audit_reasons": ["the minimum is at infinity"]},
        False,
        "add weight decay",
    ),
    "off centre": ({}, {"off_centre_bias": 0.051}, False, "lowers the LLC by 0.051"),
    "off centre at the limit": ({}, {"off_centre_bias": 0.05}, True, ""),
    "off centre by half": (
        {"llc": 0.2, "llc_se": 0.01},
        {"off_centre_bias": 0.11},
        False,
        "far from a minimum",
    ),
    "off centre, hotter": (
        {"nbeta": 2 * DEFAULT_NBETA},
        {"off_centre_bias": 0.03},
        False,
        "lowers the LLC by 0.06",
    ),
}


@pytest.mark.parametrize("name", list(STANDINGS))
def test_whether_w_is_a_minimum_is_told_beside_the_verdict(name):
    from lambda_hat_core.analysis.minimum import NO_END, WAY_OUT, standing

    changes, meta, expected, text = STANDINGS[name]
    at = standing(good(**changes), META | meta)
    assert at.at_minimum is expected
    assert text in "; ".join(at.words) and bool(at.words) == bool(text)
    way_out = NO_END if name == "at infinity" else WAY_OUT
    assert not at.words or at.words[-1].endswith(f"{way_out}, or read descent beside the llc")
    bias = (META | meta)["off_centre_bias"] * changes.get("nbeta", DEFAULT_NBETA) / DEFAULT_NBETA
    assert at.descent == pytest.approx(bias)


def test_the_audit_of_all_parameters_is_not_compared_with_the_llc_of_some():
    from lambda_hat_core.analysis.minimum import WAY_OUT, standing
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.store.records import OF_ALL, facts_of

    audit = {"is_minimum": False, "audit_reasons": ["it falls by 70"], "off_centre_bias": 70.0}
    part = {"restrict": ["b.*"]}
    run = RunSpec(target=f"tgt_{0:012}", sampler={"kind": "nuts"}, posterior=part, dtype="float64")
    at = standing(good(llc=78.0), facts_of(run, META | audit))
    assert at.descent is None and at.at_minimum is False
    assert at.words == [f"w* is not at a minimum: {OF_ALL}it falls by 70; {WAY_OUT}"]


def test_a_point_that_is_no_minimum_does_not_make_the_sampler_suspect():
    from lambda_hat_core.analysis.estimate import estimate

    trace = traces.trace()
    off = {"is_minimum": False, "audit_reasons": ["|grad| = 3"], "off_centre_bias": 2.0}
    found = estimate(trace._replace(loss0=trace.loss0 + 1.0), META | off)
    assert (found.verdict, found.reasons, found.advice) == ("ok", [], [])
    assert found.llc < 0 and found.at_minimum is False
    assert "|grad| = 3" in found.notes[0] and "is negative" in " ".join(found.notes)
    assert found.descent == pytest.approx(2.0 * found.nbeta / DEFAULT_NBETA)


def test_the_estimate_carries_its_verdict():
    from lambda_hat_core.analysis.estimate import estimate

    fine = estimate(traces.trace(), META)
    assert (fine.verdict, fine.reasons) == ("ok", [])
    bad = estimate(traces.trace(failure="NaN at draw 3"), META)
    assert (bad.verdict, bad.llc) == ("failed", None)
    assert bad.reasons == ["the run stopped early: NaN at draw 3"]
    assert estimate(traces.trace(rho=0.999), None).verdict == "suspect"


CHECKS = {
    "all pass": ({}, {}, {}, set()),
    "finite": ({"llc": None, "llc_lo": None, "v_m": None}, {}, {}, {"finite"}),
    "converged": ({"r_hat": 1.2}, {}, {}, {"converged"}),
    "certificate": ({"v_m": 1.5}, {}, {}, {"certificate"}),
    "minimum": ({}, {"is_minimum": False}, {}, {"minimum"}),
    "oracle inside": ({}, {"llc_known": 9.0}, {"exact": Exact(5.19, None, "")}, set()),
    "oracle outside": (
        {},
        {"llc_known": 5.0},
        {"exact": Exact(5.21, None, "")},
        {"interval_covers_known"},
    ),
    "known outside": ({}, {"llc_known": 5.3, "multiplicity": 1}, {}, {"interval_covers_known"}),
    "known less its term": ({}, {"llc_known": 5.3, "multiplicity": 2}, {}, set()),
    "known below": ({}, {"llc_known": 4.7, "multiplicity": 2}, {}, {"interval_covers_known"}),
    "no interval": (
        {"llc_lo": None, "llc_hi": None},
        {"llc_known": 5.0},
        {},
        {"interval_covers_known"},
    ),
    "over budget": ({"work_fge": 11.0}, {}, {"budget_fge": 10.0}, {"work_within_budget"}),
    "within budget": ({"work_fge": 10.0}, {}, {"budget_fge": 10.0}, set()),
}


@pytest.mark.parametrize("name", list(CHECKS))
def test_checks_fail_one_at_a_time(name):
    from lambda_hat_core.analysis.checks import CHECK_NAMES, checks

    changes, meta, options, failing = CHECKS[name]
    made = checks(good(**changes), {**META, **meta}, **options)
    assert tuple(check.name for check in made) == CHECK_NAMES
    assert {check.name for check in made if check.passed is False} == failing
    undecided = {check.name for check in made if check.passed is None}
    assert ("work_within_budget" in undecided) == ("budget_fge" not in options)
    assert ("interval_covers_known" in undecided) == ("no exact value" in made[4].text)
    assert ("certificate" in undecided) == ("not computed" in made[2].text)
    assert undecided <= {"work_within_budget", "interval_covers_known", "certificate"}
    assert all(check.text for check in made)
    plain = [check._asdict() for check in made]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_the_severity_is_error_if_no_number_is_left():
    from lambda_hat_core.analysis.checks import checks

    def severity(estimate, name):
        return next(check.severity for check in checks(estimate, META) if check.name == name)

    assert severity(good(llc=None), "finite") == "error"
    assert severity(good(llc=-1.0), "minimum") == "warn"
    assert severity(good(llc_min=-1.0), "minimum") == "warn"
    assert severity(good(r_hat=1.2), "converged") == "warn"


def test_a_known_value_never_enters_the_verdict():
    from lambda_hat_core.analysis.estimate import estimate

    found = estimate(traces.trace(), META | {"llc_known": 50.0})
    assert (found.verdict, found.reasons) == ("ok", [])
    [told] = found.notes
    assert told.startswith("finite temperature: lambda = 50,") and "se from the estimate" in told


@pytest.mark.parametrize(
    ("changes", "persists"),
    [
        ({"khat": 0.9, "n_draws": 256}, False),
        ({"khat": 1.0, "n_draws": 256}, True),
        ({"khat": 0.9, "n_draws": 1000}, True),
        ({"khat": 1.0, "n_draws": 256, "family_bias_se": 2.0}, True),
        ({"family_bias": 0.5, "family_bias_se": 0.13}, False),
        ({"family_bias": 0.26, "family_bias_se": 0.12}, True),
        ({"family_bias": 0.26, "family_bias_se": None}, True),
        ({"v_m": 1.2, "v_m_se": 0.11}, False),
        ({"v_m": 1.2, "v_m_se": 0.05}, True),
        ({"v_m": 1.2, "v_m_se": 0.05, "iid": False}, False),
        ({"n_chains": 1, "r_hat": None}, True),
        ({"n_divergent": 11}, True),
        ({"ess_min": 10.0}, False),
    ],
)
def test_a_stop_rule_does_not_wait_for_what_more_draws_cannot_change(changes, persists):
    """The error of a fitted family is not one of its draws, once it is clear of their noise."""
    from lambda_hat_core.analysis.verdict import findings

    [found] = findings(good(**{"iid": True, **changes}))
    assert found.persists == persists
