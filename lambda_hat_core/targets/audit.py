"""The audit: whether w* is a minimum, at the resolution of the default temperature.

It measures two quantities in units of nbeta L_n, that of an estimate: by how much the loss falls
from w* to the minimum of its quadratic approximation (off-centre bias), and by how much it falls
along negative curvature within the width of the localiser. Both are taken at the default nbeta and
gamma.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from lambda_hat_core.linalg.hessian import hessian_pairs, product_at
from lambda_hat_core.linalg.host import generator, hosted, placed
from lambda_hat_core.linalg.lanczos import Operator, Pairs, Vector, lanczos
from lambda_hat_core.posterior import Loss
from lambda_hat_core.targets import refined
from lambda_hat_core.targets.derivatives import refusal
from lambda_hat_core.targets.kinks import SAMPLES, curves_down, hull_bias, scale_of
from lambda_hat_core.targets.probe import slope
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights, constant

DENSE = 800
"""Largest d for which the Hessian is diagonalised. That takes 0.8 s and grows as d^3."""
LIMIT = 0.05
"""Largest acceptable fall of nbeta L_n from w*, for each of the two quantities."""
REVERSED = "A loss is smallest where a model fits best: reverse its sign, if it is a log likelihood"
"""The way out where a loss is largest, or falls without end."""
ROWS = 1024
"""Examples on which the Hessian is taken, where not on all."""
_LOWER = 0.5
"""Largest fall to the points around a kink, in units of that on a slope."""
_RANK, _OWN = 64, 32
"""Lanczos steps from a random start, and from the gradient."""


class Audit(NamedTuple):
    """The result of an audit.

    Attributes:
        loss0: L_n(w*).
        grad_norm: |grad L_n(w*)|.
        spectrum: eigenvalues of the Hessian in ascending order; Ritz values unless `exact`.
        exact: whether the spectrum has all d eigenvalues.
        off_centre_bias: nbeta^2/2 g^T (nbeta H + gamma)^-1 g, which is nbeta/2 g^T H^+ g if the
            localiser is weak; negative curvature counts as 0.
        kinked: whether w* is stationary only in the sense of the gradients on both sides of a kink.
        reasons: why w* is not a minimum; empty if it is one.
        lowest_vector: the eigenvector of the lowest eigenvalue.
        work: full-gradient evaluations.
        pairs: eigenpairs of the Hessian, those in the Krylov space of the gradient unless `exact`;
            None if nothing had to be found.
    """

    loss0: float
    grad_norm: float
    spectrum: Float[np.ndarray, " k"]
    exact: bool
    off_centre_bias: float
    kinked: bool
    reasons: tuple[str, ...]
    lowest_vector: Weights
    work: float
    pairs: Pairs | None = None


class _Measured(NamedTuple):
    """What is measured at w.

    Attributes:
        loss: L_n(w).
        gradient: of L_n.
        theta: eigenvalues in ascending order: all of them, or those from Lanczos with a random
            start.
        lowest: the eigenvector of the first.
        own: eigenpairs in the Krylov space of the gradient, in which g^T f(H) g is a Gauss
            quadrature.
        whole: the product with the Hessian on all examples, if the pairs are those on a few.
    """

    loss: float
    gradient: Float[np.ndarray, " d"]
    theta: Float[np.ndarray, " k"]
    lowest: Vector
    own: Pairs
    whole: Operator | None


def _measure(
    key: PRNGKeyArray, loss: Loss, w: Weights, data: Batch, n: int, rows: int | None
) -> _Measured:
    rng, d, few = generator(key), w.size, data
    value, gradient = (np.asarray(x) for x in slope(loss, w, data))
    takes_few = data is not None and rows is not None and rows < n
    if takes_few:
        index = rng.choice(n, rows, replace=False)
        few = jax.tree.map(lambda a: jax.device_put(hosted(a)[index]), data)
    if d <= DENSE:
        own = theta, vectors = hessian_pairs(loss, w, few)
    else:
        product = product_at(loss, w, few)
        theta, vectors = lanczos(rng, product, _RANK, like=w)
        own = lanczos(rng, product, _OWN, like=w, start=gradient)
    lowest, whole = vectors[0], product_at(loss, w, data) if takes_few else None
    if whole is not None and np.isfinite(theta).all():
        low, lowest = refined.lowest(rng, whole, Pairs(theta, vectors))
        theta = np.append(low, theta[len(low) :])
    return _Measured(float(value), gradient, theta, lowest, own, whole)


def _bias(seen: _Measured, nbeta: float, gamma: float) -> float:
    """Return nbeta^2/2 g^T (nbeta H + gamma)^-1 g."""
    with np.errstate(over="ignore", invalid="ignore"):
        components = np.asarray(seen.own.vectors) @ seen.gradient
        return float(((scale_of(seen.own.theta, nbeta, gamma, np) * components) ** 2).sum())


def _is_maximum(seen: _Measured, nbeta: float) -> bool:
    """Return whether w is a maximum: no curvature is positive, and -L_n hardly falls from w."""
    lowest, highest = seen.theta[0], seen.theta.max()
    if not (lowest < 0 and highest <= 1e-10 * abs(lowest)):
        return False
    turned = seen._replace(own=Pairs(-np.asarray(seen.own.theta), seen.own.vectors))
    return _bias(turned, nbeta, 0.0) <= LIMIT


def work(d: int, n: int | None = None, rows: int | None = None) -> float:
    """Return the full-gradient evaluations of an audit at a point without a kink.

    Args:
        d: number of parameters.
        n: number of examples, None for a potential.
        rows: on how many of them the Hessian is taken, None for all.
    """
    products = 2.0 * (d if d <= DENSE else _RANK + _OWN)
    if n is None or rows is None or rows >= n:
        return 1.0 + products
    return 1.0 + products * rows / n + 2.0 * min(refined.PRODUCTS, d)


def audit(
    key: PRNGKeyArray,
    problem: Problem,
    w: Weights,
    *,
    nbeta: float,
    gamma: float,
    rows: int | None = None,
    kinks: bool = True,
) -> Audit:
    """Audit w at the given temperature and localisation.

    `kinks`: whether to look for a kink where the gradient does not vanish. On the way of a training
    it does not vanish anyway.

    The loss and its gradient are those of all examples. If there are more than `rows`, the Hessian
    is that of a random subset of so many, except along the directions that it curves down most.

    Raises:
        ValueError: if L_n, its gradient or its Hessian is not finite there, or if w is a maximum
            that the localiser does not hold.
    """
    exact = w.size <= DENSE
    loss, data = problem.loss, problem.data
    seen = _measure(key, loss, w, data, problem.n, rows)
    cost = work(w.size, None if data is None else problem.n, rows)
    value, spectrum = seen.loss, seen.theta
    with np.errstate(over="ignore"):
        grad_norm = float(np.linalg.norm(seen.gradient))
    if not (np.isfinite([value, grad_norm]).all() and np.isfinite(spectrum).all()):
        raise refusal(problem, w)
    bias, kinked = _bias(seen, nbeta, gamma), False
    bias = math.inf if math.isnan(bias) else bias
    if bias > LIMIT and seen.whole is not None:
        settled, products = refined.settled_bias(seen.whole, seen.own, seen.gradient, nbeta, gamma)
        bias, cost = bias if settled is None else settled, cost + 2.0 * products
    if bias > LIMIT and kinks:
        theta, vectors = placed(seen.own)
        at = (constant(x, w) for x in (grad_norm, nbeta, gamma))
        hull, falls = map(float, hull_bias(key, loss, w, data, theta, vectors, *at))
        cost += SAMPLES + 1.0
        # Around a point where the loss is smooth no combination of gradients has half of the bias.
        kinked = hull <= min(LIMIT, 0.5 * bias) and falls <= _LOWER
        bias = hull if kinked else bias
    lowest, highest = spectrum[0].item(), spectrum.max().item()
    fall = 0.5 * nbeta * max(0.0, -lowest - 1e-10 * abs(highest)) / max(gamma, 1e-300)
    least = lowest, seen.lowest
    if fall > LIMIT and not curves_down(problem, w, least, here=value, nbeta=nbeta):
        fall = 0.0
    if fall > LIMIT and _is_maximum(seen, nbeta):
        raise ValueError(
            f"{problem.maker} has a loss that is largest at w*: no eigenvalue of its Hessian there "
            f"is positive, and the lowest is {lowest:.3g}. {REVERSED}"
        )
    reasons = []
    if bias > LIMIT:
        reasons.append(
            f"nbeta L_n falls by {bias:.3g} from w* to the minimum of its quadratic approximation "
            f"(limit {LIMIT}; |grad L_n| = {grad_norm:.2g})"
        )
    if fall > LIMIT:
        reasons.append(
            f"the Hessian has eigenvalue {lowest:.3g}, along which nbeta L_n falls by {fall:.3g} "
            f"within the localiser's width (limit {LIMIT})"
        )
    return Audit(
        loss0=value,
        grad_norm=grad_norm,
        spectrum=spectrum,
        exact=exact,
        off_centre_bias=bias,
        kinked=kinked,
        reasons=tuple(reasons),
        lowest_vector=placed(seen.lowest),
        work=cost,
        pairs=seen.own,
    )
