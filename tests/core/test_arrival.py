"""What the way from the start leaves in a run whose length is known at its end."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.test_ledger import MU, modes, sgld_law


def test_sums_of_the_way_are_the_burn_in_of_every_length():
    from lambda_hat_core.samplers.ledger import account

    law = sgld_law(0.1 / MU[0])
    arrival = account(modes(), law, n_draws=9, n_burn=0, thin=2)["arrival"]
    sums, every = np.array([0.0, *arrival["sums"]]), arrival["every"]
    assert every == 20 and len(sums) > 20
    for first, last in ((0, 1), (1, 4), (5, 17), (len(sums) - 2, len(sums) - 1)):
        lengths = {"n_draws": every * last, "n_burn": every * first}
        burn_in = account(modes(), law, thin=2, **lengths)["burn_in"]["absolute"]
        summed = (sums[last] - sums[first]) / (every * (last - first))
        assert summed == pytest.approx(burn_in, rel=1e-6, abs=1e-12)
    dropped = every * (len(sums) - 1)
    rest = account(modes(), law, n_draws=dropped + 10**6, n_burn=dropped, thin=2)
    assert abs(rest["burn_in"]["absolute"]) * 10**6 <= 0.01 * rest["llc"]


def test_biases_in_a_basis_whose_answer_is_a_bound_are_smaller_by_the_same_ratio():
    from lambda_hat_core.samplers.ledger import account

    law, lengths = sgld_law(0.3 / MU[0]), {"n_draws": 50, "n_burn": 3, "thin": 1}
    whole = account(modes(5.0), law, **lengths)
    bound = account(modes(5.0), law, llc=whole["oracle"] / 10, is_bound=True, **lengths)
    for name in ("discretisation", "minibatch", "burn_in", "error"):
        assert bound[name]["relative"] == pytest.approx(whole[name]["relative"])
    assert bound["arrival"]["sums"][0] == pytest.approx(whole["arrival"]["sums"][0] / 10)
    above = account(modes(5.0), law, llc=whole["oracle"] * 10, is_bound=True, **lengths)
    assert above["error"]["absolute"] == whole["error"]["absolute"]


@pytest.mark.parametrize("extrapolated", [True, False])
def test_a_run_that_a_rule_ends_has_the_burn_in_of_its_own_length(extrapolated):
    """The ledger's is that of a typical length, by which a longer run would never be right."""
    from lambda_hat_core.analysis.correction import predicted
    from lambda_hat_core.samplers.ledger import account
    from tests.core import traces

    typical, own = {"n_draws": 80, "n_burn": 20}, {"n_draws": 200, "n_burn": 60}
    law = sgld_law(0.01 / MU[0])
    ledger, right = (account(modes(), law, thin=2, **lengths) for lengths in (typical, own))
    info = {"ledger": ledger, "until": {"rel_se": 0.05}, **own}
    if extrapolated:
        info["step_order"] = 1
    made = predicted(traces.trace()._replace(info=info))
    name = "burn_in" if extrapolated else "error"
    assert made == pytest.approx(right[name], rel=1e-6)
    assert abs(made["absolute"]) < 0.8 * abs(ledger[name]["absolute"])
    written = predicted(traces.trace()._replace(info={**info, "until": None}))
    assert written == ledger[name]


@pytest.mark.parametrize("sampler", ["sghmc", "sgld"])
def test_a_negative_control_that_a_rule_ends_has_no_burn_in(sampler):
    """At nbeta 0 the posterior is the localiser, and the llc of its ledger 0."""
    from lambda_hat_core import estimate_llc

    x = np.random.default_rng(0).normal(size=(211, 5))
    found = estimate_llc(
        lambda w, batch: jnp.mean((batch @ w) ** 2),
        np.zeros(5),
        x,
        sampler=sampler,
        posterior={"nbeta": 0.0, "gamma": 1.0},
        max_fge=1000.0,
        progress=False,
    )
    assert found.llc == 0.0
    assert found.estimate.ledger_error == 0.0
