"""The exact coefficient of L_n at its own w*, if it is certain, with the reason; else None.

A value is attached only if it is true both for the loss that is sampled, L_n near w*, and for the
population loss. With label noise w* is not the truth. The value is then true only if w* is a smooth
point: the kernel of the Hessian is tangent to the set of minima, and lambda is the rank / 2.
"""

from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from lambda_hat_core.config import model
from lambda_hat_core.config.data import Diabetes, Digits, Synthetic
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.targets.audit import Audit
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork, DiagonalLinearNetwork, MlpNetwork
from lambda_hat_core.targets.potentials import QuadraticPotential
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.truth import coefficients
from lambda_hat_core.truth.coefficients import Coefficient
from lambda_hat_core.types import Weights

_ZERO = 1e-8
"""Relative size below which a singular value, an eigenvalue or a weight at w* counts as 0."""
_REALISED = 1e-10
"""Ratio of L_n(w*) to the mean square of the labels below which the fit counts as exact."""
_SMOOTH = ("tanh", "gelu")


class Known(NamedTuple):
    """A coefficient, or None, and a sentence with the reason."""

    coefficient: Coefficient | None
    reason: str


def known(spec: TargetSpec, problem: Problem, w: Weights, found: Audit) -> Known:
    """Return the coefficient at w*, if it is certain."""
    if problem.claim is not None:
        value = Fraction(problem.claim)
        return Known(Coefficient(value, 1), "stated by the factory; multiplicity not stated")
    if found.reasons:
        return Known(None, "w* did not pass the audit")
    match spec.model:
        case model.Quadratic():
            assert isinstance(problem.loss, QuadraticPotential)
            rank = int(np.sum(problem.loss.eigenvalues() > 0))
            return Known(coefficients.morse_bott(rank), "quadratic: rank / 2")
        case model.NormalCrossing():
            exact = coefficients.normal_crossing(spec.model.powers, np.asarray(w).tolist())
            return Known(exact, "normal crossing: least 1 / (2 k_i) over the zero coordinates")
        case model.Custom():
            return Known(None, "the factory states no coefficient")
    if not isinstance(spec.data, Synthetic):
        words = "real" if isinstance(spec.data, Digits | Diabetes) else spec.data.kind
        return Known(None, f"{words} data: no formula holds at the w* of a trained network")
    assert isinstance(problem.loss, Supervised) and problem.data is not None
    squared = problem.loss.name in ("mse", "gaussian")
    if spec.model.kind != "mlp" and not squared:
        return Known(
            None, f"the formula is for squared errors, and the loss is {problem.loss.name}"
        )
    x = np.asarray(problem.data[0])
    match spec.model:
        case model.Mlp():
            return _mlp(spec, problem, w, found)
        case model.DeepLinear():
            return _deep_linear(spec.model, problem, w, found, x)
        case model.QuadraticActivation():
            return _quadratic_activation(spec.model, problem, w, found, x)
        case model.DiagonalLinear():
            return _diagonal_linear(problem, w, x)
        case _:
            return Known(None, "a trained network: no formula holds at its own w*")


def _realised(problem: Problem, found: Audit) -> bool:
    """Return whether the labels have no noise and are fitted exactly."""
    assert problem.data is not None and problem.clean is not None
    labels = np.asarray(problem.data[1])
    fitted = found.loss0 <= _REALISED * np.mean(labels**2).item()
    return fitted and np.allclose(labels, problem.clean[0], rtol=1e-12, atol=1e-12)


def _full_rank(x: np.ndarray) -> bool:
    singular = np.linalg.svd(x, compute_uv=False)
    return x.shape[0] >= x.shape[1] and bool(singular[-1] > _ZERO * singular[0])


def _hessian_rank(found: Audit) -> int:
    return int(np.sum(found.spectrum > _ZERO * found.spectrum[-1]))


def _mlp(spec: TargetSpec, problem: Problem, w: Weights, found: Audit) -> Known:
    network = problem.loss.network if isinstance(problem.loss, Supervised) else None
    assert isinstance(network, MlpNetwork)
    if spec.training.start != "truth":
        return Known(None, "a trained network: no formula holds at its own w*")
    if network.layernorm or network.residual_period or network.activation == "identity":
        return Known(None, "no formula with layer norm, skip connections or linear units")
    if not found.exact:
        return Known(None, f"d = {w.size} is too large to compute the Hessian's rank at w*")
    smooth = network.activation in _SMOOTH
    free = 0 if smooth else network.hidden_units
    if not smooth and found.grad_norm > 1e-6:
        return Known(None, "w* lies at a kink of a ReLU network")
    rank = _hessian_rank(found)
    if rank != w.size - free:
        return Known(None, f"the Hessian at w* has rank {rank}, not the generic {w.size - free}")
    exact = "w* = truth" if _realised(problem, found) else "w* = the minimum at the noisy truth"
    if smooth:
        reason = f"{network.activation} network, {exact}, Hessian positive definite: d / 2"
        return Known(coefficients.tanh_mlp(w.size), reason)
    reason = f"ReLU network, {exact}, kernel = rescalings of hidden units: (d - units) / 2"
    return Known(coefficients.relu_mlp(w.size, free), reason)


