"""Variational runs against exact answers, in float32, with one compilation per family."""

import numpy as np
import pytest

from lambda_hat_core.config.samplers.base import setup_rows
from tests.core import vicases
from tests.core.test_samplers import VI

ALGOS = [entry["algo"] for entry in VI.values()]
BIAS = {"mfa": 0.01, "flow": 0.05}


@pytest.fixture(scope="module")
def regressions():
    """Return one trace per family, for a regression with a known answer."""
    target, exact = vicases.regression()
    return {algo: vicases.run(target, algo) for algo in ALGOS}, exact


@pytest.mark.parametrize("algo", ALGOS)
def test_linear_regression(regressions, algo):
    from lambda_hat_core.analysis.estimate import estimate

    traces, exact = regressions
    found = estimate(traces[algo])
    assert found.verdict == "ok", found.reasons
    assert found.llc_se < 0.01 * exact
    assert abs(found.llc - exact) < 0.02 * exact
    assert abs(found.v_m - 1) < 4 * found.v_m_se
    assert found.khat < 0.7
    plain = traces[algo].llc
    assert abs(plain.mean() - exact) < 4 * plain.std() / np.sqrt(plain.size) + 0.02 * exact


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_quadratic(algo, condition):
    from lambda_hat_core.analysis.estimate import estimate

    target, exact = vicases.quadratic(condition)
    found = estimate(vicases.run(target, algo))
    assert found.llc_se < 0.01 * exact
    assert abs(found.llc - exact) < BIAS[algo] * exact


def test_float64_agrees(regressions, x64):
    """Test the default family; that both work in float32 is tested with their densities."""
    from lambda_hat_core.analysis.estimate import estimate

    traces, exact = regressions
    found = estimate(vicases.run(vicases.regression()[0], "mfa"))
    other = estimate(traces["mfa"])
    assert found.llc_se < 0.01 * exact
    assert abs(found.llc - other.llc) < 4 * np.hypot(found.llc_se, other.llc_se)
    assert abs(found.llc - exact) < BIAS["mfa"] * exact


def test_same_seed_same_bits(regressions):
    target, _ = vicases.regression()
    again, other = vicases.run(target), vicases.run(target, seed=1)
    for name in ("loss", "dist2", "projections", "virial", "virial_m"):
        np.testing.assert_array_equal(getattr(again, name), getattr(regressions[0]["mfa"], name))
        assert (getattr(other, name) != getattr(again, name)).all()
    for name, values in again.extras.items():
        np.testing.assert_array_equal(values, regressions[0]["mfa"].extras[name])


def test_killed_fit_resumes_to_the_same_bits(regressions, tmp_path):
    from lambda_hat_core.samplers.resume import DiskCheckpoint
    from lambda_hat_core.store.checkpoint import CheckpointFile

    class Killed(Exception):
        pass

    class Fatal(DiskCheckpoint):
        def save(self, states, parts, ends):
            super().save(states, parts, ends)
            if len(parts) in (4, 7):
                raise Killed

    target, _ = vicases.regression()
    whole = regressions[0]["mfa"]
    file = CheckpointFile(tmp_path / "run", {"spec": "vi"})
    for _ in range(2):
        with pytest.raises(Killed):
            vicases.run(target, how={"checkpoint": Fatal(file, every=0.0)})
    resumed = vicases.run(target, how={"checkpoint": DiskCheckpoint(file, every=0.0)})
    for field in ("loss", "dist2", "virial"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(whole, field))
    for name, values in whole.extras.items():
        np.testing.assert_array_equal(resumed.extras[name], values)
    assert whole.extras["elbo"].shape == (3, 800)


@pytest.mark.parametrize("algo", ALGOS)
def test_the_elbo_ends_at_the_log_evidence(regressions, algo):
    """On a quadratic log Z = -1/2 log det((nbeta H + gamma) / 2 pi): sign and normalisation."""
    trace = regressions[0][algo]
    x = np.random.default_rng(0).normal(size=(vicases.N, vicases.D))
    precision = trace.nbeta * x.T @ x / vicases.N + trace.gamma * np.eye(vicases.D)
    evidence = -0.5 * np.linalg.slogdet(precision / (2 * np.pi))[1]
    gap = evidence - trace.extras["elbo_final"]
    assert (np.abs(gap) < 0.03).all()
    tail = trace.extras["elbo"][:, -50:]
    assert abs(tail.mean() - evidence) < 4 * tail.std() / np.sqrt(tail.size) + 0.03
    parts = trace.extras["energy"] + trace.extras["entropy"]
    np.testing.assert_allclose(parts, trace.extras["elbo"], rtol=1e-6)


