"""A loss whose sign was reversed is refused: at a maximum, and where training finds no end."""

import jax.numpy as jnp
import numpy as np
import pytest


def audited(loss, w, data=None, *, nbeta=100.0, gamma=1.0):
    import jax.random as jr

    from lambda_hat_core.targets.audit import audit
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    problem = problem_of(CustomTarget(np.asarray(w), loss, data, 400), "this test")
    return audit(jr.key(0), problem, problem.start, nbeta=nbeta, gamma=gamma)


def test_a_log_likelihood_in_place_of_its_negative_is_refused_by_the_notebook():
    from lambda_hat_core import estimate_llc

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ rng.normal(size=3) + rng.normal(size=400)

    def log_likelihood(w, batch):
        return -jnp.mean((batch[0] @ w - batch[1]) ** 2)

    with pytest.raises(ValueError, match=r"^estimate_llc has a loss that is largest at w\*.*sign"):
        estimate_llc(log_likelihood, np.linalg.lstsq(x, y)[0], (x, y), progress=False)


@pytest.mark.parametrize("d", [2, 900])
def test_a_maximum_is_refused_whether_or_not_the_hessian_is_diagonalised(x64, d):
    with pytest.raises(ValueError, match="no eigenvalue of its Hessian there is positive"):
        audited(lambda w, batch: jnp.sum(jnp.cos(w)), np.zeros(d))


CASES = {
    "a saddle": (lambda w, batch: w[0] ** 2 - w[1] ** 2, [0.0, 0.0]),
    "a slope beside a maximum": (lambda w, batch: jnp.sum(jnp.cos(w)), [0.6, 0.6]),
    "a maximum that the localiser holds": (lambda w, batch: -1e-4 * jnp.sum(w**2), [0.0, 0.0]),
}


@pytest.mark.parametrize("case", CASES)
def test_other_points_are_audited(x64, case):
    loss, w = CASES[case]
    audited(loss, w)


def test_a_loss_without_a_lower_bound_is_refused_after_its_training(x64):
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Custom
    from lambda_hat_core.config.spec import TargetSpec
    from lambda_hat_core.targets.building import build

    model = Custom(factory="tests.core.test_maximum:upside_down")
    with pytest.raises(ValueError, match=r"fell from .* so it has no lower bound.*sign"):
        build(TargetSpec(model=model, data=NoData()), log=print)


def upside_down(key):
    """The negative of a squared error, to be trained."""
    from lambda_hat_core import CustomTarget

    del key
    x = np.random.default_rng(0).normal(size=(200, 2))

    def loss(w, batch):
        return -jnp.mean((jnp.tanh(batch[0]) @ w - batch[1]) ** 2)

    return CustomTarget(np.array([0.3, 0.1]), loss, (x, x[:, 0] + x[:, 1] ** 2), 200, train=True)


@pytest.mark.parametrize(("loss", "fine"), [(-0.9e6, True), (-1.1e6, False), (3.0, True)])
def test_how_far_a_loss_may_fall(x64, loss, fine):
    from lambda_hat_core.targets.custom import CustomTarget, problem_of
    from lambda_hat_core.targets.infinity import refuse_bottomless

    target = CustomTarget(np.ones(1), lambda w, batch: jnp.sum(w**2), None, 400)
    problem = problem_of(target, "this test")
    if fine:
        refuse_bottomless(problem, loss)
        return
    with pytest.raises(ValueError, match=r"this test has a loss that fell from 1 to -1.1e\+06"):
        refuse_bottomless(problem, loss)
