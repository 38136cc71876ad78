"""Losses without a minimum are told from losses whose minimum is far away, flat or one-sided."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import CustomTarget
from lambda_hat_core.targets.infinity import endless

ROWS = np.random.default_rng(0).normal(size=(80, 3))
NBETA = 80 / np.log(80)
X = jnp.asarray(ROWS)


def logistic(w, batch):
    """Two classes under a custom cross entropy."""
    x, sign = batch
    return jnp.mean(jnp.logaddexp(0.0, -sign * (x @ w)))


def problem(loss, w, data=None, n=80):
    from lambda_hat_core.targets.custom import problem_of

    return problem_of(CustomTarget(jnp.asarray(w), loss, data, n), "a test")


def why(loss, w, data=None):
    at = problem(loss, w, data)
    return endless(at, at.start, NBETA, audited=True)


SEPARABLE = (ROWS, np.sign(ROWS @ np.array([1.0, 2.0, -1.0])))
FLIPPED = (ROWS, np.where(np.arange(80) % 8 == 0, -1, 1) * SEPARABLE[1])


@pytest.mark.parametrize("size", [30.0, 1e3])
def test_separable_classes_have_their_minimum_at_infinity(x64, size):
    words = why(logistic, size * np.array([1.0, 2.0, -1.0]), SEPARABLE)
    assert words is not None and words.startswith("the minimum is at infinity: from |w| = ")


def test_an_infimum_other_than_zero_is_one_too(x64):
    shifted = why(lambda w, batch: 5.0 + jnp.exp(-w[0]), np.array([15.0]))
    assert shifted is not None and "L_n = 5" in shifted


def test_a_fall_that_nothing_resolves_is_none(x64):
    """The scale of the inputs is normalised away but for 1e-12, as layers of networks do."""

    def scaled(w, batch, eps):
        return jnp.mean((batch @ w / jnp.sqrt(w @ w + eps) - 1.3 * batch[:, 0]) ** 2)

    w = np.array([1.0, 0.0, 0.0])
    assert why(lambda w, batch: scaled(w, batch, 1e-12), w, ROWS) is None
    assert why(lambda w, batch: scaled(w, batch, 1e-3), w, ROWS) is not None


def minimum_of(loss, start, data, steps=30):
    """Return the minimum by Newton's method."""
    step = jax.jit(
        lambda w: w - jnp.linalg.solve(jax.hessian(loss)(w, data), jax.grad(loss)(w, data))
    )
    w = jnp.asarray(start)
    for _ in range(steps):
        w = step(w)
    return np.asarray(w)


def poisson(w, batch):
    """A true minimum at -4, ahead of which the loss rises a tenth as steeply as it fell."""
    del batch
    return jnp.exp(w[0]) - np.exp(-4.0) * w[0]


MINIMA = {
    "inseparable classes": lambda: (logistic, minimum_of(logistic, np.zeros(3), FLIPPED), FLIPPED),
    "an asymmetric loss": lambda: (poisson, np.array([-4.0]), None),
    "a quartic": lambda: (lambda w, b: jnp.sum((w - 3.0) ** 4), np.full(2, 3.0), None),
    "a minimum that is attained": lambda: (
        lambda w, b: jnp.sum(jnp.maximum(0.0, 2.0 - w) ** 2),
        np.array([2.0]),
        None,
    ),
    "a loss of the direction alone": lambda: (
        lambda w, b: jnp.sum((w / jnp.linalg.norm(w) - np.array([0.6, 0.8])) ** 2),
        np.array([6.0, 8.0]),
        None,
    ),
    "the origin": lambda: (lambda w, b: jnp.sum(w**2), np.zeros(2), None),
}


@pytest.mark.parametrize("name", MINIMA)
def test_a_minimum_is_none_at_infinity(x64, name):
    assert why(*MINIMA[name]()) is None


def dummies(n, *, one_class):
    """Rows with noisy labels, 8 of which have a feature of their own, and the minimum of the rest.

    The weight of that feature has its minimum at infinity if all 8 are of one class.
    """
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2)), np.arange(n) < 8])
    sign = np.where(rng.random(n) < 1 / (1 + np.exp(-x[:, 1])), 1.0, -1.0)
    sign[:8] = 1 if one_class else [1, 1, 1, 1, 1, 1, -1, -1]
    start = np.zeros(4) if one_class else np.array([0.0, 0.0, 0.0, 1.0])
    return minimum_of(logistic, start, (x, sign), steps=12), (x, sign)


def judged_at(loss, w, data, n, **settings):
    from lambda_hat_core.targets.audit import audit
    from lambda_hat_core.targets.infinity import judged

    at, nbeta = problem(loss, w, data, n), n / np.log(n)
    found = audit(jax.random.key(0), at, at.start, nbeta=nbeta, gamma=1.0, **settings)
    assert not found.reasons
    return judged(at, at.start, found, nbeta, 1.0).reasons