@pytest.mark.parametrize("algo", ALGOS)
def test_a_fit_recovers_from_a_wrong_start(algo, monkeypatch):
    """Starting with coordinates 1.5 times too wide, the fit still finds the answer."""
    from lambda_hat_core.vi import whitening

    laplace = whitening.laplace

    def too_wide(posterior, spectrum):
        import equinox as eqx

        factor = 1.5 * np.ones(vicases.D)
        wrong = laplace(posterior, spectrum)
        return eqx.tree_at(
            lambda c: (c.scale, c.extra), wrong, (wrong.scale * factor, wrong.extra * factor)
        )

    monkeypatch.setattr(whitening, "laplace", too_wide)
    target, exact = vicases.quadratic(1e3)
    trace = vicases.run(target, algo)
    assert trace.extras["llc"][:, :10].mean() > 1.8 * exact
    assert trace.extras["elbo"][:, :10].mean() < trace.extras["elbo"][:, -50:].mean() - 1
    se = trace.llc.std() / np.sqrt(trace.llc.size)
    assert se < 0.02 * exact
    assert abs(trace.llc.mean() - exact) < 4 * se + BIAS[algo] * exact


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("whitening", ["rmsprop", "adam"])
def test_whitening_changes_only_the_coordinates(algo, whitening):
    target, exact = vicases.quadratic(1e3)
    target = vicases.posterior(*target.data[:2], target.w0, 0, gamma=30.0)
    h = 1e3 ** (-np.arange(vicases.D) / (vicases.D - 1)) * float(target.nbeta)
    exact = 0.5 * np.sum(h / (h + 30.0))
    trace = vicases.run(target, algo, whitening=whitening, batch_size=256)
    llc = trace.nbeta * (trace.extras["restart_loss"] - trace.loss0)
    assert abs(llc.mean() - exact) < BIAS[algo] * exact
    assert trace.work["whitening"] == 400 * 256 / vicases.N + 2 * vicases.D


@pytest.mark.parametrize("algo", ALGOS)
def test_a_family_that_does_not_cover_the_posterior_is_suspect(algo):
    """On crossings Laplace's approximation is wrong, and no mixture follows the ridges."""
    from lambda_hat_core.analysis.estimate import estimate

    target, exact = vicases.crossings()
    found = estimate(vicases.run(target, algo))
    assert found.llc > 1.2 * exact
    assert found.verdict == "suspect" and found.khat > 0.7


@pytest.mark.parametrize("algo", ALGOS)
def test_the_interval_of_a_slightly_biased_family_contains_the_answer(algo):
    """Test a quartic, for which the importance weights are reliable where k-hat is small."""
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.analysis.family import FAMILY_SHARE

    target, exact = vicases.quartic()
    trace = vicases.run(target, algo, seed=1)
    found = estimate(trace)
    assert found.llc_lo < exact < found.llc_hi, found
    within = abs(found.llc - exact) < FAMILY_SHARE * exact + 4 * found.llc_se
    assert found.verdict == "suspect" or (within and found.llc_se < 0.03 * exact), found
    assert found.llc_hi - found.llc_lo < 0.3 * exact
    assert found.khat < 0.7
    assert abs(trace.info["llc_importance"] - exact) < 0.05 * exact


def test_work_counts_everything(regressions):
    """Count minibatch gradients, Lanczos and the tilt of a subset, and all recorded scalars."""

    trace = regressions[0]["mfa"]
    share = setup_rows("auto", vicases.N) / vicases.N
    assert trace.work == {
        "pilot": 0.0,
        "spectrum": pytest.approx(1 + share + share * 2 * vicases.D),
        "loss0": 1 / 3,
        "whitening": 0.0,
        "gradient at w*": 1.0,
        "training": pytest.approx(3 * 800 * (4 + 1) * 256 / vicases.N),
        "evaluation": pytest.approx(3 * 700 * 4 / 3),
    }
    assert trace.cumulative_fge[-1] == pytest.approx(trace.work_fge)
    spent = trace.extras["cumulative_fge"][:, -1] + trace.work["evaluation"]
    assert spent == pytest.approx(trace.work_fge)
    assert (np.diff(trace.seconds) > 0).all()


def test_a_diverging_fit_is_a_failed_result():
    from lambda_hat_core.analysis.estimate import estimate

    trace = vicases.run(vicases.regression()[0], lr=1e6)
    assert "the ELBO is not finite at step" in trace.failure
    found = estimate(trace)
    assert found.verdict == "failed"
    assert found.llc is None


def test_impossible_sizes_are_rejected():
    target, _ = vicases.regression()
    with pytest.raises(ValueError, match=r"vi.batch_size is 4000, but the target has n = 2000"):
        vicases.run(target, batch_size=4000)
    with pytest.raises(ValueError, match="the flow has 1 direction"):
        vicases.run(target, "flow", d_latent=1)


def test_tensorboard_reads_the_written_events(regressions, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from lambda_hat_core.vi.tensorboard import write_tensorboard

    trace = regressions[0]["mfa"]
    write_tensorboard(trace, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"restart_{i}" for i in range(3)]
    events = EventAccumulator(str(tmp_path / "restart_1"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {f"vi/{name}" for name in trace.extras}
    last = events.Scalars("vi/elbo")[-1]
    assert last.step == 799
    assert last.value == pytest.approx(trace.extras["elbo"][1, -1], rel=1e-6)
    assert events.Scalars("vi/khat")[0].value == pytest.approx(trace.extras["khat"][1], rel=1e-6)
