"""Exact learning coefficients, in rational arithmetic.

Deep linear: Aoyagi 2024 (doi:10.1016/j.neunet.2024.106132); reduced rank: Aoyagi & Watanabe 2005.
The coefficient of a family is the minimum over its optimal set unless a function states otherwise.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple


class Coefficient(NamedTuple):
    """lambda and its multiplicity m: the free energy grows as lambda log n - (m - 1) log log n."""

    llc: Fraction
    multiplicity: int


def morse_bott(rank: int) -> Coefficient:
    """Return the coefficient where the Hessian's kernel is tangent to the zero set."""
    return Coefficient(Fraction(rank, 2), 1)


def normal_crossing(powers: Sequence[int], point: Sequence[float]) -> Coefficient:
    """Return the coefficient of prod_i w_i^(2 k_i) at a point of its zero set.

    Raises:
        ValueError: if the point is not on the zero set.
    """
    active = [k for k, p in zip(powers, point, strict=True) if p == 0 and k > 0]
    if not active:
        raise ValueError(
            f"normal_crossing: point {tuple(point)} is not a zero of prod w_i^(2 k_i) with powers "
            f"{tuple(powers)}; set a coordinate of positive power to 0"
        )
    return Coefficient(Fraction(1, 2 * max(active)), active.count(max(active)))


def reduced_rank(inputs: int, hidden: int, outputs: int, rank: int) -> Coefficient:
    """Return the coefficient of y = B A x, where B A has the true rank `rank`.

    A has shape hidden x inputs, and B has shape outputs x hidden.
    """
    m, h, n, r = inputs, hidden, outputs, rank
    if m + h < n + r:
        return Coefficient(Fraction(h * m - h * r + n * r, 2), 1)
    if n + h < m + r:
        return Coefficient(Fraction(h * n - h * r + m * r, 2), 1)
    if m + n < h + r:
        return Coefficient(Fraction(m * n, 2), 1)
    odd = (m + h + n + r) % 2
    square = -((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n
    return Coefficient(Fraction(square + odd, 8), 1 + odd)


def deep_linear(widths: Sequence[int], rank: int) -> Coefficient:
    """Return the global coefficient for widths H_0 .. H_L and a true product of rank `rank`.

    Raises:
        ValueError: if the rank exceeds the narrowest width.
    """
    if not 0 <= rank <= min(widths):
        raise ValueError(
            f"deep_linear: rank is {rank}, but the widths are {tuple(widths)}; choose "
            "0 <= rank <= min(widths)"
        )
    excess = sorted(width - rank for width in widths)
    count = max(k for k in range(2, len(excess) + 1) if sum(excess[:k]) >= (k - 1) * excess[k - 1])
    chosen = excess[:count]
    layers = count - 1
    first, second = sum(chosen), sum(m * m for m in chosen)
    rho = first % layers
    regular = Fraction(rank * (widths[0] + widths[-1]) - rank**2, 2)
    singular = (Fraction(first**2 + rho * (layers - rho), layers) - second) / 4
    return Coefficient(regular + singular, 1 + rho * (layers - rho))


def product_map_rank(outer: Sequence[int], inner: Sequence[int]) -> int:
    """Return the rank of the derivative of (W_1 .. W_L) -> W_L ... W_1.

    The image of the derivative is the sum over l of image(W_L ... W_(l+1)) x
    row space(W_(l-1) ... W_1). With l the images grow and the row spaces shrink, so the dimension
    follows from the ranks of the partial products.

    Args:
        outer: rank of W_L ... W_(l+1) for l = 1 .. L; the last is H_L.
        inner: rank of W_(l-1) ... W_1 for l = 1 .. L; the first is H_0.
    """
    steps = zip((0, *outer[:-1]), outer, inner, strict=True)
    return sum((above - below) * row for below, above, row in steps)


def quadratic_activation(inputs: int, width: int, rank: int) -> Coefficient:
    """Return the coefficient of f(x) = sum_h (u_h . x)^2, the same at every optimum.

    The true U has rank `rank`.
    """
    regular = Fraction(inputs * rank - rank * (rank - 1) // 2, 2)
    return Coefficient(regular + Fraction((inputs - rank) * (width - rank), 4), 1)


def diagonal_linear(zero_factors: Sequence[int]) -> Coefficient:
    """Return the coefficient of theta_i = prod_l w_(l,i), given the numbers of zero factors."""
    more = sum(count - 1 for count in zero_factors if count > 0)
    return Coefficient(Fraction(len(zero_factors), 2), 1 + more)


def tanh_mlp(size: int) -> Coefficient:
    """Return the coefficient at an irreducible truth, a regular model of `size` parameters."""
    return morse_bott(size)


def relu_mlp(size: int, hidden_units: int) -> Coefficient:
    """Return the coefficient at a generic truth, where rescaling hidden units is free."""
    return morse_bott(size - hidden_units)
