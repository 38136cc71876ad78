"""One table of all samplers: protocol, bits, known answers. A sampler missing from it fails."""

import json
import math
from typing import get_args

import jax
import numpy as np
import pytest

from tests.core import mixed

EXACT = {
    "nuts": {"kind": "nuts", "n_warmup": 200, "n_draws": 1200, "n_burn": 50},
    "hmc": {"kind": "hmc", "n_warmup": 200, "n_draws": 2500, "n_burn": 50, "n_leapfrog": 8},
    "mala": {"kind": "mala", "n_warmup": 200, "n_draws": 1000, "n_burn": 50, "thin": 10},
    "adjusted_mclmc": {"kind": "adjusted_mclmc", "n_tune": 200, "n_draws": 2400, "n_burn": 50},
    "tempered": {
        "kind": "tempered",
        "n_warmup": 120,
        "n_draws": 1600,
        "n_burn": 50,
        "nbeta_min": 2e3,
        "n_replicas": 3,
        "n_leapfrog": 3,
    },
}
UNADJUSTED = {"mclmc": {"kind": "mclmc", "n_tune": 600, "n_draws": 1000, "n_burn": 50, "thin": 4}}
_NOISY = {"n_draws": 1000, "n_burn": 100, "thin": 20, "batch_size": 24}
_PLAIN = {"precond": "none", "extrapolate": False, "step_fraction": 0.2, **_NOISY}
WHITENED = {
    f"{kind} {precond}" if precond == "kronecker" else kind: {
        "kind": kind,
        "precond": precond,
        **_NOISY,
    }
    for kind in ("sgld", "sghmc", "sgnht")
    for precond in ("lanczos", "kronecker")
}
"""As they are by default, for small and large networks: in a metric, and with two step sizes."""
STOCHASTIC = {
    **WHITENED,
    "sgld none": {"kind": "sgld", "integrator": "euler", **_PLAIN},
    "sghmc none": {"kind": "sghmc", **_PLAIN},
    "sgld rmsprop": {"kind": "sgld", "precond": "rmsprop", **_NOISY},
    "sgld adam": {"kind": "sgld", "precond": "adam", **_NOISY, "thin": 80},
    "sgnht none": {"kind": "sgnht", **_PLAIN},
}
MCMC = EXACT | UNADJUSTED | STOCHASTIC
VI = {
    "vi mfa": {"kind": "vi", "algo": "mfa", "steps": 0, "n_draws": 2000},
    "vi flow": {"kind": "vi", "algo": "flow", "steps": 0, "n_draws": 2000},
}
TABLE = MCMC | VI

QUADRATICS = {
    "condition 1": mixed.quadratic(1.0, noise=0.02),
    "condition 1e6": mixed.quadratic(1e6, noise=0.02),
    "rank 4": mixed.quadratic(100.0, rank=4, noise=0.02),
}
NETWORKS = {
    "deep linear": mixed.deep_linear(),
    "quadratic activation": mixed.quadratic_activation(),
}
OTHER = "in the other precision"

_traces = {}


def in_float64(name, case_name="condition 1"):
    """Return True for exact and False for minibatch samplers; the reverse in the case `OTHER`."""
    return (name in STOCHASTIC) == (case_name == OTHER)


def traced(name, case_name, case, **changes):
    """Return a run, computed once for all tests."""
    key = name, case_name, *changes.items()
    if key not in _traces:
        sampler = {"n_chains": 8, **MCMC[name], **changes}
        with jax.enable_x64(in_float64(name, case_name)):
            _traces[key] = mixed.run(case, sampler)
    return _traces[key]


def mean_of(trace, *, is_plain=False):
    """The estimate; plain: the mean of the draws, at step size 0 if there are two."""
    from lambda_hat_core.analysis.means import mean_llc
    from lambda_hat_core.analysis.means import mean_of as plain

    assert trace.failure is None
    estimate = plain(trace, trace.llc) if is_plain else mean_llc(trace)
    return estimate.mean, estimate.se


