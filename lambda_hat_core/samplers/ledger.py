r"""Prediction of the bias of a minibatch sampler before it runs.

On the Laplace approximation the samplers are linear, x <- A x + noise of covariance Q, with one
small block per direction, whose first entry is the position u. The covariance after t steps,
    S_t = S_inf + A^t (S_0 - S_inf) (A^t)^T,   S_inf = A S_inf A^T + Q,
is known exactly, and the llc of the recorded draws is 1/2 sum_i share_i mu_i mean_t S_t[0, 0]. Its
bias is decomposed into four signed parts: localisation (gamma holds back directions that the loss
curves), discretisation (finite steps with full gradients), minibatch noise, and burn-in (recorded
draws that still depend on the start). Only the last three are caused by the sampler.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from lambda_hat_core.samplers.alternating import BLOCK, CYCLE
from lambda_hat_core.samplers.modes import Modes

WARN_AT = 0.1
"""Predicted relative bias above which a run starts with a warning."""
_EVERY = BLOCK * CYCLE
"""Draws between two sums of `arrival`: a stop rule looks after whole cycles of step sizes."""
_ARRIVED, _LONGEST = 0.01, 1000
"""The sums end where less than this share of the llc is left, or after so many."""
_BURN_IN_GOAL = 0.01
_MOST_BURN_IN = 2**40
_RESOLVED = 1e-5
"""Curvature below this fraction of the largest is float32 rounding error and counts as flat."""
_RESOLVED_MEAN = 1e-6
"""The same for a mean over the complement, in which rounding errors average."""

Blocks = Float[np.ndarray, "k s s"]


class Dynamics(NamedTuple):
    """A sampler on the Laplace approximation: one block per direction, with the position first.

    Attributes:
        A: matrix that maps the state to its mean after one step.
        Q: covariance that one step adds, minibatch noise included.
        S_0: covariance at the start.
    """

    A: Blocks
    Q: Blocks
    S_0: Blocks


Law = Callable[[Modes], Dynamics]
"""The dynamics on given modes, at one step size."""


def outer(vectors: Float[np.ndarray, "k s"], weights: Float[np.ndarray, " k"]) -> Blocks:
    """Return weight v v^T for every direction."""
    return weights[:, None, None] * vectors[:, :, None] * vectors[:, None, :]


def is_stable(dynamics: Dynamics) -> bool:
    """Return whether every direction forgets its start."""
    return bool(np.abs(np.linalg.eigvals(dynamics.A)).max() < 1)


def _squared(blocks: Blocks) -> Float[np.ndarray, "k ss ss"]:
    """Return the Kronecker square A (x) A, which acts on covariances written as vectors."""
    k, s, _ = blocks.shape
    return np.einsum("kij,klm->kiljm", blocks, blocks).reshape(k, s * s, s * s)


def _flat(blocks: Blocks) -> Float[np.ndarray, "k ss"]:
    return blocks.reshape(blocks.shape[0], -1)


def _solve(matrix: Blocks, right: Float[np.ndarray, "k ss"]) -> Float[np.ndarray, "k ss"]:
    return np.linalg.solve(matrix, right[..., None])[..., 0]


def stationary(dynamics: Dynamics) -> Float[np.ndarray, "k ss"]:
    """Return vec S_inf."""
    squared = _squared(dynamics.A)
    return _solve(np.eye(squared.shape[1]) - squared, _flat(dynamics.Q))


def mean_of_draws(
    dynamics: Dynamics, *, n_draws: int, n_burn: int, thin: int
) -> Float[np.ndarray, "k ss"]:
    """Return the mean of vec S_t over the recorded draws.

    These are every thin-th state from step thin (n_burn + 1) to step thin n_draws.
    """
    final = stationary(dynamics)
    squared = _squared(dynamics.A)
    one_draw = np.linalg.matrix_power(squared, thin)
    identity = np.eye(squared.shape[1])
    first = np.linalg.matrix_power(one_draw, n_burn + 1)
    after = np.linalg.matrix_power(one_draw, n_draws - n_burn)
    left = np.einsum("kij,kj->ki", first - first @ after, _flat(dynamics.S_0) - final)
    return final + _solve(identity - one_draw, left) / (n_draws - n_burn)


def _arrival(
    dynamics: Dynamics, half: Float[np.ndarray, " k"], *, thin: int, unit: float
) -> dict[str, Any]:
    """Return the sums of the biases that their start leaves in the first 20, 40, ... draws.

    The sums of a run that drops some draws are differences of these.

    Args:
        dynamics: stable.
        half: weight of every variance in the llc.
        thin: steps per draw.
        unit: the llc.
    """
    squared = _squared(dynamics.A)
    one_draw, identity = np.linalg.matrix_power(squared, thin), np.eye(squared.shape[1])
    left = np.einsum("kij,kj->ki", one_draw, _flat(dynamics.S_0) - stationary(dynamics))
    # The biases of all draws after a state have a sum that is linear in what its covariance exceeds
    # the stationary one by.
    first = half[:, None] * identity[0]
    together = _solve((identity - one_draw).swapaxes(1, 2), first)
    step = np.linalg.matrix_power(one_draw, _EVERY)
    whole, sums = float((together * left).sum()), []
    while len(sums) < _LONGEST:
        left = np.einsum("kij,kj->ki", step, left)
        rest = float((together * left).sum())
        sums.append(whole - rest)
        if abs(rest) <= _ARRIVED * unit:
            break
    return {"every": _EVERY, "sums": sums}


def account(
    modes: Modes,
    law: Law,
    *,
    n_draws: int,
    n_burn: int,
    thin: int,
    llc: float | None = None,
    is_bound: bool = False,
) -> dict[str, Any]:
    """Return the ledger: the llc of the quadratic, each bias, and the predicted llc.

    `asymptotic` is half the number of curved directions, and `oracle` is what an exact sampler
    would find at this nbeta and gamma. The biases of the sampler are given relative to `llc`, a
    rough estimate: if the loss is not quadratic, they still have the right size, but the oracle
    does not (it is up to four times too large on singular networks). There is no prediction for
    an unstable step size. `arrival` has the sums of the burn-in's biases of the first 20, 40, ...
    draws, for runs whose lengths are known at their end.

    If the oracle is only a bound (`is_bound`), as where curvatures are a diagonal of the Hessian,
    every variance is as much too large as the oracle is, and so are the biases: they are made
    smaller by that ratio.
    """
    stiff = modes.share * modes.mu
    weight = 0.5 * modes.size * stiff
    # In units of the localiser, which are the same in every metric.
    soft = modes.mu - stiff
    odds = stiff / np.where(soft > 0, soft, 1.0)
    curved = odds > np.where(modes.size > 1, _RESOLVED_MEAN, _RESOLVED) * odds.max()
    asymptotic = 0.5 * float(modes.size[curved].sum())
    oracle = 0.5 * float(modes.size @ modes.share)
    level = llc if llc is not None and llc > 0 else oracle
    part = min(1.0, level / oracle) if is_bound and oracle > 0 else 1.0
    half = part * weight
    dynamics, quiet = law(modes), law(modes._replace(noise=np.zeros_like(modes.noise)))
    ledger: dict[str, Any] = {
        "asymptotic": asymptotic,
        "oracle": oracle,
        "llc": level,
        "localisation": _bias(oracle - asymptotic, asymptotic),
        "stable": is_stable(dynamics) and is_stable(quiet),
    }
    if not ledger["stable"]:
        nothing = {"discretisation": None, "minibatch": None, "burn_in": None, "arrival": None}
        return ledger | nothing | {"predicted": None, "error": None}
    exact = float(half @ stationary(quiet)[:, 0])
    noisy = float(half @ stationary(dynamics)[:, 0])
    draws = mean_of_draws(dynamics, n_draws=n_draws, n_burn=n_burn, thin=thin)
    predicted = float(half @ draws[:, 0])
    return ledger | {
        "discretisation": _bias(exact - part * oracle, level),
        "minibatch": _bias(noisy - exact, level),
        "burn_in": _bias(predicted - noisy, level),
        "arrival": _arrival(dynamics, half, thin=thin, unit=level),
        "predicted": predicted,
        "error": _bias(predicted - part * oracle, level),
    }


def _bias(value: float, reference: float) -> dict[str, float]:
    return {"absolute": value, "relative": value / reference if reference > 0 else 0.0}


def burn_in_needed(modes: Modes, dynamics: Dynamics, *, n_kept: int, thin: int) -> int:
    """Return the burn-in draws after which `n_kept` draws have a burn-in bias below 1 %."""
    half = 0.5 * modes.size * modes.share * modes.mu
    oracle = 0.5 * float(modes.size @ modes.share)
    final = float(half @ stationary(dynamics)[:, 0])

    def enough(burn: int) -> bool:
        draws = mean_of_draws(dynamics, n_draws=burn + n_kept, n_burn=burn, thin=thin)
        return abs(float(half @ draws[:, 0]) - final) <= _BURN_IN_GOAL * oracle

    high = 1
    while high < _MOST_BURN_IN and not enough(high):
        high *= 2
    low = high // 2
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
