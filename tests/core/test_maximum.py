"""A point where the loss is largest is refused: its sign was reversed."""

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