def agrees(trace, answer, *, bias, se_cap, is_plain=False):
    """Compare within 4 standard errors plus a stated bias, with a limit on the standard error."""
    mean, se = mean_of(trace, is_plain=is_plain)
    assert se < se_cap * answer, f"se {se} of {answer}: too few draws for this to mean anything"
    assert abs(mean - answer) < 4 * se + bias * answer, f"{mean} +- {se}, not {answer}"


def test_every_sampler_and_flavour_is_listed():
    from lambda_hat_core.config.samplers.known import SAMPLERS

    listed = {(entry["kind"], flavour_of(entry)) for entry in TABLE.values()}
    fields = {"sgld": "precond", "sghmc": "precond", "sgnht": "precond", "vi": "algo"}
    flavours = {
        kind: get_args(model.model_fields[fields[kind]].annotation) if kind in fields else [None]
        for kind, model in SAMPLERS.items()
    }
    # `auto` is one of the others.
    several = {(kind, one) for kind, ones in flavours.items() for one in ones if one != "auto"}
    assert listed == several


def flavour_of(entry):
    from lambda_hat_core.config.samplers.known import SAMPLERS

    spec = SAMPLERS[entry["kind"]].model_validate(entry)
    return getattr(spec, "precond", spec.flavour)


@pytest.mark.parametrize("case", QUADRATICS)
@pytest.mark.parametrize("name", EXACT)
def test_exact_samplers_meet_the_quadratic_oracle(name, case):
    answer = QUADRATICS[case].oracle
    agrees(traced(name, case, QUADRATICS[case]), answer, bias=0.0, se_cap=0.015)


@pytest.mark.parametrize("case", QUADRATICS)
def test_mclmc_meets_the_quadratic_oracle(case):
    answer = QUADRATICS[case].oracle
    agrees(traced("mclmc", case, QUADRATICS[case]), answer, bias=0.01, se_cap=0.01)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_minibatch_samplers_have_the_bias_that_their_ledger_predicts(name):
    """The ledger assumes noise independent of w, which is not true for a sixth of it here."""
    one_step = {"extrapolate": False} if name in WHITENED else {}
    trace = traced(name, "condition 1", QUADRATICS["condition 1"], **one_step)
    predicted = trace.info["ledger"]["predicted"]
    agrees(trace, predicted, bias=0.02, se_cap=0.015, is_plain=True)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_what_the_ledger_predicts_is_taken_off_and_its_error_stays(name):
    """The half of a predicted bias is an error of its own, and the interval holds the answer."""
    from lambda_hat_core.analysis.measure import measure

    one_step = {"extrapolate": False} if name in WHITENED else {}
    case = QUADRATICS["condition 1"]
    trace = traced(name, "condition 1", case, **one_step)
    found = measure(trace)
    ledger, (plain, se) = trace.info["ledger"], mean_of(trace, is_plain=True)
    bias = ledger["burn_in" if "step_order" in trace.info else "error"]["absolute"]
    assert abs(bias) < 0.25 * plain
    assert found.llc_uncorrected == plain
    assert found.llc == pytest.approx(plain - bias, rel=1e-12)
    assert found.llc_se == pytest.approx(math.hypot(se, bias / 2), rel=1e-12)
    agrees(trace, case.oracle, bias=0.02, se_cap=0.1)


@pytest.mark.parametrize("case", NETWORKS)
def test_nuts_meets_the_coefficient_of_a_network(case):
    agrees(traced("nuts", case, NETWORKS[case]), NETWORKS[case].oracle, bias=0.02, se_cap=0.015)


@pytest.mark.parametrize("case", ["condition 1e6", "rank 4", "singular", *NETWORKS])
def test_plain_sgld_at_its_own_step_is_within_ten_percent(case, monkeypatch):
    from lambda_hat_core.samplers import drive

    found = {**QUADRATICS, **NETWORKS, "singular": mixed.singular()}[case]
    longer = {**begun("sgld none", 5 * drive.CHUNKS, monkeypatch), "n_burn": 300}
    with jax.enable_x64(in_float64("sgld")):
        trace = mixed.run(found, longer)
    agrees(trace, found.oracle, bias=0.10, se_cap=0.05)