def _matrix_rank(matrix: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(matrix, rtol=_ZERO))


def _product_map_rank(network: DeepLinearNetwork, w: Weights) -> int:
    layers = [np.asarray(layer) for layer in network.layers(w)]
    before = list(accumulate(layers, np.matmul))[:-1]
    after = list(accumulate([layer.T for layer in reversed(layers)], np.matmul))[:-1]
    inner = [network.in_dim, *map(_matrix_rank, before)]
    outer = [network.out_dim, *map(_matrix_rank, after)]
    return coefficients.product_map_rank(outer[::-1], inner)


def _deep_linear(
    spec: model.DeepLinear, problem: Problem, w: Weights, found: Audit, x: np.ndarray
) -> Known:
    assert isinstance(problem.loss, Supervised)
    network = problem.loss.network
    assert isinstance(network, DeepLinearNetwork)
    if not _full_rank(x):
        return Known(None, "the inputs do not span their space")
    lowest = coefficients.deep_linear(spec.widths, spec.rank)
    realised = _realised(problem, found)
    if realised and problem.truth is not None and np.allclose(w, problem.truth, 0, 1e-12):
        return Known(lowest, "deep linear at the balanced truth, the deepest point of the fibre")
    narrow, ends = min(spec.widths), spec.widths[0] + spec.widths[-1]
    rank = _product_map_rank(network, w)
    if rank != narrow * (ends - narrow):
        reason = f"w* is not a generic point: the product map has rank {rank} there"
        return Known(None, f"{reason}, and the local value is not known")
    convex = narrow == min(spec.widths[0], spec.widths[-1])
    if not (realised or convex or (found.exact and _hessian_rank(found) == rank)):
        return Known(None, "noisy labels through a bottleneck: the minimum may be degenerate")
    if Fraction(rank, 2) != lowest.llc:
        return Known(
            None,
            f"w* is a smooth point of local value {rank / 2:g}, but the least over the fibre is "
            f"{float(lowest.llc):g}: gamma decides which of them is estimated",
        )
    reason = f"deep linear at a smooth point: rank of the product map / 2 = {rank} / 2"
    return Known(coefficients.morse_bott(rank), f"{reason}, equal to the least over the fibre")


def _quadratic_activation(
    spec: model.QuadraticActivation, problem: Problem, w: Weights, found: Audit, x: np.ndarray
) -> Known:
    p = spec.in_dim
    upper = np.triu_indices(p)
    if not _full_rank(x[:, upper[0]] * x[:, upper[1]]):
        return Known(None, "the products of the inputs do not span the symmetric matrices")
    exact = coefficients.quadratic_activation(p, spec.width, spec.rank)
    if _realised(problem, found):
        return Known(exact, "quadratic activation: the same at every optimum")
    u = np.asarray(w).reshape(p, spec.width)
    if _matrix_rank(u) == p == spec.rank:
        return Known(exact, "quadratic activation at full rank: U -> U U^T is a submersion")
    return Known(
        None,
        f"noisy labels move w* off the optimum of value {float(exact.llc):g}; "
        "choose noise_scale: 0",
    )


def _diagonal_linear(problem: Problem, w: Weights, x: np.ndarray) -> Known:
    assert isinstance(problem.loss, Supervised) and problem.data is not None
    network = problem.loss.network
    assert isinstance(network, DiagonalLinearNetwork)
    if not _full_rank(x):
        return Known(None, "the inputs do not span their space")
    best = np.linalg.lstsq(x, np.asarray(problem.data[1])[:, 0])[0]
    if not np.allclose(np.asarray(network.theta(w)), best, rtol=0, atol=1e-6):
        return Known(None, "w* is not the least-squares solution")
    factors = np.abs(np.asarray(w).reshape(network.depth, network.in_dim))
    zeros = np.sum(factors <= _ZERO * factors.max(), axis=0).tolist()
    return Known(coefficients.diagonal_linear(zeros), "diagonal linear: p / 2 at every optimum")
