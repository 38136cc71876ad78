"""Every sampler by one table: protocol, bits, known answers. A sampler that is not in it fails."""

import json
import math
from typing import get_args

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed

EXACT = {
    "nuts": {"kind": "nuts", "n_warmup": 200, "n_draws": 1200, "n_burn": 50},
    "hmc": {"kind": "hmc", "n_warmup": 200, "n_draws": 2500, "n_burn": 50, "n_leapfrog": 8},
    "mala": {"kind": "mala", "n_warmup": 200, "n_draws": 1000, "n_burn": 50, "thin": 10},
    "adjusted_mclmc": {"kind": "adjusted_mclmc", "n_tune": 200, "n_draws": 1800, "n_burn": 50},
}
UNADJUSTED = {"mclmc": {"kind": "mclmc", "n_tune": 600, "n_draws": 1000, "n_burn": 50, "thin": 4}}
_NOISY = {"n_draws": 1000, "n_burn": 100, "thin": 20, "batch_size": 24}
STOCHASTIC = {
    "sgld": {"kind": "sgld", **_NOISY},
    "sgld rmsprop": {"kind": "sgld", "precond": "rmsprop", **_NOISY},
    "sgld adam": {"kind": "sgld", "precond": "adam", **_NOISY, "thin": 80},
    "sghmc": {"kind": "sghmc", **_NOISY},
    "sgnht": {"kind": "sgnht", **_NOISY},
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
OTHER = "condition 1 in the other precision"

_traces = {}


def in_float64(name, case_name="condition 1"):
    """Exact samplers run in float64 and minibatch samplers in float32, but for `OTHER`."""
    return (name in STOCHASTIC) == (case_name == OTHER)


def traced(name, case_name, case, **kwargs):
    """Run once, share among tests."""
    if (name, case_name) not in _traces:
        sampler = {"n_chains": 8, **MCMC[name]}
        with jax.enable_x64(in_float64(name, case_name)):
            _traces[name, case_name] = mixed.run(case, sampler, **kwargs)
    return _traces[name, case_name]


def mean_of(trace):
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    assert trace.failure is None
    estimate = mcmc_mean(trace.llc)
    return estimate.mean, estimate.se


def agrees(trace, answer, *, bias, se_cap):
    """4 standard errors plus a stated bias, with a cap on the standard error."""
    mean, se = mean_of(trace)
    assert se < se_cap * answer, f"se {se} of {answer}: too few draws for this to mean anything"
    assert abs(mean - answer) < 4 * se + bias * answer, f"{mean} +- {se}, not {answer}"


def test_every_sampler_and_flavour_is_listed():
    from lambda_hat_core.config.samplers import SAMPLERS

    listed = {(entry["kind"], flavour_of(entry)) for entry in TABLE.values()}
    fields = {"sgld": "precond", "vi": "algo"}
    flavours = {
        kind: get_args(model.model_fields[fields[kind]].annotation) if kind in fields else [None]
        for kind, model in SAMPLERS.items()
    }
    assert listed == {(kind, one) for kind, several in flavours.items() for one in several}


def flavour_of(entry):
    from lambda_hat_core.config.samplers import SAMPLERS, flavour

    return flavour(SAMPLERS[entry["kind"]].model_validate(entry))


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
def test_minibatch_samplers_are_off_by_what_their_ledger_predicts(name):
    """The ledger takes the noise for independent of w; here a sixth of it is not."""
    trace = traced(name, "condition 1", QUADRATICS["condition 1"])
    assert trace.failure is None
    agrees(trace, trace.info["ledger"]["predicted"], bias=0.02, se_cap=0.015)


def test_nuts_and_sgld_are_as_right_in_the_other_precision():
    """The samplers most used; that all keep to their dtype is tested below."""
    case = QUADRATICS["condition 1"]
    agrees(traced("nuts", OTHER, case), case.oracle, bias=0.0, se_cap=0.015)
    trace = traced("sgld", OTHER, case)
    agrees(trace, trace.info["ledger"]["predicted"], bias=0.02, se_cap=0.015)


def test_the_ledger_is_needed():
    """SGLD's bias is one that the oracle alone would have called an error."""
    mean, se = mean_of(traced("sgld", "condition 1", QUADRATICS["condition 1"]))
    assert mean - QUADRATICS["condition 1"].oracle > 6 * se


@pytest.mark.parametrize("name", EXACT | UNADJUSTED)
def test_singular_and_asymmetric_target(name):
    """Degree 4 crossing, one-sided wall and a quadratic: where no Gaussian is right."""
    case = mixed.singular()
    trace = traced(name, "singular", case)
    agrees(trace, case.oracle, bias=0.015 if name in UNADJUSTED else 0.0, se_cap=0.015)


@pytest.mark.parametrize("name", MCMC)
def test_virial_is_one_where_the_answer_is_right(name):
    """Integration by parts: both certificates are 1, heated by as much as the answer is."""
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
def test_what_a_trace_holds(name):
    """Burn-in dropped, the start not recorded, work that adds up, scalars JSON can write."""
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
    """The sampler of the table, stopped after some of its chunks: the same compiled program."""
    from lambda_hat_core.samplers import drive

    n_draws = chunks * drive.chunk_length(MCMC[name]["n_draws"])
    monkeypatch.setattr(drive, "CHUNKS", chunks)
    return {"n_chains": 8, **MCMC[name], "n_draws": n_draws}


@pytest.mark.parametrize("name", MCMC)
def test_same_seed_same_bits_kept_on_disk_or_not(name, tmp_path, monkeypatch):
    """Fewer draws are the beginning of more."""
    from lambda_hat_core.checkpoint import Checkpoint
    from lambda_hat_core.samplers.resume import DiskCheckpoint

    case = QUADRATICS["condition 1"]
    first = traced(name, "condition 1", case)
    sampler = begun(name, 3, monkeypatch)
    kept = DiskCheckpoint(Checkpoint(tmp_path / "run", {}), every=0.0)
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
    sampler = begun(name, 3, monkeypatch)
    monkeypatch.setattr(drive, "CHUNKS", 5)
    with jax.enable_x64(in_float64(name)):
        again = mixed.run(case, sampler)
    count = again.loss.shape[1]
    assert count == sampler["n_draws"] - sampler["n_burn"]
    np.testing.assert_array_equal(first.loss[:, :count], again.loss)
    np.testing.assert_array_equal(first.virial[:, :count], again.virial)


@pytest.mark.parametrize("name", MCMC)
def test_protocol_in_both_precisions(name, dtype):
    """States keep their shapes and dtype, positions come back, gradients are those of U."""
    spec, kernel = built(name)
    key, w = jr.key(1), jnp.linspace(-0.02, 0.03, mixed.D)
    assert w.dtype == dtype

    state = jax.eval_shape(kernel.init, key, w)
    after, stats = jax.eval_shape(kernel.step, key, state)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (state, after))
    assert shapes[0] == shapes[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves((after, stats))} == {dtype}

    @jax.jit
    def once(key, w):
        state = kernel.init(key, w)
        keys = jr.split(key, 4000 if name in STOCHASTIC else 1)
        gradients, cost = jax.vmap(lambda key: kernel.gradient(key, state))(keys)
        exact = jax.grad(kernel.posterior.potential)(w)
        return kernel.position(state), gradients, cost[0], exact

    back, gradients, cost, exact = once(key, w)
    exact = np.asarray(exact)
    np.testing.assert_allclose(back, w, rtol=1e-4 if dtype == "float32" else 1e-10)
    if name in STOCHASTIC:
        assert float(cost) == spec["batch_size"] / mixed.N
        error = np.std(gradients, axis=0) / math.sqrt(4000)
        assert (error < 0.05 * np.abs(exact).max()).all()
        assert (np.abs(np.mean(gradients, axis=0) - exact) < 5 * error).all()
    else:
        assert float(cost) == 0
        np.testing.assert_allclose(gradients[0], exact, atol=1e-4 * np.abs(exact).max())