def test_nuts_and_sgld_are_correct_in_the_other_precision(monkeypatch):
    """The samplers used most; test_kernels.py checks that every sampler keeps its dtype."""
    trace = traced("sgld", OTHER, QUADRATICS["condition 1"], extrapolate=False)
    predicted = trace.info["ledger"]["predicted"]
    agrees(trace, predicted, bias=0.02, se_cap=0.015, is_plain=True)
    with jax.enable_x64(in_float64("nuts", OTHER)):
        trace = singular("nuts", monkeypatch)
    agrees(trace, mixed.singular().oracle, bias=0.0, se_cap=0.015)


def test_the_ledger_is_needed():
    """SGLD's bias is one that the oracle alone would have called an error."""
    trace = traced("sgld none", "condition 1", QUADRATICS["condition 1"])
    mean, se = mean_of(trace, is_plain=True)
    assert mean - QUADRATICS["condition 1"].oracle > 6 * se


@pytest.mark.parametrize("name", EXACT | UNADJUSTED)
def test_singular_and_asymmetric_target(name, monkeypatch):
    """A crossing of degree 4, a one-sided wall and a quadratic: no Gaussian approximates this."""
    with jax.enable_x64(in_float64(name)):
        trace = singular(name, monkeypatch)
    bias = 0.015 if name in UNADJUSTED else 0.0
    # Of three replicas, excursions that one of eight chains makes can double the error.
    cap = 0.03 if name == "tempered" else 0.015
    agrees(trace, mixed.singular().oracle, bias=bias, se_cap=cap)


def singular(name, monkeypatch):
    """Return a run with twice the draws of the table; excursions along the ridges are rare."""
    from lambda_hat_core.samplers import drive

    return mixed.run(mixed.singular(), begun(name, 2 * drive.CHUNKS, monkeypatch))


def test_the_certificate_is_one_for_nuts_and_grows_with_the_error_of_sgld():
    """On a singular network. The ledger also predicts the error of a step that is not too large."""
    case = NETWORKS["deep linear"]
    v_m = traced("nuts", "deep linear", case).virial_m.mean(axis=1)
    assert v_m.std(ddof=1) / math.sqrt(8) < 0.017
    assert abs(v_m.mean() - 1) < 0.05

    sampler = {"n_chains": 8, **MCMC["sgld none"]}
    with jax.enable_x64(in_float64("sgld")):
        auto = mixed.run(case, sampler)
        step = auto.info["step_size"]
        del sampler["step_fraction"]
        hotter = [mixed.run(case, {**sampler, "step_size": by * step}) for by in (2.7, 8.0)]
    excess, certificate, foretold = [], [], []
    for trace in (auto, *hotter):
        excess.append(trace.llc.mean() / case.oracle - 1)
        certificate.append(trace.virial_m.mean() - 1)
        foretold.append(trace.info["ledger"]["error"]["relative"])
    assert 0.4 < excess[2]
    assert excess[0] < excess[1] < excess[2]
    assert 0.5 * excess[1] < foretold[1] < 1.5 * excess[1]
    assert 0.1 < certificate[2]
    assert certificate[0] < certificate[1] < certificate[2]


def test_a_divergent_step_is_a_failure_that_names_the_draw():
    from lambda_hat_core.analysis.estimate import estimate

    with jax.enable_x64(in_float64("sgld")):
        sampler = {"n_chains": 8, **MCMC["sgld"], "step_size": 1000.0}
        trace = mixed.run(mixed.quadratic(1.0), sampler)
    assert "the loss is not finite at draw" in trace.failure
    found = estimate(trace)
    assert found.verdict == "failed"
    assert found.llc is None
    assert trace.info["ledger"]["warnings"]