@pytest.mark.parametrize("far", [4.0, 12.0, 18.0])
@pytest.mark.parametrize("rows", [None, 1024])
def test_one_feature_of_one_class_has_its_minimum_at_infinity(x64, rows, far):
    """However far out it is, and whether the rows of the Hessian have the feature or not."""
    w, data = dummies(2000, one_class=True)
    w = np.append(w[:3].astype(np.float32), far).astype(float)
    at = problem(logistic, w, data, 2000)
    assert endless(at, at.start, 263.0, audited=True) is None
    (why,) = judged_at(logistic, w, data, 2000, rows=rows)
    assert why.startswith("the minimum is at infinity: ") and "+1.00 of w[3]" in why


@pytest.mark.parametrize("off", [0.0, 0.3])
def test_one_feature_of_both_classes_has_a_minimum(x64, off):
    w, data = dummies(2000, one_class=False)
    assert judged_at(logistic, w + np.array([0, 0, 0, off]), data, 2000) == ()


VALLEYS = {
    "a quartic": lambda w, b: (w[0] - 1) ** 2 + (w[1] - 1.2) ** 4,
    "an order of 8": lambda w, b: (w[0] - 1) ** 2 + (w[1] - 1.3) ** 8,
    "a flat quadratic": lambda w, b: (w[0] - 1) ** 2 + 1e-4 * (w[1] - 3) ** 2,
    "a curved fibre": lambda w, b: (w[0] * w[1] - 1) ** 2 + 1e-6 * jnp.sum((w - 2.0) ** 2),
    "an end": lambda w, b: (w[0] - 1) ** 2 + 1e-3 * jnp.maximum(0.0, 1.5 - w[1]) ** 2,
    "no curvature": lambda w, b: jnp.maximum(0.0, 0.5 - w[0]),
    "no floor": lambda w, b: (w[0] - 1) ** 2 + 1e-9 * jnp.exp(-w[1]),
}


@pytest.mark.parametrize("name", VALLEYS)
def test_a_valley_with_an_end_is_none(x64, name):
    """Also one that falls for ever by less than the posterior sees from anywhere near w*."""
    assert judged_at(VALLEYS[name], np.ones(2), None, 80) == ()


def test_a_valley_that_only_falls_has_no_end(x64):
    (why,) = judged_at(lambda w, b: (w[0] - 1) ** 2 + 0.1 / w[1], np.array([1.0, 9.0]), None, 80)
    assert "at infinity" in why and "of w[1]" in why


SOURCE = '''
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget

def classes(key, *, flip=False):
    """Two classes of 80 rows, the labels of some of which may be flipped."""
    x = np.random.default_rng(0).normal(size=(80, 3))
    sign = np.sign(x @ np.array([1.0, 2.0, -1.0]))
    if flip:
        sign = np.where(np.arange(80) % 8 == 0, -1, 1) * sign
    def loss(w, batch):
        return jnp.mean(jnp.logaddexp(0.0, -batch[1] * (batch[0] @ w)))
    return CustomTarget(jnp.zeros(3), loss, (x, sign), 80, train=True)
'''


@pytest.mark.parametrize("flip", [False, True])
def test_the_polish_gives_up_what_training_reached_only_for_a_minimum(
    x64, tmp_path, monkeypatch, flip
):
    from lambda_hat_core import targets
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Custom
    from lambda_hat_core.config.spec import TargetSpec
    from lambda_hat_core.config.training import Training

    (tmp_path / "separable_classes.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    made = {}
    for polish in ("newton_cg", "none"):
        spec = TargetSpec(
            model=Custom(factory="separable_classes:classes", kwargs={"flip": flip}),
            data=NoData(),
            training=Training(steps=300, lr=3e-2, polish=polish),
        )
        made[polish] = targets.build(spec, lambda line: None)
    polished, trained = made.values()
    same = np.array_equal(polished.w, trained.w)
    assert polished.meta["is_minimum"] is flip and same is not flip
    if not flip:
        first, *_ = polished.meta["audit_reasons"]
        assert "the minimum is at infinity" in first and "w* is where training ended" in first


def test_a_call_at_such_a_point_says_so():
    from lambda_hat_core import Mala, estimate_llc

    w = 1e3 * np.array([1.0, 2.0, -1.0])
    sampler = Mala(n_draws=60, n_burn=10, n_warmup=20)
    found = estimate_llc(logistic, w, SEPARABLE, sampler=sampler, progress=False)
    assert not found.at_minimum and found.notes
    assert any("the minimum is at infinity" in note for note in found.notes)
