"""The LLC along training: exact at two plateaus, one program for all, one setting held."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import LlcCurve, Nuts, Posterior, Sghmc, Sgld, llc_along
from lambda_hat_core.config.batches import seed_at
from lambda_hat_core.posterior import Target, localised
from lambda_hat_core.samplers.held import Held, moved
from tests.core import mixed
from tests.core.test_programs import programs

NBETA, GAMMA, WIDTH = 400.0, 1.0, 2
OWN = {"loss": "self_labelled", "nbeta": NBETA, "gamma": GAMMA}
SHORT = Nuts(n_draws=60, n_burn=10, n_warmup=40, n_chains=2)


def outputs(params, batch):
    return batch[0] @ params["first"] @ params["second"]


def loss(params, batch):
    return jnp.mean((outputs(params, batch) - batch[1]) ** 2)


def checkpoints():
    """Return a net of two linear layers at two plateaus of its training: rank 0 and full rank."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] for _ in range(2))
    return {
        step: {"first": size * left, "second": size * right} for step, size in ((0, 1e-9), (50, 2))
    }


def data():
    """Whitened inputs, and labels that no checkpoint has learnt."""
    x = np.eye(WIDTH) * WIDTH**0.5
    return x, np.full((WIDTH, WIDTH), 7.0)


def at_rank_0():
    """Return the posterior's own value: given A, B is Gaussian, and A is summed by importance."""
    a = np.random.default_rng(1).normal(size=(400_000, WIDTH, WIDTH)) / GAMMA**0.5
    squares = np.linalg.eigvalsh(np.swapaxes(a, 1, 2) @ a)
    stiff = 2 * NBETA / WIDTH * squares
    weights = np.prod(stiff + GAMMA, axis=1) ** (-WIDTH / 2)
    mean = 0.5 * WIDTH * np.sum(stiff / (stiff + GAMMA), axis=1)
    return np.average(mean, weights=weights)


def at_full_rank(params):
    """Return the Gaussian value."""
    size = {name: np.linalg.svd(w, compute_uv=False)[0] ** 2 for name, w in params.items()}
    stiff = 2 * NBETA / WIDTH * (size["first"] + size["second"])
    return 0.5 * WIDTH**2 * stiff / (stiff + GAMMA)


def test_two_plateaus_have_the_posteriors_own_values():
    sampler = Nuts(n_draws=1000, n_burn=100, n_warmup=150, target_acceptance=0.9)
    found = llc_along(
        loss, checkpoints(), data(), sampler=sampler, posterior=OWN, outputs=outputs, progress=False
    )
    exact = [at_rank_0(), at_full_rank(checkpoints()[50])]
    table = found.to_dataframe()
    assert table.step.tolist() == [0, 50]
    assert (table.se < 0.1).all()
    for llc, se, value in zip(table.llc, table.se, exact, strict=True):
        assert abs(llc - value) < 4 * se + 0.02 * value
    assert table.at_minimum.all()
    assert table.loss[0] == pytest.approx(49.0) and table.loss[1] > 10


@pytest.mark.parametrize(
    ("sampler", "hold"),
    [(SHORT, 50), (SHORT, "each"), (Sghmc(n_chains=2, n_draws=40, n_burn=10, thin=2), 50)],
)
def test_all_checkpoints_share_the_programs_of_the_first(sampler, hold):
    counts, steps = [], []

    def pairs():
        for step, params in reversed(checkpoints().items()):
            for later in (0, 10):
                counts.append(compiled.total())
                yield step + later, params

    def reached(params):
        steps.append(len(counts))
        return 0.0

    with programs() as compiled:
        found = llc_along(
            loss,
            pairs(),
            data(),
            hold=hold,
            sampler=sampler,
            posterior=OWN,
            outputs=outputs,
            metrics={"seen": reached},
            progress=False,
        )
        counts.append(compiled.total())
    assert [at.step for at in found.checkpoints] == [0, 10, 50, 60]
    assert steps == [1, 2, 3, 4]  # one checkpoint at a time
    moving = 2 if hold != "each" else 0  # moving the chains to another w*, and its control variate
    assert counts[2] - counts[1] <= moving, compiled
    assert counts[4] == counts[2], compiled


def test_a_setting_is_held_or_each_has_its_own():
    def along(hold):
        return llc_along(
            loss,
            checkpoints(),
            data(),
            hold=hold,
            sampler=SHORT,
            posterior=OWN,
            outputs=outputs,
            progress=False,
        )

    held, own = along(50), along("each")
    sizes = [at.found.settings["step_size"] for at in held.checkpoints]
    assert sizes[0] == sizes[1] == own.checkpoints[1].found.settings["step_size"]
    assert own.checkpoints[0].found.settings["step_size"] != sizes[0]
    seeds = [at.found.settings["seed"] for at in own.checkpoints]
    assert seeds == [seed_at(0, 0), seed_at(0, 50)]
    first, last = (at.found.trace.work for at in held.checkpoints)
    assert last["adaptation"] > 0 and last["pilot"] > 0
    assert first["adaptation"] == first["pilot"] == first["spectrum"] == 0
    assert held.checkpoints[1].found.llc == own.checkpoints[1].found.llc