@pytest.mark.parametrize("name", MCMC)
def test_virial_is_one_where_the_answer_is_right(name):
    """Both certificates are 1, or exceed 1 by the relative error of the estimate."""
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    trace = traced(name, "condition 1", QUADRATICS["condition 1"])
    heat = 1.0
    if name in STOCHASTIC:
        heat = trace.info["ledger"]["predicted"] / trace.info["ledger"]["oracle"]
    for series in (trace.virial, trace.virial_m):
        mean, se, _ = mcmc_mean(series)
        assert se < 0.015
        assert abs(mean - heat) < 4 * se + 0.02


@pytest.mark.parametrize("name", MCMC)
def test_the_content_of_a_trace(name):
    """Burn-in and start are not recorded, the work adds up, and all scalars are JSON values."""
    trace = traced(name, "condition 1", QUADRATICS["condition 1"])
    spec = MCMC[name]
    shape = (8, spec["n_draws"] - spec["n_burn"])
    assert trace.loss.shape == trace.dist2.shape == trace.virial.shape == shape
    assert (trace.loss > trace.loss0).all()
    assert trace.cumulative_fge[-1] == pytest.approx(trace.work_fge, rel=1e-9)
    assert (np.diff(trace.cumulative_fge) > 0).all()
    assert trace.work["sampling"] > 0
    assert math.isfinite(json.loads(json.dumps(trace.info))["step_size"])


def begun(name, chunks, monkeypatch):
    """Return a run of the table with another number of chunks, by the same compiled program."""
    from lambda_hat_core.samplers import drive

    n_draws = chunks * drive.chunk_length(MCMC[name]["n_draws"])
    monkeypatch.setattr(drive, "CHUNKS", chunks)
    return {"n_chains": 8, **MCMC[name], "n_draws": n_draws}


@pytest.mark.parametrize("name", MCMC)
def test_the_same_seed_gives_the_same_bits_with_or_without_checkpoints(name, tmp_path, monkeypatch):
    """A run with fewer draws equals the beginning of one with more."""
    from lambda_hat_core.samplers.resume import DiskCheckpoint
    from lambda_hat_core.store.checkpoint import CheckpointFile

    case = QUADRATICS["condition 1"]
    first = traced(name, "condition 1", case)
    sampler = begun(name, 3, monkeypatch)
    kept = DiskCheckpoint(CheckpointFile(tmp_path / "run", {}), every=0.0)
    with jax.enable_x64(in_float64(name)):
        for _ in ("made", "read back"):
            again = mixed.run(case, sampler, checkpoint=kept)
            for field in ("loss", "dist2", "projections", "virial_m"):
                found = getattr(again, field)
                np.testing.assert_array_equal(getattr(first, field)[:, : found.shape[1]], found)
            np.testing.assert_array_equal(
                first.cumulative_fge[: again.loss.shape[1]], again.cumulative_fge
            )
        other = mixed.run(case, sampler, seed=1)
    assert not np.any(again.loss[:, -1] == other.loss[:, -1])


@pytest.mark.parametrize("name", ["mala", "sgld"])
def test_chunk_length_changes_no_number(name, monkeypatch):
    from lambda_hat_core.samplers import drive

    case = QUADRATICS["condition 1"]
    first = traced(name, "condition 1", case)
    first_chunk = drive.chunk_length(MCMC[name]["n_draws"])
    n_draws = 150
    monkeypatch.setattr(drive, "CHUNKS", 5)
    assert drive.chunk_length(n_draws) != first_chunk
    with jax.enable_x64(in_float64(name)):
        again = mixed.run(case, {"n_chains": 8, **MCMC[name], "n_draws": n_draws})
    count = again.loss.shape[1]
    assert count == n_draws - MCMC[name]["n_burn"]
    np.testing.assert_array_equal(first.loss[:, :count], again.loss)
    np.testing.assert_array_equal(first.virial[:, :count], again.virial)