def built(name):
    """A kernel whose adaptation is as short as can be."""
    from lambda_hat_core.config import samplers as config
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers import (
        adjusted_mclmc,
        coordinates,
        hmc,
        mala,
        mclmc,
        nuts,
        sghmc,
        sgld,
        sgnht,
    )

    posterior = mixed.posterior(QUADRATICS["condition 1e6"])
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    space = coordinates.laplace(posterior, spectrum)
    step = jnp.asarray(0.1, posterior.w0.dtype)
    small = jnp.asarray(1e-5, posterior.w0.dtype)
    spec = MCMC[name]
    parts = (posterior, space, step)
    kernels = {
        "nuts": lambda: nuts.NutsKernel(*parts, 5),
        "hmc": lambda: hmc.HmcKernel(*parts, 8),
        "mala": lambda: mala.MalaKernel(*parts),
        "adjusted_mclmc": lambda: adjusted_mclmc.AdjustedMclmcKernel(*parts, 10 * step),
        "mclmc": lambda: mclmc.MclmcKernel(*parts, 10 * step, "isokinetic_velocity_verlet"),
        "sghmc": lambda: sghmc.SghmcKernel(posterior, small, 0.1, 24, "threefry"),
        "sgnht": lambda: sgnht.SgnhtKernel(posterior, small, 0.1, 24, "threefry"),
    }
    if spec["kind"] == "sgld":
        kernel = sgld.SgldKernel(posterior, small, small, config.Sgld.model_validate(spec))
        return spec, kernel
    return spec, kernels[name]()


@pytest.mark.parametrize(
    ("name", "integrator"),
    [
        ("mclmc", "isokinetic_mclachlan"),
        ("mclmc", "isokinetic_velocity_verlet"),
        ("adjusted_mclmc", None),
        ("hmc", None),
        ("mala", None),
        ("sghmc", None),
    ],
)
def test_work_is_the_gradients_really_evaluated(name, integrator, x64, monkeypatch):
    """Counted by the loss itself, against what the step reports."""
    count = []
    mean = mixed.Mixed.mean

    def counted(self, w, batch):
        jax.debug.callback(lambda: count.append(1))
        return mean(self, w, batch)

    spec, kernel = built(name)
    if integrator:
        kernel = type(kernel)(
            kernel.posterior, kernel.coordinates, kernel.step_size, kernel.length, integrator
        )
    init = jax.jit(lambda key, w: kernel.init(key, w))
    state = init(jr.key(0), kernel.posterior.w0 + 0.01)
    monkeypatch.setattr(mixed.Mixed, "mean", counted)
    _, stats = jax.jit(lambda key, state: kernel.step(key, state))(jr.key(1), state)
    jax.effects_barrier()
    per_gradient = spec.get("batch_size", mixed.N) / mixed.N
    assert len(count) * per_gradient == pytest.approx(float(stats["work"]))