def test_a_control_variate_moves_with_its_point():
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers.build import build
    from lambda_hat_core.samplers.subset import subset

    posterior = mixed.posterior(mixed.quadratic(10.0, gamma=3.0, noise=0.5))
    w0, key = posterior.w0 + 0.3, jax.random.key(0)
    other = localised(
        Target(w0, posterior.data, posterior.loss, posterior.n), Posterior(nbeta=50.0, gamma=3.0)
    )
    spec = Sgld(gradient="control_variate", batch_size=2, n_chains=2, n_draws=20, n_burn=5)
    spec = spec.settled(posterior.n, in_product=False)
    spectrum, _ = hessian_spectrum(key, posterior)
    tuned = build(
        key,
        posterior,
        spec,
        few=subset(key, posterior, None),
        start=jnp.stack([posterior.w0] * 2),
        spectrum=spectrum,
    )
    found = moved(tuned, posterior, other)
    first: Any = tuned.kernel
    kernel: Any = found.kernel
    state = kernel.init(key, w0)
    np.testing.assert_allclose(state.gradient, other.potential_grad(w0, other.data), rtol=1e-4)
    np.testing.assert_array_equal(kernel.coordinates.origin, w0)
    np.testing.assert_array_equal(kernel.coordinates.scale, first.coordinates.scale)
    np.testing.assert_allclose(found.positions - w0, tuned.positions - posterior.w0, atol=1e-5)


def test_where_a_second_attempt_begins_is_held_and_moves_with_its_point():
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers.pilot import Pilot

    here = mixed.posterior(mixed.quadratic(10.0))
    there = dataclasses.replace(here, w0=here.w0 + 0.5)
    spectrum, _ = hessian_spectrum(jax.random.key(0), here)
    begun = Pilot(jnp.stack([here.w0 + 0.1, here.w0]), spectrum, 3.0, 40.0)
    held = Held()
    assert held.remember("arrived", {"posterior": here}, lambda: begun) is begun
    found = held.remember("arrived", {"posterior": there}, lambda: begun)
    np.testing.assert_allclose(found.positions, begun.positions + 0.5, atol=1e-6)
    assert (found.work, found.spectrum, found.llc) == (0.0, spectrum, 3.0)


def test_a_point_in_the_middle_of_training_does_not_fail():
    found = llc_along(
        loss, checkpoints(), data(), sampler=SHORT, posterior={"gamma": 300.0}, progress=False
    )
    table = found.to_dataframe()
    assert not table.at_minimum[1] and table.descent[1] > 1
    assert table.llc[1] < -4 * table.se[1]
    assert "failed" not in set(table.verdict)
    assert not any("w*" in reason for reasons in table.reasons for reason in reasons)
    assert isinstance(found, LlcCurve)
    assert repr(found).startswith("LlcCurve(2 checkpoints from step 0 to 50: ")
    assert found.plot().get_axes()[0].get_ylabel() == "LLC, 90 % intervals"


MISTAKES = {
    "hold": ({"hold": 7}, "hold is 7: there is no such checkpoint; choose one of 0, 50, or each"),
    "order": (
        {"hold": 50, "checkpoints": iter(checkpoints().items())},
        "hold is 50: the iterator begins with step 0; let it yield the step to hold first",
    ),
    "family": ({"hold": 50, "sampler": "vi"}, "vi fits a family at each checkpoint"),
    "steps": ({"checkpoints": {"a": {}}}, 'checkpoints is "a": steps are finite numbers >= 0'),
    "twice": ({"checkpoints": [(0, checkpoints()[0])] * 2}, "is 0: a step occurs twice"),
    "pairs": ({"checkpoints": iter([3])}, "must be a mapping from steps to params, or pairs"),
    "none": ({"checkpoints": {}}, "there is none; pass at least one"),
    "metric": ({"metrics": {"norm": lambda p: p["first"]}}, "metrics.norm is "),
    "failing metric": (
        {"metrics": {"norm": lambda p: p["fist"]}},
        "metrics.norm: raised KeyError: 'fist'; ",
    ),
    "labels": ({"outputs": None}, "llc_along: posterior.loss is"),
    "sampler": ({"sampler": "nutz"}, 'llc_along: sampler is "nutz": no such sampler'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_the_way_out(name):
    change, words = MISTAKES[name]
    given = {"checkpoints": checkpoints(), "sampler": SHORT, "posterior": OWN, "outputs": outputs}
    given |= change
    with pytest.raises(ValueError) as caught:
        llc_along(loss, given.pop("checkpoints"), data(), progress=False, **given)
    assert words in str(caught.value) and "\n" not in str(caught.value)
