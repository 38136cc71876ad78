"""Targets from spec to disk and back: builds, known coefficients, rejected specs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import targets
from lambda_hat_core.config import model
from lambda_hat_core.config.data import Digits, NoData, Synthetic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import localised, loss_at_minimum
from lambda_hat_core.targets.assemble import assemble
from lambda_hat_core.truth import oracles

TRUTH = Training(start="truth")
QUICK = Training(steps=600, lr=2e-2)


def silent(line):
    del line


def synthetic(n=300, noise=0.0):
    return Synthetic(n_data=n, n_test=50, noise_scale=noise)


def spec(kind, data=None, training=TRUTH, seed=0, **fields):
    return TargetSpec(model=kind, data=data or NoData(), training=training, seed=seed, **fields)


def built(*args, **fields):
    return targets.build(spec(*args, **fields), silent).meta


def deep(rank):
    return model.DeepLinear(widths=(3, 3, 3), rank=rank)


DLN = deep(1)
RELU = model.Mlp(widths=(5,), activation="relu")
TANH = model.Mlp(widths=(3,), activation="tanh")
SQUARES = model.QuadraticActivation(in_dim=3, width=3, rank=1)
DIAGONAL = model.DiagonalLinear(in_dim=3, depth=3, n_zero=1)

CERTAIN = {
    "quadratic": (spec(model.Quadratic(d=5, condition=100.0, rank=4)), 2.0, 1),
    "normal crossing": (spec(model.NormalCrossing(powers=(1, 2), point=(0.0, 2.0))), 0.5, 1),
    "deep linear, deepest": (spec(deep(0), synthetic()), 3.5, 2),
    "deep linear, trained": (spec(deep(3), synthetic(noise=0.2), QUICK), 4.5, 1),
    "tanh at the truth": (spec(TANH, synthetic()), 9.5, 1),
    "relu at the truth": (spec(RELU, synthetic(), seed=3), 13.0, 1),
    "tanh at a noisy truth": (spec(TANH, synthetic(noise=0.02)), 9.5, 1),
    "squares": (spec(SQUARES, synthetic(), QUICK), 2.5, 1),
    "diagonal": (spec(DIAGONAL, synthetic()), 1.5, 3),
    "diagonal, trained": (spec(DIAGONAL, synthetic(noise=0.2), QUICK), 1.5, 1),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_a_certain_coefficient_is_attached(x64, name):
    target, llc, multiplicity = CERTAIN[name]
    meta = targets.build(target, silent).meta
    assert meta["is_minimum"], meta["audit_reasons"]
    assert meta["llc_known"] == llc, meta["llc_known_reason"]
    assert meta["multiplicity"] == multiplicity
    assert meta["off_centre_bias"] < 1e-6


UNCERTAIN = {
    "rank": (
        spec(DLN, synthetic(noise=0.2), QUICK),
        "local value 4.5, but the least over the fibre is 4: gamma decides",
    ),
    "trained": (spec(TANH, synthetic(noise=0.2), QUICK), "a trained network"),
    "noisy squares": (spec(SQUARES, synthetic(noise=0.2), QUICK), "noisy labels move w"),
    "flat saddle": (spec(DIAGONAL, synthetic(noise=0.2)), "not the least-squares solution"),
    "skip": (
        spec(model.Mlp(widths=(4, 4), skip_connections=True), synthetic()),
        "no formula with layer norm",
    ),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_an_uncertain_coefficient_is_null_with_its_reason(x64, name):
    target, reason = UNCERTAIN[name]
    meta = targets.build(target, silent).meta
    assert meta["llc_known"] is None and meta["multiplicity"] is None
    assert reason in meta["llc_known_reason"]


def test_a_point_that_is_not_a_minimum_has_reasons_and_no_coefficient(x64):
    training = Training(start="truth", polish="none")
    meta = built(TANH, synthetic(noise=0.2), training)
    assert not meta["is_minimum"] and "falls by" in meta["audit_reasons"][0]
    assert meta["llc_known"] is None and meta["llc_known_reason"] == "w* did not pass the audit"


def test_separated_digits_stay_where_training_ended_and_are_no_minimum(x64):
    kind = model.Mlp(widths=(4,), activation="tanh")
    training = Training(steps=300, lr=3e-2, batch_size=30)
    made = targets.build(spec(kind, Digits(n_data=60), training), silent)
    meta = made.meta
    assert meta["loss"] == "cross_entropy" and meta["d"] == 65 * 4 + 50
    assert meta["train"]["polish_stopped"].startswith("classes separated")
    assert not meta["is_minimum"]
    assert "no minimum, only an infimum of 0 at infinity" in meta["audit_reasons"][0]
    assert "w* is where training ended" in meta["audit_reasons"][0]
    assert meta["llc_known_reason"] == "w* did not pass the audit"
    bare = training.model_copy(update={"polish": "none"})
    unpolished = targets.build(spec(kind, Digits(n_data=60), bare), silent)
    np.testing.assert_array_equal(made.w, unpolished.w)
    assert "no minimum" in unpolished.meta["audit_reasons"][0]


def test_a_stored_target_is_the_same_in_both_precisions(tmp_path):
    target = spec(DLN, synthetic(noise=0.2), QUICK)
    with jax.enable_x64(True):
        made = targets.build(target, silent)
        targets.save(made, tmp_path)
        again = targets.load(target, tmp_path, PosteriorSpec())
        np.testing.assert_array_equal(again.w0, made.w)
        loss0 = loss_at_minimum(localised(again, PosteriorSpec()))
        assert loss0 == pytest.approx(made.meta["loss0"], rel=1e-13)
    single = targets.load(target, tmp_path, PosteriorSpec())
    assert single.w0.dtype == jnp.float32
    np.testing.assert_array_equal(single.w0, made.w.astype(np.float32))
    assert single.data is not None and single.data[0].dtype == jnp.float32
    assert single.loss == again.loss
    assert loss_at_minimum(localised(single, PosteriorSpec())) == pytest.approx(loss0, rel=1e-4)


def test_a_target_folder_has_its_files_and_figures(x64, tmp_path):
    for name, kind, data in (("a", TANH, synthetic()), ("b", model.Quadratic(d=3), NoData())):
        (tmp_path / name).mkdir()
        targets.save(targets.build(spec(kind, data), silent), tmp_path / name)
        meta = json.loads((tmp_path / name / "meta.json").read_text())
        assert meta["versions"]["jax"] == jax.__version__ and len(meta["code_sha256"]) == 64
    drawn = {path.name for path in (tmp_path / "a" / "figures").iterdir()}
    assert drawn == {"predictions.png", "data.png", "spectrum.png"}
    drawn = {path.name for path in (tmp_path / "b" / "figures").iterdir()}
    assert drawn == {"potential.png", "spectrum.png"}
    with np.load(tmp_path / "a" / "data.npz", allow_pickle=False) as stored:
        assert set(stored.files) == {
            "batch0",
            "batch1",
            "test0",
            "test1",
            "clean_train",
            "clean_test",
        }


def test_the_spectrum_says_at_which_gamma_and_nbeta_the_localiser_holds():
    from matplotlib.figure import Figure

    from lambda_hat_core.targets import figures
    from lambda_hat_core.targets.building import BuiltTarget

    views = {"spectrum": np.array([1e-3, 0.1, 2.0])}
    axes = Figure().subplots()
    meta = {"n": 1000, "d": 3}
    figures._spectrum(BuiltTarget(spec(model.Quadratic(d=3)), {}, {}, meta, views), [axes])
    held = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(held, np.array([1, 10, 100]) * np.log(1000) / 1000)
    written = [text.get_text() for text in axes.texts]
    assert written == ["gamma = 1: 0.0069", "gamma = 10: 0.069", "gamma = 100: 0.69"]
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(words) == 2 and "at the default nβ = n / log n = 145" in words[1]


def test_a_posterior_chooses_its_loss_and_scale(x64, tmp_path):
    target = spec(TANH, synthetic(noise=0.2), Training(start="truth", polish_steps=3))
    targets.save(targets.build(target, silent), tmp_path)
    squared = targets.load(target, tmp_path, PosteriorSpec(loss="mse"))
    gaussian = targets.load(target, tmp_path, PosteriorSpec(loss="gaussian"))
    scaled = targets.load(target, tmp_path, PosteriorSpec(loss="gaussian", sigma=0.4))
    value = float(squared.loss.mean(squared.w0, squared.data))
    assert float(gaussian.loss.mean(gaussian.w0, gaussian.data)) == pytest.approx(value / 0.08)
    assert float(scaled.loss.mean(scaled.w0, scaled.data)) == pytest.approx(value / 0.32)
    with pytest.raises(ValueError, match=r"posterior\.loss is .*numbers, not classes"):
        targets.load(target, tmp_path, PosteriorSpec(loss="cross_entropy"))
    with pytest.raises(ValueError, match="'mlp' has no loss of its own"):
        targets.load(target, tmp_path, PosteriorSpec(loss="own"))


def test_potentials_meet_their_oracles(dtype, tmp_path):
    cases = {
        "quadratic": (spec(model.Quadratic(d=4, condition=100.0), seed=1), None),
        "crossing": (spec(model.NormalCrossing(powers=(1, 1))), 0.3614334),
    }
    for name, (target, expected) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        with jax.enable_x64(True):
            targets.save(targets.build(target, silent), folder)
        at = targets.load(target, folder, PosteriorSpec())
        found = targets.oracle(target, at, 145.0, 1.0)
        h = np.array([1, 100 ** (-1 / 3), 100 ** (-2 / 3), 0.01])
        exact = oracles.quadratic(h, 145.0, 1.0) if expected is None else expected
        assert found.value == pytest.approx(exact, rel=1e-6), found.source


def test_a_missing_oracle_has_a_reason(x64):
    problem = assemble(spec(TANH, synthetic()))
    from lambda_hat_core.posterior import Target

    target = Target(problem.start, problem.data, problem.loss, problem.n)
    found = targets.oracle(spec(TANH, synthetic()), target, 100.0, 1.0)
    assert found.value is None and "no formula for mlp" in found.source


def test_data_that_overflow_are_refused_in_one_line(x64):
    with pytest.raises(ValueError, match="NaN or infinite; every number must be fin") as caught:
        targets.build(spec(TANH, synthetic(noise=1e308)), silent)
    assert "\n" not in str(caught.value)


def test_diverging_training_is_named(x64):
    training = Training(optimizer="sgd", lr=1e3, steps=60)
    with pytest.raises(FloatingPointError, match=r"lower training\.lr"):
        targets.build(spec(SQUARES, synthetic(noise=0.2), training), silent)


def test_targets_are_built_in_float64_only():
    with pytest.raises(ValueError, match="float64"):
        targets.build(spec(model.Quadratic(d=2)), silent)


def test_the_same_spec_gives_the_same_bits(x64):
    target = spec(DLN, synthetic(noise=0.2), Training(steps=50, batch_size=20, optimizer="adamw"))
    first, second = (targets.build(target, silent) for _ in range(2))
    np.testing.assert_array_equal(first.w, second.w)
    other = targets.build(target.model_copy(update={"seed": 1}), silent)
    assert not np.allclose(first.w, other.w)
